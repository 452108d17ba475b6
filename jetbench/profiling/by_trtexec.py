"""Times that somebody's trtexec wrote, as a record: `--exportTimes`, the log, and the ONNX file that it ran."""

from dataclasses import dataclass
from pathlib import Path

from jetbench.deploy.score import read_exported
from jetbench.errors import SpecError, visible
from jetbench.files import read_text
from jetbench.probe.build_engine import BuildError
from jetbench.probe.trtexec import read_log, read_times
from jetbench.profiling.assemble import assemble_estimate
from jetbench.profiling.case import Case
from jetbench.profiling.files import file_case
from jetbench.records.deployment import Deployment, Trtexec
from jetbench.records.record import Record
from jetbench.spec.device import Device
from jetbench.spec.profiling import DType, ProfilingConfig

MOST_TIMES_BYTES, MOST_LOG_BYTES = 256 * 2**20, 64 * 2**20
WHY = "not measured: trtexec's GPU compute is another quantity than a latency"


@dataclass(frozen=True)
class Timed:
    """What trtexec wrote.

    Args:
        times: its GPU compute times.
        has_log: its log was read, and ends with PASSED.
    """

    times: Trtexec
    has_log: bool


def read_trtexec(times: Path, log: Path | None = None) -> Timed:
    """The times of a file that `trtexec --exportTimes` wrote.

    Args:
        times: the file.
        log: what trtexec printed.

    Raises:
        SpecError: a file cannot be read, is no such file, or the log does not say that the run passed.
    """
    try:
        compute_s = read_times(_read(times, MOST_TIMES_BYTES))
    except BuildError as error:
        raise SpecError(f"{times}: {error}") from None
    version, command, build_s = "unknown", "", None
    if log is not None:
        text = _read(log, MOST_LOG_BYTES)
        lines = read_log(text)
        if lines["version"] is None:
            reason = f" ({visible(lines['reason'])})" if lines["reason"] else ""
            raise SpecError(f"{log}: does not say that trtexec passed{reason}; its times are no result")
        version, build_s = lines["version"], lines["build_s"]
        passed = next((line for line in text.splitlines() if "&&&& PASSED" in line), "")
        command = visible(passed.partition(" # ")[2])[:2000]
    made = Trtexec(version=version, command=command, build_s=build_s, compute_s=tuple(compute_s))
    return Timed(made, log is not None)


def dtype_of(timed: Timed, onnx: Path, asked: DType | None = None) -> DType:
    """The number format that trtexec was asked for, by its command where the log has it.

    Raises:
        SpecError: the command says another format than `asked`, or names another file.
    """
    words = timed.times.command.split()
    if not words:
        return asked or "fp32"
    ran = next((word.partition("=")[2] for word in words if word.startswith("--onnx=")), None)
    if ran is not None and Path(ran).name != onnx.name:
        raise SpecError(f"--onnx {onnx.name}: the log is of {visible(Path(ran).name)[:80]}")
    flags: dict[str, DType] = {"--int8": "int8", "--best": "int8", "--fp16": "fp16"}
    in_log: DType = next((dtype for flag, dtype in flags.items() if flag in words), "fp32")
    if asked is not None and asked != in_log:
        raise SpecError(f"--dtype {asked}: the log is of a run in {in_log}")
    return in_log


def record_of(timed: Timed, onnx: Path, device: Device, dtype: DType = "fp32") -> Record:
    """The record of times, with the network of the ONNX file that trtexec ran.

    Args:
        timed: the times.
        onnx: the file; beside a manifest of `jetbench export` it is known whose weights it holds.
        device: where it ran.
        dtype: the number format that trtexec was asked for.

    Raises:
        SpecError: the file is no network that maps images to logits.
    """
    case = _case_of(onnx, ProfilingConfig(backend="tensorrt", dtype=dtype, power="none"), device)
    assert case.artefact
    deployment = Deployment(
        runtime=f"tensorrt {timed.times.version}",
        executes="GPU",
        options={"graph": "on"} if "--useCudaGraph" in timed.times.command.split() else {},
        file=case.artefact.exported.file,
        parities=(),
        asked=dtype,
        convolutions={},
        unscored="not scored: trtexec gives times, and no output to score",
        trtexec=timed.times,
    )
    profile = assemble_estimate(case.operations(), case.input_size, case.config, device, WHY)
    return case.to_record(profile.model_copy(update={"deployment": deployment}))


def _case_of(onnx: Path, config: ProfilingConfig, device: Device) -> Case:
    case = file_case(str(onnx), config, None, None, device.size)
    try:
        _, request = read_exported(onnx)
    except SpecError:
        return case
    saved = request.saved
    own = {"label": request.label, "architecture": saved.architecture, "weights": request.weights, "file": None}
    return case.model_copy(update={**own, "weights_file": onnx.name if request.weights else None})


def _read(path: Path, most: int) -> str:
    try:
        return read_text(path, most)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: is not UTF-8") from None
