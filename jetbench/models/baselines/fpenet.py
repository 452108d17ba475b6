"""FPENet (Liu and Yin, 2019): blocks that sum depthwise branches of growing dilation, and attention where maps join.

Feature Pyramid Encoding Network for Real-time Semantic Segmentation, https://arxiv.org/abs/1909.08599

Approximate: no code of the authors was found, and two public re-implementations disagree. Built here with the
expansion of 4 in every block of stages 2 and 3, which comes near the published 0.4 M parameters (the other reading
has 0.11 M).
Assumed: a branch's input is its share of the channels plus the branch before it (where a block halves the map, the
branch before is added after); 1x1 convolutions, with bias, make MEU's two attentions; the stride sits in the
depthwise convolutions; the last 1x1 of a block has an activation; no norm or activation on the logits.
Choices: maps are resized to match the map they join, so any input size works.
"""

import torch
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, mean_over_map, norm_act, resize

RATES = (1, 2, 4, 8)


class FPEBlock(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int = 1) -> None:
        super().__init__()
        wide = expansion * out_channels
        share = wide // len(RATES)
        self.expand = conv_norm_act(in_channels, wide, 1)
        self.branches = nn.ModuleList(
            nn.Sequential(depthwise(share, 3, stride, rate), *norm_act(share)) for rate in RATES
        )
        self.reduce = conv_norm_act(wide, out_channels, 1)
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for branch, share in zip(self.branches, self.expand(x).chunk(len(RATES), dim=1), strict=True):
            # Where the block halves the map, the branch before is smaller than this one's input: summed after.
            if self.stride == 1:
                found.append(branch(share + found[-1] if found else share))
            else:
                found.append(branch(share) + found[-1] if found else branch(share))
        y: Tensor = self.reduce(torch.cat(found, dim=1))
        return x + y if self.has_shortcut else y


class MutualEmbedding(nn.Module):
    """MEU: the fine map weighs the coarse one's places, the coarse one the fine one's channels; their sum."""

    def __init__(self, low_channels: int, high_channels: int, out_channels: int) -> None:
        super().__init__()
        self.low = conv_norm_act(low_channels, out_channels, 1, act="none")
        self.high = conv_norm_act(high_channels, out_channels, 1, act="none")
        self.places = nn.Sequential(conv(1, 1, 1, bias=True), nn.Sigmoid())
        self.channels = nn.Sequential(conv(out_channels, out_channels, 1, bias=True), nn.ReLU(), nn.Sigmoid())

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        low, high = self.low(low), self.high(high)
        places = self.places(low.mean(dim=1, keepdim=True))
        channels = self.channels(mean_over_map(high))
        joint: Tensor = resize(high, low.shape[-2:]) * places + low * channels
        return joint


class FPENet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int, p: int = 3, q: int = 9, expansion: int = 4) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(conv_norm_act(3, 16, 3, stride=2), FPEBlock(16, 16, 1))
        self.stage2 = nn.Sequential(
            FPEBlock(16, 32, expansion, stride=2), *(FPEBlock(32, 32, expansion) for _ in range(p - 1))
        )
        self.stage3 = nn.Sequential(
            FPEBlock(32, 64, expansion, stride=2), *(FPEBlock(64, 64, expansion) for _ in range(q - 1))
        )
        self.join2 = MutualEmbedding(32, 64, 64)
        self.join1 = MutualEmbedding(16, 64, 32)
        self.classifier = conv(32, num_classes, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        at2 = self.stage1(x)
        at4 = self.stage2(at2)
        y = self.join1(at2, self.join2(at4, self.stage3(at4)))
        return resize(self.classifier(y), x.shape[-2:])
