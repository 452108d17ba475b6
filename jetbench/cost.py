"""What a planned network costs, in closed form: parameters and MACs of every layer, without torch.

A MAC is one multiply-accumulate of a convolution (a bias is not one); 1 MAC = 2 FLOPs. Everything that is not a
convolution has 0 MACs here: normalisation, activation, pooling and upsampling are not multiply-accumulates.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from jetbench.plan import CBAM_REDUCTION, SPATIAL_KERNEL, BlockPlan, DecoderPlan, JetConvPlan, Plan


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Parameters and multiply-accumulates (for a batch of one) of one layer; `part` is `block 3`, `decoder` ..."""

    part: str
    layer: str
    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over layers."""

    parameters: int
    macs: int


def count_plan(plan: Plan) -> tuple[LayerCost, ...]:
    """The cost of every layer with parameters, in the order in which the network runs them."""
    layers: list[LayerCost] = []
    for number, block in enumerate(plan.blocks):
        layers += [LayerCost(f"block {number}", *cost) for cost in _block_costs(block)]
    layers += [LayerCost("decoder", *cost) for cost in _decoder_costs(plan.decoder)]
    return tuple(layers)


def total(layers: tuple[LayerCost, ...], part: str | None = None) -> Total:
    """Sums over all layers, or over those of one part."""
    chosen = [layer for layer in layers if part is None or layer.part == part]
    return Total(sum(layer.parameters for layer in chosen), sum(layer.macs for layer in chosen))


_Cost = tuple[str, int, int]


def _conv(
    name: str, channels: tuple[int, int], kernel: tuple[int, int], size: tuple[int, int], groups: int = 1, uses: int = 1
) -> _Cost:
    """A bias-free convolution from and to `channels`, `size` (height, width) being its output's."""
    weights = channels[0] // groups * channels[1] * kernel[0] * kernel[1]
    return name, weights, weights * size[0] * size[1] * uses


def _norm(name: str, channels: int) -> _Cost:
    return name, 2 * channels, 0


def _block_costs(block: BlockPlan) -> Iterator[_Cost]:
    if block.expanded_channels is None:
        yield from _jetconv_costs(block.jetconv, block.in_size, block.out_size)
        yield _norm("norm", block.out_channels)
        return
    expanded, size = block.expanded_channels, block.out_size
    yield _conv("expand", (block.in_channels, expanded), (1, 1), size, block.expand_groups)
    yield _norm("norm", expanded)
    yield from _jetconv_costs(block.jetconv, size, size)
    yield from _attention_costs(block.attention, expanded, size)
    yield _conv("reduce", (expanded, block.out_channels), (1, 1), size, block.reduce_groups)


def _jetconv_costs(jetconv: JetConvPlan, in_size: tuple[int, int], out_size: tuple[int, int]) -> Iterator[_Cost]:
    channels = jetconv.in_channels
    for branch in jetconv.branches:
        k = branch.kernel_size
        kernels = [(k, 1), (1, k)] if branch.asymmetric else [(k, k)]
        if jetconv.layout == "parallel":
            kernels.append((k, k))
        for kernel in kernels:
            yield _conv(f"jetconv {kernel[0]}x{kernel[1]}", (channels, channels), kernel, in_size, channels)
    mixed = jetconv.mixed_channels
    yield _conv("jetconv mix", (mixed, jetconv.out_channels), (1, 1), out_size, jetconv.groups)


def _attention_costs(attention: str, channels: int, size: tuple[int, int]) -> Iterator[_Cost]:
    if attention in ("cbam", "cbam-released"):
        hidden = max(1, channels // CBAM_REDUCTION)
        # The two layers run on the mean and on the maximum, each of size 1x1.
        yield _conv("cbam channel 1", (channels, hidden), (1, 1), (1, 1), uses=2)
        yield _conv("cbam channel 2", (hidden, channels), (1, 1), (1, 1), uses=2)
    if attention in ("cbam", "cbam-released", "sam"):
        yield _conv(f"{attention} spatial", (2, 1), (SPATIAL_KERNEL, SPATIAL_KERNEL), size)
    if attention == "sam-released":
        yield _conv("sam-released", (channels, 1), (1, 1), size)
    if attention == "eca":
        yield _conv("eca", (1, 1), (1, eca_kernel(channels)), (1, channels))


def eca_kernel(channels: int) -> int:
    """ECA's kernel size: |log2(C) / 2 + 1 / 2| cut to a whole number, then made odd."""
    size = int(abs(math.log2(channels) / 2 + 0.5))
    return size if size % 2 else size + 1


def _decoder_costs(decoder: DecoderPlan) -> Iterator[_Cost]:
    head = decoder.head_channels
    for tap in decoder.taps:
        yield _conv(f"head {tap.stage}", (tap.channels, head), (1, 1), tap.size)
        yield _norm(f"head {tap.stage} norm", head)
    middle, shallow = decoder.taps[1].size, decoder.taps[2].size
    # The release brings the middle head up before its convolution, RegSeg after it.
    fuse_size = shallow if decoder.fusion == "released" else middle
    yield _conv("fuse", (head, head), (1, 1), fuse_size)
    yield _norm("fuse norm", head)
    yield _conv("last", (2 * head, head), (1, 1), shallow)
    yield _norm("last norm", head)
    name, weights, macs = _conv("classifier", (head, decoder.num_classes), (1, 1), shallow)
    yield name, weights + decoder.num_classes, macs
