"""RayExecutor: runs jobs on a Ray cluster. A node runs a job as LocalExecutor does, in a temporary folder.

Ray places jobs and reports how they ended. On every node, LocalExecutor enforces limits, keeps logs and progress, and
ends a job's processes. Nodes share no file system: weights, and the sources of a user's network or loss, are sent with
the job, and weights come back with its result. A device's token is a custom resource of Ray. The profiling process
takes the lock on the machine that profiles.
"""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jetbench
from jetbench.errors import SpecError, StudyError
from jetbench.execution.executor import QUEUED, Job, Outcome, Progress
from jetbench.execution.job_folder import make_folder, write_request
from jetbench.execution.local import GRACE_S, WORKER, LocalExecutor
from jetbench.files import read_json, replaced, write_json
from jetbench.probe.machine import cores
from jetbench.spec.sources import Packed, pack_sources, unpack_sources

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # of 40 s each, if something other than Ray answers
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a profile sees its board's GPU without reserving it

if os.environ.get("RAY_AUTH_TOKEN") or (Path.home() / ".ray" / "auth_token").is_file():
    os.environ.setdefault(
        "RAY_AUTH_MODE", "token"
    )  # a head with a token requires it; other processes do not look for a token by default

try:
    import ray
    from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError, RayTaskError
except ModuleNotFoundError:
    raise SpecError("--ray needs Ray: pip install 'jetbench[ray]'") from None

CONNECT_S, HEAD_S = 10.0, 20.0
FOLDERS = "jetbench-job-"
ABANDONED_AFTER_S = 86_400.0
LETTER_EVERY_S = 0.5
CLUSTER_EVERY_S = 1.0
MAX_LOG_PART, MAX_LOG = 2**16, 2**26  # bytes in one letter, and in a whole log
RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}


