"""LocalExecutor: a process per job on this machine, which ends with its whole group, and when the driver is gone."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jetbench.errors import SpecError
from jetbench.execution.executor import PROFILER, QUEUED, Job, Outcome, Progress
from jetbench.execution.job_folder import EXIT_UNABLE, log_tail, write_request
from jetbench.execution.job_memory import RESERVE_SHARE, available_memory, memory_of, oom_kills
from jetbench.execution.preload import Forked, Server
from jetbench.execution.worker import HEAVY
from jetbench.files import read_json
from jetbench.probe.alone import signal_name
from jetbench.probe.machine import cores, read_text
from jetbench.records.record import Status

GRACE_S = 5.0
WATCH_EVERY_S = 0.5
WORKER = "jetbench.execution.worker"
# Profiles of a wave: more of them leave a slot idle less often, and let rows land later.
PROFILES_A_SLOT, LARGEST_WAVE = 4, 12
FOR_A_WAVE = "waiting for other trainings, to be profiled with them"
MOST_SERVERS = 3  # preloading that fails so often is left out
GIB = 2**30
LITTLE_SPACE = 64 * 2**20  # less than weights may need


def choose_device(wanted: str) -> str:
    """The torch device of a study's jobs on this machine: cpu or cuda.

    Raises:
        SpecError: cuda, where torch finds none.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise SpecError("device cuda: this torch finds no CUDA device; use --device cpu or auto")
    return "cuda" if has_cuda and wanted != "cpu" else "cpu"


