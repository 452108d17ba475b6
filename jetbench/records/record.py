"""Results of a run: TrainingResult, Profile, and the rows that hold them; every derived number is a property.

None means "not measured", with the reason in `Profile.notes`; 0 is a measurement. A file has two kinds of rows:
trainings and profiles. `Record` joins a training with one of its profiles, for drivers and tables.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from jetbench.records.deployment import Deployment
from jetbench.records.energy import Energy
from jetbench.records.measurement import (
    ColdStart,
    Comparison,
    KernelTime,
    Latency,
    Memory,
    NetworkPart,
    Normalised,
    Paced,
    Peaks,
    Soak,
    Standard,
    Watch,
)
from jetbench.records.scores import ClassCounts
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.base import Spec, later
from jetbench.spec.bounds import Amount, Duration, Side
from jetbench.spec.dataset import SPLITS, ClassSpec, Ignored
from jetbench.spec.profiling import DType, ProfilingConfig
from jetbench.spec.training import TrainingConfig

RECORD_VERSION = 3
KEY_VERSION = 2
"""Part of every key. Stays the same when the form of a record changes, so that existing folders can be resumed."""

RunsOn = Literal["device", "its processor", "an unnamed machine", "another machine"]
"""What a profile was measured on: the named device, its CPU instead of its GPU, or another machine."""
Status = Literal["ok", "error", "diverged", "timeout", "lost", "oom", "over a limit", "stopped"]


def _of_every_split(value: dict[str, Any]) -> dict[str, Any]:
    missing = [split for split in SPLITS if split not in value]
    if missing:
        raise ValueError(f"has no entry for {', '.join(missing)}")
    return value


OfEverySplit = AfterValidator(_of_every_split)


class DatasetInfo(Spec):
    """The data set that a number was measured on.

    `classes` and `ignore` say what a mask holds, and `split_rule` how the images were split, where the user brought the
    data. `leaks` counts images of val and test that are in a split before theirs, too, by their pixels. A split without
    labelled images has no images here, and None as the mIoU of a constant prediction.
    """

    name: str
    size: tuple[Side, Side]
    class_names: Annotated[tuple[str, ...], Field(min_length=1)]
    void_rule: str
    images: Annotated[dict[str, Amount], OfEverySplit]
    digest: str
    constant_miou: Annotated[dict[str, float | None], OfEverySplit]
    classes: tuple[ClassSpec, ...] = later(())
    ignore: Ignored = later(())
    split_rule: str = later("")
    leaks: Amount = later(0)

    @property
    def num_classes(self) -> int:
        """Number of classes: the channels of the logits."""
        return len(self.class_names)

    def describe(self) -> str:
        """One line for tables."""
        counts = " / ".join(f"{count} {split}" for split, count in self.images.items() if count)
        size = f"{self.size[0]}x{self.size[1]}"
        without = "".join(f", no labelled {split}" for split, count in self.images.items() if not count)
        rule = f", {self.split_rule}" if self.split_rule else ""
        rule += f", {self.leaks} of val and test are in another split, too" if self.leaks else ""
        return (
            f"{self.name}, {counts} images at {size} (HxW){without}{rule}, {self.num_classes} classes, {self.void_rule}"
        )


class Evaluation(Spec):
    """Scores of the validation split during a training."""

    step: Amount
    epoch: Duration
    counts: ClassCounts


class Initialisation(Spec):
    """The weights that a training began from: the file's name and digest, and which tensors of the network it gave.

    `left_out` are tensors of the network that the file lacks or has in another shape; they began at random. `unused`
    are tensors of the file that the network lacks.
    """

    file: str
    digest: str
    loaded: Amount
    left_out: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


class TrainingResult(Spec):
    """One training: its curve and its scores. `test` was scored once, with the weights of the best validation.

    `test` is None if the data have no labelled test images.

    `stopped` says why the stopping rule of a search ended it before its budget. `auxiliary_weights` are the loss
    weights of the heads that only training uses. `resumed` lists the steps at which it resumed after a kill.
    `phase_seconds` are the seconds of proxies, data, network (forward, loss, backward, optimiser), evaluation and
    checkpoints; `processor_seconds` is their CPU time. `seconds` covers only data and network. `proxies` are the
    zero-cost proxies of the untrained network, if requested. `teacher` names the network it was distilled from, with a
    hash of its weights. `data_on_device` is True if a GPU held the whole data set. `confusion` has the pixels by true
    class (rows) and predicted class (columns) of val and test, with the best weights. `init` says what it began from.
    """

    steps: Annotated[int, Field(ge=1)]
    epochs: Duration
    seconds: Duration
    loss_curve: tuple[tuple[int, float], ...]
    val: Annotated[tuple[Evaluation, ...], Field(min_length=1)]
    test: ClassCounts | None
    weights_file: str
    class_weights: tuple[float, ...] | None = None
    mixed_precision: bool = False
    auxiliary_weights: tuple[float, ...] = ()
    stopped: str | None = None
    resumed: tuple[int, ...] = ()
    phase_seconds: dict[str, Duration] = Field(default_factory=dict)
    processor_seconds: Duration | None = None
    proxies: dict[str, float] = Field(default_factory=dict)
    teacher: str | None = None
    data_on_device: bool = False
    confusion: dict[str, tuple[tuple[Amount, ...], ...]] = later({})
    init: Initialisation | None = later(None)

    @property
    def best(self) -> Evaluation:
        """The evaluation with the highest mIoU, the earliest on a tie."""
        return max(self.val, key=lambda evaluation: evaluation.counts.miou)

    @property
    def last(self) -> Evaluation:
        """The evaluation after the last step."""
        return self.val[-1]


class CounterResult(Spec):
    """The counts of one tool, by its own rules; `unsupported` counts the operations that it saw but left out.

    `distribution` is the installed package of the tool, because two packages share the import name thop.
    """

    tool: str
    version: str
    distribution: str | None = None
    macs: Amount | None
    by_operation: dict[str, int] = Field(default_factory=dict)
    unsupported: dict[str, int] = Field(default_factory=dict)


class Environment(Spec):
    """The machine, software and settings with which a job ran."""

    device: str
    cpu: str
    cores: Annotated[int, Field(ge=1)]
    memory_bytes: Amount | None
    clock_mhz: tuple[float, ...] | None
    load_average: float | None
    system: str
    python: str
    torch: str
    jetbench: str
    commit: str | None
    threads: Annotated[int, Field(ge=1)]
    flush_denormals: bool | None
    tf32: bool | None = None
    keeps_freed_memory: bool | None = None
    driver: str | None = None
    power_mode: str | None = None
    jetson_clocks: bool | None = None


class Estimate(Spec):
    """The best case of a device by its data sheet (a roofline estimate); nothing here is measured.

    Each kernel takes the longer of its FLOPs over the peak rate and its bytes over the bandwidth, without fusion or
    cache. `memory_bound_share` is the share of the seconds in which memory is the limit.
    """

    device: str
    dtype: DType
    batch_size: Annotated[int, Field(ge=1)]
    seconds: Annotated[float, Field(gt=0)]
    memory_bound_share: float
    peaks: dict[str, float]
    sources: tuple[str, ...]
    clock_share: float | None = None

    @property
    def throughput_fps(self) -> float:
        """Images per second at the estimated seconds per batch."""
        return self.batch_size / self.seconds


class Profile(Spec):
    """One network in eval mode, with one setting, on one device. MACs and FLOPs are for one image.

    `device` names the requested device. A measurement such as `model_latency` is None if it was not made, with the
    reason in `notes`; `estimate` never replaces it. `output_difference` is the difference of a board's output from the
    reference, over the largest value of the reference. `deployment` describes the file that ran in place of PyTorch.
    """

    device: str = "cpu"
    input_size: tuple[Side, Side]
    parameters: Amount
    macs: Amount
    flops: Amount | None = None
    eq2_flops: Duration | None = None
    peak_activation_bytes: Amount | None = None
    bytes_moved: Amount | None = None
    counters: tuple[CounterResult, ...] = ()
    parts: tuple[NetworkPart, ...] = ()
    estimate: Estimate | None = None
    model_latency: Latency | None = None
    end_to_end_latency: Latency | None = None
    num_classes: Annotated[int, Field(ge=1)] | None = None
    runs_on: RunsOn = "device"
    output_difference: Duration | None = None
    comparison: Comparison | None = None
    cold_start: ColdStart | None = None
    paced: Paced | None = None
    soak: Soak | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    denormals: tuple[int, int] | None = None
    finite: bool | None = None
    deployment: Deployment | None = later(None)
    standard: Standard | None = later(None)
    kernels: tuple[KernelTime, ...] = later(())
    peaks: Peaks | None = later(None)
    watches: tuple[Watch, ...] = ()
    notes: dict[str, str]
    environment: Environment

    @property
    def peak_memory_bytes(self) -> int | None:
        """Peak bytes of torch's allocator during one pass, weights and input included."""
        return self.memory.allocator_peak_bytes if self.memory else None

    @property
    def normalised(self) -> Normalised | None:
        """The latency over that of the standard network; None if it was not timed in the same rounds."""
        model, standard = self.model_latency, self.standard
        if model is None or standard is None or len(model.runs) != len(standard.runs):
            return None
        pairs = list(zip(model.runs, standard.runs, strict=True))
        if any(len(own.samples_s) != len(base.samples_s) for own, base in pairs):
            return None
        return Normalised(
            ratios=tuple(
                tuple(a / b for a, b in zip(own.samples_s, base.samples_s, strict=True)) for own, base in pairs
            )
        )

    @property
    def power_w(self) -> float | None:
        """Gross power under load in watts; `Energy.scope` says what it covers."""
        return self.energy.power_w if self.energy else None

    @property
    def energy_j_per_image(self) -> float | None:
        """Gross energy per image, in joules."""
        return self.energy.energy_j_per_image if self.energy else None


