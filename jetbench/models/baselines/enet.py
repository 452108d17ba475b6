"""ENet (Paszke et al., 2016): bottlenecks after an early downsampling, unpooled by the encoder's own indices.

ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation, https://arxiv.org/abs/1606.02147

As the authors' Lua code: batch norm with eps 1e-3, PReLU for each channel in the encoder and ReLU in the decoder,
dropout in the encoder only, a bias in the middle convolutions (of a 1x5, 5x1 pair in the second), no norm within that
pair, a 2x2 transposed convolution at the end.
Choices: max-pooling rounds up, so that odd maps fit; the original takes multiples of 8.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import (
    LayerActivation,
    activation,
    conv,
    conv_norm_act,
    double_to,
    halve,
    halve_with_indices,
    norm_act,
    unpool,
)

Middle = Literal["plain", "asymmetric"]
EPS = 1e-3
# Stages 2 and 3: kernel and dilation of their eight bottlenecks.
SEQUENCE: tuple[tuple[Middle, int], ...] = (
    ("plain", 1),
    ("plain", 2),
    ("asymmetric", 1),
    ("plain", 4),
    ("plain", 1),
    ("plain", 8),
    ("asymmetric", 1),
    ("plain", 16),
)


class Bottleneck(nn.Module):
    """(N, C, H, W) -> the same shape."""

    def __init__(
        self, channels: int, dropout: float, act: LayerActivation = "prelu", middle: Middle = "plain", dilation: int = 1
    ) -> None:
        super().__init__()
        inner = channels // 4
        convs = [conv(inner, inner, 3, dilation=dilation, bias=True)]
        if middle == "asymmetric":
            convs = [conv(inner, inner, (1, 5)), conv(inner, inner, (5, 1), bias=True)]
        self.body = nn.Sequential(
            *conv_norm_act(channels, inner, 1, act=act, eps=EPS),
            *convs,
            *norm_act(inner, act, EPS),
            *conv_norm_act(inner, channels, 1, act="none", eps=EPS),
            nn.Dropout2d(dropout),
        )
        self.act = activation(act, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(x + self.body(x))
        return out


class DownBottleneck(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, H / 2, W / 2) and the indices of its max-pooling."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        inner = out_channels // 4
        self.missing = out_channels - in_channels
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, inner, 2, stride=2, bias=False), *norm_act(inner, "prelu", EPS)
        )
        self.body = nn.Sequential(
            conv(inner, inner, bias=True),
            *norm_act(inner, "prelu", EPS),
            *conv_norm_act(inner, out_channels, 1, act="none", eps=EPS),
            nn.Dropout2d(dropout),
        )
        self.act = activation("prelu", out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        main, indices = halve_with_indices(x)
        main = F.pad(main, (0, 0, 0, 0, 0, self.missing))  # channels of zeros
        height, width = int(x.shape[-2]), int(x.shape[-1])  # numbers, so that a traced file computes no size
        even = F.pad(x, (0, width % 2, 0, height % 2))  # the 2x2 convolution would round down
        return self.act(main + self.body(self.reduce(even))), indices


class UpBottleneck(nn.Module):
    """(N, C_in, h, w) and the indices of the pooling it undoes -> (N, C_out, *size)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = out_channels // 4
        self.main = conv_norm_act(in_channels, out_channels, 1, act="none", eps=EPS)
        self.reduce = conv_norm_act(in_channels, inner, 1, eps=EPS)
        self.up = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1)
        self.expand = nn.Sequential(
            *norm_act(inner, eps=EPS), *conv_norm_act(inner, out_channels, 1, act="none", eps=EPS)
        )

    def forward(self, x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        main = unpool(self.main(x), indices, size)
        return F.relu(main + self.expand(double_to(self.up, self.reduce(x), size)))


class ENet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.initial = conv(3, 13, 3, stride=2, bias=True)
        self.norm = norm_act(16, "prelu", EPS)
        self.down1 = DownBottleneck(16, 64, 0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(64, 0.01) for _ in range(4)))
        self.down2 = DownBottleneck(64, 128, 0.1)
        self.stage2 = nn.Sequential(
            *(Bottleneck(128, 0.1, "prelu", middle, dilation) for middle, dilation in SEQUENCE * 2)
        )
        self.up4 = UpBottleneck(128, 64)
        self.stage4 = nn.Sequential(*(Bottleneck(64, 0.0, "relu") for _ in range(2)))
        self.up5 = UpBottleneck(64, 16)
        self.stage5 = Bottleneck(16, 0.0, "relu")
        self.classifier = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        half = self.norm(torch.cat([self.initial(x), halve(x)], dim=1))
        quarter, half_indices = self.down1(half)
        eighth, quarter_indices = self.down2(self.stage1(quarter))
        y = self.up4(self.stage2(eighth), quarter_indices, quarter.shape[-2:])
        y = self.up5(self.stage4(y), half_indices, half.shape[-2:])
        return double_to(self.classifier, self.stage5(y), x.shape[-2:])