def _version() -> str:
    """The version of jetbench and a hash of its source, which are equal only for equal installations."""
    root = Path(jetbench.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{jetbench.__version__} ({digest.hexdigest()[:8]})"


VERSION = _version()


JobName = tuple[str, str, int]  # a job's variant key, phase and attempt


class Mailbox:
    """An actor between the driver and its jobs: keeps their reports until the driver takes them, and cancels jobs.

    `ray.cancel` is not used, because Ray aborts the driver's process if a job ends while it is being cancelled.
    """

    def __init__(self) -> None:
        self._letters: list[dict[str, Any]] = []
        self._begun: set[JobName] = set()
        self._called_off: set[JobName] = set()
        self._is_closed = False

    def begin(self, name: JobName) -> bool:
        """For a job that has been placed: True if it is still wanted."""
        is_wanted = not self._is_closed and name not in self._called_off
        if is_wanted:
            self._begun.add(name)
        return is_wanted

    def put(self, letter: dict[str, Any]) -> bool:
        """For a running job: leave a report; True if the job is still wanted."""
        self._letters.append(letter)
        name = (letter["key"], letter["phase"], letter["attempt"])
        return not self._is_closed and name not in self._called_off

    def call_off(self, name: JobName) -> None:
        """For the driver: cancel one job; if it has just begun, it ends."""
        self._called_off.add(name)

    def close(self) -> set[JobName]:
        """For the driver: cancel all jobs; returns those that have begun."""
        self._is_closed = True
        return self._begun

    def take(self) -> list[dict[str, Any]]:
        """For the driver: the reports since the last call."""
        letters, self._letters = self._letters, []
        return letters


def supervise(
    job: Job, weights: bytes | None, sources: Packed, worker: str, version: str, mailbox: Any
) -> dict[str, Any]:
    """On a node: run one job in a temporary folder; returns its outcome, log, result and weights.

    Args:
        job: the job; its folder and the weights file in its request are paths on the driver's machine.
        weights: the content of the file that the job reads: a profile's trained weights, a training's teacher.
        sources: of the user's networks and losses, which the command at the driver named.
        worker: the module that runs the job.
        version: jetbench's version at the driver.
        mailbox: receives the job's progress; answers whether the job is still wanted.
    """
    here = socket.gethostname()
    if not _is_wanted(mailbox.begin.remote(_name(job))):
        return {"status": "lost", "reason": "cancelled before it began", "seconds": 0.0, "log": (0, b""), "host": here}
    if version != VERSION:
        reason = f"{here} has jetbench {VERSION}; the driver has {version}: install the same version on all machines"
        return {"status": "unable", "reason": reason, "seconds": 0.0, "log": (0, b""), "host": here}
    if job.phase == "profile" and os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        del os.environ["CUDA_VISIBLE_DEVICES"]
    _tidy_up()
    with tempfile.TemporaryDirectory(prefix=f"{FOLDERS}{os.getpid()}-") as name:
        folder = Path(name)
        read, written = None, None
        if weights is not None and job.request.file_to_read is not None:
            read = folder / "given" / Path(job.request.file_to_read).name
            read.parent.mkdir()
            read.write_bytes(weights)
        unpack_sources(sources, folder / "sources")
        if job.request.file_to_write is not None:
            written = folder / "weights" / Path(job.request.file_to_write).name
        request = job.request.with_files(str(read) if read else None, str(written) if written else None)
        own = replace(job, folder=folder, request=request)
        executor = LocalExecutor(job.needs, 1, worker, ())
        log = _Log(folder / "log.txt")
        try:
            executor.submit(own)
            last, answer = -LETTER_EVERY_S, None
            while not (ended := executor.poll()):
                if answer is not None and ray.wait([answer], timeout=0)[0]:
                    if not _is_wanted(answer):
                        ended = [Outcome(own, "lost", "cancelled", None, executor.running()[0].seconds)]
                        break
                    answer = None
                if answer is None and time.monotonic() - last >= LETTER_EVERY_S:
                    last = time.monotonic()
                    progress = executor.running()[0]
                    letter = {
                        "share": progress.share,
                        "text": progress.text,
                        "seconds": progress.seconds,
                        "log": log.more(MAX_LOG_PART),
                    }
                    answer = mailbox.put.remote({"key": job.key, "phase": job.phase, "attempt": job.attempt, **letter})
                time.sleep(0.1)
        finally:
            executor.stop()
        outcome = ended[0]
        return {
            "status": outcome.status,
            "reason": f"{outcome.reason} (on {here})" if outcome.reason else "",
            "seconds": outcome.seconds,
            "log": _Log(folder / "log.txt").more(MAX_LOG),
            "host": here,
            "envelope": read_json(folder / "result.json") if outcome.status == "ok" else None,
            "weights": written.read_bytes() if written is not None and outcome.status == "ok" else None,
        }


def _name(job: Job) -> JobName:
    return job.key, job.phase, job.attempt


def _is_wanted(answer: Any) -> bool:
    """The mailbox's answer. If Ray restarts the mailbox, the job is still wanted; if it has died, the job is not."""
    try:
        return bool(ray.get(answer))
    except ActorDiedError:
        return False
    except RayError:
        return True


def _tidy_up() -> None:
    """Remove the job folders of supervisors on this machine that were killed before they removed them.

    Only folders that are at least a day old: another container may share this folder and still run the process.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        pid = path.name.removeprefix(FOLDERS).partition("-")[0]
        with contextlib.suppress(OSError):
            is_old = time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
            if is_old and pid.isdigit() and Path("/proc/self").exists() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(path, ignore_errors=True)


class _Log:
    """Reads a growing file in parts, each with its position."""

    def __init__(self, path: Path) -> None:
        self.path, self.read = path, 0

    def more(self, most: int) -> tuple[int, bytes]:
        begin = self.read
        try:
            with self.path.open("rb") as file:
                file.seek(begin)
                part = file.read(most)
        except OSError:
            part = b""
        self.read += len(part)
        return begin, part


@dataclass
class _Sent:
    job: Job
    log_start: int
    heard: dict[str, Any] | None = None
    missing_since: float | None = None
    reply: dict[str, Any] | None = None
    unsaved_since: float | None = None
    trouble: str = ""


def connect(address: str, token: str) -> dict[str, float]:
    """Connect this process to a cluster; returns the cluster's total resources.

    Args:
        address: `HOST:PORT` of the cluster's head; `auto`: the cluster that runs here; `local`: a new cluster on this
            machine, which ends with this process.
        token: the resource of the device that profiles; a local cluster offers it.

    Raises:
        SpecError: no cluster answers, or it has a different version of Ray or Python.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "jetbench"}
    if address == "local":
        options |= {"num_cpus": cores(), "resources": {token: 1}, "include_dashboard": False}
    try:
        if match := re.fullmatch(r"(?:ray://)?\[?([^/\]]+)\]?:(\d+)", address):
            socket.create_connection((match[1], int(match[2])), CONNECT_S).close()  # otherwise Ray tries for minutes
        elif address not in ("local", "auto"):
            raise ValueError("not an address of a cluster")
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        reason = (_first_line(error) or type(error).__name__).rstrip(".")
        raise SpecError(
            f"--ray {address}: {reason}. Start a cluster with `ray start --head` "
            "and give the address that it prints, or use --ray local"
        ) from None
    return dict(ray.cluster_resources())


