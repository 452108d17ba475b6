"""Jobs of a study: a variant's key, its results so far, and its next job."""

import contextlib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from jetbench.execution.executor import Job, token_of
from jetbench.execution.requests import (
    JobRequest,
    Phase,
    ProfileReply,
    ProfileRequest,
    TrainReply,
    TrainRequest,
    UntrainedNetwork,
)
from jetbench.files import digest_of
from jetbench.network.variants import Variant
from jetbench.records.record import (
    KEY_VERSION,
    DatasetInfo,
    Environment,
    Failure,
    FormProfile,
    Profile,
    Record,
    TrainingResult,
)
from jetbench.spec.profiling import Form, ProfilingConfig, settings_of
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import Floor


@dataclass
class Task:
    """A variant on its way through the study."""

    variant: Variant
    key: str
    attempts: dict[Phase, int] = field(default_factory=lambda: {"train": 0, "profile": 0})
    """Number of attempts of each phase. With the key and the phase it identifies a job."""
    lost: dict[Phase, int] = field(default_factory=lambda: {"train": 0, "profile": 0})
    phase: Phase = "train"
    training: TrainingResult | None = None
    training_environment: Environment | None = None
    weights: str | None = None
    profile: Profile | None = None
    forms: tuple[Profile, ...] = ()
    """Its profiles in the other forms of the study."""
    seconds: dict[Phase, float] = field(default_factory=dict)
    """How long the job of each finished phase took."""

    def has(self, phase: Phase) -> bool:
        """True if that phase has a result."""
        return (self.training if phase == "train" else self.profile) is not None

    def keep(self, phase: Phase, result: object) -> bool:
        """Keep a job's result; False if the result is not valid for that phase."""
        try:
            if phase == "train":
                reply = TrainReply.model_validate(result)
                self.training, self.training_environment, self.weights = (
                    reply.training,
                    reply.environment,
                    reply.weights,
                )
            elif isinstance(result, dict) and "forms" in result:
                both = ProfileReply.model_validate(result)
                self.profile, self.forms = both.profile, both.forms
            else:
                self.profile = Profile.model_validate(result)
        except ValueError:
            return False
        return True

    def take_training(self, record: Record) -> None:
        """Keep the training of an earlier record of this variant, so that only its profile is made again."""
        self.training, self.training_environment = record.training, record.training_environment
        self.weights, self.seconds = record.weights, {k: s for k, s in record.job_seconds.items() if k == "train"}

    def to_record(
        self,
        dataset: DatasetInfo,
        profiling: ProfilingConfig,
        failure: Failure | None,
        forms: Sequence[ProfilingConfig] = (),
    ) -> Record:
        """The record of a variant that has finished or failed; `forms` are the settings of its other profiles."""
        profiles = zip(forms, self.forms, strict=True) if self.forms else ()
        return Record(
            key=self.key,
            variant=self.variant.name,
            also_named=self.variant.also_named,
            changes=self.variant.changes,
            architecture=self.variant.architecture,
            fingerprint=self.variant.plan.fingerprint,
            dataset=dataset,
            training_config=self.variant.training,
            profiling_config=profiling,
            training=self.training,
            training_environment=self.training_environment,
            weights=self.weights,
            profile=self.profile,
            forms=tuple(FormProfile(profiling_config=config, profile=profile) for config, profile in profiles),
            failure=failure,
            job_seconds=dict(self.seconds),
            finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )


def forms_of(asked: Sweep | Search) -> tuple[Form, ...]:
    """The other forms in which a study profiles; a search has one form."""
    return asked.forms if isinstance(asked, Sweep) else ()


