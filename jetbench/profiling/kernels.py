"""How long the kernels of each class take in each part of a network: by PyTorch's dispatch, or by a runtime's layers.

The clock is read before and after every kernel of PyTorch, with the device idle. A pass without these readings is
faster on a GPU, where kernels queue; so these seconds explain a latency and do not add up to it.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from jetbench.models.parts import SCOPE, is_of_network, part_of_node, parts_of, rest_of
from jetbench.network.kernels import ADDED, REORDERED, WORDS, kernel_class
from jetbench.network.operations import BYTES, WIDTH, Operation
from jetbench.probe.engines import Layer
from jetbench.probe.passes import wait_for
from jetbench.profiling.trace import copy_without_hooks, time_operations
from jetbench.records.measurement import KernelTime
from jetbench.spec.profiling import DType

MIN_PASSES, MAX_PASSES, MAX_SECONDS = 3, 7, 3.0
NOT_OF_A_BATCH = "not measured: kernels are timed with one image, and this batch holds {size}"
DIGITS = 9  # of seconds: the clock has no finer steps

BY_KIND = {
    "convert": REORDERED,
    "conv": "convolution",
    "gemm": "matrix product",
    "matmul": "matrix product",
    "batchnorm": "batch norm",
    "resize": "resize",
    "interpolate": "resize",
    "upsample": "resize",
    "concat": "copy",
    "transpose": "copy",
    "slice": "copy",
    "split": "copy",
    "pool": "pooling",
    "reduce": "pooling",
    "reorder": REORDERED,
    "reformat": REORDERED,
    "quantize": "quantisation",
    "add": "sum, product",
    "mul": "sum, product",
    "sub": "sum, product",
    "eltwise": "sum, product",
    "expand": "copy",
    "clip": "activation",
    "exp": "activation",
    "tanh": "activation",
    "relu": "activation",
    "sigmoid": "activation",
    "swish": "activation",
}
"""The class of a runtime's layer by a part of its kind in small letters, where its module does not tell it."""


def time_kernels(
    module: nn.Module, images: torch.Tensor, clock: Callable[[], float] = time.perf_counter
) -> tuple[KernelTime, ...]:
    """Seconds of the kernels of each class in each part, in each of a few passes; the module is not changed.

    Args:
        module: in eval mode, on the device of `images`.
        images: (N, 3, H, W), normalised.
        clock: seconds; tests pass their own.
    """
    wait = wait_for(images.device)

    def idle() -> float:
        wait()
        return clock()

    copied, passes = copy_without_hooks(module), list[tuple[float, ...]]()
    begin = clock()
    while len(passes) < MIN_PASSES + 1 or (len(passes) <= MAX_PASSES and clock() - begin < MAX_SECONDS):
        operations, seconds = time_operations(copied, images, idle)
        passes.append(seconds)
    samples = list(zip(*passes[1:], strict=True))  # the first also fills caches
    return gather(module, operations, samples)


def gather(
    module: nn.Module, operations: Sequence[Operation], samples_s: Sequence[Sequence[float]]
) -> tuple[KernelTime, ...]:
    """Operations with their seconds in each pass, added up by part and class.

    Args:
        module: the network.
        operations: from `trace`: `layer` is the path of the module that ran it.
        samples_s: of each operation.
    """
    part_of = _parts(module)
    sums: dict[tuple[str, str], _Sum] = {}
    for number, operation in enumerate(operations):
        own = sums.setdefault((part_of(operation), kernel_class(operation)), _Sum())
        own.add(operation)
        own.add_seconds(samples_s[number])
    return tuple(each.read(*key) for key, each in sums.items())


def _parts(module: nn.Module) -> Callable[[Operation], str]:
    """Gives the part of an operation by the module that ran it."""
    places, rest = parts_of(module), rest_of(module)

    def part_of(operation: Operation) -> str:
        path = f"{operation.layer}."
        return next((name for name, place in places.items() if path.startswith(f"{place}.")), rest)

    return part_of


