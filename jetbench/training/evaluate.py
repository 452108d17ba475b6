"""evaluate_network: every score of a trained network on a split, with the images that it does worst."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.data.batches import NormaliseBatch
from jetbench.data.cache import SegmentationData
from jetbench.data.labels import VOID
from jetbench.errors import DivergedError, SpecError
from jetbench.models.weights import SavedNetwork
from jetbench.progress import Report
from jetbench.records.scores import ClassCounts
from jetbench.stats import Difference, paired_difference
from jetbench.training.metrics import class_counts, confusion_matrix

BOUNDARY_SHARE = 0.0075
"""Largest distance of a boundary that counts as found, as a share of the image's diagonal (Csurka et al., 2013)."""


@dataclass(frozen=True)
class ImageScore:
    """The mIoU of one image over the classes in its labels; None if it has none."""

    number: int
    miou: float | None


@dataclass(frozen=True)
class Evaluated:
    """What a network scores on a split.

    Args:
        class_names: the classes.
        confusion: pixels by true class (rows) and predicted class (columns).
        boundary_f: mean over the images of the boundary F-score; None if no image has a boundary.
        images: the mIoU of each image.
    """

    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    boundary_f: float | None
    images: tuple[ImageScore, ...]

    @property
    def counts(self) -> ClassCounts:
        """The pixels of each class that were right, taken for it, and missed."""
        return class_counts(torch.tensor(self.confusion))

    @property
    def class_iou(self) -> tuple[float | None, ...]:
        """The IoU of each class (paper, eq. 3); None for a class that the labels lack."""
        return self.counts.class_iou

    @property
    def miou(self) -> float:
        """The mean of the IoU over the classes in the labels."""
        return self.counts.miou

    @property
    def labelled(self) -> tuple[int, ...]:
        """Labelled pixels of each class."""
        return tuple(map(sum, self.confusion))

    @property
    def pixel_accuracy(self) -> float:
        """The share of the labelled pixels that have their class."""
        return sum(row[n] for n, row in enumerate(self.confusion)) / sum(self.labelled)

    @property
    def class_accuracy(self) -> float:
        """The mean over the classes in the labels of the share of their pixels that have their class."""
        shares = [row[n] / sum(row) for n, row in enumerate(self.confusion) if sum(row)]
        return sum(shares) / len(shares)

    @property
    def frequency_weighted_iou(self) -> float:
        """The mean of the IoU, weighted by the labelled pixels of each class."""
        total = sum(self.labelled)
        pairs = zip(self.class_iou, self.labelled, strict=True)
        return sum(iou * pixels for iou, pixels in pairs if iou is not None) / total

    def worst(self, count: int) -> list[ImageScore]:
        """The images with the lowest mIoU, the lowest first."""
        known = [image for image in self.images if image.miou is not None]
        return sorted(known, key=lambda image: image.miou or 0.0)[:count]


def check_classes_of(saved: SavedNetwork, class_names: tuple[str, ...], where: str) -> None:
    """Raise if a network was trained on other classes than those of the data, which are `class_names`.

    Raises:
        SpecError: the message names the classes that differ.
    """
    own, theirs = saved.class_names, class_names
    if saved.num_classes != len(theirs):
        raise SpecError(f"{where}: has {saved.num_classes} classes, and the data have {len(theirs)}")
    if own and own != theirs:
        place = next(n for n, pair in enumerate(zip(own, theirs, strict=True)) if pair[0] != pair[1])
        raise SpecError(
            f"{where}: was trained on other classes: class {place} is {own[place]!r} there and {theirs[place]!r} in "
            "the data; give the data's classes in the order of the weights (classes.yaml)"
        )


def evaluate_network(
    model: nn.Module,
    saved: SavedNetwork,
    data: SegmentationData,
    split: str,
    device: torch.device,
    report: Report = lambda share, text: None,
    has_boundaries: bool = True,
) -> Evaluated:
    """Score one network on a split, image by image, normalised as in its training: `evaluate_together` of one."""
    (only,), _ = evaluate_together([model], saved, data, split, device, report, has_boundaries)
    return only