class Failure(Spec):
    """Why a job gave no result. `limit` is the search limit that the network exceeds, `excess` the share above it."""

    phase: Literal["train", "profile", "limits"]
    status: Status
    reason: str
    limit: str | None = None
    excess: float | None = None


def check_classes(training: TrainingResult | None, dataset: DatasetInfo) -> None:
    """Raise a ValueError if a training has scores for more or fewer classes than its data."""
    counts = [each.counts for each in training.val] if training is not None else []
    counts += [training.test] if training is not None and training.test is not None else []
    if any(len(each.true_positives) != dataset.num_classes for each in counts):
        raise ValueError(f"scores of another number of classes than the {dataset.num_classes} of its data")


Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")]


class TrainingRow(Spec):
    """A variant of a sweep or search: its configuration and the result of its training.

    `weights` is the SHA-256 of its weights file. `origin` is the folder from which a search took the row over.
    `job_seconds` is how long the job of each phase took, start-up included: for forecasts, no measurement of a network.
    """

    kind: Literal["training"] = "training"
    version: int = RECORD_VERSION
    key: str
    variant: str
    also_named: tuple[str, ...] = ()
    changes: dict[str, Any]
    architecture: AnyArchitecture
    fingerprint: str
    dataset: DatasetInfo
    training_config: TrainingConfig
    profiling_config: ProfilingConfig
    training: TrainingResult | None = None
    training_environment: Environment | None = None
    weights: str | None = None
    failure: Failure | None = None
    origin: str | None = None
    job_seconds: dict[Literal["train", "profile"], Duration] = Field(default_factory=dict)
    finished: Moment

    @model_validator(mode="after")
    def _of_the_classes_of_its_data(self) -> "TrainingRow":
        check_classes(self.training, self.dataset)
        return self


