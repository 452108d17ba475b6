"""What a run found: TrainingResult, Profile and Record, raw samples and counts; everything derived is a property.

None means "not measured", with the reason in `Profile.notes`; 0 is a measurement.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from jetbench.records.energy import Energy
from jetbench.records.measurement import (
    ColdStart,
    Comparison,
    Latency,
    Memory,
    NetworkPart,
    Paced,
    Soak,
    Watch,
)
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.base import Spec
from jetbench.spec.profiling import DType, ProfilingConfig
from jetbench.spec.training import TrainingConfig

RECORD_VERSION = 2

Status = Literal["ok", "error", "diverged", "timeout", "lost", "oom", "over a limit", "stopped"]


class DatasetInfo(Spec):
    """Which images a number comes from."""

    name: str
    size: tuple[int, int]
    class_names: tuple[str, ...]
    void_rule: str
    images: dict[str, int]
    digest: str
    constant_miou: dict[str, float]

    @property
    def num_classes(self) -> int:
        """Channels of the logits."""
        return len(self.class_names)

    def describe(self) -> str:
        """One line for tables."""
        counts = " / ".join(f"{count} {split}" for split, count in self.images.items())
        size = f"{self.size[0]}x{self.size[1]}"
        return f"{self.name}, {counts} images at {size} (HxW), {self.num_classes} classes, {self.void_rule}"


class ClassCounts(Spec):
    """Pixels of each class over one whole split, from one confusion matrix; void pixels are in none of them."""

    true_positives: tuple[int, ...]
    false_positives: tuple[int, ...]
    false_negatives: tuple[int, ...]

    @model_validator(mode="after")
    def _of_labelled_pixels(self) -> "ClassCounts":
        if sum(self.true_positives) + sum(self.false_negatives) < 1:
            raise ValueError("no labelled pixel was counted")
        return self

    @property
    def class_iou(self) -> tuple[float | None, ...]:
        """TP / (TP + FP + FN) of each class; None for a class that does not occur in the split's labels."""
        rows = zip(self.true_positives, self.false_positives, self.false_negatives, strict=True)
        return tuple(tp / (tp + fp + fn) if tp + fn else None for tp, fp, fn in rows)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur in the split's labels."""
        present = [iou for iou in self.class_iou if iou is not None]
        return sum(present) / len(present)


class Evaluation(Spec):
    """The validation split, scored in the middle of a training."""

    step: int
    epoch: float
    counts: ClassCounts


class TrainingResult(Spec):
    """One training: its curve and its scores. `test` was scored once, with the weights of the best validation.

    `stopped` says why it ended before its budget, where a search's stopping rule ended it. `auxiliary_weights` are
    those of the heads that only training used. `resumed` are the steps at which it went on after a kill.
    `phase_seconds` are those of data, network (forward, loss, backward, optimiser), evaluation and checkpoints, and
    `processor_seconds` what they took of processors; `seconds` has data and network alone. `proxies` are zero-cost
    proxies of the network before its training, where they were asked for. `teacher` names the network that it followed
    beside the labels, with a hash of its weights. With `data_on_device` a GPU held the whole data set.
    """

    steps: int
    epochs: float
    seconds: float
    loss_curve: tuple[tuple[int, float], ...]
    val: tuple[Evaluation, ...]
    test: ClassCounts
    weights_file: str
    class_weights: tuple[float, ...] | None = None
    mixed_precision: bool = False
    auxiliary_weights: tuple[float, ...] = ()
    stopped: str | None = None
    resumed: tuple[int, ...] = ()
    phase_seconds: dict[str, float] = Field(default_factory=dict)
    processor_seconds: float | None = None
    proxies: dict[str, float] = Field(default_factory=dict)
    teacher: str | None = None
    data_on_device: bool = False

    @property
    def best(self) -> Evaluation:
        """The evaluation with the highest mIoU, the earliest on a tie."""
        return max(self.val, key=lambda evaluation: evaluation.counts.miou)

    @property
    def last(self) -> Evaluation:
        """The evaluation after the last step."""
        return self.val[-1]


