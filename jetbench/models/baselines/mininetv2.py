"""MiniNet v2 (Alonso et al., 2020): separable convolutions with two dilation rates side by side, and a refining branch.

MiniNet: An Efficient Semantic Segmentation ConvNet for Real-Time Robotic Applications (IEEE T-RO),
https://github.com/Shathe/MiniNet-v2

As the authors' PyTorch code, with which they time it: both depthwise convolutions of a block are there even where
their rates agree, batch norm with eps 1e-3, the last transposed convolution unpadded. Their TensorFlow code, with
which they train, has other rates at the end (8, 16 for 4, 8) and no norm between the depthwise and the 1x1
convolution.
Choices: max-pooling rounds up, so that odd maps fit; the original takes multiples of 8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, double_to, halve, norm_act, resize

EPS = 1e-3
RATES = (1, 2, 1, 4, 1, 8, 1, 16, 1, 1, 1, 2, 1, 4, 1, 8)
DROPOUT = 0.25


class Down(nn.Module):
    """A 3x3 convolution of stride 2 beside max-pooling: (N, C_in, H, W) -> (N, C_out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels - in_channels, 3, stride=2)
        self.norm = norm_act(out_channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        joint: Tensor = self.norm(torch.cat([self.conv(x), halve(x)], dim=1))
        return joint


class SeparableBlock(nn.Module):
    """(N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            depthwise(channels),
            *norm_act(channels, eps=EPS),
            *conv_norm_act(channels, channels, 1, act="none", eps=EPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + x)


class MultiDilationBlock(nn.Module):
    """Two depthwise 3x3, one of them dilated, summed and mixed: (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.near = nn.Sequential(depthwise(channels), *norm_act(channels, eps=EPS))
        self.far = nn.Sequential(depthwise(channels, dilation=dilation), *norm_act(channels, eps=EPS))
        self.mix = nn.Sequential(*conv_norm_act(channels, channels, 1, act="none", eps=EPS), nn.Dropout2d(DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.mix(self.near(x) + self.far(x)) + x)


class MiniNetV2(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.down = nn.Sequential(Down(3, 16), Down(16, 64))
        self.body4 = nn.Sequential(*(SeparableBlock(64) for _ in range(10)))
        self.down3 = Down(64, 128)
        self.body8 = nn.Sequential(*(MultiDilationBlock(128, rate) for rate in RATES))
        self.up = nn.ConvTranspose2d(128, 64, 3, stride=2, padding=1)
        self.norm = norm_act(64, eps=EPS)
        self.refine = nn.Sequential(Down(3, 16), Down(16, 64))
        self.tail = nn.Sequential(*(SeparableBlock(64) for _ in range(4)))
        self.classifier = nn.ConvTranspose2d(64, num_classes, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        fine = self.refine(x)
        deep = self.body8(self.down3(self.body4(self.down(x))))
        y = self.norm(double_to(self.up, deep, fine.shape[-2:])) + fine
        return resize(self.classifier(self.tail(y)), size, align_corners=True)
