"""WFDCNet (Hao et al., 2021): factorised depthwise convolutions, with an attention over channels.

Real-time semantic segmentation with weighted factorized-depthwise convolution (Image and Vision Computing),
https://github.com/haoxj123/WFDC-real-time-semantic-segmentation

As the authors' code: PReLU for each channel, batch norm with eps 1e-3, biases in the convolutions that have them
there.
Choices: max-pooling rounds up, so that odd maps fit; the original takes multiples of 8.
"""

import torch
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, halve, mean_over_map, norm_act, resize

EPS = 1e-3


def factorised(channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """FDC: depthwise 3x1, norm, depthwise 1x3, norm, PReLU; each takes its own side's stride."""
    return nn.Sequential(
        conv(channels, channels, (3, 1), (stride, 1), dilation, channels, bias=True),
        nn.BatchNorm2d(channels, EPS),
        conv(channels, channels, (1, 3), (1, stride), dilation, channels, bias=True),
        *norm_act(channels, "prelu", EPS),
    )


def pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution with bias, norm, PReLU."""
    return conv_norm_act(in_channels, out_channels, 1, act="prelu", bias=True, eps=EPS)


class ChannelAttention(nn.Module):
    """SSE: channels weighted by a 1-D convolution over their means: (N, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = channels // 4 - 1
        self.mix = nn.Conv1d(1, 1, kernel, padding=(kernel - 1) // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.mix(mean_over_map(x).flatten(1).unsqueeze(1)))  # (N, 1, C)
        return x * weights.transpose(1, 2).unsqueeze(-1)


class FCSBlock(nn.Module):
    """(N, C, H, W) -> the same shape."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        inner = channels // 2
        self.first = nn.Sequential(pointwise(channels, inner), factorised(inner), ChannelAttention(inner))
        self.second = factorised(inner, dilation=dilation)
        self.mix = nn.Sequential(*norm_act(channels, "prelu", EPS), conv(channels, channels, 1, bias=True))
        self.norm = norm_act(channels, "prelu", EPS)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        out: Tensor = self.norm(x + self.mix(torch.cat([self.second(first), first], dim=1)))
        return out


class PyramidFusion(nn.Module):
    """LAPF: maps at strides 2 (32), 4 (64) and 8 (256 channels) -> (N, 192, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.from2 = nn.Sequential(factorised(32, stride=2), pointwise(32, 64))
        self.from4 = nn.Sequential(factorised(64), pointwise(64, 64))
        self.down = factorised(64, stride=2)
        self.attention = ChannelAttention(64)
        self.spread = factorised(64)
        self.low = conv(64, 64, 1, bias=True)
        self.high = nn.Sequential(pointwise(256, 256), factorised(256), conv(256, 128, 1, bias=True))
        self.shortcut = conv(256, 128, 1, bias=True)
        self.norm = norm_act(192, "prelu", EPS)

    def forward(self, at2: Tensor, at4: Tensor, at8: Tensor) -> Tensor:
        weighted = self.attention(self.down(self.from2(at2) + self.from4(at4)))
        low = self.low(weighted + self.spread(weighted))
        fused: Tensor = self.norm(torch.cat([self.high(at8) + self.shortcut(at8), low], dim=1))
        return fused


class WFDCNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.down1 = conv_norm_act(3, 32, 3, stride=2, act="prelu", eps=EPS)
        self.body1 = nn.Sequential(FCSBlock(32, 1), FCSBlock(32, 1))
        self.down2 = conv(32, 32, 3, stride=2)
        self.norm2 = norm_act(64, "prelu", EPS)
        self.body2 = nn.Sequential(*(FCSBlock(64, 2) for _ in range(3)))
        self.norm3 = norm_act(128, "prelu", EPS)
        self.down3 = conv_norm_act(128, 128, 3, stride=2, act="prelu", eps=EPS)
        self.body3 = nn.Sequential(*(FCSBlock(128, rate) for rate in (2, 4, 8)))
        self.body4 = nn.Sequential(*(FCSBlock(128, rate) for rate in (8, 16, 32)))
        self.norm4 = norm_act(256, "prelu", EPS)
        self.fusion = PyramidFusion()
        self.classifier = conv(192, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        at2 = self.down1(x)
        body = self.body1(at2)
        at4 = self.norm2(torch.cat([self.down2(body), halve(body)], dim=1))
        at8 = self.down3(self.norm3(torch.cat([self.body2(at4), at4], dim=1)))
        deep = self.body4(self.body3(at8) + at8)
        top = self.norm4(torch.cat([deep, at8], dim=1))
        return resize(self.classifier(self.fusion(at2, at4, top)), x.shape[-2:])
