"""CGNet, M = 3 and N = 21 (Wu et al., 2018): blocks that join a local, a surrounding and a global context.

CGNet: A Light-weight Context Guided Network for Semantic Segmentation, https://arxiv.org/abs/1811.08201

As the authors' code: PReLU with a slope for each channel, batch norm with eps 1e-3, no bias but in the gates.
Choices: none; the code takes any input size.
"""

import torch
from torch import Tensor, nn

from jetbench.models.baselines.layers import (
    conv,
    conv_norm_act,
    depthwise,
    mean_over_map,
    norm_act,
    resize,
    shrink_image,
)

EPS = 1e-3


class GlobalGate(nn.Module):
    """Channels weighted by what two fully connected layers make of the map's mean: (N, C, H, W) -> the same."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = channels // reduction
        self.weigh = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.weigh(mean_over_map(x).flatten(1))
        return x * weights[:, :, None, None]


class Surroundings(nn.Module):
    """A plain and a dilated depthwise 3x3 of the same map, stacked: (N, C, H, W) -> (N, 2 C, H, W)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.local = depthwise(channels)
        self.surrounding = depthwise(channels, dilation=dilation)
        self.norm = norm_act(2 * channels, "prelu", EPS)

    def forward(self, x: Tensor) -> Tensor:
        joint: Tensor = self.norm(torch.cat([self.local(x), self.surrounding(x)], dim=1))
        return joint


class ContextGuidedBlock(nn.Module):
    """(N, C, H, W) -> the same shape; the input is added after the gate (the paper's global residual learning)."""

    def __init__(self, channels: int, dilation: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_act(channels, channels // 2, 1, act="prelu", eps=EPS),
            Surroundings(channels // 2, dilation),
            GlobalGate(channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = self.body(x)
        return gated + x


class ContextGuidedDown(nn.Sequential):
    """(N, C_in, H, W) -> (N, C_out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int, reduction: int) -> None:
        super().__init__(
            conv_norm_act(in_channels, out_channels, 3, stride=2, act="prelu", eps=EPS),
            Surroundings(out_channels, dilation),
            conv(2 * out_channels, out_channels, 1),
            GlobalGate(out_channels, reduction),
        )


class CGNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int, m: int = 3, n: int = 21) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            *(conv_norm_act(3 if i == 0 else 32, 32, 3, 2 if i == 0 else 1, act="prelu", eps=EPS) for i in range(3))
        )
        self.norm1 = norm_act(32 + 3, "prelu", EPS)
        self.down2 = ContextGuidedDown(35, 64, dilation=2, reduction=8)
        self.stage2 = nn.Sequential(*(ContextGuidedBlock(64, dilation=2, reduction=8) for _ in range(m - 1)))
        self.norm2 = norm_act(64 + 64 + 3, "prelu", EPS)
        self.down3 = ContextGuidedDown(131, 128, dilation=4, reduction=16)
        self.stage3 = nn.Sequential(*(ContextGuidedBlock(128, dilation=4, reduction=16) for _ in range(n - 1)))
        self.norm3 = norm_act(128 + 128, "prelu", EPS)
        self.classifier = conv(256, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.norm1(torch.cat([self.stage1(x), shrink_image(x, 1)], dim=1))
        down = self.down2(first)
        second = self.norm2(torch.cat([self.stage2(down), down, shrink_image(x, 2)], dim=1))
        down = self.down3(second)
        third = self.norm3(torch.cat([down, self.stage3(down)], dim=1))
        return resize(self.classifier(third), x.shape[-2:])
