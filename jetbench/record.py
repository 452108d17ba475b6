"""What a run found: TrainingResult, Profile and Record, raw samples and counts; everything derived is a property.

None means "not measured", with the reason in `Profile.notes`; 0 is a measurement.
"""

import statistics
from typing import Any, Literal

from pydantic import Field

from jetbench.architecture import Architecture
from jetbench.experiment import ProfilingConfig, TrainingConfig
from jetbench.spec import Spec

RECORD_VERSION = 1

Status = Literal["ok", "error", "diverged", "timeout", "lost", "oom"]


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
    """One training: its curve and its scores. `test` was scored once, with the weights of the best validation."""

    steps: int
    epochs: float
    seconds: float
    loss_curve: tuple[tuple[int, float], ...]
    val: tuple[Evaluation, ...]
    test: ClassCounts
    weights_file: str
    class_weights: tuple[float, ...] | None = None
    mixed_precision: bool = False

    @property
    def best(self) -> Evaluation:
        """The evaluation with the highest mIoU, the earliest on a tie."""
        return max(self.val, key=lambda evaluation: evaluation.counts.miou)

    @property
    def last(self) -> Evaluation:
        """The evaluation after the last step."""
        return self.val[-1]


class Latency(Spec):
    """Seconds per batch, one raw sample per pass."""

    batch_size: int
    samples_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median seconds per batch."""
        return statistics.median(self.samples_s)

    def percentile_s(self, percent: float) -> float:
        """The sample below which `percent` of the samples lie (nearest rank)."""
        ordered = sorted(self.samples_s)
        rank = max(1, -(-len(ordered) * percent // 100))
        return ordered[int(rank) - 1]

    @property
    def throughput_fps(self) -> float:
        """Images per second at the median latency."""
        return self.batch_size / self.median_s


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
    """Where and with what a job ran."""

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


class Profile(Spec):
    """One network, measured in eval mode. MACs are for one image."""

    input_size: tuple[int, int]
    parameters: int
    macs: int
    counters: tuple[CounterResult, ...]
    model_latency: Latency
    end_to_end_latency: Latency
    peak_memory_bytes: int | None
    power_w: float | None
    notes: dict[str, str]
    environment: Environment


class Failure(Spec):
    """Why a job gave no result."""

    stage: Literal["train", "profile"]
    status: Status
    reason: str


class Record(Spec):
    """One variant: what was asked, what came of it, where."""

    version: int = RECORD_VERSION
    key: str
    variant: str
    also_named: tuple[str, ...] = ()
    changes: dict[str, Any]
    architecture: Architecture
    fingerprint: str
    dataset: DatasetInfo
    training_config: TrainingConfig
    profiling_config: ProfilingConfig
    training: TrainingResult | None = None
    training_environment: Environment | None = None
    profile: Profile | None = None
    failure: Failure | None = None
    finished: str
