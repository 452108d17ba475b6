"""ADSCNet (Wang et al., 2020): asymmetric depthwise separable convolutions, and a dense block of growing dilation.

ADSCNet: asymmetric depthwise separable convolution for semantic segmentation in real-time (Applied Intelligence),
https://doi.org/10.1007/s10489-019-01587-1

Approximate: no code of the authors was found, and the abstract has no number of parameters; built as the one public
re-implementation reads the paper, without its norm and ReLU on the logits.
Assumed: no norm after the 1x1 convolutions; the stride sits in the 3x1; a bias in the transposed convolutions.
Choices: maps are resized to match the map that is added, so any input size works.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, double_to, norm_act

RATES = (3, 5, 9, 13)


class ADSC(nn.Module):
    """Stride 1: (N, C, H, W) -> the same shape, the input added; stride 2: -> (N, 2 C, H / 2, W / 2)."""

    def __init__(self, channels: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            depthwise(channels, (3, 1), stride, dilation),
            *norm_act(channels, "relu6"),
            conv(channels, channels, 1),
            depthwise(channels, (1, 3), dilation=dilation),
            *norm_act(channels, "relu6"),
            conv(channels, channels, 1),
        )
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        if self.stride == 1:
            return x + y
        return torch.cat([y, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1)


class DenseDilated(nn.Module):
    """DDCC: each unit sees all maps before it: (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeezes = nn.ModuleList(
            nn.Identity() if number == 1 else conv(number * channels, channels, 1)
            for number in range(1, len(RATES) + 1)
        )
        self.units = nn.ModuleList(ADSC(channels, dilation=rate) for rate in RATES)
        self.mix = conv((len(RATES) + 1) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for squeeze, unit, rate in zip(self.squeezes, self.units, RATES, strict=True):
            y = F.avg_pool2d(squeeze(torch.cat(found, dim=1)), rate, stride=1, padding=rate // 2)
            found.append(unit(y))
        mixed: Tensor = self.mix(torch.cat(found, dim=1))
        return mixed


class Up(nn.Module):
    """3x3 transposed convolution of stride 2, norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = norm_act(out_channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        y: Tensor = self.norm(double_to(self.up, x, size))
        return y


class ADSCNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = conv_norm_act(3, 32, 3, stride=2, act="relu6")
        self.body2 = ADSC(32)
        self.body4 = nn.Sequential(ADSC(32), ADSC(32, stride=2), ADSC(64))
        self.body8 = nn.Sequential(ADSC(64, stride=2), DenseDilated(128))
        self.up4, self.mix4 = Up(128, 64), ADSC(64)
        self.refine4, self.up2 = ADSC(64), Up(64, 32)
        self.refine2 = ADSC(32)
        self.classifier = nn.ConvTranspose2d(32, num_classes, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        at2 = self.body2(self.stem(x))
        at4 = self.body4(at2)
        y = self.mix4(self.up4(self.body8(at4), at4.shape[-2:])) + at4
        y = self.up2(self.refine4(y), at2.shape[-2:]) + at2
        return double_to(self.classifier, self.refine2(y), x.shape[-2:])
