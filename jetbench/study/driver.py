"""The one driver of a study: it asks a chooser, places jobs, writes down what lands, and resumes where it stopped.

A variant is trained, then profiled, each a job of its own. What has landed in records.jsonl is never run again;
Optuna's study is told the same.
"""

import contextlib
import hashlib
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from jetbench.errors import StorageError, StudyError
from jetbench.execution.executor import Executor, Job, Outcome, Progress, token_of
from jetbench.execution.job_folder import read_json
from jetbench.execution.requests import JobRequest, Phase, ProfileRequest, TrainReply, TrainRequest, UntrainedNetwork
from jetbench.files import digest_of
from jetbench.network.variants import Variant
from jetbench.records.folder import append_records, is_worth_a_retry, read_landed
from jetbench.records.record import (
    KEY_VERSION,
    RECORD_VERSION,
    DatasetInfo,
    Environment,
    Failure,
    Profile,
    Record,
    TrainingResult,
)
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import Floor
from jetbench.study.trials import Trials

READABLE_RESULTS = (2, RECORD_VERSION)  # versions whose results of jobs are read alike
MAX_ATTEMPTS = 2
MOST_RUNS = 3  # of a job that takes longer than trouble may last, and then meets it
POLL_S = 0.1
POLL_WHILE_PROFILING_S = 0.5
STORAGE_WAIT_S = 600.0
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
SPACE = 2**16  # bytes that must fit where it could not be written
TRAIN_AND_PROFILE: tuple[Phase, ...] = ("train", "profile")
FOUND: dict[Phase, str] = {"train": "training", "profile": "profile"}


class Chooser(Protocol):
    """Says which variants to run next, and learns from what lands."""

    phases: tuple[Phase, ...]
    """In which order a variant is trained and profiled; what is left out is not done."""

    def ask(self) -> Variant | None:
        """The next variant; None when there is none now: ask again when something has landed."""

    def stop(self, variant: Variant, profile: Profile | None) -> Failure | None:
        """Why a variant goes no further: asked before anything is run (no profile yet), and after its profile."""

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """What its training must reach to go on."""

    def learn(self, record: Record) -> None:
        """A variant that was asked for has landed, now or earlier."""


class View(Protocol):
    """Shows a person what the driver does."""

    def begin(self, total: int, landed: int) -> None:
        """The study begins, `landed` of its `total` variants being there already."""

    def show(self, landed: int, running: Sequence[Progress]) -> None:
        """The state now; called several times a second."""

    def land(self, record: Record, landed: int) -> None:
        """One more variant is done."""

    def note(self, text: str) -> None:
        """Something a person should know."""


@dataclass
class _Task:
    """A variant on its way through the study."""

    variant: Variant
    key: str
    attempts: dict[Phase, int] = field(default_factory=lambda: {"train": 0, "profile": 0})
    """How often each phase was begun; what a job is known by."""
    lost: dict[Phase, int] = field(default_factory=lambda: {"train": 0, "profile": 0})
    phase: Phase = "train"
    training: TrainingResult | None = None
    training_environment: Environment | None = None
    weights: str | None = None
    profile: Profile | None = None


