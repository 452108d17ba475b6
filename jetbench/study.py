"""Many records: the one driver of a study. It owns study.db and records.jsonl, places jobs, resumes where it stopped.

A variant is trained, then profiled, each a job of its own. Trainings may run beside each other; a profile never runs
beside anything. What has landed in records.jsonl is never run again; Optuna's study in study.db is told the same.
"""

import fcntl
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import yaml

from jetbench.errors import StudyError
from jetbench.execution.executor import Executor, Job, Outcome, Progress, Stage
from jetbench.experiment import Floor, Search, Sweep
from jetbench.record import RECORD_VERSION, DatasetInfo, Environment, Failure, Profile, Record, TrainingResult
from jetbench.spec import read_yaml
from jetbench.sweep import Variant
from jetbench.trials import RECORDS, sweep_trials

MAX_ATTEMPTS = 2
POLL_S = 0.1
POLL_WHILE_PROFILING_S = 0.5
# What a sweep may say differently on resume: it moves no number. Variants are told apart by their keys.
# A search may go on with more trainings, and train its front otherwise.
FREE_TO_CHANGE = ("description:", "timeout_s:", "variants:", "include_base:", "trainings:", "final.")
SWEEP, LOCK = "sweep.yaml", ".lock"


TRAIN_AND_PROFILE: tuple[Stage, ...] = ("train", "profile")


class Chooser(Protocol):
    """Says which variants to run next, and learns from what lands."""

    stages: tuple[Stage, ...]
    """In which order a variant is trained and profiled; what is left out is not done."""

    def ask(self) -> Variant | None:
        """The next variant; None when there is none now: ask again when something has landed."""

    def stop(self, variant: Variant, profile: Profile | None) -> Failure | None:
        """Why a variant goes no further: asked before anything is run (no profile yet), and after its profile."""

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """What its training must reach to go on."""

    def learn(self, record: Record) -> None:
        """A variant that was asked for has landed, now or earlier."""


class Listed:
    """The chooser of a sweep: every variant of a list, in its order."""

    def __init__(
        self, variants: Sequence[Variant], tell: Callable[[Record], None], stages: tuple[Stage, ...] = TRAIN_AND_PROFILE
    ) -> None:
        self._waiting, self._tell, self.stages = iter(variants), tell, stages

    def ask(self) -> Variant | None:
        """See `Chooser`."""
        return next(self._waiting, None)

    def stop(self, variant: Variant, profile: Profile | None) -> None:
        """See `Chooser`."""
        return

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """See `Chooser`."""
        return ()

    def learn(self, record: Record) -> None:
        """See `Chooser`."""
        self._tell(record)


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
    attempts: dict[Stage, int] = field(default_factory=lambda: {"train": 0, "profile": 0})
    training: TrainingResult | None = None
    training_environment: Environment | None = None
    profile: Profile | None = None


