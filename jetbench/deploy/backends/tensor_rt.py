"""TensorRT, on an NVIDIA GPU. Its engine is built on the machine that runs it, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from jetbench.deploy.backends.base import Runtime
from jetbench.errors import SpecError
from jetbench.probe.alone import signal_name
from jetbench.spec.profiling import DType

TENSORRT = Runtime("tensorrt", packages=("tensorrt", "onnx", "onnxruntime"), extra="tensorrt", device="cuda")


def file_precision(dtype: DType) -> DType:
    """The number format of the file of which an engine is built: int8 is in the file, and fp16 from TensorRT 11.

    Raises:
        SpecError: TensorRT cannot be loaded.
    """
    if dtype != "fp16":
        return dtype
    try:
        import tensorrt
    except ImportError as error:
        raise SpecError(f"tensorrt: cannot be loaded ({error})") from None
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
    what = (str(path.resolve()), dtype, file_dtype, str(os.getpid()))
    command = [sys.executable, "-m", "jetbench.probe.build_engine", *what]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    # Python 3.10 has no safe path: in / nobody has put modules of his own.
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, cwd="/"
    )  # fmt: skip
    if done.returncode < 0:
        raise SpecError(
            f"the build of the TensorRT engine was ended by {signal_name(-done.returncode)}: the kernel does so when "
            "memory runs out; close other programs, or add swap"
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SpecError(lines[-1][:600])
