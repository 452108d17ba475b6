"""train: a brief, seeded training from scratch with AdamW, scored with one confusion matrix per split."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from jetbench.errors import DivergedError
from jetbench.experiment import Floor, TrainingConfig
from jetbench.record import Evaluation, TrainingResult
from jetbench.training.auxiliary import joint_loss
from jetbench.training.data import SegmentationData
from jetbench.training.losses import build_loss
from jetbench.training.metrics import evaluate
from jetbench.training.samples import KEY, encode_ids, sample_indices

CURVE_POINTS = 200
WARM_UP = 0.3
EVALUATION_BATCH = 8

Report = Callable[[float, str], None]
"""Told the finished share (0 to 1) and a line about the state."""


@dataclass
class Schedule:
    """How far the training is, in steps or in seconds of training time."""

    config: TrainingConfig
    images: int
    seconds: float = 0.0
    step: int = 0

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole training; None if it is limited by time."""
        budget = self.config.budget
        match budget.unit:
            case "steps":
                return int(budget.amount)
            case "epochs":
                return max(1, round(budget.amount * self.images / self.config.batch_size))
            case "seconds":
                return None

    @property
    def progress(self) -> float:
        """Finished share of the budget, 0 to 1."""
        total = self.total_steps
        share = self.seconds / self.config.budget.amount if total is None else self.step / total
        return min(1.0, share)

    @property
    def epoch(self) -> float:
        """Passes over the training images so far."""
        return self.step * self.config.batch_size / self.images

    @property
    def learning_rate(self) -> float:
        """One cycle: a cosine up over the first third, a cosine down to nearly nothing."""
        peak = self.config.learning_rate
        if self.config.schedule == "constant":
            return peak
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
) -> TrainingResult:
    """Train `model` in place and save the weights of its best validation score.

    Args:
        model: freshly built, on `device`; maps (N, 3, H, W) to logits (N, K, H, W), while it trains perhaps to a tuple
            of these and of auxiliary ones, each of which counts as its `auxiliary_weights` say.
        data: decoded images and labels.
        config: budget, loss, optimiser and seed.
        device: where to train; mixed precision is used on CUDA only.
        weights_file: safetensors file to write.
        metadata: stored beside the weights in that file, with what the network says of a few test images.
        report: told the progress a few times a second.
        floors: the training ends at an evaluation that has a floor, if its best mIoU so far lies below it.

    Raises:
        DivergedError: the loss, or an output that was scored, was not finite.
    """
    num_classes = data.info.num_classes
    loss_function = build_loss(config, data.class_pixels).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    auxiliary_weights: tuple[float, ...] = getattr(model, "auxiliary_weights", ())
    mixed = config.mixed_precision and device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=mixed)
    schedule = Schedule(config, len(data.images["train"]))
    prepare = Normalise(data, device)

    evaluations: list[Evaluation] = []
    best: dict[str, Tensor] = {}
    best_miou = -1.0
    stopped: str | None = None
    curve: list[tuple[int, float]] = []
    recent: list[float] = []
    window = max(1, math.ceil((schedule.total_steps or 0) / CURVE_POINTS))
    model.train()
    for indices in endless_batches(schedule.images, config.batch_size, config.seed):
        begin = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate
        images, target = prepare("train", indices)
        with torch.autocast(device.type, enabled=mixed):
            outputs = model(images)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = joint_loss(outputs, target, auxiliary_weights, loss_function)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss was {value} at step {schedule.step + 1}, learning rate {schedule.learning_rate:.2g}"
            )
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        schedule.step += 1
        schedule.seconds += time.perf_counter() - begin
        recent.append(value)
        if len(recent) == window:
            curve.append((schedule.step, sum(recent) / len(recent)))
            recent.clear()
        if schedule.progress * config.evaluations >= len(evaluations) + 1 or schedule.progress >= 1:
            counts = evaluate(model, prepare.stream("val"), num_classes)
            evaluations.append(Evaluation(step=schedule.step, epoch=schedule.epoch, counts=counts))
            if counts.miou > best_miou:
                best_miou = counts.miou
                best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            if schedule.progress < 1:
                stopped = why_stopped(floors, len(evaluations), best_miou)
        scored = f", val mIoU {evaluations[-1].counts.miou:.3f}" if evaluations else ""
        report(schedule.progress, f"step {schedule.step}, loss {value:.3f}{scored}")
        if schedule.progress >= 1 or stopped:
            break

    model.load_state_dict(best)
    test = evaluate(model, prepare.stream("test"), num_classes)
    shown = predict_samples(model, prepare)
    weights_file.parent.mkdir(exist_ok=True)  # not its parents: a folder that was moved away is not made anew
    partial = weights_file.with_suffix(".partial")
    try:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in best.items()}
        save_file(tensors, partial, {**(metadata or {}), KEY: encode_ids(shown)})
        partial.replace(weights_file)
    finally:
        partial.unlink(missing_ok=True)  # half a file on a full disk
    weights = getattr(loss_function, "class_weights", None)
    return TrainingResult(
        steps=schedule.step,
        epochs=schedule.epoch,
        seconds=schedule.seconds,
        loss_curve=tuple(curve),
        val=tuple(evaluations),
        test=test,
        weights_file=weights_file.name,
        class_weights=None if weights is None else tuple(weights.tolist()),
        mixed_precision=mixed,
        auxiliary_weights=auxiliary_weights,
        stopped=stopped,
    )


