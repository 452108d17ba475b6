"""BiSeNet v2 (Yu et al., 2020): a wide shallow detail branch, a narrow deep semantic one, and guided aggregation.

BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic Segmentation,
https://arxiv.org/abs/2004.02147

Approximate: the authors' code is not public; built like the most used re-implementation (CoinCheung), which
is consistent with the text. Its 24.6 G multiply-adds (512x1024, 19 classes) are not the paper's 21.15 G; the
head's inner width alone moves that by 10 G.
Assumed: a head of 1024 inner channels; gather-and-expansion layers that expand in the depthwise convolution; nearest
upsampling in the aggregation; a ReLU after its last convolution and after the depthwise one of a GE; norm and ReLU on
the context's last; training-only heads (weight 1) with a second 3x3 convolution of stride-squared channels.
Choices: maps are resized to match the detail branch, so any input size works; the original takes multiples of
32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, mean_over_map, norm_act, resize

EXPANSION = 6
HEAD_WIDTH, AUXILIARY_WIDTH = 1024, 128
# Input and output channels and stride of the detail branch's convolutions.
DETAIL = (
    *((3, 64, 2), (64, 64, 1)),
    *((64, 64, 2), (64, 64, 1), (64, 64, 1)),
    *((64, 128, 2), (128, 128, 1), (128, 128, 1)),
)


def spread(channels: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution with six kernels for each channel."""
    return conv(channels, EXPANSION * channels, 3, stride, groups=channels)


class GatherExpand(nn.Module):
    """GE of stride 1: (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.body = nn.Sequential(
            *conv_norm_act(channels, channels),
            spread(channels),
            *norm_act(wide),
            *conv_norm_act(wide, channels, 1, act="none"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class GatherExpandDown(nn.Module):
    """GE of stride 2: (N, C_in, H, W) -> (N, C_out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        wide = EXPANSION * in_channels
        self.body = nn.Sequential(
            *conv_norm_act(in_channels, in_channels),
            spread(in_channels, 2),
            *norm_act(wide, "none"),
            depthwise(wide),
            *norm_act(wide),
            *conv_norm_act(wide, out_channels, 1, act="none"),
        )
        self.shortcut = nn.Sequential(
            depthwise(in_channels, 3, 2),
            *norm_act(in_channels, "none"),
            *conv_norm_act(in_channels, out_channels, 1, act="none"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Stem(nn.Module):
    """A convolution beside max-pooling: (N, 3, H, W) -> (N, 16, H / 4, W / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv_norm_act(3, 16, 3, 2)
        self.left = nn.Sequential(conv_norm_act(16, 8, 1), conv_norm_act(8, 16, 3, 2))
        self.fuse = conv_norm_act(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        fused: Tensor = self.fuse(torch.cat([self.left(y), F.max_pool2d(y, 3, stride=2, padding=1)], dim=1))
        return fused


class ContextEmbedding(nn.Module):
    """The transformed mean of the map, added to every position: (N, C, h, w) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.transform = conv_norm_act(channels, channels, 1)
        self.mix = conv_norm_act(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x + self.transform(self.norm(mean_over_map(x))))
        return mixed


class GuidedAggregation(nn.Module):
    """Each branch weighted by the other, at the fine and at the coarse size, summed at the fine one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.detail_fine = self._separable(channels)
        self.detail_coarse = nn.Sequential(*conv_norm_act(channels, channels, 3, 2, act="none"))
        self.semantic_fine = conv_norm_act(channels, channels, act="none")
        self.semantic_coarse = self._separable(channels)
        self.mix = conv_norm_act(channels, channels)

    @staticmethod
    def _separable(channels: int) -> nn.Sequential:
        return nn.Sequential(depthwise(channels), *norm_act(channels, "none"), conv(channels, channels, 1))

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        size = detail.shape[-2:]
        fine_gate = torch.sigmoid(F.interpolate(self.semantic_fine(semantic), size=size))  # nearest
        coarse = F.avg_pool2d(self.detail_coarse(detail), 3, stride=2, padding=1)
        coarse = coarse * torch.sigmoid(self.semantic_coarse(semantic))
        mixed: Tensor = self.mix(self.detail_fine(detail) * fine_gate + F.interpolate(coarse, size=size))
        return mixed


class AuxiliaryHead(nn.Module):
    """A training-only head on a map of a given stride: logits (N, K, 2 h, 2 w)."""

    def __init__(self, in_channels: int, stride: int, num_classes: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(conv_norm_act(in_channels, AUXILIARY_WIDTH), nn.Dropout(0.1))
        self.leave = nn.Sequential(
            conv_norm_act(AUXILIARY_WIDTH, stride**2), conv(stride**2, num_classes, 1, bias=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.leave(F.interpolate(self.enter(x), scale_factor=2.0))
        return logits


class BiSeNetV2(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W); in training a tuple of these and of four auxiliary ones."""

    auxiliary_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    training_only: tuple[str, ...] = ("auxiliary",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.detail = nn.Sequential(*(conv_norm_act(before, after, 3, stride) for before, after, stride in DETAIL))
        self.stem = Stem()
        self.stage3 = nn.Sequential(GatherExpandDown(16, 32), GatherExpand(32))
        self.stage4 = nn.Sequential(GatherExpandDown(32, 64), GatherExpand(64))
        self.stage5 = nn.Sequential(GatherExpandDown(64, 128), *(GatherExpand(128) for _ in range(3)))
        self.context = ContextEmbedding(128)
        self.aggregate = GuidedAggregation(128)
        self.head = nn.Sequential(
            conv_norm_act(128, HEAD_WIDTH), nn.Dropout(0.1), conv(HEAD_WIDTH, num_classes, 1, bias=True)
        )
        self.auxiliary = nn.ModuleList(
            AuxiliaryHead(width, stride, num_classes) for width, stride in ((16, 4), (32, 8), (64, 16), (128, 32))
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        size = x.shape[-2:]
        at4 = self.stem(x)
        at8 = self.stage3(at4)
        at16 = self.stage4(at8)
        at32 = self.stage5(at16)
        logits = resize(self.head(self.aggregate(self.detail(x), self.context(at32))), size)
        if not (self.training and self.training_only):
            return logits
        heads = zip(self.auxiliary, (at4, at8, at16, at32), strict=True)
        return logits, *(resize(head(feature), size) for head, feature in heads)
