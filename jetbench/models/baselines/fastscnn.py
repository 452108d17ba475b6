"""Fast-SCNN (Poudel et al., 2019): one shallow stem for detail and context, rejoined at stride 8.

Fast-SCNN: Fast Semantic Segmentation Network, https://arxiv.org/abs/1902.04502

Approximate: no code of the authors was found. Widths, strides, expansions and blocks are the paper's table; it says
1.11 M parameters, but the table gives 1.14 M (19 classes); the reason for the difference is unknown.
As in the paper and unlike the usual ports: no ReLU between a depthwise and its 1x1 convolution, a dilation of 4 in the
fusion, two training-only heads of weight 0.4, after the stem and after the context.
Assumed: pyramid pooling to 1, 2, 3 and 6 bins with a quarter of the channels each and a 1x1 mix; a norm between a
depthwise and its 1x1 convolution; a bias in the fusion's 1x1 convolutions; heads with 32 inner channels.
Choices: maps are resized to match the output of the stem, so any input size works; the original takes multiples of 32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, norm_act, resize

BINS = (1, 2, 3, 6)
EXPANSION = 6


def separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Depthwise 3x3, norm, 1x1, norm, ReLU."""
    return nn.Sequential(
        depthwise(in_channels, 3, stride), *norm_act(in_channels, "none"), *conv_norm_act(in_channels, out_channels, 1)
    )


class InvertedResidual(nn.Module):
    """1x1 to six times the width, depthwise 3x3, linear 1x1; the input is added where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        wide = EXPANSION * in_channels
        self.body = nn.Sequential(
            *conv_norm_act(in_channels, wide, 1),
            depthwise(wide, 3, stride),
            *norm_act(wide),
            *conv_norm_act(wide, out_channels, 1, act="none"),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.has_shortcut else y


class PyramidPooling(nn.Module):
    """The map beside its means over growing bins, mixed: (N, C, h, w) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_norm_act(channels, channels // len(BINS), 1) for _ in BINS)
        self.mix = conv_norm_act(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [
            resize(branch(F.adaptive_avg_pool2d(x, bins)), x.shape[-2:], align_corners=True)
            for branch, bins in zip(self.branches, BINS, strict=True)
        ]
        mixed: Tensor = self.mix(torch.cat([x, *pooled], dim=1))
        return mixed


def head(in_channels: int, num_classes: int) -> nn.Sequential:
    """A training-only head: 3x3 to 32 channels, dropout, 1x1."""
    return nn.Sequential(conv_norm_act(in_channels, 32), nn.Dropout(0.1), conv(32, num_classes, 1, bias=True))


class FastSCNN(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W); in training a tuple of these and of two auxiliary ones."""

    auxiliary_weights: tuple[float, ...] = (0.4, 0.4)
    training_only: tuple[str, ...] = ("auxiliary",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm_act(3, 32, 3, 2), separable(32, 48, 2), separable(48, 64, 2))
        steps = ((64, 64, 2), (64, 96, 2), (96, 128, 1))
        self.context = nn.Sequential(
            *(
                InvertedResidual(before if number == 0 else after, after, stride if number == 0 else 1)
                for before, after, stride in steps
                for number in range(3)
            ),
            PyramidPooling(128),
        )
        self.low = nn.Sequential(
            depthwise(128, dilation=4), *norm_act(128), *conv_norm_act(128, 128, 1, act="none", bias=True)
        )
        self.high = conv_norm_act(64, 128, 1, act="none", bias=True)
        self.classifier = nn.Sequential(
            separable(128, 128), separable(128, 128), nn.Dropout(0.1), conv(128, num_classes, 1, bias=True)
        )
        self.auxiliary = nn.ModuleList([head(64, num_classes), head(128, num_classes)])

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        size = x.shape[-2:]
        high = self.stem(x)
        context = self.context(high)
        fused = F.relu(self.low(resize(context, high.shape[-2:], align_corners=True)) + self.high(high))
        logits = resize(self.classifier(fused), size, align_corners=True)
        if not (self.training and self.training_only):
            return logits
        heads = zip(self.auxiliary, (high, context), strict=True)
        return logits, *(resize(each(feature), size, align_corners=True) for each, feature in heads)
