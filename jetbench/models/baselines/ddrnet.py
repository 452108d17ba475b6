"""DDRNet-23-slim (Hong et al., 2021): a branch that keeps stride 8 beside one that goes to 64, exchanged twice.

Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes,
https://arxiv.org/abs/2101.06085

As the authors' code: the stem's convolutions have a bias, the last block of a stage ends without ReLU, the
training-only head reads the fine branch after the first exchange, before ReLU. Its loss weighs 0.4.
Choices: maps are resized to match the fine branch, so any input size works; the original takes multiples of
8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, mean_over_map, norm_act, resize

POOLS = ((5, 2), (9, 4), (17, 8))  # kernel and stride; then the whole map


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `relu` says whether the sum is cut at zero."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_act(in_channels, out_channels, 3, stride), *conv_norm_act(out_channels, out_channels, act="none")
        )
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = conv_norm_act(in_channels, out_channels, 1, stride, act="none") if changes else nn.Identity()
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return F.relu(y) if self.relu else y


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to twice the inner width, and a shortcut; no ReLU after the sum."""

    def __init__(self, in_channels: int, inner: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = 2 * inner
        self.body = nn.Sequential(
            *conv_norm_act(in_channels, inner, 1),
            *conv_norm_act(inner, inner, 3, stride),
            *conv_norm_act(inner, out_channels, 1, act="none"),
        )
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = conv_norm_act(in_channels, out_channels, 1, stride, act="none") if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


def stage(in_channels: int, out_channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Basic blocks, the first with the stride, the last without its ReLU."""
    return nn.Sequential(
        *(
            BasicBlock(
                in_channels if number == 0 else out_channels,
                out_channels,
                stride if number == 0 else 1,
                relu=number < blocks - 1,
            )
            for number in range(blocks)
        )
    )


def stem(width: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2, with bias: (N, 3, H, W) -> (N, width, H / 4, W / 4)."""
    return nn.Sequential(conv_norm_act(3, width, 3, 2, bias=True), conv_norm_act(width, width, 3, 2, bias=True))


def norm_act_conv(in_channels: int, out_channels: int, kernel_size: int = 1, groups: int = 1) -> nn.Sequential:
    """Norm, ReLU, convolution without bias."""
    return nn.Sequential(*norm_act(in_channels), conv(in_channels, out_channels, kernel_size, groups=groups))


def pool(x: Tensor, scale: int) -> Tensor:
    """The map averaged at one of the pyramid's scales, padding counted; the last is the whole map."""
    if scale < len(POOLS):
        kernel, stride = POOLS[scale]
        return F.avg_pool2d(x, kernel, stride, kernel // 2)
    return mean_over_map(x)


class Head(nn.Module):
    """Norm, ReLU, 3x3 convolution, norm, ReLU, 1x1 convolution with bias: logits of any number of channels."""

    def __init__(self, in_channels: int, inner: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *norm_act_conv(in_channels, inner, 3), *norm_act(inner), conv(inner, out_channels, 1, bias=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits


class DAPPM(nn.Module):
    """Deep aggregation pyramid pooling, each scale added to the finer one's result: (N, C, h, w) -> (N, D, h, w)."""

    def __init__(self, in_channels: int, inner: int, out_channels: int) -> None:
        super().__init__()
        scales = len(POOLS) + 1
        self.first = norm_act_conv(in_channels, inner)
        self.enter = nn.ModuleList(norm_act_conv(in_channels, inner) for _ in range(scales))
        self.process = nn.ModuleList(norm_act_conv(inner, inner, 3) for _ in range(scales))
        self.compress = norm_act_conv((scales + 1) * inner, out_channels)
        self.shortcut = norm_act_conv(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.first(x)]
        for scale, (enter, process) in enumerate(zip(self.enter, self.process, strict=True)):
            found.append(process(resize(enter(pool(x, scale)), x.shape[-2:]) + found[-1]))
        pooled: Tensor = self.compress(torch.cat(found, dim=1)) + self.shortcut(x)
        return pooled


class DDRNet23Slim(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W); in training a tuple of these and of one auxiliary."""

    auxiliary_weights: tuple[float, ...] = (0.4,)
    training_only: tuple[str, ...] = ("auxiliary",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        w = 32
        self.stem = stem(w)
        self.stage1 = stage(w, w, 2)
        self.stage2 = stage(w, 2 * w, 2, stride=2)
        self.low3, self.high3 = stage(2 * w, 4 * w, 2, stride=2), stage(2 * w, 2 * w, 2)
        self.low4, self.high4 = stage(4 * w, 8 * w, 2, stride=2), stage(2 * w, 2 * w, 2)
        self.low5, self.high5 = Bottleneck(8 * w, 8 * w, 2), Bottleneck(2 * w, 2 * w)
        self.down3 = conv_norm_act(2 * w, 4 * w, 3, 2, act="none")
        self.down4 = nn.Sequential(conv_norm_act(2 * w, 4 * w, 3, 2), conv_norm_act(4 * w, 8 * w, 3, 2, act="none"))
        self.compress3 = conv_norm_act(4 * w, 2 * w, 1, act="none")
        self.compress4 = conv_norm_act(8 * w, 2 * w, 1, act="none")
        self.pyramid = DAPPM(16 * w, 128, 4 * w)
        self.head = Head(4 * w, 64, num_classes)
        self.auxiliary = Head(2 * w, 64, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        size = x.shape[-2:]
        y = F.relu(self.stage2(F.relu(self.stage1(self.stem(x)))))
        low, high = self.low3(y), self.high3(y)
        at8 = high.shape[-2:]
        low, high = (
            low + self.down3(F.relu(high)),
            high + resize(self.compress3(F.relu(low)), at8),
        )
        middle = high
        low, high = self.low4(F.relu(low)), self.high4(F.relu(high))
        low, high = (
            low + self.down4(F.relu(high)),
            high + resize(self.compress4(F.relu(low)), at8),
        )
        high = self.high5(F.relu(high))
        low = resize(self.pyramid(self.low5(F.relu(low))), at8)
        logits = resize(self.head(low + high), size)
        if not (self.training and self.training_only):
            return logits
        return logits, resize(self.auxiliary(middle), size)
