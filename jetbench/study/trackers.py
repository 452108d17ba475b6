"""Trackers that people have: each row that lands is written for TensorBoard or MLflow, too, by the driver alone.

records.jsonl stays the truth: what a tracker shows follows from it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jetbench.errors import SpecError
from jetbench.execution.executor import Progress
from jetbench.network.variants import describe_changes
from jetbench.records.record import Record
from jetbench.records.verdict import judge
from jetbench.study.chooser import View


class Tracker(Protocol):
    """Takes the rows of a study as they land."""

    def land(self, record: Record) -> None:
        """Write a row; one of the same key is replaced."""


class TrackedView:
    """A view that passes everything on, and each new row to trackers."""

    def __init__(self, view: View, trackers: Sequence[Tracker]) -> None:
        self._view, self._trackers = view, trackers

    def begin(self, total: int, landed: int) -> None:
        """See `View`."""
        self._view.begin(total, landed)

    def show(self, landed: int, running: Sequence[Progress], left_s: float | None) -> None:
        """See `View`."""
        self._view.show(landed, running, left_s)

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """See `View`; a tracker that fails ends nothing."""
        self._view.land(record, landed, left_s)
        for tracker in self._trackers:
            try:
                tracker.land(record)
            except Exception as error:  # of a library that is not ours; the row itself is kept
                self._view.note(f"{record.variant}: not written for {type(tracker).__name__} ({error})")

    def note(self, text: str) -> None:
        """See `View`."""
        self._view.note(text)

    def prepare(self, done: int, total: int) -> None:
        """See `View`."""
        self._view.prepare(done, total)


class TensorBoard:
    """Writes `tensorboard/VARIANT-KEY` in the folder: curves of loss and mIoU, scores, costs, sample predictions."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise SpecError("--log tensorboard: is not installed: pip install 'jetbench[tensorboard]'") from None
        self._folder, self._open = folder, SummaryWriter

    def land(self, record: Record) -> None:
        """See `Tracker`."""
        from jetbench.training.samples import colours_of, read_predictions

        place = self._folder / "tensorboard" / f"{_slug(record)}-{record.key}"
        for old in place.glob("events.*"):
            old.unlink()
        with self._open(str(place)) as writer:
            for name, step, value in _numbers(record):
                writer.add_scalar(name, value, step)
            writer.add_text("variant", describe_changes(record.changes) or record.variant)
            for path in self._folder.glob(f"weights/*-{record.key}.safetensors"):
                ids = read_predictions(path)
                if ids is not None:
                    colours = colours_of(record.data.class_names, record.data.classes)
                    writer.add_images("predictions", colours[ids], dataformats="NHWC")


class MlFlow:
    """Writes a run for each row to `mlflow.db` in the folder, MLflow's SQLite store; the experiment is the study."""

    def __init__(self, folder: Path) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise SpecError("--log mlflow: is not installed: pip install 'jetbench[mlflow]'") from None
        self._make, self._folder = MlflowClient, folder
        self._client: Any = None

    def land(self, record: Record) -> None:
        """See `Tracker`."""
        if self._client is None:
            self._client = self._make(tracking_uri=f"sqlite:///{(self._folder / 'mlflow.db').resolve()}")
        client = self._client
        name = self._folder.resolve().name
        found = client.get_experiment_by_name(name)
        place = str((self._folder / "mlflow").resolve())
        experiment = found.experiment_id if found else client.create_experiment(name, artifact_location=place)
        for old in client.search_runs([experiment], f"tags.key = '{record.key}'"):
            client.delete_run(old.info.run_id)
        run = client.create_run(experiment, run_name=record.variant, tags={"key": record.key}).info.run_id
        for key, value in _settings(record).items():
            client.log_param(run, key, value)
        for metric, step, number in _numbers(record):
            client.log_metric(run, metric, number, step=step)
        client.set_terminated(run, "FAILED" if record.failure else "FINISHED")


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"tensorboard": TensorBoard, "mlflow": MlFlow}


def open_trackers(names: Sequence[str], folder: Path) -> list[Tracker]:
    """The trackers of those names, for a report folder.

    Raises:
        SpecError: a name is not known, or its package is not installed.
    """
    unknown = [name for name in names if name not in TRACKERS]
    if unknown:
        raise SpecError(f"--log {unknown[0]}: expected {' or '.join(TRACKERS)}")
    return [TRACKERS[name](folder) for name in dict.fromkeys(names)]


def _numbers(record: Record) -> Iterator[tuple[str, int, float]]:
    """Every number of a row with its step: in the units of its name."""
    training, profile = record.training, record.profile
    if training is not None:
        for step, loss in training.loss_curve:
            yield "loss", step, loss
        for evaluation in training.val:
            yield "val/mIoU_percent", evaluation.step, 100 * evaluation.counts.miou
        if training.test is not None:
            yield "test/mIoU_percent", training.steps, 100 * training.test.miou
        yield "training/seconds", training.steps, training.seconds
    if profile is not None:
        yield "cost/parameters", 0, float(profile.parameters)
        yield "cost/MACs", 0, float(profile.macs)
        latency = profile.model_latency
        if latency is not None and judge(profile).level != "invalid":
            yield "cost/latency_ms_per_image", 0, 1e3 * latency.median_s / latency.batch_size
        if profile.peak_memory_bytes is not None:
            yield "cost/peak_memory_MiB", 0, profile.peak_memory_bytes / 2**20


def _settings(record: Record) -> dict[str, str]:
    settings = {"architecture": record.architecture.name, **{key: str(value) for key, value in record.changes.items()}}
    if record.training_config is not None:
        settings |= {
            "loss": record.recipe.describe_loss(),
            "budget": str(record.recipe.budget),
            "seed": str(record.recipe.seed),
        }
    return {re.sub(r"[^\w./ -]", "_", key): value[:500] for key, value in settings.items()}


def _slug(record: Record) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", record.variant).strip("-")[:60] or "variant"
