"""trtexec: NVIDIA's own timer, where TensorRT has no Python package. Its numbers are a quantity of their own.

It keeps two passes in flight, so the launches of one hide behind the other, and reads the GPU's clock between its own
events. So "GPU compute, trtexec" is no latency of ours, and is never ranked beside one. Never run on TensorRT itself
yet. Needs Python 3.6.
"""

import json
import os
import re
import subprocess
import tempfile
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .alone import die_with, signal_name
from .build_engine import WORKSPACE_MIB, BuildError
from .engines.tensor_rt import layer_of

PLACES = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
SECONDS, WARM_UP_MS = 10, 500
"""Its times are float32 milliseconds since the start: in a longer run they lose digits."""
TIMEOUT_S = 4 * 3600.0
PASSED = re.compile(r"&&&& PASSED TensorRT\.trtexec \[TensorRT v(\d+)\]")
BUILT = re.compile(r"Engine built in ([0-9.]+) sec")
MOST_QUERIES = 1000000


class TrtexecError(BuildError):
    """trtexec failed, or wrote what is no result of it; the message says what."""


def find_trtexec() -> Optional[str]:
    """Its full path: it is not on the PATH of a Jetson. None where it is not installed."""
    named = os.environ.get("JETBENCH_TRTEXEC")
    return next((path for path in ([named] if named else PLACES) if os.access(path, os.X_OK)), None)


def command_for(program: str, help_text: str, path: str, dtype: str, exports: Dict[str, str]) -> List[str]:
    """The command line for a file, with the flags that this version has; it prints them all as its help.

    Args:
        program: its path.
        help_text: what `--help` prints.
        path: the ONNX file, which holds Q/DQ pairs for int8.
        dtype: fp32, fp16 or int8.
        exports: where to write times and layers.

    Raises:
        TrtexecError: this version takes the number format from the file, and the file is in fp32.
    """

    def has(flag: str) -> bool:
        return re.search(r"{}\b".format(re.escape(flag)), help_text) is not None

    flags = {"fp32": (), "fp16": ("--fp16",), "int8": ("--int8", "--fp16")}[dtype]  # type: Sequence[str]
    kept = [flag for flag in flags if has(flag)]
    if dtype == "fp16" and not kept and not path.endswith(".fp16.onnx"):
        raise TrtexecError("this trtexec takes the number format from the file, and this file is in fp32")
    workspace = "--memPoolSize=workspace:{}" if has("--memPoolSize") else "--workspace={}"
    # In version 11 a CUDA graph and spinning are on unless they are switched off; before, they have no such switch.
    switches = ("--noTF32", "--exposeDMA", "--noSpinWait", "--noCudaGraph")
    return [
        program,
        "--onnx=" + path,
        *kept,
        workspace.format(WORKSPACE_MIB),
        "--duration={}".format(SECONDS),
        "--warmUp={}".format(WARM_UP_MS),
        "--avgRuns=10",
        "--noDataTransfers",
        *(flag for flag in switches if has(flag)),
        "--profilingVerbosity=detailed",
        "--exportTimes=" + exports["times"],
        "--exportLayerInfo=" + exports["layers"],
    ]


def run_trtexec(files: Dict[str, str], dtype: str) -> Dict[str, Any]:
    """Build and time a network in a number format.

    Args:
        files: the path of its ONNX file in each number format that was packed.
        dtype: fp32, fp16 or int8.

    Returns:
        `file`, `version`, `command`, `build_s`, `compute_s` of each query, and `layers`.

    Raises:
        TrtexecError: it is not installed, or did not pass.
    """
    program = find_trtexec()
    if program is None:
        raise TrtexecError("trtexec is not at {} either".format(" or ".join(PLACES)))
    _, help_text = _run([program, "--help"])
    path = files["fp32"] if dtype == "fp16" and "--fp16" in help_text else files[dtype]
    with tempfile.TemporaryDirectory(prefix="jetbench-") as folder:
        exports = {name: os.path.join(folder, name + ".json") for name in ("times", "layers")}
        command = command_for(program, help_text, path, dtype, exports)
        code, text = _run(command)
        log = read_log(text)
        if code or log["version"] is None:
            raise TrtexecError("trtexec did not pass: {}".format(log["reason"] or _describe_end(code)))
        with open(exports["times"], encoding="utf-8") as file:
            compute_s = read_times(file.read())
        try:
            with open(exports["layers"], encoding="utf-8") as file:
                layers = json.load(file).get("Layers", ())
        except (OSError, ValueError, AttributeError):
            layers = ()
    shown = [word for word in command[1:] if not word.startswith(("--onnx=", "--export"))]
    kept = [each for each in layers if isinstance(each, dict) and "Name" in each]
    return {
        "file": path,
        "version": log["version"],
        "command": " ".join(shown),
        "build_s": log["build_s"],
        "compute_s": compute_s,
        "layers": [layer_of(str(each["Name"]), each, "GPU", []).to_dict() for each in kept],
    }


def _describe_end(code: int) -> str:
    return "it was ended by {}".format(signal_name(-code)) if code < 0 else "exit code {}".format(code)


def _run(command: Sequence[str]) -> Tuple[int, str]:
    done = subprocess.run(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S,
        preexec_fn=partial(die_with, os.getpid()),  # it must not hold the GPU when the probe is gone
    )  # fmt: skip
    return done.returncode, done.stdout.decode("utf-8", "replace")


def read_log(text: str) -> Dict[str, Any]:
    """What its log says: `version`, None unless it passed, `build_s`, and the `reason` of a failure."""
    passed, built = PASSED.search(text), BUILT.search(text)
    errors = [line.split("[E]")[-1].strip() for line in text.splitlines() if "[E]" in line]
    return {
        "version": version_of(passed.group(1)) if passed else None,
        "build_s": float(built.group(1)) if built else None,
        "reason": "; ".join(errors[:2])[:400],
    }


def version_of(digits: str) -> str:
    """`8.2.1` of v8201, and `10.3.0` of v100300."""
    ends = (-3, -2) if len(digits) <= 4 else (-4, -2)
    return ".".join(str(int(part or 0)) for part in (digits[: ends[0]], digits[ends[0] : ends[1]], digits[ends[1] :]))


def read_times(text: str) -> List[float]:
    """Seconds of GPU compute of each query in the content of `--exportTimes`.

    They are `computeMs`. The difference of its stamps is not: they are float32 milliseconds since the start, so after
    10 s a stamp has steps of 0.001 ms, and the six digits that are printed have steps of 0.1 ms.

    Raises:
        TrtexecError: it is no such list.
    """
    try:
        queries = json.loads(text)
    except (ValueError, RecursionError):
        raise TrtexecError("is not JSON, as trtexec --exportTimes writes it") from None
    if not isinstance(queries, list) or not queries or len(queries) > MOST_QUERIES:
        raise TrtexecError("expected a list of queries, as trtexec --exportTimes writes it")
    times = []
    for number, query in enumerate(queries):
        value = query.get("computeMs") if isinstance(query, dict) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
            raise TrtexecError("query {}: expected computeMs, milliseconds above 0".format(number))
        times.append(value / 1e3)
    return times
