"""Layers that several of the baselines share: convolution, norm and activation in one; resizing; unpooling."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LayerActivation = Literal["none", "relu", "relu6", "prelu"]
Pair = tuple[int, int]


def activation(name: LayerActivation, channels: int) -> nn.Module:
    """The activation of that name; `prelu` has a slope for each channel."""
    match name:
        case "none":
            return nn.Identity()
        case "relu":
            return nn.ReLU()
        case "relu6":
            return nn.ReLU6()
        case "prelu":
            return nn.PReLU(channels)


def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int | Pair = 3,
    stride: int | Pair = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """Convolution of an odd kernel, padded: (N, C_in, H, W) -> (N, C_out, ceil(H / stride), ceil(W / stride))."""
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    padding = (dilation * (height // 2), dilation * (width // 2))
    return nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, dilation, groups, bias)


def depthwise(channels: int, kernel_size: int | Pair = 3, stride: int | Pair = 1, dilation: int = 1) -> nn.Conv2d:
    """`conv` with a separate kernel for each channel."""
    return conv(channels, channels, kernel_size, stride, dilation, channels)


def norm_act(channels: int, act: LayerActivation = "relu", eps: float = 1e-5) -> nn.Sequential:
    """Batch norm, then the activation."""
    norm = nn.BatchNorm2d(channels, eps)
    return nn.Sequential(norm) if act == "none" else nn.Sequential(norm, activation(act, channels))


def conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int | Pair = 3,
    stride: int | Pair = 1,
    dilation: int = 1,
    groups: int = 1,
    act: LayerActivation = "relu",
    bias: bool = False,
    eps: float = 1e-5,
) -> nn.Sequential:
    """`conv`, batch norm, activation."""
    first = conv(in_channels, out_channels, kernel_size, stride, dilation, groups, bias)
    return nn.Sequential(first, *norm_act(out_channels, act, eps))


def resize(x: Tensor, size: Pair | torch.Size, align_corners: bool = False) -> Tensor:
    """`x` resized to (height, width) `size`, bilinear; unchanged if it already has that size."""
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def double_to(up: nn.ConvTranspose2d, x: Tensor, size: Pair | torch.Size) -> Tensor:
    """`x` through a transposed convolution of stride 2, at (height, width) `size`: twice the input size, or one less.

    A 3x3 kernel with padding can give both sizes; a 2x2 kernel always doubles, and the excess is cut off.
    """
    height, width = size
    if up.kernel_size == (2, 2):
        doubled: Tensor = up(x)
        return doubled[..., :height, :width]
    exact: Tensor = up(x, output_size=[height, width])
    return exact


def halve(x: Tensor) -> Tensor:
    """2x2 max-pooling that rounds up like a 3x3 convolution of stride 2, so that the results of odd maps match."""
    return F.max_pool2d(x, 2, ceil_mode=True)


def halve_with_indices(x: Tensor) -> tuple[Tensor, Tensor]:
    """The result of `halve`, and the flat indices (into H * W) of the maxima in each map.

    While it is exported to ONNX, whose TensorRT readers lack the indices: which of the four pixels of each window is
    the first maximum, as booleans (4, N, C, h, w), for `unpool`.
    """
    if torch.onnx.is_in_onnx_export():
        return halve(x), first_maxima(x)
    pooled, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    return pooled, indices


def unpool(x: Tensor, indices: Tensor, size: Pair | torch.Size) -> Tensor:
    """Max-unpooling: puts the values back where `halve_with_indices` took them from, with zeros elsewhere.

    Uses scatter, because fvcore and the ONNX exporter do not support `F.max_unpool2d`.
    """
    height, width = size
    if torch.onnx.is_in_onnx_export():
        return unpool_by_places(x, indices, (int(height), int(width)))
    empty = x.new_zeros(x.shape[0], x.shape[1], height * width)
    return empty.scatter(2, indices.flatten(2), x.flatten(2)).view(x.shape[0], x.shape[1], height, width)


def first_maxima(x: Tensor) -> Tensor:
    """Which pixel of each 2x2 window is its first maximum, by rows: booleans (4, N, C, ceil(H / 2), ceil(W / 2))."""
    height, width = int(x.shape[-2]), int(x.shape[-1])
    even = F.pad(x, (0, width % 2, 0, height % 2), value=-torch.inf) if height % 2 or width % 2 else x
    a, b, c, d = (even[..., row::2, column::2] for row in (0, 1) for column in (0, 1))
    first = (a >= b) & (a >= c) & (a >= d)
    second = ~first & (b >= c) & (b >= d)
    third = ~first & ~second & (c >= d)
    return torch.stack([first, second, third, ~first & ~second & ~third])


def unpool_by_places(x: Tensor, places: Tensor, size: Pair) -> Tensor:
    """`unpool` with the places of `first_maxima`: the same result, without scattering."""
    n, channels, rows, columns = (int(side) for side in x.shape)
    parts = [torch.where(places[number], x, torch.zeros_like(x)) for number in range(4)]
    pairs = [torch.stack(parts[begin : begin + 2], dim=-1).reshape(n, channels, rows, 2 * columns) for begin in (0, 2)]
    whole = torch.stack(pairs, dim=-2).reshape(n, channels, 2 * rows, 2 * columns)
    return whole[..., : size[0], : size[1]]


def shrink_image(image: Tensor, times: int) -> Tensor:
    """The image average-pooled (3x3, stride 2, padding counted) `times` times, as an extra input of deeper layers."""
    for _ in range(times):
        image = F.avg_pool2d(image, 3, stride=2, padding=1)
    return image


def mean_over_map(x: Tensor) -> Tensor:
    """Each channel's mean: (N, C, H, W) -> (N, C, 1, 1)."""
    return F.adaptive_avg_pool2d(x, 1)


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Channels of `groups` groups interleaved (ShuffleNet)."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)
