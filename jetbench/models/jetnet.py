"""JetNet, the encoder of JetSeg: a pyramid of JetBlocks (section 2.3)."""

from torch import Tensor, nn

from jetbench.models.jetblock import JetBlock
from jetbench.network.plan import Plan


class JetNet(nn.Module):
    """(N, 3, H, W) -> the feature maps of the decoder's taps, deep to shallow, each (N, C, h, w)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(JetBlock(block, plan.activation) for block in plan.blocks)
        self.tapped = tuple(tap.block for tap in plan.decoder.taps)

    def forward(self, x: Tensor) -> list[Tensor]:
        features: dict[int, Tensor] = {}
        # Every block runs, including those below the deepest tap, because the released code runs them too.
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.tapped:
                features[number] = x
        return [features[number] for number in self.tapped]
