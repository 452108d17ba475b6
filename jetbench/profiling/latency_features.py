"""What the time of an operation depends on: features by class of kernel, whose costs a latency model fits; no torch.

Convolutions have their MACs, also with channels rounded up to whole vectors, the maps that they read and write, rows
and groups; every kernel has its number and its bytes, and how far these exceed each level of a cache.
"""

from collections.abc import Iterable, Mapping

from jetbench.network.kernels import ADDED, REORDERED, kernel_class
from jetbench.network.layouts import Layouts, Reorder
from jetbench.network.operations import BYTES, Operation

CACHES = {"bytes over 256 KiB": 2**18, "bytes over 1 MiB": 2**20, "bytes over 4 MiB": 2**22}
VECTORS = (8, 16)

Features = dict[str, float]


def features_of(operation: Operation, is_blocked: bool = False) -> Features:
    """The features of one operation; their names begin with its kernel where a class has several.

    Args:
        operation: for one image.
        is_blocked: it writes its map in blocks of channels (network/layouts.py).
    """
    moved = operation.read_bytes + sum(tensor.bytes for tensor in operation.makes)
    shape = operation.convolution
    features = _bytes(moved)
    if shape is not None:
        pixels, groups = shape.size[0] * shape.size[1], shape.groups
        taps = shape.kernel[0] * shape.kernel[1]
        features["MACs"] = operation.macs
        features["groups"] = groups
        if shape.is_depthwise:
            for vector in VECTORS:
                features[f"MACs of {vector}"] = pixels * _up(groups, vector) * taps
            features["rows"] = shape.size[0] * groups
        else:
            ins, outs = shape.in_channels // groups, shape.out_channels // groups
            for vector in VECTORS:
                features[f"MACs of {vector}"] = pixels * groups * _up(ins, vector) * _up(outs, vector) * taps
                if ins % vector or outs % vector:
                    features[f"bytes, not of {vector}"] = moved
            features["MACs, written of 16"] = pixels * groups * ins * _up(outs, 16) * taps
            features["read"] = BYTES * pixels * shape.in_channels
            features["written"] = BYTES * pixels * shape.out_channels
            if groups > 1:
                features["pixels of groups"] = pixels * groups
                if ins == 1:
                    features["bytes of single channels"] = moved
    prefix = ("blocks: " if is_blocked else "") + ("" if shape is not None else f"{operation.kernel}: ")
    return {f"{prefix}{name}": float(value) for name, value in features.items()} if prefix else features


def features_of_reorder(reorder: Reorder) -> Features:
    """The features of a map that is reordered."""
    return {f"{reorder.direction}: {name}": value for name, value in _bytes(2 * reorder.bytes).items()}


def _bytes(moved: int) -> Features:
    return {
        "kernels": 1.0,
        "bytes": float(moved),
        **{name: float(max(0, moved - size)) for name, size in CACHES.items()},
    }


def _up(number: int, step: int) -> int:
    """Rounded up to a multiple."""
    return -(-number // step) * step


def add_features(total: Features, more: Mapping[str, float]) -> None:
    """Add features to a total, in place."""
    for name, value in more.items():
        total[name] = total.get(name, 0.0) + value


def features_by_class(operations: Iterable[Operation], block: int) -> dict[tuple[str, str], Features]:
    """The features of a network by part and class of kernel.

    Args:
        operations: from `list_operations`.
        block: channels in a block of the runtime's layout; 0: it has none.
    """
    features: dict[tuple[str, str], Features] = {}
    for placed in Layouts(block).follow(operations):
        operation = placed.operation
        own = features.setdefault((operation.part, kernel_class(operation)), {})
        add_features(own, features_of(operation, placed.is_blocked))
        for reorder in placed.reorders:
            add_features(features.setdefault((ADDED, REORDERED), {}), features_of_reorder(reorder))
    return features
