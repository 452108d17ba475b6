"""ESPNet v2, s = 2.0, with its published segmentation head (Mehta et al., 2018).

ESPNetv2: A Light-weight, Power Efficient, and General Purpose Convolutional Neural Network,
https://arxiv.org/abs/1811.11431

As the authors' EdgeNets code, whose decoder gives the published figures (0.79 M parameters, 2.7 G multiply-adds at
512x1024 with 20 classes); the older ESPNetv2 repository has another decoder, with 1.25 M. The decoder's inner width is
half the number of classes, at most 16, so its cost depends on the class count more than in other networks. The code
and the published count also have 480 PReLU slopes in the downsampling units that are never used. They are left out
here, so that every parameter learns: 782,388 parameters for 11 classes, not 782,868.
Choices: maps are resized to match the map that is added, so any input size works; the original takes multiples of 16.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import (
    conv,
    conv_norm_act,
    depthwise,
    mean_over_map,
    norm_act,
    resize,
    shrink_image,
    shuffle_channels,
)

BRANCHES = 4
WIDTHS = (32, 128, 256, 512)
SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
SMALLEST_POOLED = 5
DECODER_WIDTHS = (64, 48, 32)


def dilations(limit: int) -> tuple[int, ...]:
    """Dilations of the branches: kernels 3, 5, 7 and 9 wide, those beyond the limit made 3 wide; ascending."""
    return tuple(sorted((width - 1) // 2 if width <= limit else 1 for width in (3, 5, 7, 9)))


class EESP(nn.Module):
    """Pyramid of depthwise dilated convolutions: (N, C_in, H, W) -> (N, C_out, ceil(H / stride), ceil(W / stride)).

    With `joins`, as the part of a downsampling unit, the last activation is that unit's.
    """

    def __init__(self, in_channels: int, out_channels: int, limit: int, stride: int = 1, joins: bool = False) -> None:
        super().__init__()
        inner = out_channels // BRANCHES
        self.reduce = conv_norm_act(in_channels, inner, 1, groups=BRANCHES, act="prelu")
        self.branches = nn.ModuleList(depthwise(inner, 3, stride, rate) for rate in dilations(limit))
        self.mix = nn.Sequential(
            *norm_act(out_channels, "prelu"),
            *conv_norm_act(out_channels, out_channels, 1, groups=BRANCHES, act="none"),
        )
        self.act = nn.Identity() if joins else nn.PReLU(out_channels)
        self.has_shortcut = not joins and stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        found: list[Tensor] = []
        for branch in self.branches:
            y = branch(reduced)
            found.append(y + found[-1] if found else y)
        y = self.mix(torch.cat(found, dim=1))
        out: Tensor = self.act(x + y if self.has_shortcut else y)
        return out


class Down(nn.Module):
    """Average pooling beside an EESP of stride 2, and the image as an extra input: halves the map."""

    def __init__(self, in_channels: int, out_channels: int, limit: int) -> None:
        super().__init__()
        self.pyramid = EESP(in_channels, out_channels - in_channels, limit, stride=2, joins=True)
        self.image = nn.Sequential(conv_norm_act(3, 3, act="prelu"), conv_norm_act(3, out_channels, 1, act="none"))
        self.act = nn.PReLU(out_channels)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        y = torch.cat([F.avg_pool2d(x, 3, stride=2, padding=1), self.pyramid(x)], dim=1)
        out: Tensor = self.act(y + self.image(image))
        return out


class EfficientPyramid(nn.Module):
    """EPP: depthwise convolutions of the map at five sizes, shuffled and mixed: (N, C_in, h, w) -> (N, C_out, h, w)."""

    def __init__(self, in_channels: int, out_channels: int, inner: int, last: bool = False) -> None:
        super().__init__()
        stacked = inner * len(SCALES)
        self.reduce = conv_norm_act(in_channels, inner, 1, act="prelu")
        self.stages = nn.ModuleList(depthwise(inner) for _ in SCALES)
        self.norm = norm_act(stacked, "prelu")
        self.merge = conv_norm_act(stacked, inner, groups=inner, act="prelu")
        self.expand = conv(inner, out_channels, 1, bias=last)
        self.leave = nn.Identity() if last else norm_act(out_channels, "prelu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        size = (x.shape[-2], x.shape[-1])
        found = [self._at(x, size, scale, stage) for scale, stage in zip(SCALES, self.stages, strict=True)]
        merged = self.merge(shuffle_channels(self.norm(torch.cat(found, dim=1)), len(SCALES)))
        out: Tensor = self.leave(self.expand(merged))
        return out

    @staticmethod
    def _at(x: Tensor, size: tuple[int, int], scale: float, stage: nn.Module) -> Tensor:
        height, width = (max(SMALLEST_POOLED, math.ceil(side * scale)) for side in size)
        if scale < 1:
            return resize(stage(F.adaptive_avg_pool2d(x, (height, width))), size, align_corners=True)
        if scale > 1:
            return F.adaptive_avg_pool2d(stage(resize(x, (height, width), align_corners=True)), size)
        same: Tensor = stage(x)
        return same


class PointwiseGate(nn.Module):
    """PWC: a grouped 3x3, times a gate from the input's mean: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        groups = math.gcd(in_channels, out_channels)
        self.transform = conv_norm_act(in_channels, out_channels, groups=groups, act="prelu")
        self.gate = nn.Sequential(conv(in_channels, out_channels, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = self.transform(x) * self.gate(mean_over_map(x))
        return gated


class ESPNetV2(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        w1, w2, w3, w4 = WIDTHS
        self.level1 = conv_norm_act(3, w1, 3, stride=2, act="prelu")
        self.down2 = Down(w1, w2, limit=13)
        self.down3 = Down(w2, w3, limit=11)
        self.level3 = nn.Sequential(*(EESP(w3, w3, limit=9) for _ in range(3)))
        self.down4 = Down(w3, w4, limit=9)
        self.level4 = nn.Sequential(*(EESP(w4, w4, limit=7) for _ in range(7)))
        inner = min(num_classes // 2, 16)
        steps = (w4, *DECODER_WIDTHS, num_classes)
        self.pyramids = nn.ModuleList(
            EfficientPyramid(before, after, inner, last=number == len(steps) - 2)
            for number, (before, after) in enumerate(pairwise(steps))
        )
        self.gates = nn.ModuleList(
            PointwiseGate(width, after) for width, after in zip((w3, w2, w1), DECODER_WIDTHS, strict=True)
        )
        self.norms = nn.ModuleList(norm_act(width, "prelu") for width in DECODER_WIDTHS)

    def forward(self, x: Tensor) -> Tensor:
        level1 = self.level1(x)
        level2 = self.down2(level1, shrink_image(x, 2))
        level3 = self.level3(self.down3(level2, shrink_image(x, 3)))
        y = self.level4(self.down4(level3, shrink_image(x, 4)))
        skips = zip(self.gates, self.norms, (level3, level2, level1), strict=True)
        for pyramid, (gate, norm, skip) in zip(self.pyramids, skips, strict=False):
            y = norm(resize(pyramid(y), skip.shape[-2:], align_corners=True) + gate(skip))
        return resize(self.pyramids[-1](y), x.shape[-2:], align_corners=True)