def variant_key(variant: Variant, asked: Sweep | Search, dataset: DatasetInfo, device: str) -> str:
    """A variant's identity in a study: equal keys would give the same numbers, up to noise."""
    parts = [
        str(KEY_VERSION),
        variant.plan.fingerprint,
        dataset.model_dump_json(),
        variant.training.identity,
        asked.profiling.model_dump_json(),
        device,
        *forms_of(asked),
    ]
    for file in (variant.training.teacher, variant.training.init):
        if file is not None:
            with contextlib.suppress(OSError):  # the path is not enough: another file may be there later
                parts.append(digest_of(Path(file)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Jobs:
    """Makes the jobs of one study, and knows the paths of their files.

    Args:
        folder: the study's folder.
        asked: the sweep or search that is run.
        dataset: the data that the variants are trained on.
        device: torch device of the trainings.
        on: how SSH reaches the board that profiles; None: this machine profiles, or one of a cluster.
    """

    folder: Path
    asked: Sweep | Search
    dataset: DatasetInfo
    device: str
    on: str | None = None

    def make_folders(self) -> None:
        """Make the folders for jobs and weights."""
        for name in ("jobs", "weights"):
            (self.folder / name).mkdir(exist_ok=True)

    def result_file(self, key: str, phase: Phase) -> Path:
        """The file that a job writes its result to."""
        return self._job_folder(key, phase) / "result.json"

    def weights_file(self, task: Task) -> Path:
        """The file that a training writes its weights to."""
        slug = re.sub(r"[^A-Za-z0-9]+", "-", task.variant.name).strip("-")[:60]
        return self.folder / "weights" / f"{slug}-{task.key}.safetensors"

    def make(self, task: Task, floors: tuple[Floor, ...], may_wait: bool) -> Job:
        """The job for the phase that a task is in.

        Args:
            task: the variant's task.
            floors: the mIoU that its training must reach to continue.
            may_wait: True if its profile can wait for others.
        """
        phase = task.phase
        config = task.variant.training if phase == "train" else self.asked.profiling
        return Job(
            key=task.key,
            variant=task.variant.name,
            folder=self._job_folder(task.key, phase),
            request=self._train_request(task, floors) if phase == "train" else self._profile_request(task),
            threads=config.threads,
            timeout_s=self.asked.timeout_s,
            needs=self._needs(phase, config.threads),
            attempt=task.attempts[phase] + 1,
            memory_bytes=self.asked.memory_limit,
            may_wait=may_wait,
        )

    def _job_folder(self, key: str, phase: Phase) -> Path:
        return self.folder / "jobs" / f"{key}-{phase}"

    def _needs(self, phase: Phase, threads: int) -> dict[str, int]:
        if phase == "profile":
            return {token_of(self.asked.board): 1}
        return {"gpu": 1} if self.device == "cuda" else {"cpu": threads}

    def _train_request(self, task: Task, floors: tuple[Floor, ...]) -> JobRequest:
        return JobRequest(
            train=TrainRequest(
                architecture=task.variant.architecture,
                dataset=self.asked.dataset,
                digest=self.dataset.digest,
                training=task.variant.training,
                device=self.device,
                weights_file=str(self.weights_file(task).resolve()),
                floors=floors,
            )
        )

    def _profile_request(self, task: Task) -> JobRequest:
        """A request to profile the trained weights, or random ones if the network is not trained yet."""
        settings = settings_of(self.asked.profiling, forms_of(self.asked))
        profile = ProfileRequest(
            profiling=settings[0], forms=settings[1:], device=self.device, board=self.asked.board, on=self.on
        )
        profile = profile.model_copy(update={"power_mode": self.asked.power_mode})
        if any(config.runs_file for config in settings):
            scored = {"dataset": self.asked.dataset, "digest": self.dataset.digest}
            profile = profile.model_copy(update=scored)
        if task.training is not None:
            fingerprint = task.variant.plan.fingerprint
            saved = {"weights_file": str(self.weights_file(task).resolve()), "fingerprint": fingerprint}
            return JobRequest(profile=profile.model_copy(update=saved))
        untrained = UntrainedNetwork(
            architecture=task.variant.architecture, num_classes=self.dataset.num_classes, input_size=self.dataset.size
        )
        return JobRequest(profile=profile.model_copy(update={"untrained": untrained}))
