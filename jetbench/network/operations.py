"""The cost of operations and their totals: FLOPs by stated rules, equation 2, memory, bytes moved.

One operation is one kernel as PyTorch runs our modules in eval mode, with nothing fused. `list_operations.py` lists the
operations of a plan, `profiling/trace.py` those of a built network. `RULES` states the FLOP rules.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jetbench.spec.architecture import ActivationName
from jetbench.spec.profiling import DType
from jetbench.spec.values import Size

Kind = Literal[
    "convolution", "normalisation", "activation", "elementwise", "pooling", "interpolation", "copy", "uncounted"
]

BYTES = 4  # of a float32
WIDTH: dict[DType, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
"""Bytes of a number in each format."""
INDEX_BYTES = 8  # of the positions that adaptive max pooling returns beside its values

RULES: dict[Kind, str] = {
    "convolution": "2 per multiply-accumulate (MAC), plus 1 per output element where there is a bias; padding counts; "
    "the same for fully connected layers",
    "normalisation": "batch norm in eval mode: 2 per element, a scale and a shift",
    "activation": "1 per addition, product, comparison or elementary function of each element: ReLU 1, SiLU 2, REU 3 "
    "(minimum, exp, product), TanhExp 4, Hardswish 5, sigmoid 1, LeakyReLU, PReLU and ReLU6 2, ELU 4, GELU 5",
    "elementwise": "additions and products of feature maps: 1 per output element",
    "pooling": "for each output: mean of n, n (n - 1 additions, 1 division); maximum of n, n - 1 comparisons",
    "interpolation": "bilinear: 7 per output element (4 products, 3 additions), also where the size stays",
    "copy": "stacking and shuffling channels: 0, but bytes are moved",
    "uncounted": "no rule is known: in no total, but listed with its elements",
}
# FLOPs per element in each of the kernels that an activation runs.
ACTIVATION_KERNELS: dict[ActivationName, tuple[tuple[str, int], ...]] = {
    "reu": (("clamp", 1), ("exp", 1), ("mul", 1)),
    "tanhexp": (("clamp", 1), ("exp", 1), ("tanh", 1), ("mul", 1)),
    "relu": (("relu", 1),),
    "silu": (("silu", 2),),
    "hardswish": (("hardswish", 5),),
}
NORM_FLOPS = 2
INTERPOLATION_FLOPS = 7
EQ2_NORM = 4


class Tensor(NamedTuple):
    """Memory that holds a feature map; its views share its number. `bytes` is its full size, however much is read."""

    number: int
    bytes: int


class Convolution(NamedTuple):
    """The shape of a two-dimensional convolution; `size` is the (height, width) of its output."""

    in_channels: int
    out_channels: int
    kernel: Size
    dilation: Size
    stride: int
    groups: int
    size: Size

    @property
    def is_depthwise(self) -> bool:
        """True if each channel is convolved with a kernel of its own."""
        return self.groups == self.in_channels == self.out_channels > 1


class Operation(NamedTuple):
    """One kernel, for one image. `part` is `block 3`, `decoder` or `output`; `eq2` counts as the authors' tool does.

    `convolution` is the shape of a two-dimensional convolution, and None for every other kernel.
    """

    part: str
    layer: str
    kernel: str
    kind: Kind
    elements: int
    parameters: int
    macs: int
    flops: int
    eq2: float
    eq2_pooling: int
    parameter_bytes: int
    read_bytes: int
    reads: tuple[Tensor, ...]
    makes: tuple[Tensor, ...]
    convolution: Convolution | None = None

    @property
    def moved_bytes(self) -> int:
        """Lower bound of the bytes this kernel moves: reads each input and parameter once, writes each output once."""
        return self.parameter_bytes + self.read_bytes + sum(tensor.bytes for tensor in self.makes)


@dataclass(frozen=True, slots=True)
class Cost:
    """Totals over operations, for one image in float32.

    `eq2_flops` is the paper's equation 2 as the authors' tool applies it, the sum of its three parts; `eq2_pooling` is
    the term that the printed equation would add. `activations` counts the elements of all maps written.
    `peak_activation_bytes` is the most that is alive at once (see `peak_bytes`), and `bytes_moved` is a lower bound.
    `uncounted` counts the elements written by kernels without a FLOP rule.
    """

    parameters: int
    macs: int
    flops: int
    flops_by_kind: dict[Kind, int]
    eq2_flops: float
    eq2_convolution: float
    eq2_normalisation: float
    eq2_activation: float
    eq2_pooling: int
    activations: int
    activation_bytes: int
    peak_activation_bytes: int
    weight_bytes: int
    bytes_moved: int
    uncounted: dict[str, int]

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs per byte moved (lower bound of the bytes)."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0


def add_up(operations: Sequence[Operation], outputs: Collection[int] = ()) -> Cost:
    """Totals of operations; `outputs` as in `peak_bytes`."""
    kinds: dict[Kind, int] = {}
    uncounted: dict[str, int] = {}
    eq2: dict[Kind, float] = dict.fromkeys(RULES, 0)
    for operation in operations:
        kinds[operation.kind] = kinds.get(operation.kind, 0) + operation.flops
        eq2[operation.kind] += operation.eq2
        if operation.kind == "uncounted":
            uncounted[operation.kernel] = uncounted.get(operation.kernel, 0) + operation.elements
    parameters = sum(operation.parameters for operation in operations)
    return Cost(
        parameters=parameters,
        macs=sum(operation.macs for operation in operations),
        flops=sum(kinds.values()),
        flops_by_kind={kind: kinds.get(kind, 0) for kind in RULES},
        eq2_flops=whole(sum(eq2.values())),
        eq2_convolution=whole(eq2["convolution"]),
        eq2_normalisation=whole(eq2["normalisation"]),
        eq2_activation=whole(eq2["activation"]),
        eq2_pooling=sum(operation.eq2_pooling for operation in operations),
        activations=sum(operation.elements for operation in operations),
        activation_bytes=sum(tensor.bytes for operation in operations for tensor in operation.makes),
        peak_activation_bytes=peak_bytes(operations, outputs),
        weight_bytes=BYTES * parameters,
        bytes_moved=sum(operation.moved_bytes for operation in operations),
        uncounted=uncounted,
    )


def whole(value: float) -> float:
    """`value` as an int if it is whole; equation 2 gives quarters for a stride of 2 on an odd map."""
    return int(value) if value == int(value) else value


def peak_bytes(operations: Sequence[Operation], outputs: Collection[int] = ()) -> int:
    """Peak memory by liveness: a tensor is alive from the operation that makes it to the last that reads it.

    The image is alive from the start, and `outputs` (numbers of the tensors that the network returns) until the end.
    The inputs and outputs of a running operation are both alive: nothing is in place unless the network itself works in
    place.
    """
    last_read = {tensor.number: index for index, op in enumerate(operations) for tensor in op.reads}
    last_read |= dict.fromkeys(outputs, len(operations))
    made = {tensor.number for op in operations for tensor in op.makes}
    alive = {tensor.number: tensor.bytes for op in operations for tensor in op.reads if tensor.number not in made}
    peak = sum(alive.values())
    for index, op in enumerate(operations):
        alive.update(op.makes)
        peak = max(peak, sum(alive.values()))
        for tensor in (*op.reads, *op.makes):
            if last_read.get(tensor.number, index) <= index:
                alive.pop(tensor.number, None)
    return peak


def dead_operations(operations: Sequence[Operation], outputs: Collection[int] | None = None) -> frozenset[int]:
    """Positions of the operations whose results never reach an output.

    Args:
        operations: in the order in which they run.
        outputs: numbers of the tensors that the network returns; by default those that the last operation makes.
    """
    needed = set(outputs) if outputs is not None else {tensor.number for op in operations[-1:] for tensor in op.makes}
    dead: set[int] = set()
    for index in range(len(operations) - 1, -1, -1):
        op = operations[index]
        if needed.isdisjoint(tensor.number for tensor in op.makes):
            dead.add(index)
        else:
            needed.update(tensor.number for tensor in op.reads)
    return frozenset(dead)