class CounterResult(Spec):
    """What one tool counted, by its own rules; `unsupported` are operations it met and left out, with how often.

    `distribution` is the installed package it came from: two of them share the import name thop.
    """

    tool: str
    version: str
    distribution: str | None = None
    macs: int | None
    by_operation: dict[str, int] = Field(default_factory=dict)
    unsupported: dict[str, int] = Field(default_factory=dict)


class Environment(Spec):
    """Where and with what a job ran, and the settings that were in effect."""

    device: str
    cpu: str
    cores: int
    memory_bytes: int | None
    clock_mhz: tuple[float, ...] | None
    load_average: float | None
    system: str
    python: str
    torch: str
    jetbench: str
    commit: str | None
    threads: int
    flush_denormals: bool | None
    tf32: bool | None = None
    keeps_freed_memory: bool | None = None
    driver: str | None = None
    power_mode: str | None = None
    jetson_clocks: bool | None = None


class Estimate(Spec):
    """What a device could do at best by its data sheet: an estimate, and nothing that was measured.

    Each kernel takes the longer of its FLOPs over the peak and its bytes over the bandwidth; nothing is fused and no
    cache helps. `bound_by` is the share of the seconds in which memory is the limit.
    """

    device: str
    dtype: DType
    batch_size: int
    seconds: float
    memory_bound_share: float
    peaks: dict[str, float]
    sources: tuple[str, ...]
    clock_share: float | None = None

    @property
    def throughput_fps(self) -> float:
        """Images per second at that time."""
        return self.batch_size / self.seconds


class Profile(Spec):
    """One network in eval mode, with one setting, on one device. MACs and FLOPs are for one image.

    `device` names the one that was asked for. `model_latency` and the rest of what is measured is None where it was
    not, with the reason in `notes`; `estimate` never stands in for it.
    """

    device: str = "cpu"
    input_size: tuple[int, int]
    parameters: int
    macs: int
    flops: int | None = None
    eq2_flops: float | None = None
    peak_activation_bytes: int | None = None
    bytes_moved: int | None = None
    counters: tuple[CounterResult, ...] = ()
    parts: tuple[NetworkPart, ...] = ()
    estimate: Estimate | None = None
    model_latency: Latency | None = None
    end_to_end_latency: Latency | None = None
    comparison: Comparison | None = None
    cold_start: ColdStart | None = None
    paced: Paced | None = None
    soak: Soak | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    denormals: tuple[int, int] | None = None
    finite: bool | None = None
    watches: tuple[Watch, ...] = ()
    notes: dict[str, str]
    environment: Environment

    @property
    def peak_memory_bytes(self) -> int | None:
        """Weights, input and the most that torch's allocator held at once during one pass."""
        return self.memory.allocator_peak_bytes if self.memory else None

    @property
    def power_w(self) -> float | None:
        """Watts under load, gross; `Energy.scope` says of what."""
        return self.energy.power_w if self.energy else None

    @property
    def energy_j_per_image(self) -> float | None:
        """Joules per image, gross."""
        return self.energy.energy_j_per_image if self.energy else None


class Failure(Spec):
    """Why a job gave no result."""

    phase: Literal["train", "profile", "limits"]
    status: Status
    reason: str


class ProfileRecord(Spec):
    """One network profiled by itself, without a training: what was asked, what came of it, where and when."""

    version: int = RECORD_VERSION
    network: str
    changes: dict[str, Any] = Field(default_factory=dict)
    architecture: AnyArchitecture
    num_classes: int
    trained: bool
    profiling_config: ProfilingConfig
    profile: Profile
    finished: str


class Record(Spec):
    """One variant: what was asked, what came of it, where."""

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
    profile: Profile | None = None
    failure: Failure | None = None
    finished: str
