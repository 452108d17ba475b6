"""PIDNet-S (Xu et al., 2022): a detail, a context and a boundary branch; the boundary branch weights the other two.

PIDNet: A Real-time Semantic Segmentation Network Inspired by PID Controllers, https://arxiv.org/abs/2206.02066

As the authors' code: parallel pyramid pooling, the light boundary-guided fusion, logits upsampled with aligned
corners. Two training-only heads, one of classes (weight 0.4) and one of edges (1 here; 20 there, of a loss on a
smaller scale), read their branches after the ReLU that the code applies in place. The code's fourth loss,
cross-entropy where the edge head is confident, is not in our recipe, and edges are where two classes touch (see
`training/auxiliary.py`), not Canny's.
Choices: maps are resized to match the detail branch, so any input size works; the original takes multiples of
8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.ddrnet import POOLS, BasicBlock, Bottleneck, Head, norm_act_conv, pool, stage, stem
from jetbench.models.baselines.layers import conv_norm_act, resize


class PixelAttention(nn.Module):
    """Pag: the context is taken in where it agrees with the detail: x (N, C, H, W), y (N, C, h, w) -> as x."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fine = conv_norm_act(channels, inner, 1, act="none")
        self.coarse = conv_norm_act(channels, inner, 1, act="none")

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        size = x.shape[-2:]
        agreement = torch.sigmoid((self.fine(x) * resize(self.coarse(y), size)).sum(dim=1, keepdim=True))
        return (1 - agreement) * x + agreement * resize(y, size)


class PAPPM(nn.Module):
    """Parallel pyramid pooling: every scale is added to the same map: (N, C, h, w) -> (N, D, h, w)."""

    def __init__(self, in_channels: int, inner: int, out_channels: int) -> None:
        super().__init__()
        scales = len(POOLS) + 1
        self.first = norm_act_conv(in_channels, inner)
        self.enter = nn.ModuleList(norm_act_conv(in_channels, inner) for _ in range(scales))
        self.process = norm_act_conv(scales * inner, scales * inner, 3, groups=scales)
        self.compress = norm_act_conv((scales + 1) * inner, out_channels)
        self.shortcut = norm_act_conv(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        pooled = [resize(enter(pool(x, scale)), x.shape[-2:]) + first for scale, enter in enumerate(self.enter)]
        processed = self.process(torch.cat(pooled, dim=1))
        joint: Tensor = self.compress(torch.cat([first, processed], dim=1)) + self.shortcut(x)
        return joint


class LightBag(nn.Module):
    """Light boundary-attention-guided fusion: detail where there is an edge, context elsewhere."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.detail = conv_norm_act(channels, channels, 1, act="none")
        self.context = conv_norm_act(channels, channels, 1, act="none")

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        edge = torch.sigmoid(boundary)
        fused: Tensor = self.detail((1 - edge) * context + detail) + self.context(context + edge * detail)
        return fused


class PIDNetS(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W); in training with auxiliary ones, and edges (N, 1, H, W)."""

    auxiliary_weights: tuple[float, ...] = (0.4, 1.0)
    training_only: tuple[str, ...] = ("auxiliary", "edges")

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        w = 32
        self.stem = stem(w)
        self.stage1 = stage(w, w, 2)
        self.stage2 = stage(w, 2 * w, 2, stride=2)
        self.context3 = stage(2 * w, 4 * w, 3, stride=2)
        self.context4 = stage(4 * w, 8 * w, 3, stride=2)
        self.context5 = nn.Sequential(Bottleneck(8 * w, 8 * w, 2), Bottleneck(16 * w, 8 * w))
        self.detail3, self.detail4 = stage(2 * w, 2 * w, 2), stage(2 * w, 2 * w, 2)
        self.detail5 = Bottleneck(2 * w, 2 * w)
        self.boundary3 = BasicBlock(2 * w, w, relu=False)
        self.boundary4, self.boundary5 = Bottleneck(w, w), Bottleneck(2 * w, 2 * w)
        self.compress3 = conv_norm_act(4 * w, 2 * w, 1, act="none")
        self.compress4 = conv_norm_act(8 * w, 2 * w, 1, act="none")
        self.attend3, self.attend4 = PixelAttention(2 * w, w), PixelAttention(2 * w, w)
        self.differ3 = conv_norm_act(4 * w, w, act="none")
        self.differ4 = conv_norm_act(8 * w, 2 * w, act="none")
        self.pyramid = PAPPM(16 * w, 96, 4 * w)
        self.fuse = LightBag(4 * w)
        self.head = Head(4 * w, 128, num_classes)
        self.auxiliary = Head(2 * w, 128, num_classes)
        self.edges = Head(2 * w, w, 1)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        size = x.shape[-2:]
        y = F.relu(self.stage2(F.relu(self.stage1(self.stem(x)))))
        at8 = y.shape[-2:]
        context = F.relu(self.context3(y))
        detail = F.relu(self.attend3(self.detail3(y), self.compress3(context)))
        boundary = F.relu(self.boundary3(y) + resize(self.differ3(context), at8))
        third = detail
        context = F.relu(self.context4(context))
        detail = F.relu(self.attend4(self.detail4(detail), self.compress4(context)))
        boundary = F.relu(self.boundary4(boundary) + resize(self.differ4(context), at8))
        context = resize(self.pyramid(self.context5(context)), at8)
        fused = self.fuse(self.detail5(detail), context, self.boundary5(boundary))
        logits = resize(self.head(fused), size, align_corners=True)
        if not (self.training and self.training_only):
            return logits
        auxiliary = resize(self.auxiliary(third), size, align_corners=True)
        return logits, auxiliary, resize(self.edges(boundary), size, align_corners=True)
