"""What a job is asked for, typed: a training or a profile, and what a training replies."""

from jetbench.records.record import Environment, TrainingResult
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.base import Spec
from jetbench.spec.dataset import DatasetConfig
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.training import Floor, TrainingConfig


class TrainRequest(Spec):
    """Train `architecture` on `dataset` and write its best weights to `weights_file`.

    `digest` is the data's where it was asked for; where this runs, it must be the same. With a `checkpoint_file` a
    training that was killed goes on from there.
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
    """What a training found."""

    training: TrainingResult
    environment: Environment


class UntrainedNetwork(Spec):
    """A network that has no weights yet: they are random, from the profiling's seed."""

    architecture: AnyArchitecture
    num_classes: int
    input_size: tuple[int, int]


class ProfileRequest(Spec):
    """Profile the network saved in `weights_file`, or an untrained one.

    `fingerprint` is of the network that the file must hold. `device` is the torch device, unless a `board` is named:
    then this machine must be that, and torch takes its GPU.
    """

    weights_file: str | None = None
    fingerprint: str | None = None
    untrained: UntrainedNetwork | None = None
    profiling: ProfilingConfig
    device: str
    board: str | None = None