def evaluate_together(
    models: Sequence[nn.Module],
    saved: SavedNetwork,
    data: SegmentationData,
    split: str,
    device: torch.device,
    report: Report = lambda share, text: None,
    has_boundaries: bool = True,
) -> tuple[list[Evaluated], list[int]]:
    """Score forms of one network on a split, each image by all of them in turn.

    Args:
        models: each maps (N, 3, H, W) to logits (N, K, H, W).
        saved: the metadata of their weights.
        data: decoded images and labels, of the size that they take.
        split: train, val or test.
        device: where to run.
        report: called with the share of the images that are done.
        has_boundaries: compute the boundary F-score of the last one, which takes longer than all else.

    Returns:
        The scores of each, and for each the number of pixels with another class than the first one gives.

    Raises:
        SpecError: the split has no labelled image.
        DivergedError: an output was not finite.
    """
    if not data.info.images[split]:
        raise SpecError(f"{data.info.name}: its {split} split has no labelled image")
    num_classes, models = data.info.num_classes, [model.to(device).eval() for model in models]
    normalise = NormaliseBatch(replace(data, mean=saved.mean, std=saved.std), device, is_resident=False)
    wholes = [torch.zeros(num_classes, num_classes, dtype=torch.int64) for _ in models]
    images: list[list[ImageScore]] = [[] for _ in models]
    boundaries: list[float] = []
    changed = [0] * len(models)
    with torch.inference_mode():
        for batch, target in normalise.batches(split):
            first: Tensor | None = None
            for number, model in enumerate(models):
                logits = model(batch)
                if not torch.isfinite(logits).all():
                    raise DivergedError("the network's output was not finite during evaluation")
                predicted = logits.argmax(1)
                first = predicted if first is None else first
                changed[number] += int((predicted != first).sum())
                for one, labels in zip(logits, target, strict=True):
                    matrix = confusion_matrix(one[None], labels[None]).cpu()
                    wholes[number] += matrix
                    counts = class_counts(matrix) if int(matrix.sum()) else None
                    images[number].append(ImageScore(len(images[number]), counts.miou if counts else None))
            if has_boundaries:
                scores = [boundary_f(ids, labels, num_classes) for ids, labels in zip(predicted, target, strict=True)]
                boundaries += [score for score in scores if score is not None]
            done = len(images[0])
            report(done / data.info.images[split], f"{done} images of {split}")
    mean = sum(boundaries) / len(boundaries) if boundaries else None
    evaluated = [
        Evaluated(
            data.info.class_names,
            tuple(tuple(row) for row in whole.tolist()),
            mean if number == len(models) - 1 else None,
            tuple(own),
        )
        for number, (whole, own) in enumerate(zip(wholes, images, strict=True))
    ]
    return evaluated, changed


def mean_change(ours: Evaluated, theirs: Evaluated) -> Difference | None:
    """The mean change of an image's mIoU with its 95 % interval, paired; None below two images with labels."""
    pairs = zip(ours.images, theirs.images, strict=True)
    changes = [one.miou - other.miou for one, other in pairs if one.miou is not None and other.miou is not None]
    return paired_difference(changes) if len(changes) > 1 else None


def boundary_f(predicted: Tensor, target: Tensor, num_classes: int) -> float | None:
    """The boundary F-score of one image (Csurka et al., 2013): the mean over its classes of 2 P R / (P + R).

    P is the share of a class's predicted boundary within a distance of its true one, R the share of its true boundary
    within that distance of the predicted one; the distance is 0.75 % of the diagonal, along the rows and columns. A
    boundary is the pixels of a class with a neighbour of another class. Pixels without a class are no neighbours of
    either side: where a class ends at them, nobody knows whether it ends.

    Args:
        predicted: class ids (H, W).
        target: class ids (H, W), 255 for none.
        num_classes: K.

    Returns:
        None if no class has a boundary in the labels.
    """
    labelled = target != VOID
    reach = max(1, round(BOUNDARY_SHARE * math.hypot(*target.shape)))
    scores = []
    for number in torch.unique(target[labelled]).tolist():
        if number >= num_classes:
            continue
        true, guessed = (_edge(each, number, labelled) for each in (target, predicted))
        if not true.any():
            continue
        precision = float((guessed & _near(true, reach)).sum() / guessed.sum().clamp(min=1))
        recall = float((true & _near(guessed, reach)).sum() / true.sum())
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return sum(scores) / len(scores) if scores else None


def _edge(ids: Tensor, number: int, labelled: Tensor) -> Tensor:
    """The labelled pixels of a class with a labelled one of another class beside, above or below them."""
    others = F.pad((ids != number) & labelled, (1, 1, 1, 1))
    beside = others[1:-1, :-2] | others[1:-1, 2:] | others[:-2, 1:-1] | others[2:, 1:-1]
    return (ids == number) & labelled & beside


def _near(mask: Tensor, reach: int) -> Tensor:
    """The pixels within so many rows and columns of a mask."""
    return F.max_pool2d(mask.float()[None, None], 2 * reach + 1, 1, reach)[0, 0] > 0
