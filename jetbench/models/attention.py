"""The attention modules of a JetBlock (section 2.2): CBAM, SAM in two forms, and ECA. Each keeps the shape."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.network.rules import CBAM_REDUCTION, SPATIAL_KERNEL, eca_kernel
from jetbench.spec.architecture import AttentionName


def _global_maximum(x: Tensor) -> Tensor:
    """The maximum of each map: (N, C, H, W) -> (N, C, 1, 1)."""
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return x.amax(dim=(2, 3), keepdim=True)  # max-pooling has no deterministic gradient on CUDA; ties share amax's
    return F.adaptive_max_pool2d(x, 1)


class SpatialAttention(nn.Module):
    """SAM of the paper, which is CBAM's: mean and maximum over channels, 7x7 convolution, sigmoid, times the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, SPATIAL_KERNEL, padding=SPATIAL_KERNEL // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)  # (N, 2, H, W)
        attention: Tensor = self.conv(summary).sigmoid()
        return x * attention


class ChannelAttention(nn.Module):
    """CBAM's channel half: one small network on the mean and on the maximum over the map, summed, sigmoid."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        hidden = max(1, channels // CBAM_REDUCTION)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.activation = activation
        self.excite = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = (F.adaptive_avg_pool2d(x, 1), _global_maximum(x))  # (N, C, 1, 1) each
        mean, maximum = (self.excite(self.activation(self.squeeze(summary))) for summary in pooled)
        attention: Tensor = (mean + maximum).sigmoid()
        return x * attention


class CBAM(nn.Sequential):
    """Channel attention, then spatial attention (Woo et al., 2018).

    Departs: the channel network uses the activation of the architecture instead of ReLU. In JetSeg's narrow stages it
    has two hidden units, and with ReLU both are often dead from the start; `cbam-released` keeps the ReLU. See
    DECISIONS.md.
    """

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__(ChannelAttention(channels, activation), SpatialAttention())


class ReleasedSAM(nn.Module):
    """The SAM of the released code: a sigmoid map, times its own global mean plus maximum, times the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        attention: Tensor = self.conv(x).sigmoid()  # (N, 1, H, W)
        strength = F.adaptive_avg_pool2d(attention, 1) + _global_maximum(attention)
        return x * attention * strength


class ECA(nn.Module):
    """Efficient channel attention (Wang et al., 2020): a 1-D convolution over the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel_size = eca_kernel(channels)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(x, 1).flatten(2).transpose(1, 2)  # (N, 1, C)
        weights: Tensor = self.conv(means).sigmoid().transpose(1, 2).unsqueeze(-1)  # (N, C, 1, 1)
        return x * weights


def build_attention(name: AttentionName, channels: int, activation: nn.Module) -> nn.Module | None:
    """The named module for feature maps of `channels`, or None for `none`."""
    match name:
        case "none":
            return None
        case "cbam":
            return CBAM(channels, activation)
        case "cbam-released":
            return CBAM(channels, nn.ReLU())
        case "sam":
            return SpatialAttention()
        case "sam-released":
            return ReleasedSAM(channels)
        case "eca":
            return ECA(channels)
