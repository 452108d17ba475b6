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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import yaml

from jetbench.errors import StudyError
from jetbench.execution.executor import Executor, Job, Outcome, Progress, Stage
from jetbench.experiment import Sweep
from jetbench.record import RECORD_VERSION, DatasetInfo, Environment, Failure, Profile, Record, TrainingResult
from jetbench.spec import read_yaml
from jetbench.sweep import Variant
from jetbench.trials import RECORDS, Trials

MAX_ATTEMPTS = 2
POLL_S = 0.1
POLL_WHILE_PROFILING_S = 0.5
# What a sweep may say differently on resume: it moves no number. Variants are told apart by their keys.
FREE_TO_CHANGE = ("description:", "timeout_s:", "variants:", "include_base:")
SWEEP, LOCK = "sweep.yaml", ".lock"


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


def variant_key(variant: Variant, sweep: Sweep, dataset: DatasetInfo, device: str) -> str:
    """A variant's identity in a study: equal keys would give the same numbers, up to noise."""
    parts = [
        str(RECORD_VERSION),
        variant.plan.fingerprint,
        dataset.model_dump_json(),
        variant.training.identity,
        sweep.profiling.model_dump_json(),
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

    Raises:
        StudyError: another driver has the folder, or it holds another sweep.
        KeyboardInterrupt: after the jobs were stopped; the same call goes on from there.
    """
    with lock_folder(folder):
        keep_sweep(folder, sweep)
        driver = _Driver(folder, sweep, variants, dataset, device, executor, view, parallel, retry_failed)
        try:
            driver.run()
        finally:
            executor.stop()
        return [driver.landed[task.key] for task in driver.tasks]


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


def keep_sweep(folder: Path, sweep: Sweep) -> None:
    """Write sweep.yaml on the first run; later, refuse a sweep that is not the one the folder holds."""
    path = folder / SWEEP
    asked = sweep.model_dump(mode="json")
    if path.exists():
        held = read_yaml(path)
        differences = [f"  {line}" for line in _differences("", held, asked) if not line.startswith(FREE_TO_CHANGE)]
        if differences:
            raise StudyError(
                f"{folder}: holds another sweep; rows of both in one table would not compare. It differs in\n"
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


class _Driver:
    def __init__(
        self,
        folder: Path,
        sweep: Sweep,
        variants: Sequence[Variant],
        dataset: DatasetInfo,
        device: str,
        executor: Executor,
        view: View,
        parallel: int,
        retry_failed: bool,
    ) -> None:
        self.folder, self.sweep, self.dataset, self.device = folder, sweep, dataset, device
        self.executor, self.view, self.parallel = executor, view, max(1, parallel)
        self.tasks = [_Task(variant, variant_key(variant, sweep, dataset, device)) for variant in variants]
        self.landed = {record.key: record for record in landed_records(folder, sweep, variants, dataset, device)}
        if retry_failed:
            self.landed = {key: record for key, record in self.landed.items() if record.failure is None}
        self.trials = Trials(folder, sweep.name, {task.key: task.variant for task in self.tasks})
        self.to_train: list[_Task] = []
        self.to_profile: list[_Task] = []
        self.busy: dict[str, _Task] = {}

    def run(self) -> None:
        """Until every variant has landed."""
        self.view.begin(len(self.tasks), len(self.landed))
        for task in self.tasks:
            if task.key in self.landed:
                self.trials.tell(self.landed[task.key])
            elif self._adopt_training(task):
                self.to_profile.append(task)
            else:
                self.to_train.append(task)
        while len(self.landed) < len(self.tasks):
            profiling = self._start_jobs()
            for outcome in self.executor.poll():
                self._receive(outcome)
            self.view.show(len(self.landed), self.executor.running())
            time.sleep(POLL_WHILE_PROFILING_S if profiling else POLL_S)

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
        config = task.variant.training if stage == "train" else self.sweep.profiling
        self.executor.submit(
            Job(
                key=task.key,
                stage=stage,
                variant=task.variant.name,
                folder=self._job_folder(task, stage),
                request={"stage": stage, stage: self._request(stage, task)},
                threads=config.threads,
                timeout_s=self.sweep.timeout_s,
            )
        )

    def _job_folder(self, task: _Task, stage: Stage) -> Path:
        return self.folder / "jobs" / f"{task.key}-{stage}"

    def _weights_file(self, task: _Task) -> Path:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", task.variant.name).strip("-")[:60]
        return self.folder / "weights" / f"{slug}-{task.key[:6]}.safetensors"

    def _request(self, stage: Stage, task: _Task) -> dict[str, Any]:
        weights_file = str(self._weights_file(task).resolve())
        if stage == "profile":
            profiling = self.sweep.profiling.model_dump(mode="json")
            return {"weights_file": weights_file, "profiling": profiling, "device": self.device}
        return {
            "architecture": task.variant.architecture.model_dump(mode="json"),
            "dataset": self.sweep.dataset.model_dump(mode="json"),
            "training": task.variant.training.model_dump(mode="json"),
            "device": self.device,
            "weights_file": weights_file,
        }

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
        elif outcome.result is None:
            self._land(task, None, Failure(stage=stage, status=outcome.status, reason=outcome.reason))
        elif stage == "train":
            self._keep_training(task, outcome.result)
            self.to_profile.append(task)
        else:
            self._land(task, Profile.model_validate(outcome.result), None)

    def _land(self, task: _Task, profile: Profile | None, failure: Failure | None) -> None:
        record = Record(
            key=task.key,
            variant=task.variant.name,
            also_named=task.variant.also_named,
            changes=task.variant.changes,
            architecture=task.variant.architecture,
            fingerprint=task.variant.plan.fingerprint,
            dataset=self.dataset,
            training_config=task.variant.training,
            profiling_config=self.sweep.profiling,
            training=task.training,
            training_environment=task.training_environment,
            profile=profile,
            failure=failure,
            finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        append_record(self.folder, record)
        self.landed[task.key] = record
        self.trials.tell(record)
        self.view.land(record, len(self.landed))