class RayExecutor:
    """Runs jobs on a Ray cluster: trainings on CPUs or GPUs, a profile on a machine that has its device's token."""

    def __init__(self, training: Mapping[str, int], token: str, wait_s: float, worker: str = WORKER) -> None:
        """Use the cluster that this process is connected to (see `connect`).

        Args:
            training: the slots that one training needs.
            token: the resource of the device that profiles.
            wait_s: seconds that a job may wait for a resource that no machine of the cluster has.
            worker: the module that runs a job.
        """
        self._training, self._token, self._wait_s, self._worker = dict(training), token, wait_s, worker
        here = ray.get_runtime_context().get_node_id()
        near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
        self._mailbox = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).options(scheduling_strategy=near).remote()
        self._supervise = ray.remote(num_cpus=0, max_retries=0)(supervise)
        self._letters: Any = None
        self._sent: dict[Any, _Sent] = {}
        self._by_job: dict[JobName, _Sent] = {}
        self._nodes: list[dict[str, float]] = []
        self._asked = self._answered = time.monotonic() - CLUSTER_EVERY_S
        self._profiler: tuple[str, str] | None = None
        self._is_lost = False

    def _resources(self) -> list[dict[str, float]]:
        """The resources of each machine of the cluster, at most `CLUSTER_EVERY_S` old while the head answers.

        Raises:
            StudyError: the cluster's head has stopped answering.
        """
        now = time.monotonic()
        if now - self._asked >= CLUSTER_EVERY_S:
            self._asked = now
            # Try its port first: Ray would wait for a minute and then end this process.
            host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
            except OSError:
                if now - self._answered > HEAD_S:
                    self._is_lost = True
                    raise StudyError(
                        f"the head of the Ray cluster, {host}:{port}, has not answered for {HEAD_S:g} s. Finished rows "
                        "are kept: start it again, and repeat the command to continue"
                    ) from None
                return self._nodes
            self._answered = time.monotonic()
            self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return self._nodes

    @property
    def profiles_alone(self) -> bool:
        """See `Executor`: the device that profiles is a machine of its own."""
        return False

    @property
    def wave(self) -> int:
        """See `Executor`: profiles usually have a machine for themselves, so they do not wait for each other."""
        return 0

    @property
    def width(self) -> int:
        """See `Executor`: the number of training slots and profiling devices in the cluster now."""
        nodes = self._resources()
        needs = [(RAY_NAMES.get(name, name), count) for name, count in self._training.items()]
        fits = sum(min(int(node.get(name, 0) // count) for name, count in needs) for node in nodes)
        return max(1, fits + sum(int(node.get(self._token, 0)) for node in nodes))

    def submit(self, job: Job) -> None:
        """See `Executor`."""
        make_folder(job)
        write_request(job)
        (job.folder / "log.txt").touch()
        weights = None
        if job.request.file_to_read:
            weights = Path(job.request.file_to_read).read_bytes()
        needs = {RAY_NAMES.get(name, name): count for name, count in job.needs.items()}
        place = {"num_cpus": needs.pop("CPU", 0), "num_gpus": needs.pop("GPU", 0), "resources": needs}
        reference = self._supervise.options(name=f"{job.phase} {job.variant}", **place).remote(
            job, weights, pack_sources(), self._worker, VERSION, self._mailbox
        )
        sent = _Sent(job, (job.folder / "log.txt").stat().st_size)
        self._sent[reference] = self._by_job[_name(job)] = sent

    def poll(self) -> list[Outcome]:
        """See `Executor`."""
        nodes, now = self._resources(), time.monotonic()
        self._read_letters()
        ended = []
        waiting = [reference for reference, sent in self._sent.items() if sent.reply is None]
        ready = ray.wait(waiting, num_returns=len(waiting), timeout=0)[0] if waiting else []
        for reference in ready:
            self._sent[reference].reply = self._reply(reference)
        for reference, sent in list(self._sent.items()):
            if sent.reply is not None:
                outcome = self._save(sent, sent.reply)
            else:
                outcome = self._give_up(sent, nodes, now)
                if outcome is not None:
                    self._mailbox.call_off.remote(_name(sent.job))
            if outcome is not None:
                del self._sent[reference]
                self._by_job.pop(_name(sent.job), None)
                ended.append(outcome)
        return ended

    def _reply(self, reference: Any) -> dict[str, Any]:
        try:
            return dict(ray.get(reference))
        except OutOfMemoryError as error:
            status, reason = "oom", f"Ray ended it because its node ran out of memory:  {_first_line(error)}"
        except RayTaskError as error:
            # The supervisor failed, not the job: its machine lacks jetbench, or space for a folder.
            cause = error.cause if isinstance(error.cause, BaseException) else error
            status, reason = "unable", f"{type(cause).__name__}: {_first_line(cause)}"
        except RayError as error:
            status, reason = "lost", f"{type(error).__name__}: {_first_line(error)}"
        return {"status": status, "reason": reason, "seconds": 0.0, "log": (0, b"")}

    def _save(self, sent: _Sent, reply: dict[str, Any]) -> Outcome | None:
        """Write a job's log, weights and result to its folder on this machine; None while they cannot be written."""
        job, envelope, seconds = sent.job, reply.get("envelope"), reply["seconds"]
        try:
            _write_at(job.folder / "log.txt", sent.log_start, *reply["log"])
            reply["log"] = (0, b"")
            if reply.get("weights") is not None:
                file = Path(job.request.file_to_write or "")
                file.parent.mkdir(exist_ok=True)
                with replaced(file) as partial:
                    partial.write_bytes(reply["weights"])
            if envelope is not None:
                write_json(job.folder / "result.json", envelope)
        except OSError as error:
            sent.trouble = f"{job.folder}: {error.strerror}"
            sent.unsaved_since = sent.unsaved_since or time.monotonic()
            if time.monotonic() - sent.unsaved_since < self._wait_s:
                return None
            return Outcome(job, "unable", sent.trouble, None, seconds)
        if envelope is not None:
            if job.phase == "profile" and (other := self._other_profiler(envelope)):
                return Outcome(job, "error", other, None, seconds)
            return Outcome(job, "ok", "", envelope["result"], max(0.0, seconds - envelope.get("waited_s", 0.0)))
        return Outcome(job, reply["status"], reply["reason"], None, seconds)

    def _other_profiler(self, envelope: Mapping[str, Any]) -> str | None:
        """Why this profile is not comparable with the first one (another kind of machine); None if it is comparable."""
        environment = envelope["result"].get("environment", {})
        own = str(environment.get("device")), str(environment.get("cpu"))
        self._profiler = self._profiler or own
        if own == self._profiler:
            return None
        return (
            f"{envelope['host']} profiled it on {own[1]}, {own[0]}; the first profile was on {self._profiler[1]}, "
            f"{self._profiler[0]}: offer the token {self._token} only on machines of one kind"
        )

    def _give_up(self, sent: _Sent, nodes: list[dict[str, float]], now: float) -> Outcome | None:
        """The outcome of a job that has waited too long for a resource that no machine has; else None."""
        lacking = None if sent.heard else self._lacking(sent.job, nodes)
        sent.missing_since = (sent.missing_since or now) if lacking else None
        if sent.missing_since is None or now - sent.missing_since < self._wait_s:
            return None
        waited = f"{self._wait_s:g} s" if self._wait_s < 120 else f"{self._wait_s / 60:g} min"
        reason = f"waited {waited} for {lacking}, which no machine of the cluster has (--wait){hint(lacking)}"
        return Outcome(sent.job, "timeout", reason, None, 0.0)

    def _lacking(self, job: Job, nodes: list[dict[str, float]]) -> str | None:
        """The resource that the job needs and no machine of the cluster has; None if there is a machine for it."""
        for name, count in job.needs.items():
            if not any(node.get(RAY_NAMES.get(name, name), 0) >= count for node in nodes):
                return f"{count} {name}" if count > 1 else name
        return None

    def _read_letters(self) -> None:
        """Take the reports of jobs that have arrived, without waiting for more."""
        if self._letters is not None:
            if not ray.wait([self._letters], timeout=0)[0]:
                return
            with contextlib.suppress(RayError):  # Ray restarts the mailbox if its node was lost
                for letter in ray.get(self._letters):
                    self._take(letter)
        self._letters = self._mailbox.take.remote()

    def _take(self, letter: dict[str, Any]) -> None:
        sent = self._by_job.get((letter["key"], letter["phase"], letter["attempt"]))
        if sent is not None:
            sent.heard = letter
            with contextlib.suppress(OSError):
                _write_at(sent.job.folder / "log.txt", sent.log_start, *letter["log"])

    def running(self) -> list[Progress]:
        """See `Executor`."""
        nodes, reports = self._resources(), []
        for sent in self._sent.values():
            if sent.trouble:
                reports.append(Progress(sent.job, 1.0, f"its result cannot be written: {sent.trouble}", 0.0))
            elif sent.heard is not None:
                letter = sent.heard
                reports.append(Progress(sent.job, letter["share"], letter["text"], letter["seconds"]))
            else:
                lacking = self._lacking(sent.job, nodes)
                text = f"waiting for {lacking}: no machine of the cluster has it{hint(lacking)}" if lacking else QUEUED
                reports.append(Progress(sent.job, 0.0, text, 0.0, has_begun=False))
        return reports

    def stop(self) -> None:
        """See `Executor`; the connection stays open for the next executor."""
        try:
            if not self._is_lost:
                with contextlib.suppress(RayError, ValueError):
                    begun = ray.get(self._mailbox.close.remote(), timeout=GRACE_S)
                    left = [
                        reference
                        for reference, sent in self._sent.items()
                        if sent.reply is None and _name(sent.job) in begun
                    ]
                    if left:  # a node waits for its job as long as this machine would
                        ray.wait(left, num_returns=len(left), timeout=2 * GRACE_S)
        finally:
            self._sent.clear()
            self._by_job.clear()
            if not self._is_lost:
                with contextlib.suppress(RayError, ValueError):
                    ray.kill(self._mailbox)


def hint(lacking: str | None) -> str:
    """How to make a machine offer the missing resource; "" for CPUs and GPUs."""
    if not lacking or lacking.endswith(tuple(RAY_NAMES)):
        return ""
    return f"; on the machine that shall profile, run: ray start ... --resources='{{\"{lacking}\": 1}}'"


def _write_at(path: Path, start: int, begin: int, part: bytes) -> None:
    """Write a part of a log at its position; the attempt's log begins at byte `start`."""
    if part:
        with path.open("r+b") as file:
            file.seek(start + begin)
            file.write(part)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else ""
