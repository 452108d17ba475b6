"""TensorRT, on an NVIDIA GPU. Its engine is built on the machine that runs it, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from jetbench.deploy.backends.base import Runtime
from jetbench.errors import SpecError
from jetbench.probe.alone import signal_name
from jetbench.spec.profiling import DType

TENSORRT = Runtime("tensorrt", packages=("tensorrt", "onnx"), extra="tensorrt", device="cuda")


def file_precision(dtype: DType) -> DType:
    """The number format of the file of which an engine is built: int8 is in the file, and fp16 from TensorRT 11."""
    if dtype != "fp16":
        return dtype
    import tensorrt

    return "fp32" if hasattr(tensorrt.BuilderFlag, "FP16") else "fp16"


def build_engine(path: Path, dtype: DType, file_dtype: DType = "fp32") -> None:
    """Build the engine of an ONNX file beside it, with the facts of the build.

    Args:
        path: the file.
        dtype: the number format of the engine.
        file_dtype: that of the file.

    Raises:
        SpecError: TensorRT cannot build it, or the kernel ended the build.
    """
    command = [sys.executable, "-m", "jetbench.probe.build_engine", str(path), dtype, file_dtype]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    if done.returncode < 0:
        raise SpecError(
            f"the build of the TensorRT engine was ended by {signal_name(-done.returncode)}: the kernel does so when "
            "memory runs out; close other programs, or add swap"
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SpecError(lines[-1][:600])
