"""Images a second of our training loop beside the released one, in the same run; and where our time goes.

Not tests: `make benchmark` runs them, on a machine with nothing else to do. The released loop is told again here from
its facts: one-hot masks, JetLoss over them, and after each step a mean IoU that compares all maps of an image with each
class id. What its loader does (decoding, colours to masks) is left out; what ours does, normalising, is in.
"""

import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jetbench import build_model, load_architecture
from jetbench.data.cache import SegmentationData
from jetbench.models.activations import REU
from jetbench.probe.machine import keep_freed_memory
from jetbench.records.record import DatasetInfo
from jetbench.spec.training import TrainingConfig
from jetbench.training.jetloss import ReleasedJetLoss
from jetbench.training.loop import _Training

pytestmark = pytest.mark.benchmarks

SIZE, CLASSES, BATCH, ROUNDS = (360, 480), 32, 4, 5
CPU = torch.device("cpu")


class ReleasedREU(torch.autograd.Function):
    """As the release has it: both branches everywhere, and a slope in double precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x <= 0, x * torch.exp(x), x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x = ctx.saved_tensors[0].double()
        return gradient * torch.where(x >= 0, 1.0, torch.exp(x) * (x + 1))


def data(size: tuple[int, int] = SIZE, batch: int = BATCH) -> SegmentationData:
    """Noise with 32 classes, as much as a few batches."""
    generator = np.random.default_rng(0)
    names = tuple(f"class {number}" for number in range(CLASSES))
    count = 4 * batch
    info = DatasetInfo(
        name="noise", size=size, class_names=names, void_rule="none", images={"train": count, "val": 1, "test": 1},
        digest="", constant_miou={"train": 0.0, "val": 0.0, "test": 0.0},
    )  # fmt: skip
    images = {s: generator.integers(0, 256, (n, *size, 3), dtype=np.uint8) for s, n in info.images.items()}
    labels = {s: generator.integers(0, CLASSES, (n, *size), dtype=np.uint8) for s, n in info.images.items()}
    return SegmentationData(info, images, labels, (127.5,) * 3, (73.9,) * 3, (1000,) * CLASSES)


def network(name: str = "jetseg-nano-released", size: tuple[int, int] = SIZE) -> nn.Module:
    torch.manual_seed(0)
    return build_model(load_architecture(name), CLASSES, size)


def released_network(size: tuple[int, int] = SIZE) -> nn.Module:
    """The same function with the release's activation."""
    model = network(size=size)
    for module in model.modules():
        if isinstance(module, REU):
            module.forward = ReleasedREU.apply  # type: ignore[method-assign]
    return model.train()


class ReleasedLoop:
    """One step of the released training: forward, loss, backward, AdamW, and its score of the batch."""

    def __init__(self, source: SegmentationData) -> None:
        self.model, self.loss = released_network(), ReleasedJetLoss()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=1e-4)
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (source.mean, source.std))
        images = torch.from_numpy(source.images["train"][:BATCH]).permute(0, 3, 1, 2).contiguous().float()
        self.images = (images - mean) / std
        self.labels = torch.from_numpy(source.labels["train"][:BATCH]).long()
        self.masks = nn.functional.one_hot(self.labels, CLASSES).movedim(-1, 1).to(torch.uint8)

    def step(self) -> None:
        images, masks = self.images.float(), self.masks.float()
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.loss(logits, self.labels)
        loss.backward()
        self.optimizer.step()
        loss.item()
        predicted = logits.argmax(dim=1).unsqueeze(1).expand(-1, CLASSES, -1, -1).reshape(logits.shape).numpy()
        binary = np.zeros(predicted.shape, np.float32)
        for number in range(CLASSES):
            binary[:, number] = predicted[:, number] == number
        self.score(torch.from_numpy(binary), masks)

    def score(self, predicted: Tensor, masks: Tensor) -> float:
        """For each image and class id, all maps of the image are compared with the id."""
        found = []
        for image, mask in zip(predicted, masks, strict=True):
            for number in range(CLASSES):
                ours, theirs = image == number, mask == number
                both = ours[theirs].sum()
                either = ours.sum() + theirs.sum() - both
                found.append(float(both) / float(either) if either else float("nan"))
        told = torch.tensor(found)
        return float(told[~told.isnan()].mean())


class OurLoop:
    """Steps of our loop, with the loss that is trained with."""

    def __init__(self, source: SegmentationData, model: nn.Module | None = None, batch: int = BATCH) -> None:
        self.training = _Training(model or network(), source, TrainingConfig(batch_size=batch), CPU, None)
        self.training.model.train()
        self.batch, self.number = batch, 0

    def step(self) -> None:
        first = self.number * self.batch % (4 * self.batch)
        self.number += 1
        self.training._step(list(range(first, first + self.batch)))


def serve(kind: str, orders: Connection) -> None:
    """Make steps on demand and tell their seconds; in a process of its own, as how memory is freed is a process's."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if kind == "ours":
        keep_freed_memory()  # as `benchmark.run_training` does
    loop = OurLoop(data()) if kind == "ours" else ReleasedLoop(data())
    while orders.recv() == "step":
        begin = time.process_time()
        loop.step()
        orders.send(time.process_time() - begin)


def test_the_two_networks_are_the_same_function() -> None:
    source = data()
    released, ours = ReleasedLoop(source), OurLoop(source)
    with torch.no_grad():
        one, other = released.model(released.images), ours.training.model(released.images)
    assert (one - other).abs().max() <= 1e-4 * one.abs().max()


def test_a_training_step_is_six_times_as_fast_as_the_released_one() -> None:
    """By processor time on one thread; median of paired ratios, in turn, after a step each that does not count."""
    spawn = multiprocessing.get_context("spawn")
    lines = {}
    for kind in ("released", "ours"):
        mine, theirs = spawn.Pipe()
        spawn.Process(target=serve, args=(kind, theirs), daemon=True).start()
        lines[kind] = mine

    def step(kind: str) -> float:
        lines[kind].send("step")
        told: float = lines[kind].recv()
        return told

    pairs = [(step("released"), step("ours")) for _ in range(ROUNDS + 1)][1:]
    for line in lines.values():
        line.send("end")
    ratios = sorted(theirs / own for theirs, own in pairs)
    theirs, own = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(
        f"\nbatch {BATCH} at {SIZE[0]}x{SIZE[1]}, {CLASSES} classes, one thread: released {theirs:.2f} s a step "
        f"({BATCH / theirs:.2f} images/s), ours {own:.2f} s ({BATCH / own:.2f} images/s): "
        f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] times as fast"
    )
    assert statistics.median(ratios) >= 6


def test_where_a_step_of_ours_goes(tmp_path: Path) -> None:
    """Shares of processor time by operation, forward and backward together; data and loss are among them."""
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    ours = OurLoop(data())
    ours.step()
    ours.training.seconds = dict.fromkeys(ours.training.seconds, 0.0)
    with profile(activities=[ProfilerActivity.CPU]) as told:
        for _ in range(3):
            ours.step()
    events = sorted(told.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    phases = ours.training.seconds
    share = phases["data"] / (phases["data"] + phases["network"])
    print(f"\ndata {share:.1%} of a step; by operation:")
    for event in events[:14]:
        print(f"  {event.self_cpu_time_total / whole:6.1%}  {event.key} ({event.count // 3} a step)")
    assert share < 0.05
