"""The released function of a JetSeg, written a second time from the facts, as plain functional torch.

It shares no code with `jetbench.models`: it walks block by block through a flat list of weights in the order in which
the release declares them, so it also pins down that our state_dict has that order.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Table = list[tuple[str, int]]

ROWS = {
    # S0 | S1 residual | S1 | S2 residual | S2 | S3 residual | S3; `a` marks an asymmetric pair.
    0: "7a 1 5a 3 | 7a 3 | 3 5a 1 7a | 5a 3 | 3 5a | 3 | 1",
    1: "7a | 7 | 3 5a 7a | 5a | 3a 5 | 3a | 1",
    2: "7 | 7 | 3a 5 7 | 5 | 3a 5 | 3 | 1",
    3: "7a | 7a | 3 5a 7a | 5a | 3 5a | 3 | 1",
    4: "7a | 7 | 3a 5a 7a | 5 | 3a 5a | 3 | 1",
    5: "7 | 7 | 3 5 7 | 5 | 3a 5a | 3 | 1",
}
TAPS = {0: (-1, -1, -1), 1: (0, 1, 1), 2: (0, -1, -1), 3: (0, None, -1), 4: (0, -1, -1), 5: (0, 0, -1)}
DILATION = {1: 1, 3: 1, 5: 2, 7: 3}


def reu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * torch.exp(x))


def released_forward(
    x: Tensor,
    state: list[Tensor],
    combination: int,
    base: int,
    max_channels: int,
    max_expanded: int,
    repeats: list[int],
) -> Tensor:
    """Logits of the release for images (N, 3, H, W), `state` being its tensors in order, counters left out."""
    weights = iter(state)
    size = x.shape[-2:]
    lists = [
        [(kernel[-1], int(kernel.rstrip("a"))) for kernel in part.split()] for part in ROWS[combination].split("|")
    ]
    tables = dict(zip(("0", "1r", "1", "2r", "2", "3r", "3"), lists, strict=True))
    levels = [max(size)]
    while levels[-1] > 16:
        levels.append((levels[-1] + 1) // 2)
    t = len(levels) // 3
    thirds = [levels[:t], levels[t : 2 * t], levels[2 * t :]]
    outputs: dict[int, Tensor] = {}
    x = reu(norm(jetconv(x, tables["0"], weights, 2, base), weights))
    outputs[max(x.shape[-2:])] = x
    channels = base
    for level in levels[1:]:
        stage = 1 if level in thirds[0] else 2 if level in thirds[1] else 3
        for _ in range(repeats[stage]):
            operations = block(tables[f"{stage}r"], weights, stage, channels, channels, channels, 1, residual=True)
            for operation in operations:
                x = operation(x) + x
            outputs[max(x.shape[-2:])] = x
        grown = {1: channels + base, 2: channels + 2 * base, 3: 2 * channels}[stage]
        expanded, grown = min(2 * channels, max_expanded), min(grown, max_channels)
        stride = 1 if level <= 16 else 2
        for operation in block(tables[str(stage)], weights, stage, channels, expanded, grown, stride, residual=False):
            x = operation(x)
        channels = grown
        outputs[max(x.shape[-2:])] = x
    first, middle, last = TAPS[combination]
    shallow_third = thirds[0][1:] if len(thirds[0]) > 1 else thirds[0]
    middle_index = len(thirds[1]) // 2 if middle is None else middle
    features = [outputs[thirds[2][last]], outputs[thirds[1][middle_index]], outputs[shallow_third[first]]]
    heads = [reu(norm(F.conv2d(feature, next(weights)), weights)) for feature in features]
    shallow = heads[2]
    y = up(heads[1], shallow) + shallow
    y = reu(norm(F.conv2d(y, next(weights)), weights))
    y = reu(norm(F.conv2d(torch.cat([y, shallow], 1), next(weights)), weights))
    logits = F.conv2d(y, next(weights), next(weights))
    assert next(weights, None) is None, "weights are left over"
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def norm(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    scale, shift, mean, variance = (next(weights) for _ in range(4))
    return F.batch_norm(x, mean, variance, scale, shift)


def groups_of(weight: Tensor, in_channels: int) -> int:
    return in_channels // weight.shape[1]


def jetconv(x: Tensor, table: Table, weights: Iterator[Tensor], stride: int, out: int) -> Tensor:
    channels = x.shape[1]
    for kind, k in table:
        if kind != "a":
            x = F.conv2d(x, next(weights), padding=k // 2, groups=channels)
        else:
            d = DILATION[k]
            x = F.conv2d(x, next(weights), padding=(d * (k // 2), 0), dilation=(d, 1), groups=channels)
            x = F.conv2d(x, next(weights), padding=(0, d * (k // 2)), dilation=(1, d), groups=channels)
    mix = next(weights)
    assert mix.shape[0] == out
    return F.conv2d(x, mix, stride=stride, groups=groups_of(mix, channels))


def block(
    table: Table,
    weights: Iterator[Tensor],
    stage: int,
    channels: int,
    expanded: int,
    out: int,
    stride: int,
    residual: bool,
) -> list[Callable[[Tensor], Tensor]]:
    """The operations of a JetBlock, each a function of its input; weights are taken when it is called."""
    shuffle_groups = 1

    def expand(x: Tensor) -> Tensor:
        nonlocal shuffle_groups
        weight = next(weights)
        assert weight.shape[0] == expanded
        shuffle_groups = groups_of(weight, channels)
        return F.conv2d(x, weight, stride=stride, groups=shuffle_groups)

    def shuffle(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, shuffle_groups, c // shuffle_groups, h, w).transpose(1, 2).reshape(n, c, h, w)

    def convolve(x: Tensor) -> Tensor:
        y = jetconv(x, table, weights, 1, expanded)
        return y + x if residual else y

    def attend(x: Tensor) -> Tensor:
        return {1: cbam, 2: sam, 3: eca}[stage](x, weights)

    def reduce(x: Tensor) -> Tensor:
        weight = next(weights)
        assert weight.shape[0] == out
        return F.conv2d(x, weight, groups=groups_of(weight, expanded))

    return [expand, lambda x: norm(x, weights), reu, shuffle, convolve, attend, reu, reduce]


def cbam(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    squeeze, excite, spatial = (next(weights) for _ in range(3))
    total = sum(
        F.conv2d(F.relu(F.conv2d(pool, squeeze)), excite)
        for pool in (x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True))
    )
    x = x * torch.sigmoid(total)  # type: ignore[arg-type]
    summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    return x * torch.sigmoid(F.conv2d(summary, spatial, padding=3))


def sam(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    attention = torch.sigmoid(F.conv2d(x, next(weights)))
    return x * attention * (attention.mean((2, 3), keepdim=True) + attention.amax((2, 3), keepdim=True))


def eca(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    kernel = next(weights)
    means = x.mean((2, 3)).unsqueeze(1)
    scale = torch.sigmoid(F.conv1d(means, kernel, padding=kernel.shape[-1] // 2)).squeeze(1)
    return x * scale[:, :, None, None]