class ProfileRow(Spec):
    """The profile of a network: of a training (`of` is the key of its row), of a weights file, or with random weights.

    `weights` is a SHA-256. `key` identifies the profile: the same network, weights and settings on the same machine
    have the same key, and the newest row counts.
    """

    kind: Literal["profile"] = "profile"
    version: int = RECORD_VERSION
    key: str
    of: str | None = None
    variant: str
    changes: dict[str, Any] = Field(default_factory=dict)
    architecture: AnyArchitecture
    fingerprint: str
    is_trained: bool
    weights: str | None = None
    profiling_config: ProfilingConfig
    profile: Profile
    finished: Moment

    @model_validator(mode="after")
    def _has_classes(self) -> "ProfileRow":
        if self.of is None and self.profile.num_classes is None:  # that of a training has the classes of its data
            raise ValueError("profile.num_classes: missing; a profile without a training says how many classes it has")
        return self


RecordRow = TrainingRow | ProfileRow


class FormProfile(Spec):
    """The profile of a variant in another form than its first: another backend, or another number format."""

    profiling_config: ProfilingConfig
    profile: Profile


class Record(Spec):
    """One line of a table before seeds are merged: a training with one of its profiles, or a profile alone.

    `kind` says which of the two rows gave the key. A profile alone has no data set and no training config. `forms` are
    the profiles of a training in other forms; each is a line of its own, too (`records/folder.py: read_records`).
    """

    kind: Literal["training", "profile"] = "training"
    key: str
    variant: str
    also_named: tuple[str, ...] = ()
    changes: dict[str, Any]
    architecture: AnyArchitecture
    fingerprint: str
    dataset: DatasetInfo | None = None
    training_config: TrainingConfig | None = None
    profiling_config: ProfilingConfig
    training: TrainingResult | None = None
    training_environment: Environment | None = None
    is_trained: bool = True
    weights: str | None = None
    profile: Profile | None = None
    forms: tuple[FormProfile, ...] = ()
    failure: Failure | None = None
    origin: str | None = None
    job_seconds: dict[Literal["train", "profile"], Duration] = Field(default_factory=dict)
    finished: str

    def __str__(self) -> str:
        """The sheet of its profile and the scores of its training, as text."""
        import jetbench  # its face knows the room that shows

        return jetbench.describe_record(self)

    @property
    def data(self) -> DatasetInfo:
        """The data set of a training; an AssertionError for a profile alone."""
        assert self.dataset is not None, self.variant
        return self.dataset

    @property
    def recipe(self) -> TrainingConfig:
        """The config of a training; an AssertionError for a profile alone."""
        assert self.training_config is not None, self.variant
        return self.training_config

    @property
    def measured(self) -> Profile:
        """The profile; an AssertionError for a record without one."""
        assert self.profile is not None, self.variant
        return self.profile

    def counts_on(self, split: Literal["val", "test"]) -> ClassCounts | None:
        """The scores of what its profile ran: of the deployed file, which may differ from PyTorch's, or of PyTorch.

        None if that was not scored on the split: on some of its images only, as `bundle --images` packs them, or on
        other data than those of the training.
        """
        if self.training is None:
            return None
        if self.profiling_config.runs_file:
            deployment = self.profile.deployment if self.profile else None
            score = deployment.score_on(split) if deployment else None
            if score is None or (score.images, score.digest) != (self.data.images[split], self.data.digest):
                return None
            return score.deployed
        if self.is_form and self.profiling_config.dtype != "fp32":
            return None  # PyTorch was scored in float32
        return self.training.best.counts if split == "val" else self.training.test

    @property
    def num_classes(self) -> int:
        """Number of classes: the channels of the logits."""
        if self.dataset is not None:
            return self.dataset.num_classes
        assert self.measured.num_classes is not None, self.variant
        return self.measured.num_classes

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        if self.dataset is not None:
            return self.dataset.size
        return self.measured.input_size

    def seconds_of(self, phase: Literal["train", "profile"]) -> float | None:
        """Seconds that the job of a phase took; those of the training itself for a record from before these were kept.

        None if they are unknown, as for a training that was ended early.
        """
        if phase == "profile":
            return self.job_seconds.get("profile") if self.profile is not None else None
        training = self.training
        if training is None or training.stopped:
            return None
        return self.job_seconds.get("train", sum(training.phase_seconds.values()) or training.seconds)

    @property
    def is_form(self) -> bool:
        """True for a second line of a training: its profile in another form, or by itself."""
        return self.kind == "profile" and self.training is not None

    @property
    def seed(self) -> int | None:
        """The seed of its training; None for a profile alone."""
        return None if self.training_config is None else self.training_config.seed

    def rows(self) -> tuple[RecordRow, ...]:
        """The rows of this record in a file. The training comes last, because its row marks the variant as finished."""
        profile = () if self.profile is None else (self._profile_row(self.profile),)
        if self.kind == "profile":
            return profile
        shared = {name: getattr(self, name) for name in TrainingRow.model_fields if name not in ("kind", "version")}
        forms = [self.in_form(form)._profile_row(form.profile) for form in self.forms]
        return (*profile, *forms, TrainingRow.model_construct(**shared))

    def in_form(self, form: FormProfile) -> "Record":
        """This training with its profile in another form."""
        own = {"profile": form.profile, "profiling_config": form.profiling_config, "forms": ()}
        return self.model_copy(update=own)

    def _profile_row(self, profile: Profile) -> ProfileRow:
        shared = {name: getattr(self, name) for name in ProfileRow.model_fields if name in Record.model_fields}
        shared |= {"kind": "profile", "profile": profile, "of": self.key if self.kind == "training" else None}
        is_trained = self.is_trained and (self.kind == "profile" or self.training is not None)
        return ProfileRow.model_construct(**{**shared, "is_trained": is_trained, "key": profile_key(self)})