def variant_key(variant: Variant, asked: Sweep | Search, dataset: DatasetInfo, device: str) -> str:
    """A variant's identity in a study: equal keys would give the same numbers, up to noise."""
    parts = [
        str(KEY_VERSION),
        variant.plan.fingerprint,
        dataset.model_dump_json(),
        variant.training.identity,
        asked.profiling.model_dump_json(),
        device,
    ]
    if variant.training.teacher is not None:
        with contextlib.suppress(OSError):  # not its path alone: another may stand there later
            parts.append(digest_of(Path(variant.training.teacher)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class Driver:
    """Places the jobs of what a chooser asks for, and keeps what lands. Whoever makes one holds the folder's lock.

    While the folder or the storage cannot be written to, no other network is asked for, and only jobs that were placed
    already begin; what has ended is kept and written down later.
    """

    def __init__(
        self,
        folder: Path,
        asked: Sweep | Search,
        chooser: Chooser,
        dataset: DatasetInfo,
        device: str,
        executor: Executor,
        view: View,
        trials: Trials | None = None,
        storage_wait_s: float = STORAGE_WAIT_S,
        check_folder: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.asked, self.chooser, self.dataset, self.device = folder, asked, chooser, dataset, device
        self.executor, self.view, self.trials, self._check_folder = executor, _Suppressed(view), trials, check_folder
        self.landed: dict[str, Record] = {}
        self._known: dict[str, Record] = {}
        self._busy: dict[str, _Task] = {}
        self._to_submit: deque[_Task] = deque()
        self._to_write: deque[Record] = deque()
        self._trouble = _Trouble(storage_wait_s)

    def recall(self, retry_failed: bool = False) -> set[str]:
        """Read what landed earlier, and will not be run again; returns its keys."""
        records = read_landed(self.folder)
        self._known = {r.key: r for r in records if not (retry_failed and is_worth_a_retry(r))}
        return set(self._known)

    def run(self) -> None:
        """Until the chooser has nothing more to ask for and all of it has landed; ends all jobs, however it ends.

        Raises:
            StudyError: what has ended could not be written down for too long.
        """
        try:
            for name in ("jobs", "weights"):
                (self.folder / name).mkdir(exist_ok=True)
            while True:
                is_written = self._write_down()
                asked = is_written and self._ask()
                if is_written:
                    self._submit_jobs()
                is_told = self.trials is None or not self.trials.is_behind
                if not (asked or self._busy or self._to_submit or self._to_write or self._trouble.is_there) and is_told:
                    return
                for outcome in self.executor.poll():
                    self._receive(outcome)
                running = self.executor.running()
                self.view.show(len(self.landed), running)
                is_profiling = any(progress.job.phase == "profile" and progress.has_begun for progress in running)
                time.sleep(POLL_WHILE_PROFILING_S if is_profiling else POLL_S)
        except KeyboardInterrupt:
            self.view.note("stopping: jobs have a few seconds to end")
            raise
        finally:
            try:
                with contextlib.suppress(OSError):
                    self._write_records()  # what ended as this was stopped
            finally:
                self.executor.stop()

    def _write_down(self) -> bool:
        """Write all that has ended; says whether that could be done."""
        if not self._trouble.may_try():
            return False
        try:
            if self._trouble.is_there:
                self._try_folder()
            if self.trials is not None:
                self.trials.flush()  # first: who has lost the study to another driver writes nothing
            self._write_records()
            if self.trials is not None:
                self.trials.flush()
        except StorageError as error:
            self._meet_trouble(None, str(error))
            return False
        except OSError as error:
            self._meet_trouble(None, f"{error.filename or self.folder}: {error.strerror}")
            return False
        if self._trouble.is_there:
            self._trouble.pass_by()
            self.view.note("it can be written to again; going on")
        return True

    def _write_records(self) -> None:
        while self._to_write:
            record = self._to_write[0]
            self._check_folder()
            append_records(self.folder, record)
            self._to_write.popleft()
            self._trouble.forget()
            with contextlib.suppress(OSError):
                # A row has it now; measured anew where that row is tried again.
                (self._job_folder(record.key, "profile") / "result.json").unlink()
            self.landed[record.key] = record
            self.chooser.learn(record)
            self.view.land(record, len(self.landed))

    def _try_folder(self) -> None:
        self._check_folder()
        path = self.folder / ".space"
        try:
            path.write_bytes(bytes(SPACE))
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def _meet_trouble(self, job: str | None, reason: str) -> None:
        """Wait, and say so once; give up after a while."""
        if self._trouble.meet(job):
            minutes = self._trouble.limit
            self.view.note(
                f"{reason}. What has ended is kept, and no other network is asked for; trying again for up to {minutes}"
            )
        if self._trouble.why_hopeless:
            kept = f"; {len(self._to_write)} rows wait" if self._to_write else ""
            raise StudyError(
                f"{reason}{kept}. {self._trouble.why_hopeless}. No row is lost: when it is mended, the same command "
                "goes on from there"
            )

    def _ask(self) -> bool:
        """Ask for variants while there is room; says whether something was asked for."""
        asked = False
        while self._under_way() < self.executor.width:
            variant = self.chooser.ask()
            if variant is None:
                break
            asked = True
            task = _Task(variant, variant_key(variant, self.asked, self.dataset, self.device))
            if task.key in self.landed or task.key in self._known:
                record = self.landed.get(task.key) or self._known[task.key]
                self.landed[task.key] = record
                self.chooser.learn(record)
            elif failure := self.chooser.stop(variant, None):
                self._land(task, failure)
                if not self._write_down():
                    break
            else:
                self._advance(task)
        return asked

    def _under_way(self) -> int:
        """Variants that are asked for and have not landed, but for a wave of those whose profile may wait."""
        tasks = [*self._busy.values(), *self._to_submit]
        patient = sum(self._may_wait(task) for task in tasks)
        return len(tasks) + len(self._to_write) - min(patient, self.executor.wave)

    def _may_wait(self, task: _Task) -> bool:
        """Is it a profile of a sweep's trained network? Nothing is chosen by it, so it can wait for others."""
        return task.phase == "profile" and isinstance(self.asked, Sweep) and self.chooser.phases[0] == "train"

    def _advance(self, task: _Task) -> None:
        """On to the next phase of a variant, or it lands; what an earlier driver saw end is taken over."""
        while True:
            phase = next((s for s in self.chooser.phases if getattr(task, FOUND[s]) is None), None)
            if phase is None:
                stopped = task.training.stopped if task.training else None
                self._land(task, Failure(phase="train", status="stopped", reason=stopped) if stopped else None)
                return
            if phase != self.chooser.phases[0] and task.training is None:
                failure = self.chooser.stop(task.variant, task.profile)
                if failure is not None:
                    self._land(task, failure)
                    return
            if not self._adopt(task, phase):
                task.phase = phase
                self._to_submit.append(task)
                return

    def _adopt(self, task: _Task, phase: Phase) -> bool:
        """Take over the result of a job that ended well before the last driver did, if there is one of this version."""
        told = read_json(self._job_folder(task.key, phase) / "result.json")
        if told is None or told.get("records") not in READABLE_RESULTS:
            return False
        if phase == "train" and not self._weights_file(task).is_file():
            return False
        return self._keep(task, phase, told.get("result"))

    def _keep(self, task: _Task, phase: Phase, result: Any) -> bool:
        """Keep what a job found; says whether it is what such a job finds."""
        try:
            if phase == "train":
                reply = TrainReply.model_validate(result)
                task.training, task.training_environment = reply.training, reply.environment
                task.weights = reply.weights
            else:
                task.profile = Profile.model_validate(result)
        except (ValueError, TypeError, KeyError):
            return False
        return True

    def _submit_jobs(self) -> None:
        """Hand over what is to run: profiles first, for their trainings are paid for, but last those that may wait."""
        for task in sorted(self._to_submit, key=lambda task: (self._may_wait(task), task.phase != "profile")):
            phase = task.phase
            config = task.variant.training if phase == "train" else self.asked.profiling
            job = Job(
                key=task.key,
                variant=task.variant.name,
                folder=self._job_folder(task.key, phase),
                request=self._request(phase, task),
                threads=config.threads,
                timeout_s=self.asked.timeout_s,
                needs=self._needs(phase, config.threads),
                attempt=task.attempts[phase] + 1,
                memory_bytes=self.asked.memory_limit,
                may_wait=self._may_wait(task),
            )
            try:
                if phase == "train" and self.chooser.phases[0] == "train":
                    # A profile of other weights would not be this one's.
                    (self._job_folder(task.key, "profile") / "result.json").unlink(missing_ok=True)
                self._check_folder()
                self.executor.submit(job)
            except OSError as error:
                self._meet_trouble(None, f"{job.folder}: {error.strerror}")
                return
            self._to_submit.remove(task)
            task.attempts[phase] += 1
            self._busy[task.key] = task

    def _needs(self, phase: Phase, threads: int) -> dict[str, int]:
        if phase == "profile":
            return {token_of(self.asked.board): 1}
        return {"gpu": 1} if self.device == "cuda" else {"cpu": threads}

    def _job_folder(self, key: str, phase: Phase) -> Path:
        return self.folder / "jobs" / f"{key}-{phase}"

    def _weights_file(self, task: _Task) -> Path:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", task.variant.name).strip("-")[:60]
        return self.folder / "weights" / f"{slug}-{task.key}.safetensors"

    def _request(self, phase: Phase, task: _Task) -> JobRequest:
        weights_file, variant = str(self._weights_file(task).resolve()), task.variant
        if phase == "train":
            return JobRequest(
                train=TrainRequest(
                    architecture=variant.architecture,
                    dataset=self.asked.dataset,
                    digest=self.dataset.digest,
                    training=variant.training,
                    device=self.device,
                    weights_file=weights_file,
                    floors=self.chooser.floors(variant, task.profile),
                )
            )
        is_trained = self.chooser.phases[0] == "train"
        untrained = UntrainedNetwork(
            architecture=variant.architecture, num_classes=self.dataset.num_classes, input_size=self.dataset.size
        )
        return JobRequest(
            profile=ProfileRequest(
                weights_file=weights_file if is_trained else None,
                fingerprint=variant.plan.fingerprint if is_trained else None,
                untrained=None if is_trained else untrained,
                profiling=self.asked.profiling,
                device=self.device,
                board=self.asked.board,
            )
        )

    def _receive(self, outcome: Outcome) -> None:
        job, phase = outcome.job, outcome.job.phase
        task = self._busy.get(job.key)
        if task is None or (task.phase, task.attempts[phase]) != (phase, job.attempt):
            self.view.note(f"{job.variant}: a late {outcome.status} of its {phase}, attempt {job.attempt}, is dropped")
            return
        del self._busy[job.key]
        if outcome.status == "unable":
            self._to_submit.appendleft(task)
            self._meet_trouble(f"{phase} {job.key}", outcome.reason)
        elif outcome.status == "lost" and task.lost[phase] < MAX_ATTEMPTS - 1:
            task.lost[phase] += 1
            self.view.note(f"{task.variant.name}: {phase} lost ({outcome.reason}); trying once more")
            self._to_submit.appendleft(task)
        elif outcome.result is None:
            self._land(task, Failure(phase=phase, status=outcome.status, reason=outcome.reason))
        elif self._keep(task, phase, outcome.result):
            self._advance(task)
        else:
            reason = "its result is not one of this version of jetbench"
            self._land(task, Failure(phase=phase, status="error", reason=reason))

    def _land(self, task: _Task, failure: Failure | None) -> None:
        self._to_write.append(
            Record(
                key=task.key,
                variant=task.variant.name,
                also_named=task.variant.also_named,
                changes=task.variant.changes,
                architecture=task.variant.architecture,
                fingerprint=task.variant.plan.fingerprint,
                dataset=self.dataset,
                training_config=task.variant.training,
                profiling_config=self.asked.profiling,
                training=task.training,
                training_environment=task.training_environment,
                weights=task.weights,
                profile=task.profile,
                failure=failure,
                finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
        )


class _Suppressed:
    """A view whose output may go to a full disk too: that ends no study."""

    def __init__(self, view: View) -> None:
        self._view = view

    def show(self, landed: int, running: Sequence[Progress]) -> None:
        with contextlib.suppress(OSError):
            self._view.show(landed, running)

    def land(self, record: Record, landed: int) -> None:
        with contextlib.suppress(OSError):
            self._view.land(record, landed)

    def note(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._view.note(text)


class _Trouble:
    """Something that must be written to cannot be: since when, and when to try again.

    It counts as the same trouble until a record could be written, or nothing met it for as long as it may last. A job
    that takes longer than that until it meets it is not run for ever either.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.is_there = False
        self._since: float | None = None
        self._last_met: dict[str, float] = {}
        self._met_again: Counter[str] = Counter()
        self._tries, self._next, self._passed = 0, 0.0, 0.0

    @property
    def limit(self) -> str:
        """As a person writes it."""
        return f"{self.limit_s:g} s" if self.limit_s < 120 else f"{self.limit_s / 60:g} min"

    def meet(self, job: str | None = None) -> bool:
        """It is there, for a job that was run or for the driver itself; says whether it was not."""
        now, was_there = time.monotonic(), self.is_there
        if not was_there and self._since is not None and now - self._passed > self.limit_s:
            self._since, self._tries = None, 0  # of long ago, and not the same any more
        if job is not None:
            if now - self._last_met.get(job, now) > self.limit_s:
                self._met_again[job] += 1
            self._last_met[job] = now
        self.is_there = True
        if self._since is None:
            self._since = now
        if not was_there or now >= self._next:  # many jobs may meet it at once: that is one try
            self._next = now + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._tries, 10), self.limit_s / 4)
            self._tries += 1
        return not was_there

    def may_try(self) -> bool:
        """Is it time to try again?"""
        return not self.is_there or time.monotonic() >= self._next

    @property
    def why_hopeless(self) -> str | None:
        """Has it lasted too long, or does a job always meet it? None if neither."""
        if self._since is not None and time.monotonic() - self._since > self.limit_s:
            return f"This has lasted for {self.limit}"
        if max(self._met_again.values(), default=0) >= MOST_RUNS - 1:
            return f"It was met in {MOST_RUNS} long runs of one job"
        return None

    def pass_by(self) -> None:
        """It is not there now."""
        self.is_there, self._passed = False, time.monotonic()

    def forget(self) -> None:
        """A record could be written: the next trouble is another one."""
        self._since, self._tries = None, 0
        self._last_met.clear()
        self._met_again.clear()
