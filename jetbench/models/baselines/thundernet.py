"""ThunderNet (Xiang et al., 2019), as far as it is known: ResNet-18 cut short, pyramid pooling and a small decoder.

ThunderNet: A Turbo Unified Network for Real-Time Semantic Segmentation (WACV),
https://doi.org/10.1109/WACV.2019.00195

Approximate: no code was found, and no accessible text gives the widths of the decoder. Recalled, not read:
ResNet-18 to its third stage, pyramid pooling and the decoder are one, 4.7 M parameters (recalled, not seen).
Assumed: pooling to 1, 2, 3 and 6 bins with 64 channels each, a 3x3 convolution to 256, then two steps of bilinear
upsampling and a 3x3 convolution (208 and 64 channels), with a link from the second stage, which add up to 4.7 M.
Choices: maps are resized to match the link, so any input size works.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, resize
from jetbench.models.baselines.resnet import ResNet18

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """The map beside its means over growing bins, mixed by a 3x3 convolution: (N, 256, h, w) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        share = channels // len(BINS)
        self.branches = nn.ModuleList(conv_norm_act(channels, share, 1) for _ in BINS)
        self.mix = conv_norm_act(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [
            resize(branch(F.adaptive_avg_pool2d(x, bins)), x.shape[-2:])
            for branch, bins in zip(self.branches, BINS, strict=True)
        ]
        mixed: Tensor = self.mix(torch.cat([x, *pooled], dim=1))
        return mixed


class ThunderNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = ResNet18(stages=3)
        self.pooling = PyramidPooling(256)
        self.link = conv_norm_act(128, 256, 1)
        self.step8 = conv_norm_act(256, 208)
        self.step4 = conv_norm_act(208, 64)
        self.classifier = conv(64, num_classes, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        _, at4, at8, at16 = self.encoder(x)
        y = self.step8(resize(self.pooling(at16), at8.shape[-2:]) + self.link(at8))
        y = self.step4(resize(y, at4.shape[-2:]))
        return resize(self.classifier(y), x.shape[-2:])
