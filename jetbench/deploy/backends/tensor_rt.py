"""TensorRT, on an NVIDIA GPU. Its engine is built on the machine that runs it, in a process of its own."""

from pathlib import Path
from typing import get_args

from jetbench.deploy.backends.base import Runtime
from jetbench.errors import SpecError
from jetbench.probe.build_engine import BuildError, build_in_process
from jetbench.probe.engines.tensor_rt import file_format
from jetbench.spec.profiling import DType

TENSORRT = Runtime("tensorrt", packages=("tensorrt", "onnx", "onnxruntime"), extra="tensorrt", device="cuda")


def file_precision(dtype: DType) -> DType:
    """The number format of the file of which an engine is built: int8 is in the file, and fp16 from TensorRT 11.

    Raises:
        SpecError: TensorRT cannot be loaded.
    """
    try:
        file_dtype = file_format(dtype)
    except ImportError as error:
        raise SpecError(f"tensorrt: cannot be loaded ({error})") from None
    return next(each for each in get_args(DType) if each == file_dtype)


def build_engine(path: Path, dtype: DType, file_dtype: DType = "fp32") -> None:
    """Build the engine of an ONNX file beside it, with the facts of the build.

    Args:
        path: the file.
        dtype: the number format of the engine.
        file_dtype: that of the file.

    Raises:
        SpecError: TensorRT cannot build it, or the kernel ended the build.
    """
    try:
        build_in_process(str(path), dtype, file_dtype)
    except BuildError as error:
        raise SpecError(str(error)) from None
