"""train: a brief, seeded training, scored with one confusion matrix per split."""

import contextlib
import errno
import itertools
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import jetbench
from jetbench.data.batches import NormaliseBatch, endless_batches
from jetbench.data.cache import SegmentationData
from jetbench.errors import DivergedError
from jetbench.files import replaced
from jetbench.progress import Report
from jetbench.records.record import Evaluation, TrainingResult
from jetbench.spec.training import POLYNOMIAL_POWER, Floor, TrainingConfig
from jetbench.training.augment import augment
from jetbench.training.auxiliary import joint_loss
from jetbench.training.average import MovingAverage
from jetbench.training.checkpoint import Checkpoint
from jetbench.training.distillation import Teacher, distillation_loss
from jetbench.training.losses import build_loss
from jetbench.training.metrics import class_counts, confusion_over
from jetbench.training.proxies import measure_proxies
from jetbench.training.samples import KEY, encode_ids, sample_indices, shown_split

CURVE_POINTS = 200
PHASES = ("proxies", "data", "network", "evaluation", "checkpoints")
WARM_UP = 0.3
SPARE = 4
"""Free disk space, in multiples of the size of the weights, that lets a training continue without a checkpoint."""


@dataclass
class Schedule:
    """Progress of the training, in steps or in seconds of training time."""

    config: TrainingConfig
    images: int
    seconds: float = 0.0
    step: int = 0

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole training; None if the budget is a time."""
        return self.config.total_steps(self.images)

    @property
    def progress(self) -> float:
        """Finished share of the budget, 0 to 1."""
        total = self.total_steps
        share = self.seconds / self.config.budget.amount if total is None else self.step / total
        return min(1.0, share)

    @property
    def _share_of_step(self) -> float:
        """The share of the budget that one step is; so far, on average, if the budget is a time."""
        total = self.total_steps
        return 1 / total if total else self.progress / self.step if self.step else 1e-3

    @property
    def epoch(self) -> float:
        """Passes over the training images so far."""
        return self.step * self.config.batch_size / self.images

    @property
    def learning_rate(self) -> float:
        """One cycle: a cosine up over the first `WARM_UP` of the budget, then one down to nearly 0.

        Or constant, or polynomial: peak (1 - progress) ^ 0.9. Both rise evenly over the share `warm_up`; the first step
        of a rise already learns.
        """
        config, peak = self.config, self.config.learning_rate
        if config.schedule != "one-cycle":
            fall = (1 - self.progress) ** POLYNOMIAL_POWER if config.schedule == "polynomial" else 1.0
            rise = min(1.0, (self.progress + self._share_of_step) / config.warm_up) if config.warm_up else 1.0
            return peak * fall * rise
        if self.progress < WARM_UP:
            return _cosine(peak / 25, peak, self.progress / WARM_UP)
        return _cosine(peak, peak / 1e4, (self.progress - WARM_UP) / (1 - WARM_UP))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def train(
    model: nn.Module,
    data: SegmentationData,
    config: TrainingConfig,
    device: torch.device,
    weights_file: Path,
    metadata: Mapping[str, str] | None = None,
    report: Report = lambda share, text: None,
    floors: Sequence[Floor] = (),
    checkpoint_file: Path | None = None,
    teacher: Teacher | None = None,
) -> TrainingResult:
    """Train `model` in place and save the weights of its best validation score.

    Args:
        model: freshly built, on `device`; maps (N, 3, H, W) to logits (N, K, H, W). In training mode it may return a
            tuple: the logits, then auxiliary outputs, whose losses have the weights in its `auxiliary_weights`.
        data: decoded images and labels.
        config: budget, loss, optimiser and seed.
        device: where to train; mixed precision is used on CUDA only.
        weights_file: safetensors file to write.
        metadata: stored in that file, together with the predictions for a few test images.
        report: called with the progress after every step.
        floors: at an evaluation with a floor, the training ends if its best mIoU so far is below the floor.
        checkpoint_file: where the state is saved from time to time. A training resumes from its own checkpoint there.
            The caller removes the file.
        teacher: a network whose soft targets the training follows in addition to the labels.

    Raises:
        DivergedError: the loss, or the output during an evaluation, was not finite.
        OSError: the weights cannot be written, or the checkpoint for a reason other than a full disk; the previous
            files are intact.
    """
    checkpoint = None
    if checkpoint_file is not None:
        checkpoint = Checkpoint(checkpoint_file, _identity(data, config, device, metadata, floors))
    with _deterministic(config.deterministic):
        return _Training(model, data, config, device, checkpoint, teacher).run(
            weights_file, metadata or {}, report, floors
        )


def _identity(
    data: SegmentationData,
    config: TrainingConfig,
    device: torch.device,
    metadata: Mapping[str, str] | None,
    floors: Sequence[Floor],
) -> str:
    """Text of all that the result of a training depends on, for its checkpoint."""
    about = {
        "network": (metadata or {}).get("jetbench", ""),
        "teacher": (metadata or {}).get("teacher", ""),
        "config": config.identity,
        "data": data.info.digest,
        "device": device.type,
        "floors": [floor.model_dump(mode="json") for floor in floors],
        "versions": f"jetbench {jetbench.__version__}, torch {torch.__version__}",
    }
    return json.dumps(about, sort_keys=True)


@contextlib.contextmanager
def _deterministic(is_on: bool) -> Iterator[None]:
    """Make torch use only deterministic operations; torch raises an error for one that has no such variant."""
    if not is_on:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmarks = torch.backends.cudnn.benchmark
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS requires it for determinism
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmarks


class _Training:
    """One training, with all of its state between two steps."""

    def __init__(
        self,
        model: nn.Module,
        data: SegmentationData,
        config: TrainingConfig,
        device: torch.device,
        checkpoint: Checkpoint | None,
        teacher: Teacher | None = None,
    ) -> None:
        self.model, self.data, self.config, self.device, self.teacher = model, data, config, device, teacher
        self.loss = build_loss(config, data.class_pixels).to(device)
        self.optimizer = build_optimizer(model, config)
        self.average = MovingAverage(model, config.moving_average) if config.moving_average else None
        self.best_confusion: list[list[int]] = []
        self.auxiliary_weights: tuple[float, ...] = getattr(model, "auxiliary_weights", ())
        self.mixed = config.mixed_precision and device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.mixed)
        self.schedule = Schedule(config, len(data.images["train"]))
        self.prepare = NormaliseBatch(data, device)
        self.evaluations: list[Evaluation] = []
        self.best: dict[str, Tensor] = {}
        self.best_miou = -1.0
        self.curve: list[tuple[int, float]] = []
        self.recent: list[float] = []
        self.resumed: list[int] = []
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.processor_s = 0.0
        self.proxies: dict[str, float] = {}
        self.warning = ""
        self.checkpoint = checkpoint
        if checkpoint is not None and (state := checkpoint.load()) is not None:
            self._restore(state)

    @property
    def state(self) -> dict[str, Any]:
        """All state that changes from step to step."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.schedule.step,
            "training_s": self.schedule.seconds,
            "evaluations": [evaluation.model_dump_json() for evaluation in self.evaluations],
            "best": self.best,
            "best_miou": self.best_miou,
            "best_confusion": self.best_confusion,
            "average": self.average.state if self.average is not None else None,
            "curve": self.curve,
            "recent": self.recent,
            "resumed": self.resumed,
            "seconds": self.seconds,
            "processor_s": self.processor_s,
            "proxies": self.proxies,
            "generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.schedule.step, self.schedule.seconds = state["step"], state["training_s"]
        self.evaluations = [Evaluation.model_validate_json(text) for text in state["evaluations"]]
        self.best = {name: tensor.to(self.device) for name, tensor in state["best"].items()}
        self.best_miou = state["best_miou"]
        self.best_confusion = state["best_confusion"]
        if self.average is not None:
            self.average.restore(state["average"])
        self.curve = [(step, value) for step, value in state["curve"]]
        self.recent, self.seconds, self.processor_s = state["recent"], state["seconds"], state["processor_s"]
        self.proxies = state["proxies"]
        self.resumed = [*state["resumed"], self.schedule.step]
        torch.set_rng_state(state["generator"])
        if state["cuda_generator"] is not None:
            torch.cuda.set_rng_state(state["cuda_generator"], self.device)

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begin = time.perf_counter(), time.process_time()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # so that queued work counts for this phase and not for the next
        self.seconds[phase] += time.perf_counter() - begin[0]
        self.processor_s += time.process_time() - begin[1]

    def run(
        self, weights_file: Path, metadata: Mapping[str, str], report: Report, floors: Sequence[Floor]
    ) -> TrainingResult:
        """Train to the end of the budget, or until the best mIoU is below a floor."""
        config, schedule = self.config, self.schedule
        window = max(1, math.ceil((schedule.total_steps or 0) / CURVE_POINTS))
        stopped: str | None = None
        self.model.train()
        if config.proxies and schedule.step == 0:
            first = next(endless_batches(schedule.images, config.batch_size, config.seed))
            with self._timed("proxies"):
                self.proxies = measure_proxies(self.model, *self.prepare("train", first))
        batches = endless_batches(schedule.images, config.batch_size, config.seed)
        for indices in itertools.islice(batches, schedule.step, None):
            value = self._step(indices)
            self.recent.append(value)
            if len(self.recent) == window:
                self.curve.append((schedule.step, sum(self.recent) / len(self.recent)))
                self.recent.clear()
            if schedule.progress * config.evaluations >= len(self.evaluations) + 1 or schedule.progress >= 1:
                self._evaluate()
                if schedule.progress < 1:
                    stopped = why_stopped(floors, len(self.evaluations), self.best_miou)
            scored = f", val mIoU {100 * self.evaluations[-1].counts.miou:.1f} %" if self.evaluations else ""
            report(schedule.progress, f"step {schedule.step}, loss {value:.3f}{scored}{self.warning}")
            if schedule.progress >= 1 or stopped:
                break
            if self.checkpoint is not None and self.checkpoint.is_due:
                with self._timed("checkpoints"):
                    self._save(self.checkpoint, weights_file.parent)

        self.model.load_state_dict(self.best)
        with self._timed("evaluation"):
            confusion = {"val": _as_rows(self.best_confusion)}
            test = None
            if self.data.info.images["test"]:
                matrix = confusion_over(self.model, self.prepare.stream("test"), self.data.info.num_classes)
                test, confusion["test"] = class_counts(matrix), _as_rows(matrix.tolist())
            shown = predict_samples(self.model, self.prepare)
        save_weights(weights_file, self.best, {**metadata, KEY: encode_ids(shown)})
        weights = getattr(self.loss, "class_weights", None)
        return TrainingResult(
            steps=schedule.step,
            epochs=schedule.epoch,
            seconds=schedule.seconds,
            loss_curve=tuple(self.curve),
            val=tuple(self.evaluations),
            test=test,
            weights_file=weights_file.name,
            class_weights=None if weights is None else tuple(weights.tolist()),
            mixed_precision=self.mixed,
            auxiliary_weights=self.auxiliary_weights,
            stopped=stopped,
            resumed=tuple(self.resumed),
            phase_seconds=self.seconds,
            processor_seconds=self.processor_s,
            proxies=self.proxies,
            data_on_device=self.prepare.is_resident,
            confusion=confusion,
        )

    def _save(self, checkpoint: Checkpoint, weights_folder: Path) -> None:
        """Save a checkpoint; on a full disk the training continues without one if the weights still fit."""
        self.warning = ""
        try:
            checkpoint.save(self.state)
        except OSError as error:
            weights = sum(tensor.nbytes for tensor in self.model.state_dict().values())
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            if not is_full or shutil.disk_usage(weights_folder).free < SPARE * weights:
                raise
            self.warning = f", no checkpoint ({error.strerror})"
            with contextlib.suppress(OSError):  # the log may be on the same disk
                print(f"no checkpoint at step {self.schedule.step}: {error}", file=sys.stderr)

    def _step(self, indices: list[int]) -> float:
        """Run one step of the optimiser; returns the loss before the step."""
        schedule, begin = self.schedule, time.perf_counter()
        with self._timed("data"):
            images, target = self.prepare("train", indices)
            images, target = augment(images, target, self.config.augmentation, self.config.seed, schedule.step)
        with self._timed("network"):
            for group in self.optimizer.param_groups:
                group["lr"] = schedule.learning_rate
            with torch.autocast(self.device.type, enabled=self.mixed):
                outputs = self.model(images)
                soft_targets = None if self.teacher is None else self.teacher(images)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = joint_loss(outputs, target, self.auxiliary_weights, self.loss)
            if soft_targets is not None:
                loss = loss + distillation_loss(outputs[0], soft_targets, self.config.distillation)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            if self.config.clip_gradients is not None:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_gradients)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.average is not None:
                self.average.update(self.model)
            value = float(loss.detach())  # last, because it waits for the GPU
            if not math.isfinite(value):
                half = " in half precision (training.mixed_precision: false turns it off)" if self.mixed else ""
                raise DivergedError(
                    f"the loss was {value}{half} at step {schedule.step + 1}, "
                    f"learning rate {schedule.learning_rate:.2g}"
                )
        schedule.step += 1
        schedule.seconds += time.perf_counter() - begin
        return value

    def _evaluate(self) -> None:
        model = self.model if self.average is None else self.average.model
        with self._timed("evaluation"):
            matrix = confusion_over(model, self.prepare.stream("val"), self.data.info.num_classes)
        counts = class_counts(matrix)
        self.evaluations.append(Evaluation(step=self.schedule.step, epoch=self.schedule.epoch, counts=counts))
        if counts.miou > self.best_miou:
            self.best_miou, self.best_confusion = counts.miou, matrix.tolist()
            self.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum, both with weight decay on every parameter."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