def joined(training: TrainingRow, profiles: Sequence[ProfileRow]) -> Record:
    """A training with the profiles measured for it, without validation: all were validated when read.

    A later profile replaces an earlier one in the same form. The first form is that of the training's row.
    """
    fields = dict(training.__dict__)
    del fields["version"]
    first, forms = (profiles[-1], ()) if len(profiles) == 1 else _by_form(training, profiles)
    fields["profile"] = first.profile if first else None
    fields["forms"] = tuple(FormProfile.model_construct(None, profiling_config=c, profile=p) for c, p in forms)
    return constructed(fields)


def _by_form(
    training: TrainingRow, profiles: Sequence[ProfileRow]
) -> tuple[ProfileRow | None, Sequence[tuple[ProfilingConfig, Profile]]]:
    newest = {row.profiling_config: row for row in profiles}
    first = newest.pop(training.profiling_config, None)
    return first, [(config, row.profile) for config, row in newest.items()]


def constructed(fields: dict[str, Any]) -> Record:
    """A record of `fields`, without validation: they were validated when read."""
    return Record.model_construct(None, **fields)


def with_profile(record: Record, profile: ProfileRow, is_first: bool) -> Record:
    """A training with a profile of its weights that was measured later, separately.

    If it is not the first of the training, the result takes the key of the later one.
    """
    own = {"profile": profile.profile, "profiling_config": profile.profiling_config, "finished": profile.finished}
    if not is_first:
        own |= {"kind": "profile", "key": profile.key}
    return record.model_copy(update=own)


def with_form(record: Record, form: FormProfile) -> Record:
    """A training with its profile in another form, as a line of its own."""
    own = record.in_form(form)
    return own.model_copy(update={"kind": "profile", "key": profile_key(own)})


def profile_alone(profile: ProfileRow) -> Record:
    """The record of a profile whose training is elsewhere or does not exist."""
    fields = dict(profile.__dict__)
    del fields["version"], fields["of"]
    return constructed(fields)


def profile_key(record: Record) -> str:
    """The key of a profile: a hash of its network, weights, settings and machine."""
    profile = record.profile
    assert profile is not None
    environment = profile.environment
    parts = [
        *(str(KEY_VERSION), record.fingerprint, record.weights or str(record.is_trained)),
        record.profiling_config.model_dump_json(),
        *(profile.device, environment.device, environment.cpu, str(environment.power_mode)),
        *(["jetson_clocks"] if environment.jetson_clocks else []),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