def local_slots(device: str, threads: int, jobs: int | None, token: str = PROFILER) -> dict[str, int]:
    """What this machine offers: as many trainings side by side as a person says, or as it has cores or one GPU for.

    Args:
        device: torch device of the trainings.
        threads: of one training.
        jobs: trainings side by side, where a person says so.
        token: of the device that profiles, which is this machine.
    """
    if device == "cuda":
        return {"gpu": jobs or 1, token: 1}
    return {"cpu": threads * (jobs or max(1, cores() // threads)), token: 1}


@dataclass
class _Running:
    job: Job
    process: "subprocess.Popen[bytes] | Forked"
    started: float
    log_start: int
    oom_kills: int
    verdict: Outcome | None = None
    kill_at: float | None = None

    def end(self, status: Status, reason: str) -> None:
        """Have it end with that outcome: asked now, killed after a while."""
        seconds = time.monotonic() - self.started
        tail = log_tail(self.job.folder / "log.txt", self.log_start)
        self.verdict = Outcome(self.job, status, reason + tail, None, seconds)


class LocalExecutor:
    """Runs each job as `python -m WORKER FOLDER`, or in a process that is forked with all modules loaded.

    A profile needs this machine to itself: while one is due, no training begins. It is due at once, or, where it may
    wait, when a whole wave of them waits or no training is left: a core that waits for the trainings on the others is
    idle once in a wave. Its process begins when it is due, and waits for the machine with its modules loaded.
    """

    def __init__(
        self,
        slots: Mapping[str, int] | None = None,
        width: int | None = None,
        worker: str = WORKER,
        preload: Sequence[str] = HEAVY,
    ) -> None:
        """An executor that holds no process yet.

        Args:
            slots: what may be in use at once; see `local_slots`.
            width: variants under way at once; as many as there are slots for trainings by default.
            worker: the module whose `main(folder)` runs a job.
            preload: modules that trainings on a CPU find loaded; none: every job is a new interpreter.
        """
        self.slots = dict(slots or {"cpu": cores(), PROFILER: 1})
        self._width = width or max(1, self.slots.get("gpu", 0) or self.slots.get("cpu", 0))
        self._worker, self._preload = worker, tuple(preload) if sys.platform == "linux" else ()
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._ended: list[Outcome] = []
        self._server: Server | None = None
        self._servers_lost = 0
        self._watched = 0.0
        self._in_wave = False

    @property
    def wave(self) -> int:
        """See `Executor`; with one slot no other is left idle, and none waits."""
        return min(PROFILES_A_SLOT * self._width, LARGEST_WAVE) if self._width > 1 else 0

    @property
    def width(self) -> int:
        """See `Executor`."""
        return self._width

    def prepare(self) -> "LocalExecutor":
        """Begin to load what trainings need, so that the first ones find it loaded; returns itself."""
        if self._preload and "cpu" in self.slots and self._server is None:
            self._server = Server(self._worker, self._preload, os.getpid())
        return self

    def submit(self, job: Job) -> None:
        """See `Executor`; what an earlier attempt left in the folder is cleared first."""
        lacking = [name for name, count in job.needs.items() if count > self.slots.get(name, 0)]
        if lacking:
            has = self.slots.get(lacking[0], 0)
            raise SpecError(f"{job.variant}: {job.phase} needs {job.needs[lacking[0]]} {lacking[0]}; {has} are here")
        job.folder.mkdir(exist_ok=True)
        for stale in ("result.json", "failure.json", "progress.json"):
            (job.folder / stale).unlink(missing_ok=True)
        write_request(job)
        self._waiting.append(job)
        self._start_jobs()

    def _start_jobs(self) -> None:
        """Start what fits. A waiting job bars those behind it that need the same; a due profile bars every training."""
        used: Counter[str] = Counter()
        for running in self._running:
            used.update(running.job.needs)
        is_profiling = any(running.job.phase == "profile" for running in self._running)
        self._in_wave = self._is_wave_due(is_profiling)
        for job in sorted(self._waiting, key=lambda job: job.phase != "profile"):
            if job.may_wait and not self._in_wave:
                continue
            fits = all(used[name] + count <= self.slots[name] for name, count in job.needs.items())
            used.update(job.needs)
            if fits and not (job.phase == "train" and is_profiling):
                self._waiting.remove(job)
                try:
                    self._running.append(self._start(job))
                except OSError as error:
                    self._ended.append(Outcome(job, "unable", f"{job.folder}: {error.strerror}", None, 0.0))
            is_profiling = is_profiling or job.phase == "profile"

    def _is_wave_due(self, is_profiling: bool) -> bool:
        """Do the profiles that may wait run now? Once begun, a wave goes on until none of them is left."""
        patient = sum(job.may_wait for job in self._waiting)
        if not patient and not is_profiling:
            return False
        jobs = [*self._waiting, *(running.job for running in self._running)]
        return self._in_wave or patient >= self.wave or all(job.phase == "profile" for job in jobs)

    def _start(self, job: Job) -> _Running:
        path = job.folder / "log.txt"
        log_start = path.stat().st_size if path.exists() else 0
        now = time.monotonic()
        return _Running(job, self._process(job), now, log_start, oom_kills())

    def _process(self, job: Job) -> "subprocess.Popen[bytes] | Forked":
        path = job.folder / "log.txt"
        if self._preload and job.phase == "train" and "gpu" not in job.needs:
            with contextlib.suppress(OSError):  # it died just now: this job goes without
                if self._server is not None and not self._server.is_alive:
                    self._lose_server()
                if self._server is None and self._preload:
                    self._server = Server(self._worker, self._preload, os.getpid())
                if self._server is not None:
                    return self._server.start(job.folder, path)
        environment = {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as NVML counts cards
            **os.environ,
            "OMP_NUM_THREADS": str(job.threads),
            "JETBENCH_DRIVER": str(os.getpid()),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
        }
        with path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", self._worker, str(job.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def _lose_server(self) -> None:
        """The server has died, and its jobs with it: they are told so. Where that goes on, jobs go without."""
        assert self._server
        self._server.listen()
        self._server.stop()
        self._server, self._servers_lost = None, self._servers_lost + 1
        if self._servers_lost >= MOST_SERVERS:
            self._preload = ()

    def poll(self) -> list[Outcome]:
        """See `Executor`; a job that is past its limit, or would use up the memory, is ended."""
        if self._server is not None:
            self._server.listen()
            if not self._server.is_alive:
                self._lose_server()
        for running in list(self._running):
            outcome = self._look_at(running)
            if outcome is not None:
                self._running.remove(running)
                self._ended.append(outcome)
        if time.monotonic() - self._watched >= WATCH_EVERY_S:
            self._watched = time.monotonic()
            self._watch_memory()
        self._start_jobs()
        ended, self._ended = self._ended, []
        return ended

    def _look_at(self, running: _Running) -> Outcome | None:
        """The outcome of a job that has ended; one that is to end is told so."""
        job, now, code = running.job, time.monotonic(), exit_code(running.process)
        if code is not None:
            # A job's own children must not outlive it.
            signal_group(running.process, signal.SIGKILL)
            return running.verdict or read_outcome(running, code)
        told = read_json(job.folder / "progress.json") or {}
        since = told.get("waits_since")
        waited = told.get("waited_s", 0.0) + (now - since if since is not None else 0.0)
        if running.verdict is None and now - running.started - waited > job.timeout_s:
            running.end("timeout", f"ran past its limit of {job.timeout_s:g} s (timeout_s)")
        if running.verdict is not None and running.process.pid is not None:
            if running.kill_at is None:
                running.kill_at = now + GRACE_S
                for number in (signal.SIGTERM, signal.SIGCONT):  # one that was stopped hears nothing
                    signal_group(running.process, number)
            elif now >= running.kill_at:
                signal_group(running.process, signal.SIGKILL)
        return None

    def _watch_memory(self) -> None:
        """End jobs over their limit, and the largest one when the machine has nearly nothing left."""
        held = [(memory_of(each.process.pid), each) for each in self._running if each.process.pid is not None]
        for own, running in held:
            limit = running.job.memory_bytes
            if limit is not None and own > limit:
                running.end("oom", f"held {own / GIB:.2f} GiB, over its limit of {limit / GIB:.2f} GiB (memory_limit)")
        known = available_memory()
        if not held or known is None or any(running.verdict for _, running in held):
            return
        (left, whole), (own, largest) = known, max(held, key=lambda each: each[0])
        if left < RESERVE_SHARE * whole and own > left:  # else another program has it
            largest.end(
                "oom",
                f"held {own / GIB:.2f} GiB when {left / GIB:.2f} of {whole / GIB:.2f} GiB of memory were left; ended "
                "before the kernel would end any process",
            )

    def running(self) -> list[Progress]:
        """See `Executor`."""
        now = time.monotonic()
        reports = []
        for running in self._running:
            told = read_json(running.job.folder / "progress.json") or {"share": 0.0, "text": "starting"}
            reports.append(Progress(running.job, told["share"], told["text"], now - running.started))
        return reports + [
            Progress(job, 0.0, FOR_A_WAVE if job.may_wait and not self._in_wave else QUEUED, 0.0, has_begun=False)
            for job in self._waiting
        ]

    def stop(self) -> None:
        """See `Executor`: politely, then at once. A second Ctrl-C skips the politeness."""
        self._waiting.clear()
        try:
            if self._server is not None:
                self._server.listen()
            for running in self._running:
                signal_group(running.process, signal.SIGTERM)
            if self._server is not None and any(running.process.pid is None for running in self._running):
                self._server.stop()  # it loads still: what it would start now is not to begin
            limit = time.monotonic() + GRACE_S
            while time.monotonic() < limit and any(exit_code(each.process) is None for each in self._running):
                time.sleep(0.02)
                if self._server is not None:
                    self._server.listen()
        finally:
            for running in self._running:
                signal_group(running.process, signal.SIGKILL)
            if self._server is not None:
                self._server.stop()
                self._server = None
            for running in self._running:
                if isinstance(running.process, subprocess.Popen):
                    running.process.wait()
                else:
                    wait_gone(running.process.pid)
            self._running.clear()


def exit_code(process: "subprocess.Popen[bytes] | Forked") -> int | None:
    """How it has ended, below 0 by a signal; None while it runs."""
    return process.returncode if isinstance(process, Forked) else process.poll()


def wait_gone(pid: int | None) -> None:
    """Wait a moment until a process that was killed, and is nobody's child any more, is gone."""
    limit = time.monotonic() + 2.0
    while pid is not None and time.monotonic() < limit:
        stat = read_text(f"/proc/{pid}/stat")
        if stat is None or stat.rsplit(")", 1)[1].split()[0] in ("Z", "X"):
            return
        time.sleep(0.01)


def signal_group(process: "subprocess.Popen[bytes] | Forked", number: int) -> None:
    """Send a signal to the job's whole process group, if any of it is left."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _describe_space(folder: Path) -> str:
    """How little is left on a full disk: a job there could not even write why it ended."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < LITTLE_SPACE:
            return f"; its disk is full ({free // 1024:,} KiB left)"
    return ""


def read_outcome(running: _Running, code: int) -> Outcome:
    """The outcome of a process that has exited with `code`."""
    job, seconds = running.job, time.monotonic() - running.started
    told = read_json(job.folder / "result.json")
    if told is not None:
        # Written last and whole; how the interpreter went down afterwards changes nothing about it.
        return Outcome(job, "ok", "", told["result"], seconds)
    said = read_json(job.folder / "failure.json")
    if said is not None:
        return Outcome(job, said["status"], said["reason"], None, seconds)
    tail = log_tail(job.folder / "log.txt", running.log_start)
    if code == EXIT_UNABLE:
        reason = f"{job.folder}: the job could not begin, or write there{_describe_space(job.folder)}{tail}"
        return Outcome(job, "unable", reason, None, seconds)
    if code == -signal.SIGKILL and oom_kills() > running.oom_kills:
        reason = "the process was killed by the kernel, which had no memory left"
        return Outcome(job, "oom", reason + tail, None, seconds)
    how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with code {code} and no result"
    return Outcome(job, "lost", f"the process {how}{tail}", None, seconds)
