"""JetConv, the multi-scale depthwise convolution of JetSeg (section 2.1, figure 2)."""

from itertools import accumulate

import torch
from torch import Tensor, nn

from jetbench.network.plan import JetConvPlan
from jetbench.spec.architecture import Branch


def depthwise(channels: int, kernel_size: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """Depthwise convolution with an odd kernel that keeps height and width; a side of 1 is not dilated."""
    dilations = (dilation if kernel_size[0] > 1 else 1, dilation if kernel_size[1] > 1 else 1)
    padding = (dilations[0] * (kernel_size[0] // 2), dilations[1] * (kernel_size[1] // 2))
    return nn.Conv2d(channels, channels, kernel_size, 1, padding, dilations, groups=channels, bias=False)


def branch_convolutions(channels: int, branch: Branch) -> list[nn.Conv2d]:
    """The dilated k x 1, 1 x k pair of an asymmetric branch, or its one square convolution."""
    k = branch.kernel_size
    kernels = [(k, 1), (1, k)] if branch.asymmetric else [(k, k)]
    return [depthwise(channels, kernel, branch.dilation) for kernel in kernels]


class ParallelBranches(nn.Module):
    """The layout of the paper: parallel CDDConvs, summed hierarchically, with the partial sums concatenated.

    (N, C, H, W) -> (N, B * C, H, W) for B branches.
    """

    def __init__(self, channels: int, branches: tuple[Branch, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                *branch_convolutions(channels, branch), depthwise(channels, (branch.kernel_size, branch.kernel_size))
            )
            for branch in branches
        )

    def forward(self, x: Tensor) -> Tensor:
        features = [branch(x) for branch in self.branches]
        # Running sums smooth the gridding artefacts of a single dilated branch (ESPNet's hierarchical fusion).
        return torch.cat(list(accumulate(features, torch.add)), dim=1)


class SequentialBranches(nn.Sequential):
    """The layout of the released code: the depthwise convolutions in sequence. (N, C, H, W) keeps its shape."""

    def __init__(self, channels: int, branches: tuple[Branch, ...]) -> None:
        super().__init__(*(conv for branch in branches for conv in branch_convolutions(channels, branch)))


class JetConv(nn.Module):
    """Depthwise branches, then a grouped 1x1 convolution that mixes them.

    (N, C_in, H, W) -> (N, C_out, H / stride, W / stride). The input is added if the plan has a shortcut.
    """

    def __init__(self, plan: JetConvPlan) -> None:
        super().__init__()
        layout = ParallelBranches if plan.layout == "parallel" else SequentialBranches
        self.depthwise = layout(plan.in_channels, plan.branches)
        self.mix = nn.Conv2d(plan.mixed_channels, plan.out_channels, 1, plan.stride, groups=plan.groups, bias=False)
        self.has_shortcut = plan.shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(self.depthwise(x))
        return x + y if self.has_shortcut else y
