"""JetBlock, the encoder's building block (section 2.2, figure 3)."""

from torch import Tensor, nn

from jetbench.models.activations import ACTIVATIONS
from jetbench.models.attention import build_attention
from jetbench.models.jetconv import JetConv
from jetbench.network.plan import BlockPlan
from jetbench.spec.architecture import ActivationName


class ChannelShuffle(nn.Module):
    """Interleaves the channels of `groups` groups, so that each group of the next layer sees all of them."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        if self.groups == 1:
            return x
        batch, channels, height, width = x.shape
        grouped = x.view(batch, self.groups, channels // self.groups, height, width)
        return grouped.transpose(1, 2).reshape(x.shape)


class JetBlock(nn.Module):
    """Expansion, norm, activation, shuffle, JetConv, attention, activation, reduction.

    (N, C_in, H, W) -> (N, C_out, H / stride, W / stride). The first block (S0) is JetConv, norm, activation.
    `skip` places the residual connection: around the block (paper), or around each operation (released code).
    """

    def __init__(self, plan: BlockPlan, activation: ActivationName) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        operations = nn.Sequential()
        if plan.expanded_channels is None:
            operations.add_module("jetconv", JetConv(plan.jetconv))
            operations.add_module("norm", nn.BatchNorm2d(plan.out_channels))
            operations.add_module("activation", act())
        else:
            c, e, o = plan.in_channels, plan.expanded_channels, plan.out_channels
            operations.add_module("expand", nn.Conv2d(c, e, 1, plan.stride, groups=plan.expand_groups, bias=False))
            operations.add_module("norm", nn.BatchNorm2d(e))
            operations.add_module("activation", act())
            operations.add_module("shuffle", ChannelShuffle(plan.expand_groups))
            operations.add_module("jetconv", JetConv(plan.jetconv))
            if (attention := build_attention(plan.attention, e, act())) is not None:
                operations.add_module("attention", attention)
            operations.add_module("activation_2", act())
            operations.add_module("reduce", nn.Conv2d(e, o, 1, groups=plan.reduce_groups, bias=False))
        self.operations = operations
        self.skip = plan.skip

    def forward(self, x: Tensor) -> Tensor:
        if self.skip == "operation":
            for operation in self.operations:
                x = x + operation(x)
            return x
        y: Tensor = self.operations(x)
        return x + y if self.skip == "block" else y