def predict_samples(model: nn.Module, prepare: "Normalise") -> npt.NDArray[np.uint8]:
    """Class ids (N, H, W) of the test images that every report shows."""
    images, _ = prepare("test", sample_indices(len(prepare.data.images["test"])))
    model.eval()
    with torch.inference_mode():
        ids: npt.NDArray[np.uint8] = model(images).argmax(1).to(torch.uint8).cpu().numpy()
    return ids


def why_stopped(floors: Sequence[Floor], evaluation: int, best_miou: float) -> str | None:
    """Why a training with that best mIoU ends at its k-th evaluation; None if it goes on."""
    floor = next((floor for floor in floors if floor.evaluation == evaluation), None)
    if floor is None or best_miou >= floor.miou:
        return None
    return (
        f"val mIoU {100 * best_miou:.1f} % at evaluation {evaluation} of {floor.of} is below {100 * floor.miou:.1f} %: "
        f"{floor.why}"
    )


def endless_batches(count: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of indices from one shuffled pass after another; a batch may span two passes, none is short."""
    generator = torch.Generator().manual_seed(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < batch_size:
            waiting += torch.randperm(count, generator=generator).tolist()
        yield waiting[:batch_size]
        del waiting[:batch_size]


class Normalise:
    """Decoded bytes to network input: images (N, 3, H, W) with zero mean and unit deviation, targets (N, H, W)."""

    def __init__(self, data: SegmentationData, device: torch.device) -> None:
        self.data = data
        self.device = device
        self.mean = torch.tensor(data.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(data.std, device=device).view(1, 3, 1, 1)

    def __call__(self, split: str, indices: list[int]) -> tuple[Tensor, Tensor]:
        rows = np.asarray(indices)
        images = torch.from_numpy(self.data.images[split][rows]).to(self.device)
        target = torch.from_numpy(self.data.labels[split][rows]).to(self.device).long()
        # contiguous: bytes arrive channels-last, and torch 2.13 on CPU corrupts the heap in the backward pass of a
        # dense 1x1 stride-2 convolution in that layout (DECISIONS.md, "No channels_last in training").
        channels_first = images.permute(0, 3, 1, 2).contiguous()
        return (channels_first.float() - self.mean) / self.std, target

    def batches(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """The split in order."""
        count = len(self.data.images[split])
        for start in range(0, count, EVALUATION_BATCH):
            yield self(split, list(range(start, min(start + EVALUATION_BATCH, count))))

    def stream(self, split: str) -> "BatchStream":
        """The split in order, decoded anew at each iteration."""
        return BatchStream(self, split)


@dataclass(frozen=True)
class BatchStream:
    """A split that can be iterated over again and again without holding it in memory."""

    normalise: Normalise
    split: str

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.normalise.batches(self.split)
