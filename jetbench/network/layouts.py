"""Where a runtime on a processor keeps maps in blocks of channels, and where it must change their order; no torch.

ONNX Runtime computes a convolution in blocks of 16 channels (8 on older processors) if its groups allow it, and leaves
the blocks for kernels that need channels in order, such as Exp. Each change of the order reads and writes a map. The
rules here are what its graphs show (reports/LOG.md, 2026-12-01); another runtime has others, and a model that learns
from times finds out how far they hold.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from jetbench.network.operations import Convolution, Operation

KEEPS_BLOCKS = frozenset(
    ("add", "hardswish", "sigmoid", "relu", "cat", "mean", "adaptive_max_pool2d", "upsample_bilinear2d")
)
"""Kernels that work in blocks if all maps that they read are in blocks."""
NORM = "native_batch_norm"  # a runtime folds it into the convolution before

Direction = Literal["into blocks", "out of blocks"]


class Reorder(NamedTuple):
    """A map that is written in another order of its channels: the number of its tensor, and its bytes."""

    direction: Direction
    tensor: int
    bytes: int


class Placed(NamedTuple):
    """An operation, whether it writes its map in blocks, and the maps that are reordered before it."""

    operation: Operation
    is_blocked: bool
    reorders: tuple[Reorder, ...]


class Layouts:
    """The order of the maps of one network as its operations run.

    Args:
        block: channels in a block; 0: a runtime without blocks, such as PyTorch, where nothing is reordered.
        blocked: numbers of tensors that are in blocks at the beginning.
        reordered: what was reordered before; no map is reordered twice in one direction.
    """

    def __init__(
        self, block: int, blocked: Iterable[int] = (), reordered: Iterable[tuple[Direction, int]] = ()
    ) -> None:
        self._block, self.blocked, self.reordered = block, set(blocked), set(reordered)

    def follow(self, operations: Iterable[Operation]) -> Iterator[Placed]:
        """Each operation with the order of its map, and the maps that are reordered before it."""
        for operation in operations:
            is_blocked, reorders = self._place(operation) if self._block else (False, ())
            if is_blocked:
                self.blocked.update(tensor.number for tensor in operation.makes)
            yield Placed(operation, is_blocked, reorders)

    def _place(self, operation: Operation) -> tuple[bool, tuple[Reorder, ...]]:
        shape = operation.convolution
        if shape is not None:
            if not in_blocks(shape, self._block):
                return False, self._reorders(operation, "out of blocks")
            # A convolution of fewer channels than a block reads them in their own order.
            reads_blocks = shape.groups > 1 or shape.in_channels >= self._block
            return True, self._reorders(operation, "into blocks") if reads_blocks else ()
        are_blocked = all(tensor.number in self.blocked for tensor in operation.reads)
        if are_blocked and (operation.kernel in KEEPS_BLOCKS or operation.kernel == NORM):
            return True, ()
        return False, self._reorders(operation, "out of blocks")

    def _reorders(self, operation: Operation, direction: Direction) -> tuple[Reorder, ...]:
        found = []
        for tensor in dict.fromkeys(operation.reads):
            is_there = tensor.number in self.blocked
            if is_there == (direction == "into blocks") or (direction, tensor.number) in self.reordered:
                continue
            self.reordered.add((direction, tensor.number))
            found.append(Reorder(direction, tensor.number, tensor.bytes))
        return tuple(found)


def in_blocks(shape: Convolution, block: int) -> bool:
    """True if a convolution is computed in blocks of so many channels."""
    if shape.groups == 1:
        return shape.out_channels >= block
    if shape.is_depthwise:
        return shape.out_channels % block == 0
    per_group = (shape.in_channels // shape.groups, shape.out_channels // shape.groups)
    return all(channels % block == 0 for channels in per_group)
