"""ResNet-18 without its classifier, the encoder of LinkNet and, cut short, of ThunderNet (He et al., 2015)."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, norm_act

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_act(in_channels, out_channels, 3, stride),
            conv(out_channels, out_channels),
            *norm_act(out_channels, "none"),
        )
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = conv_norm_act(in_channels, out_channels, 1, stride, act="none") if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """(N, 3, H, W) -> the pooled stem at stride 4, then the first `stages` stages at strides 4, 8, 16, 32."""

    def __init__(self, stages: int = 4) -> None:
        super().__init__()
        self.stem = conv_norm_act(3, 64, 7, stride=2)
        widths = (64, *WIDTHS[:stages])
        self.stages = nn.ModuleList(
            nn.Sequential(BasicBlock(before, width, 1 if number == 0 else 2), BasicBlock(width, width))
            for number, (before, width) in enumerate(pairwise(widths))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [F.max_pool2d(self.stem(x), 3, stride=2, padding=1)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features