def variant_key(variant: Variant, asked: Sweep | Search, dataset: DatasetInfo, device: str) -> str:
    """A variant's identity in a study: equal keys would give the same numbers, up to noise."""
    parts = [
        str(RECORD_VERSION),
        variant.plan.fingerprint,
        dataset.model_dump_json(),
        variant.training.identity,
        asked.profiling.model_dump_json(),
        device,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def run_study(
    folder: Path,
    sweep: Sweep,
    variants: Sequence[Variant],
    dataset: DatasetInfo,
    device: str,
    executor: Executor,
    view: View,
    parallel: int = 1,
    retry_failed: bool = False,
    stages: tuple[Stage, ...] = TRAIN_AND_PROFILE,
) -> list[Record]:
    """Run what has not landed yet, and return the records of all variants in their order.

    Args:
        folder: the report folder; made if it does not exist.
        sweep: as it runs, overrides included; kept as sweep.yaml and compared on resume.
        variants: from `expand_sweep`.
        dataset: what the variants learn from.
        device: torch device of all jobs.
        executor: who runs the jobs; stopped before this returns or raises.
        view: who is shown the progress.
        parallel: trainings that may run beside each other.
        retry_failed: run again what has landed as a failure.
        stages: what is done with each variant.

    Raises:
        StudyError: another driver has the folder, or it holds another sweep.
        KeyboardInterrupt: after the jobs were stopped; the same call goes on from there.
    """
    with lock_folder(folder):
        keep_sweep(folder, sweep)
        keys = [variant_key(variant, sweep, dataset, device) for variant in variants]
        tell = sweep_trials(folder, sweep.name, dict(zip(keys, variants, strict=True)))
        driver = Driver(folder, sweep, Listed(variants, tell, stages), dataset, device, executor, view, parallel)
        known = driver.recall(retry_failed)
        view.begin(len(variants), len(known.intersection(keys)))
        driver.run()
        return [driver.landed[key] for key in keys]


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Be the folder's only driver; the lock goes when the process does, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StudyError(f"{folder}: cannot write here ({error.strerror}); choose another --reports folder") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode(errors="replace").strip() or "unknown"
            raise StudyError(
                f"{folder}: another driver is running this study ({owner}); wait for it, stop it, or use another --name"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(descriptor)


def keep_sweep(folder: Path, sweep: Sweep | Search) -> None:
    """Write sweep.yaml on the first run; later, refuse a sweep that is not the one the folder holds."""
    path = folder / SWEEP
    asked = sweep.model_dump(mode="json")
    kind = "search" if isinstance(sweep, Search) else "sweep"
    if path.exists():
        held = read_yaml(path)
        differences = [f"  {line}" for line in _differences("", held, asked) if not line.startswith(FREE_TO_CHANGE)]
        if differences:
            raise StudyError(
                f"{folder}: holds another {kind}; rows of both in one table would not compare. It differs in\n"
                + "\n".join(differences[:8])
                + "\nUse --name for a new folder, or remove this one."
            )
        if held == asked:
            return
    partial = path.with_suffix(".partial")
    partial.write_text(yaml.safe_dump(asked, sort_keys=False, allow_unicode=True))
    partial.replace(path)


def _differences(where: str, held: object, asked: object) -> Iterator[str]:
    if isinstance(held, dict) and isinstance(asked, dict):
        for key in [*held, *(key for key in asked if key not in held)]:
            yield from _differences(f"{where}.{key}".lstrip("."), held.get(key), asked.get(key))
    elif held != asked:
        yield f"{where}: there {held!r}, asked {asked!r}"


def read_records(folder: Path) -> list[Record]:
    """All records of a folder, a later one for the same variant replacing an earlier one.

    A last line without its end was being written when the driver was killed; it is no record.

    Raises:
        StudyError: a line is no record of this version.
    """
    path = folder / RECORDS
    if not path.exists():
        return []
    found: dict[str, Record] = {}
    *lines, _ = path.read_text().split("\n")
    for number, line in enumerate(lines, 1):
        try:
            raw = json.loads(line)
        except ValueError:
            raise StudyError(f"{path}:{number}: not JSON; delete this line, the other rows are kept") from None
        try:
            record = Record.model_validate(raw)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise StudyError(
                f"{path}:{number}: not a record of version {RECORD_VERSION} ({reason}); another version of jetbench "
                "wrote it: use that one, or a new --name"
            ) from None
        found.pop(record.key, None)
        found[record.key] = record
    return list(found.values())


def landed_records(
    folder: Path, sweep: Sweep, variants: Sequence[Variant], dataset: DatasetInfo, device: str
) -> list[Record]:
    """The records of exactly these variants, this data and this device, in the variants' order."""
    found = {record.key: record for record in read_records(folder)}
    keys = [variant_key(variant, sweep, dataset, device) for variant in variants]
    return [found[key] for key in keys if key in found]


def is_worth_a_retry(record: Record) -> bool:
    """Did it fail, and not just end early or stay out because of a limit?"""
    return record.failure is not None and record.failure.status not in ("stopped", "over a limit")


def append_record(folder: Path, record: Record) -> None:
    """Add one line, all of it on disk before this returns."""
    path = folder / RECORDS
    with path.open("ab+") as file:
        # A killed driver may have left half a line; it goes, the line's job will have run again.
        content_end = file.seek(0, os.SEEK_END)
        while content_end > 0:
            file.seek(content_end - 1)
            if file.read(1) == b"\n":
                break
            content_end -= 1
        file.truncate(content_end)
        file.write(record.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


class Driver:
    """Places the jobs of what a chooser asks for, and keeps what lands. Whoever makes one holds the folder's lock."""

    def __init__(
        self,
        folder: Path,
        asked: Sweep | Search,
        chooser: Chooser,
        dataset: DatasetInfo,
        device: str,
        executor: Executor,
        view: View,
        parallel: int,
    ) -> None:
        self.folder, self.asked, self.chooser, self.dataset, self.device = folder, asked, chooser, dataset, device
        self.executor, self.view, self.parallel = executor, view, max(1, parallel)
        self.landed: dict[str, Record] = {}
        self.to_train: list[_Task] = []
        self.to_profile: list[_Task] = []
        self.busy: dict[str, _Task] = {}
        self._known: dict[str, Record] = {}

    def recall(self, retry_failed: bool = False) -> set[str]:
        """Read what landed earlier, and will not be run again; returns its keys."""
        records = read_records(self.folder)
        self._known = {r.key: r for r in records if not (retry_failed and is_worth_a_retry(r))}
        return set(self._known)

    def run(self) -> None:
        """Until the chooser has nothing more to ask for and all of it has landed; ends all jobs, however it ends."""
        try:
            while self._ask() or self.to_train or self.to_profile or self.busy:
                profiling = self._start_jobs()
                for outcome in self.executor.poll():
                    self._receive(outcome)
                self.view.show(len(self.landed), self.executor.running())
                time.sleep(POLL_WHILE_PROFILING_S if profiling else POLL_S)
        finally:
            self.executor.stop()

    def _ask(self) -> bool:
        """Ask for variants while slots are free; says whether something was asked for."""
        asked = False
        while len(self.to_train) + len(self.to_profile) + len(self.busy) < self.parallel:
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
            elif self.chooser.stages[0] == "profile":
                self.to_profile.append(task)
            elif self._adopt_training(task):
                self._advance(task)
            else:
                self.to_train.append(task)
        return asked

    def _start_jobs(self) -> bool:
        """Start what may run now; says whether a profile is running."""
        stages = [progress.job.stage for progress in self.executor.running()]
        if "profile" in stages:
            return True
        if self.to_profile:
            # No new training while a profile waits: it is let alone as soon as those under way have ended.
            if not stages:
                self._submit("profile", self.to_profile.pop(0))
                return True
            return False
        while self.to_train and len(stages) < self.parallel:
            self._submit("train", self.to_train.pop(0))
            stages.append("train")
        return False

    def _submit(self, stage: Stage, task: _Task) -> None:
        task.attempts[stage] += 1
        self.busy[task.key] = task
        config = task.variant.training if stage == "train" else self.asked.profiling
        self.executor.submit(
            Job(
                key=task.key,
                stage=stage,
                variant=task.variant.name,
                folder=self._job_folder(task, stage),
                request={"stage": stage, stage: self._request(stage, task)},
                threads=config.threads,
                timeout_s=self.asked.timeout_s,
            )
        )

    def _job_folder(self, task: _Task, stage: Stage) -> Path:
        return self.folder / "jobs" / f"{task.key}-{stage}"

    def _weights_file(self, task: _Task) -> Path:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", task.variant.name).strip("-")[:60]
        return self.folder / "weights" / f"{slug}-{task.key[:6]}.safetensors"

    def _request(self, stage: Stage, task: _Task) -> dict[str, Any]:
        weights_file, variant = str(self._weights_file(task).resolve()), task.variant
        if stage == "train":
            floors = self.chooser.floors(variant, task.profile)
            return {
                "architecture": variant.architecture.model_dump(mode="json"),
                "dataset": self.asked.dataset.model_dump(mode="json"),
                "training": variant.training.model_dump(mode="json"),
                "device": self.device,
                "weights_file": weights_file,
                "floors": [floor.model_dump(mode="json") for floor in floors],
            }
        network: dict[str, Any] = {"weights_file": weights_file}
        if self.chooser.stages[0] == "profile":
            network = {
                "untrained": {
                    "architecture": variant.architecture.model_dump(mode="json"),
                    "num_classes": self.dataset.num_classes,
                    "input_size": self.dataset.size,
                }
            }
        return {**network, "profiling": self.asked.profiling.model_dump(mode="json"), "device": self.device}

    def _adopt_training(self, task: _Task) -> bool:
        """Take over a training that ended before the last driver did."""
        path = self._job_folder(task, "train") / "result.json"
        if not path.is_file() or not self._weights_file(task).is_file():
            return False
        self._keep_training(task, json.loads(path.read_text()))
        return True

    def _keep_training(self, task: _Task, reply: dict[str, Any]) -> None:
        task.training = TrainingResult.model_validate(reply["training"])
        task.training_environment = Environment.model_validate(reply["environment"])

    def _receive(self, outcome: Outcome) -> None:
        task, stage = self.busy.pop(outcome.job.key), outcome.job.stage
        if outcome.status == "lost" and task.attempts[stage] < MAX_ATTEMPTS:
            self.view.note(f"{task.variant.name}: {stage} lost ({outcome.reason}); trying once more")
            (self.to_train if stage == "train" else self.to_profile).insert(0, task)
            return
        if outcome.result is None:
            self._land(task, Failure(stage=stage, status=outcome.status, reason=outcome.reason))
            return
        if stage == "train":
            self._keep_training(task, outcome.result)
        else:
            task.profile = Profile.model_validate(outcome.result)
        self._advance(task)

    def _advance(self, task: _Task) -> None:
        """One stage of a variant has ended well: on to the other one, or it lands."""
        profile_first = self.chooser.stages[0] == "profile"
        if task.training is None:
            failure = self.chooser.stop(task.variant, task.profile)
            if failure is not None:
                self._land(task, failure)
            elif profile_first and self._adopt_training(task):
                self._advance(task)
            else:
                self.to_train.append(task)
        elif task.profile is None and "profile" in self.chooser.stages:
            self.to_profile.append(task)
        else:
            stopped = task.training.stopped
            self._land(task, Failure(stage="train", status="stopped", reason=stopped) if stopped else None)

    def _land(self, task: _Task, failure: Failure | None) -> None:
        record = Record(
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
            profile=task.profile,
            failure=failure,
            finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        append_record(self.folder, record)
        self.landed[task.key] = record
        self.chooser.learn(record)
        self.view.land(record, len(self.landed))
