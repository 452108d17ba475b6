"""python -m probe.build_engine ONNX DTYPE FILE_DTYPE PARENT: builds a TensorRT engine beside an ONNX file.

In a process of its own, which ends with the process PARENT: a build takes more memory than a pass, and the kernel may
kill it. Beside the engine it leaves the facts of the build. Python 3.6 and torch.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from typing import Any, Dict, List

from . import machine
from .alone import die_with, signal_name
from .children import command_of, environment
from .engines.tensor_rt import describe_gpu, plan_of, quiet_log, read_facts

WORKSPACE_MIB = 1024


class BuildError(Exception):
    """TensorRT cannot build an engine; the message says why."""


def build_in_process(path: str, dtype: str, file_dtype: str = "fp32") -> Dict[str, Any]:
    """`build` in a process of its own, which ends with this one.

    Raises:
        BuildError: TensorRT cannot build it, or the kernel ended the build.
    """
    done = subprocess.run(
        command_of("build_engine", os.path.abspath(path), dtype, file_dtype, str(os.getpid())),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, cwd="/",
        env=environment(),
    )  # fmt: skip
    if done.returncode < 0:
        raise BuildError(
            "the build of the TensorRT engine was ended by {}: the kernel does so when memory runs out; close other "
            "programs, or add swap".format(signal_name(-done.returncode))
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["exit code {}".format(done.returncode)]
        raise BuildError(lines[-1][:600])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ensure_engine(path: str, dtype: str, file_dtype: str = "fp32") -> Dict[str, Any]:
    """The facts of the engine of a file on this machine, which is built if it is not there.

    Raises:
        BuildError: as `build`.
    """
    plan = plan_of(path, dtype)
    return read_facts(plan) if os.path.isfile(plan) else build(path, dtype, file_dtype)


def build(path: str, dtype: str, file_dtype: str = "fp32", workspace_mib: int = WORKSPACE_MIB) -> Dict[str, Any]:
    """Build an engine beside an ONNX file, and write its facts to PLAN.json; returns them.

    Args:
        path: the ONNX file, of a fixed size: in float32, or with Q/DQ pairs for int8.
        dtype: fp32, fp16 or int8.
        file_dtype: the number format of the file. From TensorRT 11 it is that of the engine, too.
        workspace_mib: the most memory (MiB) that a tactic may use beside its tensors.

    Raises:
        BuildError: the file cannot be parsed, this GPU or TensorRT has no such number format, or the build fails.
    """
    import tensorrt

    lines = []  # type: List[str]
    log = quiet_log(lines)
    builder = tensorrt.Builder(log)
    config = builder.create_builder_config()
    _set_precision(tensorrt, builder, config, dtype, file_dtype)
    network = builder.create_network(_network_flags(tensorrt))
    parser = tensorrt.OnnxParser(network, log)
    with open(path, "rb") as file:
        if not parser.parse(file.read()):
            errors = [str(parser.get_error(number)) for number in range(parser.num_errors)]
            raise BuildError("TensorRT {} cannot read {}: {}".format(tensorrt.__version__, path, "; ".join(errors[:2])))
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, workspace_mib << 20)
    else:
        config.max_workspace_size = workspace_mib << 20
    if hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED  # names the number format of each layer
    start = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - start
    if plan is None:
        raise BuildError("TensorRT {} built no engine: {}".format(tensorrt.__version__, "; ".join(lines[-2:])))
    gpu, capability = describe_gpu()
    target = plan_of(path, dtype)
    facts = {
        "tensorrt": tensorrt.__version__,
        "gpu": gpu,
        "capability": capability,
        "dtype": dtype,
        "seconds": seconds,
        "peak_bytes": machine.process_memory()["peak_bytes"],
        "bytes": len(bytes(plan)),
        "sha256": hashlib.sha256(bytes(plan)).hexdigest(),
        "workspace_mib": workspace_mib,
        "skipped_tactics": sum("kipping" in line and "memory" in line.lower() for line in lines),
        "warnings": lines[-20:],
    }
    _write(target + ".json", json.dumps(facts).encode("utf-8"))
    _write(target, bytes(plan))  # last: where it is, its facts are
    return facts


def _write(path: str, data: bytes) -> None:
    """A file that is there whole or not at all."""
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.replace(path + ".part", path)


def _network_flags(trt: Any) -> int:
    """The explicit batch that TensorRT to 8.6 needs in words; later versions have no other."""
    flags = getattr(trt, "NetworkDefinitionCreationFlag", None)  # type: Any
    return 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0


def _set_precision(trt: Any, builder: Any, config: Any, dtype: str, file_dtype: str) -> None:
    """Allow the number formats of `dtype`. TF32 is off, so that fp32 is fp32.

    A file with Q/DQ pairs also needs fp16, or all that is not in int8 runs in fp32.
    """
    flags = trt.BuilderFlag
    if hasattr(flags, "TF32"):
        config.clear_flag(flags.TF32)
    if dtype == "int8" and getattr(builder, "platform_has_fast_int8", True) is False:
        raise BuildError("this GPU has no int8 units: take fp16")
    if dtype == "fp16" and getattr(builder, "platform_has_fast_fp16", True) is False:
        raise BuildError("this GPU has no fp16 units: take fp32")
    for name in {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}[dtype]:
        if hasattr(flags, name):
            config.set_flag(getattr(flags, name))
        elif dtype == "fp16" != file_dtype:
            raise BuildError(
                "TensorRT {} takes the number format from the file, and this file is in fp32".format(trt.__version__)
            )


def main(arguments: List[str]) -> int:
    """Build what the arguments say; prints the facts, or why not."""
    path, dtype, file_dtype, parent = arguments
    die_with(int(parent))
    try:
        facts = build(path, dtype, file_dtype)
    except BuildError as error:
        sys.stderr.write(str(error) + "\n")
        return 1
    sys.stdout.write(json.dumps(facts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
