"""RegSeg, exp48_decoder26 (Gao, 2021): RegNet blocks whose groups are split over two dilation rates.

Rethinking Dilated Convolution for Real-time Semantic Segmentation, https://arxiv.org/abs/2111.09957

As the authors' code of the paper's first version: [1], [1, 2], 4 x [1, 4], 7 x [1, 14] at stride 16. A later version
of the paper has rates found by search, with the same number of parameters.
Choices: none; the code takes any input size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, mean_over_map, norm_act, resize

GROUP_WIDTH = 16
RATES = ((1,), (1, 2), *((1, 4),) * 4, *((1, 14),) * 6)  # of the 256-channel blocks after the one that halves


class SplitDilatedConv(nn.Module):
    """Grouped 3x3: equal shares of the channels, each with a dilation rate of its own, side by side again."""

    def __init__(self, channels: int, stride: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        share = channels // len(rates)
        self.parts = nn.ModuleList(conv(share, share, 3, stride, rate, share // GROUP_WIDTH) for rate in rates)

    def forward(self, x: Tensor) -> Tensor:
        shares = x.chunk(len(self.parts), dim=1)
        return torch.cat([part(share) for part, share in zip(self.parts, shares, strict=True)], dim=1)


class SqueezeExcite(nn.Module):
    """Channels weighted by two 1x1 convolutions of the map's mean; the inner width comes from the block's input."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            conv(channels, inner, 1, bias=True), nn.ReLU(), conv(inner, channels, 1, bias=True), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        weighted: Tensor = x * self.weigh(mean_over_map(x))
        return weighted


class DBlock(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, rates: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        middle = SplitDilatedConv(out_channels, stride, rates)
        self.body = nn.Sequential(
            *conv_norm_act(in_channels, out_channels, 1),
            middle if len(rates) > 1 else middle.parts[0],
            *norm_act(out_channels),
            SqueezeExcite(out_channels, in_channels // 4),
            *conv_norm_act(out_channels, out_channels, 1, act="none"),
        )
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = conv_norm_act(in_channels, out_channels, 1, act="none") if changes else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        before = F.avg_pool2d(x, 2, ceil_mode=True) if self.stride == 2 else x
        return F.relu(self.body(x) + self.shortcut(before))


class RegSeg(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = conv_norm_act(3, 32, 3, stride=2)
        self.stage4 = DBlock(32, 48, 2)
        self.stage8 = nn.Sequential(DBlock(48, 128, 2), DBlock(128, 128), DBlock(128, 128))
        self.stage16 = nn.Sequential(
            DBlock(128, 256, 2), *(DBlock(256, 256, 1, rates) for rates in RATES), DBlock(256, 320, 1, (1, 14))
        )
        self.head16 = conv_norm_act(320, 128, 1)
        self.head8 = conv_norm_act(128, 128, 1)
        self.head4 = conv_norm_act(48, 8, 1)
        self.fuse8 = conv_norm_act(128, 64)
        self.fuse4 = conv_norm_act(64 + 8, 64)
        self.classifier = conv(64, num_classes, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x4 = self.stage4(self.stem(x))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        y = self.fuse8(resize(self.head16(x16), x8.shape[-2:]) + self.head8(x8))
        y = self.fuse4(torch.cat([resize(y, x4.shape[-2:]), self.head4(x4)], dim=1))
        return resize(self.classifier(y), x.shape[-2:])
