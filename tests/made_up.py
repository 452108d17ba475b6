"""Records with made-up figures, for tests of what is done with records. No figure here was measured."""

from typing import Any

from jetbench import load_architecture, plan_architecture
from jetbench.execution.requests import JobRequest, Phase, ProfileRequest, TrainRequest
from jetbench.records.measurement import Latency, LatencyRun, Memory
from jetbench.records.record import (
    CounterResult,
    DatasetInfo,
    Environment,
    Evaluation,
    Failure,
    Profile,
    Record,
    TrainingResult,
)
from jetbench.records.scores import ClassCounts
from jetbench.spec.dataset import StreetsConfig
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.training import TrainingConfig

SIZE = (64, 96)
DATASET = DatasetInfo(
    name="made-up",
    size=SIZE,
    class_names=("road", "sky", "car"),
    void_rule="void pixels ignored",
    images={"train": 8, "val": 4, "test": 4},
    digest="0" * 16,
    constant_miou={"train": 0.2, "val": 0.2, "test": 0.21},
)
ENVIRONMENT = Environment(
    device="cpu",
    cpu="made-up processor",
    cores=2,
    memory_bytes=2**30,
    clock_mhz=(1000.0,),
    load_average=0.0,
    system="Linux",
    python="3.11",
    torch="2.13.0",
    jetbench="0.1.0",
    commit=None,
    threads=1,
    flush_denormals=True,
)


def job_request(phase: Phase = "train") -> JobRequest:
    """A request that no worker reads: what matters of it is its phase."""
    if phase == "profile":
        return JobRequest(profile=ProfileRequest(weights_file="none", profiling=ProfilingConfig(), device="cpu"))
    train = TrainRequest(
        architecture=load_architecture("jetseg-nano"),
        dataset=StreetsConfig(),
        training=TrainingConfig(),
        device="cpu",
        weights_file="none",
    )
    return JobRequest(train=train)


def training(miou: float) -> TrainingResult:
    """Two evaluations whose every class has an IoU of `miou` (in thousandths)."""
    hits = round(1000 * miou)
    counts = ClassCounts(true_positives=(hits,) * 3, false_positives=(0,) * 3, false_negatives=(1000 - hits,) * 3)
    return TrainingResult(
        steps=10,
        epochs=5.0,
        seconds=3.0,
        loss_curve=((5, 2.0), (10, 1.0)),
        val=tuple(Evaluation(step=step, epoch=step / 2, counts=counts) for step in (5, 10)),
        test=counts,
        weights_file="x.safetensors",
    )


def latency(*medians_s: float, **more: Any) -> Latency:
    """A process for each median, with five passes that all take so long."""
    return Latency(batch_size=1, runs=tuple(LatencyRun(samples_s=(median,) * 5, **more) for median in medians_s))


def profile(latency_s: float, **more: Any) -> Profile:
    fields: dict[str, Any] = {
        "input_size": SIZE,
        "parameters": 1000,
        "macs": 2_000_000,
        "counters": (CounterResult(tool="fvcore", version="0", macs=2_100_000),),
        "model_latency": latency(latency_s),
        "end_to_end_latency": latency(2 * latency_s),
        "memory": Memory(weights_bytes=2**20, image_bytes=2**20, allocator_peak_bytes=3 * 2**20),
        "notes": {"power_w": "made up", "peak_memory_bytes": "made up"},
        "environment": ENVIRONMENT,
    }
    return Profile(**{**fields, **more})


def record(variant: str, miou: float = 0.5, latency_s: float = 0.01, **more: Any) -> Record:
    architecture = load_architecture("jetseg-nano")
    fields: dict[str, Any] = {
        "key": variant,
        "variant": variant,
        "changes": {},
        "architecture": architecture,
        "fingerprint": plan_architecture(architecture, 3, SIZE).fingerprint,
        "dataset": DATASET,
        "training_config": TrainingConfig(),
        "profiling_config": ProfilingConfig(),
        "training": training(miou),
        "profile": profile(latency_s),
        "finished": "2026-01-01T00:00:00+00:00",
    }
    fields |= more
    if more.get("kind") == "profile" and fields["profile"].num_classes is None:  # as every command writes it
        fields["profile"] = fields["profile"].model_copy(update={"num_classes": 3})
    return Record(**fields)


def failed(variant: str, reason: str = "the loss was nan at step 3") -> Record:
    return record(
        variant, training=None, profile=None, failure=Failure(phase="train", status="diverged", reason=reason)
    )