def _as_rows(matrix: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix)


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically; on a full disk the previous file is intact and no partial file is left."""
    path.parent.mkdir(exist_ok=True)  # without parents, so that a folder that was moved away is not created again
    with replaced(path) as partial:
        save_file({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, partial, dict(metadata))


def predict_samples(model: nn.Module, prepare: NormaliseBatch) -> npt.NDArray[np.uint8]:
    """Predicted class ids (N, H, W) of the images that every report shows (see `shown_split`)."""
    split = shown_split(prepare.data.info)
    images, _ = prepare(split, sample_indices(len(prepare.data.images[split])))
    model.eval()
    with torch.inference_mode():
        ids: npt.NDArray[np.uint8] = model(images).argmax(1).to(torch.uint8).cpu().numpy()
    return ids


def why_stopped(floors: Sequence[Floor], evaluation: int, best_miou: float) -> str | None:
    """Why a training with that best mIoU ends at its k-th evaluation; None if it continues."""
    floor = next((floor for floor in floors if floor.evaluation == evaluation), None)
    if floor is None or best_miou >= floor.miou:
        return None
    return (
        f"val mIoU {100 * best_miou:.1f} % at evaluation {evaluation} of {floor.of} is below {100 * floor.miou:.1f} %: "
        f"{floor.why}"
    )
