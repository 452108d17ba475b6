"""DSANet (Elhassan et al., 2021): a spatial branch beside a semantic one of split and shuffled factorised convolutions.

DSANet: Dilated Spatial Attention for Real-time Semantic Segmentation in Urban Street Scenes (Expert Systems with
Applications), https://github.com/mohamedac29/DSANet

As the authors' code: 3, 4 and 4 blocks, PReLU for each channel, batch norm with eps 1e-3, no biases, three attended
outputs that only training uses. The paper says 3.47 M parameters; the code has 3.12 M for any number of classes.

Approximate in the training-only heads; inference computes the same as the code. The code builds two fully connected
layers in each channel attention and never calls them, and computes a projection `w` in each spatial attention and
drops it.
Assumed here: the two weigh the mean as a squeeze-and-excite gate would, and `w` is added beside the attended values.
The parameters are then the code's, to the unit, and each of them learns.
Choices: max-pooling rounds up, so that odd maps fit; the original takes multiples of 8.
"""

import torch
from torch import Tensor, nn

from jetbench.models.baselines.layers import (
    conv,
    conv_norm_act,
    depthwise,
    halve,
    mean_over_map,
    norm_act,
    resize,
    shuffle_channels,
)

EPS = 1e-3
REFINE_WIDTH = 64


def pointwise(channels: int) -> nn.Sequential:
    """1x1 convolution, norm, PReLU; the width stays."""
    return conv_norm_act(channels, channels, 1, act="prelu", eps=EPS)


def halving_pair(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A 3x3 convolution of stride 2, then one of stride 1, each with norm and PReLU."""
    return [
        conv_norm_act(in_channels, out_channels, 3, 2, act="prelu", eps=EPS),
        conv_norm_act(out_channels, out_channels, act="prelu", eps=EPS),
    ]


def asymmetric(channels: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x1, then 1x3, each with norm and PReLU."""
    layers: list[nn.Module] = []
    for kernel in ((3, 1), (1, 3)):
        layers += [depthwise(channels, kernel, dilation=dilation), *norm_act(channels, "prelu", EPS)]
    return nn.Sequential(*layers)


class SplitShuffleBlock(nn.Module):
    """FDSS: half the channels through a plain, half through a dilated pair: (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            norm_act(channels, "prelu", EPS),
            pointwise(channels),
            conv_norm_act(channels, channels, act="prelu", eps=EPS),
        )
        self.plain, self.dilated = asymmetric(channels // 2), asymmetric(channels // 2, dilation)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.reduce(x).chunk(2, dim=1)
        return shuffle_channels(torch.cat([self.plain(first), self.dilated(second)], dim=1) + x, 2)


class DilatedSpatialAttention(nn.Module):
    """(N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(norm_act(channels, "prelu", EPS), pointwise(channels))
        self.query, self.key = conv(channels, channels, dilation=3), conv(channels, channels, dilation=3)
        self.value, self.dropped = pointwise(channels), pointwise(channels)
        self.leave = pointwise(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        weights = (self.query(y) * self.key(y)).softmax(dim=1)
        left: Tensor = self.leave(y + weights * self.value(y) + self.dropped(y))
        return x + left


class ChannelAttention(nn.Module):
    """The map's mean, weighted by what two fully connected layers make of it: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(channels, channels // 2, bias=False),
            nn.ReLU(),
            nn.Linear(channels // 2, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = mean_over_map(x).flatten(1)
        weighted: Tensor = mean * self.weigh(mean)
        return weighted[:, :, None, None].expand_as(x)


class AttendedHead(nn.Module):
    """A training-only output: dual attention, two 3x3 convolutions, logits (N, K, h, w)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(DilatedSpatialAttention(channels), pointwise(channels))
        self.channel = nn.Sequential(ChannelAttention(channels), pointwise(channels))
        self.refine = nn.Sequential(
            conv_norm_act(channels, REFINE_WIDTH, act="prelu", eps=EPS),
            conv_norm_act(REFINE_WIDTH, channels, act="prelu", eps=EPS),
            conv(channels, num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.refine(self.spatial(x) + self.channel(x))
        return logits


class DSANet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W); in training a tuple of these and of three auxiliary ones."""

    auxiliary_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    training_only: tuple[str, ...] = ("auxiliary",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            *(layer for widths in ((3, 32), (32, 64), (64, 128)) for layer in halving_pair(*widths)),
            *norm_act(128, "prelu", EPS),
        )
        self.stem = nn.Sequential(
            *halving_pair(3, 32), conv_norm_act(32, 32, act="prelu", eps=EPS), *norm_act(32, "prelu", EPS)
        )
        self.down1 = conv(32, 32, 3, stride=2)
        self.norm1 = norm_act(64, "prelu", EPS)
        self.block1 = nn.Sequential(*(SplitShuffleBlock(64, 1) for _ in range(3)), *norm_act(64, "prelu", EPS))
        self.down2 = conv(64, 64, 3, stride=2)
        self.norm2 = norm_act(128, "prelu", EPS)
        self.block2 = nn.Sequential(
            *(SplitShuffleBlock(128, rate) for rate in (1, 3, 6, 12)), *norm_act(128, "prelu", EPS)
        )
        self.block3 = nn.Sequential(
            *(SplitShuffleBlock(128, rate) for rate in (3, 6, 12, 24)), *norm_act(128, "prelu", EPS)
        )
        self.classifier = conv(256, num_classes, 1)
        self.auxiliary = nn.ModuleList(AttendedHead(width, num_classes) for width in (64, 128, 128))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        size = x.shape[-2:]
        y = self.stem(x)
        first = self.block1(self.norm1(torch.cat([self.down1(y), halve(y)], dim=1)))
        second = self.block2(self.norm2(torch.cat([self.down2(first), halve(first)], dim=1)))
        third = self.block3(second)
        logits = resize(self.classifier(torch.cat([self.spatial(x), third], dim=1)), size)
        if not (self.training and self.training_only):
            return logits
        heads = zip(self.auxiliary, (first, second, third), strict=True)
        return logits, *(resize(head(feature), size) for head, feature in heads)
