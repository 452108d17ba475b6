"""DFANet A (Li et al., 2019): three light Xception bodies in series, stages fed by those of the body before.

DFANet: Deep Feature Aggregation for Real-Time Semantic Segmentation, https://arxiv.org/abs/1904.02216

Approximate: no code of the authors was found, and no public re-implementation comes near the 7.8 M parameters and 3.4
GFLOPs (1024x1024) of the paper; nor does this one. It shares with the paper: Xception-A bodies
(8; 12, 12, 48; 24, 24, 96; 48, 48, 192) with 4, 6 and 4 blocks, the attention of a fully connected layer of 1000 in
each, sub-network and sub-stage aggregation, and a decoder that sums the three first stages and the three attentions.
Assumed: depthwise separable convolutions with a norm after each part; a 1x1 decoder of 32 channels.
Choices: maps are resized to match the map they join, so any input size works.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, mean_over_map, norm_act, resize

WIDTHS = (48, 96, 192)
BLOCKS = (4, 6, 4)
ATTENTION_WIDTH = 1000
DECODER_WIDTH = 32


def separable(in_channels: int, out_channels: int, stride: int = 1, act: bool = True) -> nn.Sequential:
    """Depthwise 3x3, norm, 1x1, norm, ReLU."""
    return nn.Sequential(
        depthwise(in_channels, 3, stride),
        *norm_act(in_channels, "none"),
        *conv_norm_act(in_channels, out_channels, 1, act="relu" if act else "none"),
    )


class XceptionBlock(nn.Module):
    """Three separable convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        inner = out_channels // 4
        self.body = nn.Sequential(
            separable(in_channels, inner, stride), separable(inner, inner), separable(inner, out_channels, act=False)
        )
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = conv_norm_act(in_channels, out_channels, 1, stride, act="none") if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    """Blocks of one stage, of which the first halves the map."""
    rest = (XceptionBlock(out_channels, out_channels) for _ in range(blocks - 1))
    return nn.Sequential(XceptionBlock(in_channels, out_channels, 2), *rest)


class Attention(nn.Module):
    """The paper's fc attention: channels weighted by what a fully connected layer makes of the map's mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, ATTENTION_WIDTH)
        self.back = conv_norm_act(ATTENTION_WIDTH, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.back(self.fc(mean_over_map(x).flatten(1))[:, :, None, None])
        return x * weights


class Found(NamedTuple):
    """The outputs of a body: its three stages, and the last one weighted."""

    first: Tensor
    second: Tensor
    third: Tensor
    weighted: Tensor


class Body(nn.Module):
    """One Xception-A without its stem; from the second on, each stage also sees the same stage of the body before."""

    def __init__(self, inputs: tuple[int, int, int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stage(*each) for each in zip(inputs, WIDTHS, BLOCKS, strict=True))
        self.attention = Attention(WIDTHS[-1])

    def forward(self, x: Tensor, before: Found | None = None) -> Found:
        first = self.stages[0](x)
        second = self.stages[1](first if before is None else _join(first, before.second))
        third = self.stages[2](second if before is None else _join(second, before.third))
        return Found(first, second, third, self.attention(third))


def _join(x: Tensor, other: Tensor) -> Tensor:
    return torch.cat([x, resize(other, x.shape[-2:])], dim=1)


class DFANet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.stem = conv_norm_act(3, 8, 3, stride=2)
        aggregated = (third + first, first + second, second + third)
        self.bodies = nn.ModuleList([Body((8, first, second)), Body(aggregated), Body(aggregated)])
        self.low = nn.ModuleList(conv_norm_act(first, DECODER_WIDTH, 1) for _ in self.bodies)
        self.fuse = conv_norm_act(DECODER_WIDTH, DECODER_WIDTH, 1)
        self.classifier = conv(DECODER_WIDTH, num_classes, 1, bias=True)
        self.high = nn.ModuleList(conv(third, num_classes, 1, bias=True) for _ in self.bodies)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Found] = [self.bodies[0](self.stem(x))]
        for body in list(self.bodies)[1:]:
            before = found[-1]
            found.append(body(_join(before.first, before.weighted), before))
        size = found[0].first.shape[-2:]
        low = [resize(reduce(each.first), size) for reduce, each in zip(self.low, found, strict=True)]
        y = self.classifier(self.fuse(low[0] + low[1] + low[2]))
        for score, each in zip(self.high, found, strict=True):
            y = y + resize(score(each.weighted), size)
        return resize(y, x.shape[-2:])