class _Sum:
    """Counts and seconds of several kernels."""

    def __init__(self) -> None:
        self.count = self.macs = self.bytes_moved = 0
        self.samples_s: list[float] = []

    def add(self, operation: Operation, share: float = 1.0, is_kernel: bool = True) -> None:
        """Add the counts of an operation, with this share of its bytes."""
        self.count += is_kernel
        self.macs += operation.macs
        self.bytes_moved += round(share * operation.moved_bytes)

    def add_seconds(self, samples_s: Sequence[float]) -> None:
        """Add seconds of each pass."""
        before = self.samples_s or [0.0] * len(samples_s)
        self.samples_s = [old + new for old, new in zip(before, samples_s, strict=True)]

    def read(self, part: str, kernel: str) -> KernelTime:
        """The counts and seconds as a record has them."""
        return KernelTime(
            part=part,
            kernel=kernel,
            count=self.count,
            macs=self.macs,
            bytes_moved=self.bytes_moved,
            samples_s=tuple(round(seconds, DIGITS) for seconds in self.samples_s),
        )


def kernels_of_layers(
    layers: Sequence[Layer], module: nn.Module, operations: Sequence[Operation], dtype: DType = "fp32"
) -> tuple[KernelTime, ...]:
    """The layers of a runtime by part and class, with the counts of the operations that they compute.

    A layer computes the operations of its class in the module that its name gives. Those that no layer computes by
    itself were fused into others: they come as rows without a time.

    Args:
        layers: what a runtime made of the file of `module`.
        module: the network.
        operations: from `trace`, in float32.
        dtype: the number format that was asked for, in which bytes are counted.
    """
    places, part_of = parts_of(module), _parts(module)
    classes = [kernel_class(operation) for operation in operations]
    owned: dict[str, list[int]] = {}
    for number, operation in enumerate(operations):
        owned.setdefault(operation.layer, []).append(number)
    share, computed = WIDTH[dtype] / BYTES, set[int]()
    timed: dict[tuple[str, str], _Sum] = {}
    for layer in layers:
        part = part_of_node(layer.name, places) or (rest_of(module) if is_of_network(layer.name) else ADDED)
        path = _known_path(layer.name, owned) if is_of_network(layer.name) else None
        kernel = _class_of_layer(layer, path, owned, classes)
        own = timed.setdefault((part, kernel), _Sum())
        own.count += 1
        own.add_seconds(layer.seconds)
        for number in _inside(path, owned, layer.is_convolution) if path is not None else ():
            if classes[number] == kernel and number not in computed:
                computed.add(number)
                own.add(operations[number], share, is_kernel=False)
    fused: dict[tuple[str, str], _Sum] = {}
    for number, operation in enumerate(operations):
        if number not in computed:
            fused.setdefault((part_of(operation), classes[number]), _Sum()).add(operation, share)
    return tuple(each.read(*key) for sums in (timed, fused) for key, each in sums.items())


def _class_of_layer(layer: Layer, path: str | None, owned: Mapping[str, Sequence[int]], classes: Sequence[str]) -> str:
    """The class of the operations of its module, if these are of one class; else that of its kind."""
    kind = layer.kind.lower()
    usual = next((name for word, name in BY_KIND.items() if word in kind), layer.kind)
    if path is None:
        return usual
    inside = [classes[number] for number in _inside(path, owned, layer.is_convolution)]
    if layer.is_convolution:
        # One that a runtime fused with an activation has the name of that, in the module around it.
        inside = [name for name in inside if name not in WORDS.values()]
    return inside[0] if inside and len(set(inside)) == 1 else usual


def _inside(path: str, owned: Mapping[str, Sequence[int]], with_inner: bool) -> list[int]:
    """The numbers of the operations of a module, with those of the modules in it if asked for."""
    paths = [path] + ([each for each in owned if each.startswith(f"{path}.")] if with_inner and path else [])
    return [number for each in paths for number in owned.get(each, ())]


def _known_path(name: str, owned: Mapping[str, Sequence[int]]) -> str:
    """The innermost module in a node's name that runs operations; a runtime may append to the names that it has."""
    path = path_of_node(name)
    while path and path not in owned and not any(each.startswith(f"{path}.") for each in owned):
        path = path.rpartition(".")[0]
    return path


def path_of_node(name: str) -> str:
    """The path of the module that made a node of an exported file; empty if its name does not tell it.

    The exporter writes a module in a list as `branches.0/branches.0.1`: each segment repeats the one before.
    """
    _, scope, inside = name.partition(SCOPE)
    path: list[str] = []
    for segment in inside.split("/")[:-1]:
        if path and segment.startswith(f"{path[-1]}."):
            path.pop()
        path.append(segment)
    return ".".join(path) if scope else ""
