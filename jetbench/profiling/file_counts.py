"""operations_of_file: what a model file costs, counted in its graph, or traced."""

from functools import lru_cache
from pathlib import Path

import torch

from jetbench.deploy.graph import operations_of, read_graph
from jetbench.network.operations import Operation
from jetbench.profiling.trace import trace_operations


@lru_cache(maxsize=32)
def operations_of_file(file: str, size: tuple[int, int]) -> tuple[Operation, ...]:
    """Every operation of an ONNX or TorchScript file for one image.

    Args:
        file: its path.
        size: (height, width) of the image, for a file that takes any.
    """
    if Path(file).suffix == ".onnx":
        return operations_of(read_graph(Path(file), size))
    module: torch.nn.Module = torch.jit.load(file)  # type: ignore[no-untyped-call]
    return trace_operations(module, torch.zeros(1, 3, *size))
