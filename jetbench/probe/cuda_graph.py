"""CUDA graphs: all kernels of a pass as one launch, for PyTorch and for TensorRT alike.

Small networks on boards are bound by their launches, so a graph is a setting of its own: a gain by it is not one of the
runtime. Python 3.6 and torch 1.10, the first that captures graphs.
"""

from typing import Any

import torch

WARM_UP = 3  # libraries allocate and choose kernels in the first passes, which a graph cannot hold


class Graphed:
    """A module or an engine, captured with the size of a batch: images (N, 3, H, W) -> its output, in the same memory.

    Raises:
        RuntimeError: there is no GPU, this torch has no graphs, or the pass cannot be captured.
    """

    def __init__(self, runs: Any, images: torch.Tensor) -> None:
        if images.device.type != "cuda" or not hasattr(torch.cuda, "CUDAGraph"):
            raise RuntimeError("a CUDA graph needs an NVIDIA GPU, and torch 1.10 or newer")
        self.runs = runs
        self._images = images.clone()
        # An engine launches on a stream of its own, which a capture does not see.
        step = getattr(runs, "launch", runs)
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step(self._images)
        current.wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            self._output = step(self._images)

    def __call__(self, images: torch.Tensor) -> Any:
        if images.data_ptr() != self._images.data_ptr():
            self._images.copy_(images)  # a graph reads the addresses that it was captured with
        self._graph.replay()
        return self._output

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["runs"], name)  # what an engine says of itself
