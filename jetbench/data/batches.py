"""Batches: which images, in which order, and decoded bytes as a network takes them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jetbench.data.cache import SegmentationData

EVALUATION_BATCH = 8
MOST_RESIDENT = 2**30
"""Bytes of data that a GPU holds: CamVid at 480x360 takes half of it. Larger ones are mapped from their file, as on a
CPU, whatever is free: what a training holds must not hang on the moment."""


def endless_batches(count: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of indices from one shuffled pass after another; a batch may span two passes, none is short."""
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
    """Decoded bytes to network input: images (N, 3, H, W) with zero mean and unit deviation, targets (N, H, W).

    `is_resident`: all splits go to the device at once, as bytes, and batches are taken from them there; by default on
    a GPU, of data up to `MOST_RESIDENT`.
    """

    def __init__(self, data: SegmentationData, device: torch.device, is_resident: bool | None = None) -> None:
        self.data = data
        self.device = device
        self.mean = torch.tensor(data.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(data.std, device=device).view(1, 3, 1, 1)
        self.is_resident = _is_resident(data, device) if is_resident is None else is_resident
        self._held: dict[str, tuple[Tensor, Tensor]] = {}
        for split in data.images if self.is_resident else ():
            # Copied first: torch warns of memory that may not be written to, as a file's that is mapped.
            images, labels = (torch.from_numpy(np.array(each[split])) for each in (data.images, data.labels))
            self._held[split] = images.to(device), labels.to(device)

    def __call__(self, split: str, indices: list[int]) -> tuple[Tensor, Tensor]:
        if self.is_resident:
            rows = torch.tensor(indices, device=self.device)
            images, target = (held.index_select(0, rows) for held in self._held[split])
        else:
            chosen = np.asarray(indices)
            images = torch.from_numpy(self.data.images[split][chosen]).to(self.device)
            target = torch.from_numpy(self.data.labels[split][chosen]).to(self.device)
        # contiguous: bytes arrive channels-last, and torch 2.13 on CPU corrupts the heap in the backward pass of a
        # dense 1x1 stride-2 convolution in that layout (DECISIONS.md, "No channels_last in training").
        channels_first = images.permute(0, 3, 1, 2).contiguous()
        return (channels_first.float() - self.mean) / self.std, target.long()

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

    normalise: NormaliseBatch
    split: str

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.normalise.batches(self.split)
