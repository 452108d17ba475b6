"""list_operations: every operation of a planned network in the order it runs, without torch.

A trace of the built network gives the same list kernel by kernel; the tests require both to be equal for random
architectures.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from jetbench.network.operations import (
    ACTIVATION_KERNELS,
    BYTES,
    EQ2_NORM,
    INDEX_BYTES,
    INTERPOLATION_FLOPS,
    NORM_FLOPS,
    Convolution,
    Kind,
    Operation,
    Tensor,
)
from jetbench.network.plan import BlockPlan, DecoderPlan, JetConvPlan, Plan
from jetbench.network.rules import CBAM_REDUCTION, SPATIAL_KERNEL, eca_kernel
from jetbench.spec.architecture import ActivationName
from jetbench.spec.values import Size


class _Map(NamedTuple):
    """A feature map during the walk over the network: its tensor, channels and size."""

    tensor: Tensor
    channels: int
    size: Size

    @property
    def elements(self) -> int:
        return self.channels * self.size[0] * self.size[1]


class _Walk:
    """Records operations in the order in which the modules in `models/` run them."""

    def __init__(self, activation: ActivationName) -> None:
        self.activation: ActivationName = activation
        self.operations: list[Operation] = []
        self.part = ""
        self._tensors = 0

    def tensor(self, size_bytes: int) -> Tensor:
        self._tensors += 1
        return Tensor(self._tensors, size_bytes)

    def image(self, channels: int, size: Size) -> _Map:
        return _Map(self.tensor(BYTES * channels * size[0] * size[1]), channels, size)

    def run(
        self,
        layer: str,
        kernel: str,
        kind: Kind,
        reads: Sequence[_Map],
        channels: int,
        size: Size,
        *,
        parameters: int = 0,
        read_parameters: int | None = None,
        macs: int = 0,
        flops: int = 0,
        eq2: float = 0,
        eq2_pooling: int = 0,
        indices: bool = False,
        convolution: Convolution | None = None,
    ) -> _Map:
        elements = channels * size[0] * size[1]
        made = self.tensor(BYTES * elements)
        makes = (made, self.tensor(INDEX_BYTES * elements)) if indices else (made,)
        tensors = tuple(map_.tensor for map_ in reads)
        self.operations.append(
            Operation(
                part=self.part,
                layer=layer,
                kernel=kernel,
                kind=kind,
                elements=elements,
                parameters=parameters,
                macs=macs,
                flops=flops,
                eq2=eq2,
                eq2_pooling=eq2_pooling,
                parameter_bytes=BYTES * (parameters if read_parameters is None else read_parameters),
                read_bytes=sum(tensor.bytes for tensor in set(tensors)),
                reads=tensors,
                makes=makes,
                convolution=convolution,
            )
        )
        return _Map(made, channels, size)

    def conv(
        self,
        layer: str,
        x: _Map,
        channels: int,
        kernel: Size,
        size: Size,
        groups: int = 1,
        stride: int = 1,
        bias: bool = False,
        dilation: Size = (1, 1),
    ) -> _Map:
        weights = x.channels // groups * channels * kernel[0] * kernel[1]
        macs = weights * size[0] * size[1]
        added = channels if bias else 0
        return self.run(
            layer=layer,
            kernel="convolution",
            kind="convolution",
            reads=[x],
            channels=channels,
            size=size,
            parameters=weights + added,
            macs=macs,
            flops=2 * macs + added * size[0] * size[1],
            eq2=weights * x.size[0] * x.size[1] / stride**2,
            convolution=Convolution(x.channels, channels, kernel, dilation, stride, groups, size),
        )

    def norm(self, layer: str, x: _Map) -> _Map:
        # Batch norm reads its running mean and variance as well as its two parameters.
        return self.run(
            layer=layer,
            kernel="native_batch_norm",
            kind="normalisation",
            reads=[x],
            channels=x.channels,
            size=x.size,
            parameters=2 * x.channels,
            read_parameters=4 * x.channels,
            flops=NORM_FLOPS * x.elements,
            eq2=EQ2_NORM * x.elements,
        )

    def activate(self, layer: str, x: _Map, name: ActivationName | None = None, in_eq2: bool = True) -> _Map:
        y = x
        for number, (kernel, flops) in enumerate(ACTIVATION_KERNELS[name or self.activation]):
            reads = [x, y] if kernel == "mul" else [y]
            eq2 = x.elements if in_eq2 and number == 0 else 0
            y = self.run(layer, kernel, "activation", reads, x.channels, x.size, flops=flops * x.elements, eq2=eq2)
        return y

    def sigmoid(self, layer: str, x: _Map) -> _Map:
        return self.run(layer, "sigmoid", "activation", [x], x.channels, x.size, flops=x.elements)

    def combine(self, layer: str, kernel: str, x: _Map, y: _Map) -> _Map:
        """Sum or product; a map of one channel or one pixel is broadcast to the other."""
        channels = max(x.channels, y.channels)
        size = (max(x.size[0], y.size[0]), max(x.size[1], y.size[1]))
        flops = channels * size[0] * size[1]
        return self.run(layer, kernel, "elementwise", [x, y], channels, size, flops=flops)

    def stack(self, layer: str, maps: Sequence[_Map]) -> _Map:
        return self.run(layer, "cat", "copy", maps, sum(map_.channels for map_ in maps), maps[0].size)

    def upsample(self, layer: str, x: _Map, size: Size) -> _Map:
        flops = INTERPOLATION_FLOPS * x.channels * size[0] * size[1]
        return self.run(layer, "upsample_bilinear2d", "interpolation", [x], x.channels, size, flops=flops)

    def pool_map(self, layer: str, x: _Map, largest: bool) -> _Map:
        """The mean or the maximum of each channel."""
        pixels = x.size[0] * x.size[1]
        flops = x.channels * (pixels - 1 if largest else pixels)
        kernel = "adaptive_max_pool2d" if largest else "mean"
        return self.run(
            layer=layer,
            kernel=kernel,
            kind="pooling",
            reads=[x],
            channels=x.channels,
            size=(1, 1),
            flops=flops,
            eq2_pooling=x.elements,
            indices=largest,
        )

    def pool_channels(self, layer: str, x: _Map, largest: bool) -> _Map:
        """The mean or the maximum over channels at each pixel."""
        flops = (x.channels - 1 if largest else x.channels) * x.size[0] * x.size[1]
        return self.run(layer, "amax" if largest else "mean", "pooling", [x], 1, x.size, flops=flops)


def list_operations(plan: Plan) -> tuple[Operation, ...]:
    """Every operation of the network for one image, in the order in which it runs."""
    walk = _Walk(plan.activation)
    image = x = walk.image(plan.blocks[0].in_channels, plan.input_size)
    outputs: list[_Map] = []
    for number, block in enumerate(plan.blocks):
        walk.part = f"block {number}"
        x = _walk_block(walk, block, x)
        outputs.append(x)
    walk.part = "decoder"
    logits = _walk_decoder(walk, plan.decoder, [outputs[tap.block] for tap in plan.decoder.taps])
    walk.part = "output"
    walk.upsample("upsample to the image", logits, image.size)
    return tuple(walk.operations)


def list_block(block: BlockPlan, activation: ActivationName) -> tuple[Operation, ...]:
    """The operations of one block alone. Tensor 1 is its input; the last operation makes its output."""
    walk = _Walk(activation)
    _walk_block(walk, block, walk.image(block.in_channels, block.in_size))
    return tuple(walk.operations)


def list_decoder(decoder: DecoderPlan, activation: ActivationName, input_size: Size) -> tuple[Operation, ...]:
    """The operations of the decoder and of the upsampling behind it; tensors 1 on are its taps by block, ascending."""
    walk = _Walk(activation)
    blocks = {tap.block: tap for tap in sorted(decoder.taps, key=lambda tap: tap.block)}
    maps = {number: walk.image(tap.channels, tap.size) for number, tap in blocks.items()}
    walk.part = "decoder"
    logits = _walk_decoder(walk, decoder, [maps[tap.block] for tap in decoder.taps])
    walk.part = "output"
    walk.upsample("upsample to the image", logits, input_size)
    return tuple(walk.operations)


def _walk_block(walk: _Walk, block: BlockPlan, x: _Map) -> _Map:
    entered = x
    for operation in _block_operations(walk, block):
        y = operation(x)
        x = walk.combine("skip", "add", x, y) if block.skip == "operation" else y
    return walk.combine("skip", "add", entered, x) if block.skip == "block" else x


def _block_operations(walk: _Walk, block: BlockPlan) -> Iterator[Callable[[_Map], _Map]]:
    expanded = block.expanded_channels
    if expanded is None:
        yield lambda x: _walk_jetconv(walk, block.jetconv, x, block.out_size)
        yield lambda x: walk.norm("norm", x)
        yield lambda x: walk.activate("activation", x)
        return
    groups = block.expand_groups
    yield lambda x: walk.conv("expand", x, expanded, (1, 1), block.out_size, groups, block.stride)
    yield lambda x: walk.norm("norm", x)
    yield lambda x: walk.activate("activation", x)
    yield lambda x: _walk_shuffle(walk, x, groups)
    yield lambda x: _walk_jetconv(walk, block.jetconv, x, block.out_size)
    if block.attention != "none":
        yield lambda x: _walk_attention(walk, block.attention, x)
    yield lambda x: walk.activate("activation 2", x)
    yield lambda x: walk.conv("reduce", x, block.out_channels, (1, 1), x.size, block.reduce_groups)


def _walk_shuffle(walk: _Walk, x: _Map, groups: int) -> _Map:
    # No copy: one group needs no shuffle, and with one channel per group the shuffle does not change the order.
    if groups in (1, x.channels):
        return x
    return walk.run("shuffle", "clone", "copy", [x], x.channels, x.size)


def _walk_jetconv(walk: _Walk, jetconv: JetConvPlan, x: _Map, out_size: Size) -> _Map:
    def depthwise(y: _Map, kernel: Size, dilation: int = 1) -> _Map:
        # A side of 1 is not dilated.
        dilations = (dilation if kernel[0] > 1 else 1, dilation if kernel[1] > 1 else 1)
        layer = f"jetconv {kernel[0]}x{kernel[1]}"
        return walk.conv(layer, y, y.channels, kernel, y.size, groups=y.channels, dilation=dilations)

    features: list[_Map] = []
    y = x
    for branch in jetconv.branches:
        k = branch.kernel_size
        if jetconv.layout == "parallel":
            y = x
        for kernel in [(k, 1), (1, k)] if branch.asymmetric else [(k, k)]:
            y = depthwise(y, kernel, branch.dilation)
        if jetconv.layout == "parallel":
            features.append(depthwise(y, (k, k)))
    if jetconv.layout == "parallel":
        for number in range(1, len(features)):
            features[number] = walk.combine("jetconv sum", "add", features[number - 1], features[number])
        y = walk.stack("jetconv stack", features)
    y = walk.conv("jetconv mix", y, jetconv.out_channels, (1, 1), out_size, jetconv.groups, jetconv.stride)
    return walk.combine("jetconv shortcut", "add", x, y) if jetconv.shortcut else y


def _walk_attention(walk: _Walk, attention: str, x: _Map) -> _Map:
    if attention in ("cbam", "cbam-released"):
        hidden = max(1, x.channels // CBAM_REDUCTION)
        activation: ActivationName | None = "relu" if attention == "cbam-released" else None
        pooled = [walk.pool_map(f"{attention} pool", x, largest) for largest in (False, True)]
        weights = []
        for number, summary in enumerate(pooled):
            # Both summaries pass through the same two layers, whose parameters count once.
            y = _reused(walk, number, "cbam channel 1", summary, hidden)
            y = walk.activate(f"{attention} activation", y, activation, in_eq2=False)
            weights.append(_reused(walk, number, "cbam channel 2", y, x.channels))
        total = walk.combine(f"{attention} sum", "add", *weights)
        x = walk.combine(f"{attention} scale", "mul", x, walk.sigmoid(f"{attention} sigmoid", total))
    if attention in ("cbam", "cbam-released", "sam"):
        summaries = [walk.pool_channels(f"{attention} summary", x, largest) for largest in (False, True)]
        stacked = walk.stack(f"{attention} stack", summaries)
        y = walk.conv(f"{attention} spatial", stacked, 1, (SPATIAL_KERNEL, SPATIAL_KERNEL), x.size)
        x = walk.combine(f"{attention} scale", "mul", x, walk.sigmoid(f"{attention} sigmoid", y))
    if attention == "sam-released":
        y = walk.sigmoid(f"{attention} sigmoid", walk.conv(attention, x, 1, (1, 1), x.size))
        strength = walk.combine(
            f"{attention} strength",
            "add",
            *(walk.pool_map(f"{attention} pool", y, largest) for largest in (False, True)),
        )
        x = walk.combine(f"{attention} scale", "mul", walk.combine(f"{attention} scale", "mul", x, y), strength)
    if attention == "eca":
        means, kernel = walk.pool_map("eca pool", x, largest=False), eca_kernel(x.channels)
        y = walk.run(
            layer="eca",
            kernel="convolution",
            kind="convolution",
            reads=[means],
            channels=x.channels,
            size=(1, 1),
            parameters=kernel,
            macs=kernel * x.channels,
            flops=2 * kernel * x.channels,
        )
        x = walk.combine("eca scale", "mul", x, walk.sigmoid("eca sigmoid", y))
    return x


def _reused(walk: _Walk, number: int, layer: str, x: _Map, channels: int) -> _Map:
    y = walk.conv(layer, x, channels, (1, 1), (1, 1))
    if number:
        walk.operations[-1] = walk.operations[-1]._replace(parameters=0)
    return y


def _walk_decoder(walk: _Walk, decoder: DecoderPlan, features: Sequence[_Map]) -> _Map:
    def conv_norm_act(layer: str, x: _Map) -> _Map:
        y = walk.conv(layer, x, decoder.head_channels, (1, 1), x.size)
        return walk.activate(f"{layer} activation", walk.norm(f"{layer} norm", y))

    deep, middle, shallow = (
        conv_norm_act(f"head {tap.stage}", feature) for tap, feature in zip(decoder.taps, features, strict=True)
    )
    up = walk.combine("sum", "add", walk.upsample("upsample deep", deep, middle.size), middle)
    if decoder.fusion == "released":
        both = walk.combine("sum middle", "add", walk.upsample("upsample middle", middle, shallow.size), shallow)
        fused = walk.upsample("upsample fused", conv_norm_act("fuse", both), shallow.size)
    else:
        fused = walk.upsample("upsample fused", conv_norm_act("fuse", up), shallow.size)
    last = conv_norm_act("last", walk.stack("stack", [fused, shallow]))
    return walk.conv("classifier", last, decoder.num_classes, (1, 1), shallow.size, bias=True)
