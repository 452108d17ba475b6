"""LocalExecutor: a process per job on this machine, which ends with its whole group, and with the driver."""

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
from jetbench.execution.job_folder import EXIT_UNABLE, log_tail, make_folder, write_request
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
# Profiles of a wave: with more of them a slot is idle less often, but rows land later.
PROFILES_A_SLOT, LARGEST_WAVE = 4, 12
FOR_A_WAVE = "waiting for other trainings, to be profiled with them"
MOST_SERVERS = 3  # after so many lost servers, jobs run without preloading
GIB = 2**30
LITTLE_SPACE = 64 * 2**20  # weights may need more than this


def choose_device(wanted: str) -> str:
    """The torch device of a study's jobs on this machine: cpu or cuda.

    Raises:
        SpecError: `wanted` is cuda, and torch finds no CUDA device.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise SpecError("device cuda: this torch finds no CUDA device; use --torch-device cpu or auto")
    return "cuda" if has_cuda and wanted != "cpu" else "cpu"


def local_slots(device: str, threads: int, jobs: int | None, token: str = PROFILER) -> dict[str, int]:
    """The slots of this machine, for `jobs` trainings at once; by default as many as its cores allow, or one on a GPU.

    Args:
        device: torch device of the trainings.
        threads: threads of one training.
        jobs: number of trainings at once; None for the default.
        token: token of the device that profiles, which is this machine.
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
        """End the job with that outcome: by SIGTERM at the next poll, by SIGKILL `GRACE_S` later."""
        seconds = time.monotonic() - self.started
        tail = log_tail(self.job.folder / "log.txt", self.log_start)
        self.verdict = Outcome(self.job, status, reason + tail, None, seconds)


