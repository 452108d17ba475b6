"""Job requests from the driver to the worker, with their types: a training or a profile. Needs no torch."""

from typing import Any, Literal

from pydantic import model_validator

from jetbench.errors import SpecError
from jetbench.records.record import Environment, Profile, TrainingResult
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.base import Spec
from jetbench.spec.dataset import DatasetConfig
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.training import Floor, TrainingConfig
from jetbench.spec.values import Size

Phase = Literal["train", "profile"]


class TrainRequest(Spec):
    """Train `architecture` on `dataset` and write its best weights to `weights_file`.

    `digest` is that of the data on the driver's machine; the data where the job runs must have the same. With a
    `checkpoint_file`, a training that was killed continues from there.
    """

    architecture: AnyArchitecture
    dataset: DatasetConfig
    digest: str | None = None
    training: TrainingConfig
    device: str
    weights_file: str
    floors: tuple[Floor, ...] = ()
    checkpoint_file: str | None = None


class TrainReply(Spec):
    """The result of a training; `weights` is the SHA-256 of its weights file."""

    training: TrainingResult
    environment: Environment
    weights: str | None = None


class UntrainedNetwork(Spec):
    """A network without trained weights: they are random, from the profiling seed."""

    architecture: AnyArchitecture
    num_classes: int
    input_size: Size


class ProfileRequest(Spec):
    """Profile the network saved in `weights_file`, or an untrained one.

    `fingerprint` is that of the network that the file must hold. `forms` are other settings, timed in turn with
    `profiling`. `device` is the torch device. If a `board` is named, `device` is ignored: this machine must be that
    board, and torch uses its GPU; or SSH reaches it as `on`. It is set to `power_mode` meanwhile. `dataset`, with its
    `digest`, is what files that runtimes run are scored on.
    """

    weights_file: str | None = None
    fingerprint: str | None = None
    untrained: UntrainedNetwork | None = None
    profiling: ProfilingConfig
    forms: tuple[ProfilingConfig, ...] = ()
    device: str
    board: str | None = None
    on: str | None = None
    power_mode: str | None = None
    dataset: DatasetConfig | None = None
    digest: str | None = None


class ProfileReply(Spec):
    """The profile in the first form, and those in the other forms of a request."""

    profile: Profile
    forms: tuple[Profile, ...]


class JobRequest(Spec):
    """The content of request.json: exactly one of `train` and `profile`, and the number of this attempt, from 1."""

    attempt: int = 1
    train: TrainRequest | None = None
    profile: ProfileRequest | None = None

    @model_validator(mode="after")
    def _one_phase(self) -> "JobRequest":
        if (self.train is None) == (self.profile is None):
            raise ValueError("a job needs exactly one of train: and profile:")
        return self

    @property
    def phase(self) -> Phase:
        """`train` or `profile`."""
        return "train" if self.train is not None else "profile"

    @property
    def file_to_read(self) -> str | None:
        """The file that the job reads on its machine: weights of a profile, the teacher or the beginning of a training.

        Raises:
            SpecError: a training has both.
        """
        if self.train is None:
            return self._of_profile("weights_file")  # type: ignore[no-any-return]
        training = self.train.training
        if training.teacher is not None and training.init is not None:
            raise SpecError("training.teacher and training.init: on a cluster a training can have one of them")
        return training.teacher or training.init

    @property
    def file_to_write(self) -> str | None:
        """The file that a training writes its weights to."""
        return self.train.weights_file if self.train is not None else None

    def _of_profile(self, field: str) -> Any:
        return getattr(self.profile, field, None)

    def with_files(self, to_read: str | None = None, to_write: str | None = None) -> "JobRequest":
        """The same job with other paths of its files."""
        if self.train is None:
            profile = self.profile and self.profile.model_copy(update={"weights_file": to_read})
            return self.model_copy(update={"profile": profile})
        field = "init" if self.train.training.init is not None else "teacher"
        training = self.train.training.model_copy(update={field: to_read})
        train = self.train.model_copy(update={"training": training, "weights_file": to_write})
        return self.model_copy(update={"train": train})
