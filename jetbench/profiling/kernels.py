"""How long the kernels of each class take in each part of a network: by PyTorch's dispatch, or by a runtime's layers.

The clock is read before and after every kernel of PyTorch, with the device idle. A pass without these readings is
faster on a GPU, where kernels queue; so these seconds explain a latency and do not add up to it.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from jetbench.models.parts import SCOPE, is_of_network, part_of_node, parts_of, rest_of
from jetbench.network.kernels import kernel_class
from jetbench.network.operations import Operation
from jetbench.probe.engines import Layer
from jetbench.probe.passes import wait_for
from jetbench.profiling.deployed import ADDED
from jetbench.profiling.trace import copy_without_hooks, time_operations
from jetbench.records.measurement import KernelTime

MIN_PASSES, MAX_PASSES, MAX_SECONDS = 3, 7, 3.0
DIGITS = 9  # of seconds: the clock has no finer steps

ROOM = "layout change"
"""The class of the layers that a runtime adds to change the order of memory."""
BY_KIND = {
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
    "reorder": ROOM,
    "reformat": ROOM,
    "convert": ROOM,
    "quantize": "quantisation",
    "add": "sum, product",
    "mul": "sum, product",
    "sub": "sum, product",
    "eltwise": "sum, product",
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
        samples_s: of each operation; empty if nothing was timed.
    """
    places, rest = parts_of(module), rest_of(module)
    found: dict[tuple[str, str], _Sum] = {}
    for number, operation in enumerate(operations):
        path = f"{operation.layer}."
        part = next((name for name, place in places.items() if path.startswith(f"{place}.")), rest)
        own = found.setdefault((part, kernel_class(operation)), _Sum())
        own.add(operation, samples_s[number] if samples_s else ())
    return tuple(each.read(*key) for key, each in found.items())


class _Sum:
    """Counts and seconds of several kernels."""

    def __init__(self) -> None:
        self.count = self.macs = self.bytes_moved = 0
        self.samples_s: list[float] = []

    def add(self, operation: Operation, samples_s: Sequence[float]) -> None:
        self.count += 1
        self.macs += operation.macs
        self.bytes_moved += operation.moved_bytes
        self.add_seconds(samples_s)

    def add_seconds(self, samples_s: Sequence[float]) -> None:
        before = self.samples_s or [0.0] * len(samples_s)
        self.samples_s = [old + new for old, new in zip(before, samples_s, strict=True)]

    def read(self, part: str, kernel: str) -> KernelTime:
        return KernelTime(
            part=part,
            kernel=kernel,
            count=self.count,
            macs=self.macs,
            bytes_moved=self.bytes_moved,
            samples_s=tuple(round(seconds, DIGITS) for seconds in self.samples_s),
        )


def kernels_of_layers(
    layers: Sequence[Layer], module: nn.Module, operations: Sequence[Operation]
) -> tuple[KernelTime, ...]:
    """The layers of a runtime by part and class, with the counts of the network's operations.

    A layer is of the class of the operations of the module that its name gives, if these are of one class. A class
    without a layer of its own was fused into others and has no time.

    Args:
        layers: what a runtime made of the file of `module`.
        module: the network.
        operations: from `trace`.
    """
    places = parts_of(module)
    by_path: dict[str, set[str]] = {}
    for operation in operations:
        by_path.setdefault(operation.layer, set()).add(kernel_class(operation))
    found: dict[tuple[str, str], _Sum] = {}
    for each in gather(module, operations, ()):
        own = found.setdefault((each.part, each.kernel), _Sum())
        own.count, own.macs, own.bytes_moved = each.count, each.macs, each.bytes_moved
    for layer in layers:
        part = part_of_node(layer.name, places) or (rest_of(module) if is_of_network(layer.name) else ADDED)
        found.setdefault((part, _class_of_layer(layer, by_path)), _Sum()).add_seconds(layer.seconds)
    return tuple(each.read(*key) for key, each in found.items())


def _class_of_layer(layer: Layer, by_path: dict[str, set[str]]) -> str:
    path = path_of_node(layer.name)
    classes = by_path.get(path, set()) if path else set()
    if len(classes) == 1:
        return next(iter(classes))
    kind = layer.kind.lower()
    return next((name for word, name in BY_KIND.items() if word in kind), layer.kind)


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
