"""Batches: the order of images in training and evaluation, and their normalisation as network input."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jetbench.data.cache import SegmentationData

EVALUATION_BATCH = 8
MOST_RESIDENT = 2**30
"""Largest data set, in bytes, that is kept on a GPU; CamVid at 360x480 takes half of it.

A larger one is memory-mapped from its file, as on a CPU. The limit does not depend on free memory, so that a training
always behaves the same."""


def endless_batches(count: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of indices from consecutive shuffled passes; a batch may span two passes, and all have full size."""
    generator = torch.Generator().manual_seed(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < batch_size:
            waiting += torch.randperm(count, generator=generator).tolist()
        yield waiting[:batch_size]
        del waiting[:batch_size]


def _is_resident(data: SegmentationData, device: torch.device) -> bool:
    needed = sum(split.nbytes for splits in (data.images, data.labels) for split in splits.values())
    return device.type == "cuda" and needed <= MOST_RESIDENT


class NormaliseBatch:
    """Turns decoded bytes into network input: images (N, 3, H, W) with zero mean and unit deviation, targets (N, H, W).

    With `is_resident` all splits are copied to the device at once, as bytes, and batches are taken from there. This is
    the default on a GPU for data of at most `MOST_RESIDENT` bytes.
    """

    def __init__(self, data: SegmentationData, device: torch.device, is_resident: bool | None = None) -> None:
        self.data = data
        self.device = device
        self.mean = torch.tensor(data.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(data.std, device=device).view(1, 3, 1, 1)
        self.is_resident = _is_resident(data, device) if is_resident is None else is_resident
        self._resident: dict[str, tuple[Tensor, Tensor]] = {}
        for split in data.images if self.is_resident else ():
            # Copied first, because torch warns about read-only memory such as a mapped file.
            images, labels = (torch.from_numpy(np.array(arrays[split])) for arrays in (data.images, data.labels))
            self._resident[split] = images.to(device), labels.to(device)

    def __call__(self, split: str, indices: list[int]) -> tuple[Tensor, Tensor]:
        if self.is_resident:
            rows = torch.tensor(indices, device=self.device)
            images, target = (tensor.index_select(0, rows) for tensor in self._resident[split])
        else:
            chosen = np.asarray(indices)
            images = torch.from_numpy(self.data.images[split][chosen]).to(self.device)
            target = torch.from_numpy(self.data.labels[split][chosen]).to(self.device)
        # contiguous(), because the bytes are channels-last, and torch 2.13 on CPU corrupts the heap in the backward
        # pass of a dense 1x1 stride-2 convolution in that layout (DECISIONS.md, "No channels_last in training").
        channels_first = images.permute(0, 3, 1, 2).contiguous()
        return (channels_first.float() - self.mean) / self.std, target.long()

    def batches(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of a split in order."""
        count = len(self.data.images[split])
        for start in range(0, count, EVALUATION_BATCH):
            yield self(split, list(range(start, min(start + EVALUATION_BATCH, count))))

    def stream(self, split: str) -> "BatchStream":
        """A re-iterable stream of the batches of a split, prepared again at each iteration."""
        return BatchStream(self, split)


@dataclass(frozen=True)
class BatchStream:
    """The batches of a split; can be iterated repeatedly without holding the split in memory."""

    normalise: NormaliseBatch
    split: str

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.normalise.batches(self.split)
