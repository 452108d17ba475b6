"""operations_of_file: what a model file costs, counted in its graph, or traced."""

from functools import lru_cache
from pathlib import Path

import torch

from jetbench.deploy.graph import operations_of, read_graph
from jetbench.errors import SpecError
from jetbench.network.operations import Operation, add_up
from jetbench.profiling.trace import trace_operations

MOST_COUNTED = 2**63


@lru_cache(maxsize=32)
def operations_of_file(file: str, size: tuple[int, int]) -> tuple[Operation, ...]:
    """Every operation of an ONNX or TorchScript file for one image.

    Args:
        file: its path.
        size: (height, width) of the image, for a file that takes any.

    Raises:
        SpecError: a graph gives sizes that no network has, so that its counts exceed 64 bits.
    """
    if Path(file).suffix == ".onnx":
        operations = operations_of(read_graph(Path(file), size))
        cost = add_up(operations)
        if max(cost.parameters, cost.flops, cost.bytes_moved, cost.activation_bytes) >= MOST_COUNTED:
            raise SpecError(f"{file}: its graph gives sizes that no network has: its counts exceed 64 bits")
        return operations
    module: torch.nn.Module = torch.jit.load(file)  # type: ignore[no-untyped-call]
    return trace_operations(module, torch.zeros(1, 3, *size))
