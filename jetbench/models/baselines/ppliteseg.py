"""PP-LiteSeg-T (Peng et al., 2022): STDC1, simple pyramid pooling, and spatial attention where two maps join.

PP-LiteSeg: A Superior Real-Time Semantic Segmentation Model, https://arxiv.org/abs/2204.02681

As the authors' code (PaddleSeg), which differs from the paper's text: three fusion modules, not two, one of them at
stride 32; attention from two small convolutions; its weight goes to the fine map; two training-only heads with weight
1. The backbone's average pooling leaves padding out, as Paddle does.
Choices: none; the code takes any input size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv_norm_act, resize
from jetbench.models.baselines.stdc import STDC1, WIDTHS, head

BINS = (1, 2, 4)
PYRAMID_WIDTH = 128
FUSION_WIDTHS = (128, 64, 32)  # at strides 32, 16, 8


class SimplePyramidPooling(nn.Module):
    """SPPM: means over growing bins, upsampled and summed: (N, C, h, w) -> (N, D, h, w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_norm_act(in_channels, out_channels, 1, bias=True) for _ in BINS)
        self.mix = conv_norm_act(out_channels, out_channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [
            resize(branch(F.adaptive_avg_pool2d(x, bins)), x.shape[-2:])
            for branch, bins in zip(self.branches, BINS, strict=True)
        ]
        mixed: Tensor = self.mix(pooled[0] + pooled[1] + pooled[2])
        return mixed


class AttentionFusion(nn.Module):
    """UAFM with spatial attention: fine (N, C, H, W) and coarse (N, D, h, w) -> (N, E, H, W)."""

    def __init__(self, fine_channels: int, coarse_channels: int, out_channels: int) -> None:
        super().__init__()
        self.enter = conv_norm_act(fine_channels, coarse_channels)
        self.attend = nn.Sequential(conv_norm_act(4, 2), conv_norm_act(2, 1, act="none"), nn.Sigmoid())
        self.leave = conv_norm_act(coarse_channels, out_channels)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        fine = self.enter(fine)
        coarse = resize(coarse, fine.shape[-2:])
        seen = [each for x in (fine, coarse) for each in (x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True))]
        weight = self.attend(torch.cat(seen, dim=1))
        left: Tensor = self.leave(fine * weight + coarse * (1 - weight))
        return left


class PPLiteSegT(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W); in training a tuple of these and of two auxiliary ones."""

    auxiliary_weights: tuple[float, ...] = (1.0, 1.0)
    training_only: tuple[str, ...] = ("auxiliary16", "auxiliary32")

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone = STDC1(count_padding=False)
        self.pyramid = SimplePyramidPooling(WIDTHS[-1], PYRAMID_WIDTH)
        coarse = (PYRAMID_WIDTH, *FUSION_WIDTHS)
        self.fusions = nn.ModuleList(
            AttentionFusion(*each) for each in zip(reversed(WIDTHS), coarse, FUSION_WIDTHS, strict=False)
        )
        at32, at16, at8 = FUSION_WIDTHS
        self.head = head(at8, 32, num_classes)
        self.auxiliary16, self.auxiliary32 = head(at16, 64, num_classes), head(at32, 64, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        size = x.shape[-2:]
        features = self.backbone(x)
        fused = [self.pyramid(features[-1])]
        for fusion, feature in zip(self.fusions, reversed(features), strict=True):
            fused.append(fusion(feature, fused[-1]))
        _, at32, at16, at8 = fused
        logits = resize(self.head(at8), size)
        if not (self.training and self.training_only):
            return logits
        return logits, resize(self.auxiliary16(at16), size), resize(self.auxiliary32(at32), size)
