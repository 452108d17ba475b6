"""LocalExecutor: a subprocess per job on this machine, in a process group that dies as a whole and with the driver."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetbench.errors import SpecError
from jetbench.execution.executor import Job, Outcome, Progress
from jetbench.probe.machine import cores
from jetbench.record import Status

GRACE_S = 5.0
LOG_TAIL_LINES = 12


def choose_device(wanted: str, threads: int, jobs: int | None) -> tuple[str, int]:
    """The torch device of a study's jobs, and how many trainings of so many threads may run side by side.

    Args:
        wanted: auto, cpu or cuda.
        threads: of one training.
        jobs: side by side, where a person says so.

    Raises:
        SpecError: cuda, where torch finds none.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise SpecError("device cuda: this torch finds no CUDA device; use --device cpu or auto")
    device = "cuda" if has_cuda and wanted != "cpu" else "cpu"
    slots = 1 if device == "cuda" else max(1, cores() // threads)
    return device, jobs or slots


@dataclass
class _Running:
    job: Job
    process: "subprocess.Popen[bytes]"
    started: float
    log_start: int


class LocalExecutor:
    """Runs each job as `python -m jetbench.execution.worker FOLDER`."""

    def __init__(self) -> None:
        self._running: list[_Running] = []

    def submit(self, job: Job) -> None:
        """Start a job; what an earlier attempt left in its folder is cleared first."""
        job.folder.mkdir(parents=True, exist_ok=True)
        for stale in ("result.json", "failure.json", "progress.json"):
            (job.folder / stale).unlink(missing_ok=True)
        write_json(job.folder / "request.json", job.request)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(job.threads),
            "JETBENCH_DRIVER": str(os.getpid()),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
        }
        with (job.folder / "log.txt").open("ab") as log:
            log_start = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "jetbench.execution.worker", str(job.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._running.append(_Running(job, process, time.monotonic(), log_start))

    def poll(self) -> list[Outcome]:
        """Jobs that have ended or run past their limit since the last call."""
        ended: list[Outcome] = []
        for running in list(self._running):
            seconds = time.monotonic() - running.started
            code = running.process.poll()
            if code is None and seconds > running.job.timeout_s:
                end_group(running.process)
                reason = f"ran past its limit of {running.job.timeout_s:g} s (timeout_s)"
                ended.append(Outcome(running.job, "timeout", reason, None, seconds))
            elif code is not None:
                # A job's own children must not outlive it.
                signal_group(running.process, signal.SIGKILL)
                ended.append(read_outcome(running.job, code, seconds, running.log_start))
            else:
                continue
            self._running.remove(running)
        return ended

    def running(self) -> list[Progress]:
        """Jobs under way, oldest first."""
        now = time.monotonic()
        reports = []
        for running in self._running:
            told = read_json(running.job.folder / "progress.json") or {"share": 0.0, "text": "starting"}
            reports.append(Progress(running.job, told["share"], told["text"], now - running.started))
        return reports

    def stop(self) -> None:
        """End all jobs, politely, then at once."""
        for running in self._running:
            signal_group(running.process, signal.SIGTERM)
        for running in self._running:
            end_group(running.process)
        self._running.clear()


def signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to the job's whole process group, if any of it is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, a few seconds of grace, SIGKILL."""
    signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    signal_group(process, signal.SIGKILL)
    process.wait()


def read_outcome(job: Job, code: int, seconds: float, log_start: int) -> Outcome:
    """The outcome of a process that has exited with `code`; its part of the log begins at byte `log_start`."""
    result = read_json(job.folder / "result.json")
    if result is not None:
        # Written last and whole; how the interpreter went down afterwards changes nothing about it.
        return Outcome(job, "ok", "", result, seconds)
    failure = read_json(job.folder / "failure.json")
    if failure is not None:
        return Outcome(job, failure["status"], failure["reason"], None, seconds)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code} and no result"
    if code == -signal.SIGKILL:
        how += " (the kernel does that when memory runs out)"
    return Outcome(job, "lost", f"the process {how}{log_tail(job.folder / 'log.txt', log_start)}", None, seconds)


def log_tail(path: Path, start: int = 0) -> str:
    """The last lines of a job's log from byte `start` on, for a reason; empty if it said nothing."""
    try:
        lines = path.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return "; its log ends: " + " | ".join(lines[-LOG_TAIL_LINES:])[-600:] if lines else ""


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write all or nothing: a reader never sees half a file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_text(json.dumps(value))
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is no such file or no such object."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def failure(status: Status, reason: str) -> dict[str, Any]:
    """What a worker writes as failure.json."""
    return {"status": status, "reason": reason}