class LocalExecutor:
    """Runs each job as `python -m WORKER FOLDER`, or in a process that is forked with all modules loaded.

    A profile needs this machine to itself: while one is due, no training begins. A profile is due at once. If it may
    wait, it is due when a whole wave of profiles waits or no training is left. In this way cores are idle, waiting for
    the trainings on other cores to end, only once per wave. A profile's process begins when the profile is due, loads
    its modules, and waits for the machine.
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
            slots: slots that may be in use at once; see `local_slots`.
            width: number of variants under way at once; by default the number of slots for trainings.
            worker: the module whose `main(folder)` runs a job.
            preload: modules to load before trainings on a CPU are forked; if empty, every job is a new interpreter.
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
        """See `Executor`; 0 with one slot, since then no other slot is idle and waiting gains nothing."""
        return min(PROFILES_A_SLOT * self._width, LARGEST_WAVE) if self._width > 1 else 0

    @property
    def profiles_alone(self) -> bool:
        """See `Executor`."""
        return True

    @property
    def width(self) -> int:
        """See `Executor`."""
        return self._width

    def prepare(self) -> "LocalExecutor":
        """Begin to load the modules of trainings, so that the first trainings start at once; returns itself."""
        if self._preload and "cpu" in self.slots and self._server is None:
            self._server = Server(self._worker, self._preload, os.getpid())
        return self

    def submit(self, job: Job) -> None:
        """See `Executor`; files of an earlier attempt are deleted from the folder first."""
        lacking = [name for name, count in job.needs.items() if count > self.slots.get(name, 0)]
        if lacking:
            has = self.slots.get(lacking[0], 0)
            raise SpecError(
                f"{job.variant}: {job.phase} needs {job.needs[lacking[0]]} {lacking[0]}; this machine has {has}"
            )
        make_folder(job)
        write_request(job)
        self._waiting.append(job)
        self._start_jobs()

    def _start_jobs(self) -> None:
        """Start the jobs that fit. A waiting job blocks later ones with its needs; a due profile blocks trainings."""
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
        """True if the profiles that may wait run now. A wave that has begun continues until none of them is left."""
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
            with contextlib.suppress(OSError):  # the server died just now: this job runs without it
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
        """Mark the jobs of a server that has died as ended. After `MOST_SERVERS` deaths, jobs run without a server."""
        assert self._server
        self._server.listen()
        self._server.stop()
        self._server, self._servers_lost = None, self._servers_lost + 1
        if self._servers_lost >= MOST_SERVERS:
            self._preload = ()

    def poll(self) -> list[Outcome]:
        """See `Executor`; also ends a job that exceeds its time limit, or would use up the memory."""
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
        """The outcome of a job if it has ended; signals a job that must end."""
        job, now, code = running.job, time.monotonic(), exit_code(running.process)
        if code is not None:
            # A job's own children must not outlive it.
            signal_group(running.process, signal.SIGKILL)
            return running.verdict or read_outcome(running, code)
        progress = read_json(job.folder / "progress.json") or {}
        since = progress.get("waits_since")
        waited = progress.get("waited_s", 0.0) + (now - since if since is not None else 0.0)
        if running.verdict is None and now - running.started - waited > job.timeout_s:
            running.end("timeout", f"ran past its limit of {job.timeout_s:g} s (timeout_s)")
        if running.verdict is not None and running.process.pid is not None:
            if running.kill_at is None:
                running.kill_at = now + GRACE_S
                for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process handles SIGTERM only after SIGCONT
                    signal_group(running.process, number)
            elif now >= running.kill_at:
                signal_group(running.process, signal.SIGKILL)
        return None

    def _watch_memory(self) -> None:
        """End jobs that exceed their memory limit, and the largest job when the machine has almost no memory left."""
        usage = [(memory_of(job.process.pid), job) for job in self._running if job.process.pid is not None]
        for own, running in usage:
            limit = running.job.memory_bytes
            if limit is not None and own > limit:
                running.end("oom", f"held {own / GIB:.2f} GiB, over its limit of {limit / GIB:.2f} GiB (memory_limit)")
        memory = available_memory()
        if not usage or memory is None or any(running.verdict for _, running in usage):
            return
        (left, whole), (own, largest) = memory, max(usage, key=lambda item: item[0])
        if left < RESERVE_SHARE * whole and own > left:  # otherwise another program uses the memory
            largest.end(
                "oom",
                f"held {own / GIB:.2f} GiB when {left / GIB:.2f} of {whole / GIB:.2f} GiB of memory were left; ended "
                "before the kernel could end any process",
            )

    def running(self) -> list[Progress]:
        """See `Executor`."""
        now = time.monotonic()
        reports = []
        for running in self._running:
            progress = read_json(running.job.folder / "progress.json") or {"share": 0.0, "text": "starting"}
            reports.append(Progress(running.job, progress["share"], progress["text"], now - running.started))
        return reports + [
            Progress(job, 0.0, FOR_A_WAVE if job.may_wait and not self._in_wave else QUEUED, 0.0, has_begun=False)
            for job in self._waiting
        ]

    def stop(self) -> None:
        """See `Executor`: first by SIGTERM, after `GRACE_S` by SIGKILL. A second Ctrl-C skips the wait."""
        self._waiting.clear()
        try:
            if self._server is not None:
                self._server.listen()
            for running in self._running:
                signal_group(running.process, signal.SIGTERM)
            if self._server is not None and any(running.process.pid is None for running in self._running):
                self._server.stop()  # it still loads: jobs that wait for it must not begin
            limit = time.monotonic() + GRACE_S
            while time.monotonic() < limit and any(exit_code(running.process) is None for running in self._running):
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
    """The exit code of a process, negative if a signal ended it; None while it runs."""
    return process.returncode if isinstance(process, Forked) else process.poll()


def wait_gone(pid: int | None) -> None:
    """Wait up to 2 s until a killed process that is not our child is gone."""
    limit = time.monotonic() + 2.0
    while pid is not None and time.monotonic() < limit:
        stat = read_text(f"/proc/{pid}/stat")
        if stat is None or stat.rsplit(")", 1)[1].split()[0] in ("Z", "X"):
            return
        time.sleep(0.01)


def signal_group(process: "subprocess.Popen[bytes] | Forked", number: int) -> None:
    """Send a signal to the job's whole process group, if any process of it is left."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _describe_space(folder: Path) -> str:
    """A text about a full disk, on which a job cannot even write why it ended; "" if there is space."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < LITTLE_SPACE:
            return f"; its disk is full ({free // 1024:,} KiB left)"
    return ""


def read_outcome(running: _Running, code: int) -> Outcome:
    """The outcome of a process that has exited with `code`."""
    job, seconds = running.job, time.monotonic() - running.started
    payload = read_json(job.folder / "result.json")
    if payload is not None:
        # It is written last and atomically, so it is valid however the interpreter ended afterwards.
        waited = payload.get("waited_s", 0.0)
        return Outcome(job, "ok", "", payload["result"], max(0.0, seconds - waited))
    report = read_json(job.folder / "failure.json")
    if report is not None:
        return Outcome(job, report["status"], report["reason"], None, seconds)
    tail = log_tail(job.folder / "log.txt", running.log_start)
    if code == EXIT_UNABLE:
        reason = f"{job.folder}: the job could not start, or could not write there{_describe_space(job.folder)}{tail}"
        return Outcome(job, "unable", reason, None, seconds)
    if code == -signal.SIGKILL and oom_kills() > running.oom_kills:
        reason = "the kernel killed the process because memory ran out"
        return Outcome(job, "oom", reason + tail, None, seconds)
    how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with code {code} and no result"
    return Outcome(job, "lost", f"the process {how}{tail}", None, seconds)
