"""STDC1-Seg (Fan et al., 2021): short-term dense concatenation modules, and attention where the strides meet.

Rethinking BiSeNet For Real-time Semantic Segmentation, https://arxiv.org/abs/2104.13188

As the authors' code with the setting of their training script: the backbone STDCNet813 without its classifier, two
training-only heads of classes and one of edges (the paper's detail guidance, at stride 8), all with weight 1. Edges
are where two classes touch (see `training/auxiliary.py`), not the paper's Laplacian pyramid, and have another loss.
The code also builds edge heads at other strides and the classifier's layers, which are never trained; they are left
out.
Choices: none; the code takes any input size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, mean_over_map, norm_act, resize

WIDTHS = (256, 512, 1024)
DECODER_WIDTH = 128
HEAD_WIDTH = 64


class STDCModule(nn.Module):
    """A 1x1 and three 3x3 convolutions, ever narrower, side by side: (N, C_in, H, W) -> (N, C_out, H / stride, ..)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, count_padding: bool = True) -> None:
        super().__init__()
        half, quarter, eighth = out_channels // 2, out_channels // 4, out_channels // 8
        self.first = conv_norm_act(in_channels, half, 1)
        self.down = nn.Sequential(depthwise(half, 3, 2), *norm_act(half, "none")) if stride == 2 else nn.Identity()
        self.rest = nn.ModuleList(
            conv_norm_act(before, after) for before, after in ((half, quarter), (quarter, eighth), (eighth, eighth))
        )
        self.stride, self.count_padding = stride, count_padding

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        y = self.down(first)
        if self.stride == 2:
            first = F.avg_pool2d(first, 3, stride=2, padding=1, count_include_pad=self.count_padding)
        found = [first]
        for layer in self.rest:
            y = layer(y)
            found.append(y)
        return torch.cat(found, dim=1)


class STDC1(nn.Module):
    """(N, 3, H, W) -> features of 256, 512 and 1024 channels at strides 8, 16 and 32.

    `count_padding` says whether its average pooling counts the zeros around the map.
    """

    def __init__(self, count_padding: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm_act(3, 32, 3, 2), conv_norm_act(32, 64, 3, 2))
        widths = (64, *WIDTHS)
        self.stages = nn.ModuleList(
            nn.Sequential(STDCModule(before, after, 2, count_padding), STDCModule(after, after))
            for before, after in zip(widths, WIDTHS, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.stem(x)
        features = []
        for stage in self.stages:
            y = stage(y)
            features.append(y)
        return features


def head(in_channels: int, inner: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, norm, ReLU, 1x1 convolution without bias."""
    return nn.Sequential(conv_norm_act(in_channels, inner), conv(inner, out_channels, 1))


class AttentionRefinement(nn.Module):
    """ARM: a 3x3 convolution, its channels weighted by their means: (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv_norm_act(in_channels, out_channels)
        self.weigh = nn.Sequential(*conv_norm_act(out_channels, out_channels, 1, act="none"), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        weighted: Tensor = y * self.weigh(mean_over_map(y))
        return weighted


class FeatureFusion(nn.Module):
    """FFM: two maps stacked, mixed, and their channels weighted: -> (N, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = out_channels // 4
        self.mix = conv_norm_act(in_channels, out_channels, 1)
        self.weigh = nn.Sequential(conv(out_channels, inner, 1), nn.ReLU(), conv(inner, out_channels, 1), nn.Sigmoid())

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        y = self.mix(torch.cat([fine, coarse], dim=1))
        fused: Tensor = y + y * self.weigh(mean_over_map(y))
        return fused


class STDC1Seg(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W); in training with two auxiliary ones, and edges (N, 1, H, W)."""

    auxiliary_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    training_only: tuple[str, ...] = ("auxiliary16", "auxiliary32", "edges")

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        at8, at16, at32 = WIDTHS
        width = DECODER_WIDTH
        self.backbone = STDC1()
        self.context = conv_norm_act(at32, width, 1)
        self.refine32, self.refine16 = AttentionRefinement(at32, width), AttentionRefinement(at16, width)
        self.smooth32, self.smooth16 = conv_norm_act(width, width), conv_norm_act(width, width)
        self.fuse = FeatureFusion(at8 + width, 256)
        self.head = head(256, 256, num_classes)
        self.auxiliary16 = head(width, HEAD_WIDTH, num_classes)
        self.auxiliary32 = head(width, HEAD_WIDTH, num_classes)
        self.edges = head(at8, HEAD_WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        size = x.shape[-2:]
        at8, at16, at32 = self.backbone(x)
        context = self.context(mean_over_map(at32))
        deep = F.interpolate(self.refine32(at32) + context, size=at16.shape[-2:])  # nearest
        deep16 = self.smooth32(deep)
        deep = F.interpolate(self.refine16(at16) + deep16, size=at8.shape[-2:])
        deep8 = self.smooth16(deep)
        logits = resize(self.head(self.fuse(at8, deep8)), size, align_corners=True)
        if not (self.training and self.training_only):
            return logits
        found = (self.auxiliary16(deep8), self.auxiliary32(deep16), self.edges(at8))
        return logits, *(resize(each, size, align_corners=True) for each in found)
