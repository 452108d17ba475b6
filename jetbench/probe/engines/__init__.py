"""Engines: a file in one runtime, from a batch of images to its output, both torch tensors; one module per runtime.

An engine has the methods of `OnnxRuntime`. Like all of probe/ it needs Python 3.6, torch, and its own runtime.
"""

from typing import Any

from .layers import Layer
from .onnx_runtime import OnnxRuntime
from .open_vino import OpenVino
from .tensor_rt import TensorRt

__all__ = ["ENGINES", "Layer", "open_engine"]

ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "tensorrt": TensorRt}


def open_engine(backend: str, path: str, dtype: str = "fp32", threads: int = 1, flush_denormals: bool = True) -> Any:
    """An engine that has read and compiled the file at `path`.

    Args:
        backend: a name of `ENGINES`.
        path: an ONNX file; OpenVINO also reads its own .xml; TensorRT runs the engine that was built beside it.
        dtype: the number format that is asked for; what a layer got is in `Layer.precision`.
        threads: threads of the processor.
        flush_denormals: numbers too small for full precision count as 0.
    """
    engine = ENGINES[backend]  # type: Any
    return engine(path, dtype, threads, flush_denormals)
