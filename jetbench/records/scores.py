"""Scores of a network on a split, as counts of pixels from which every score follows."""

from pydantic import model_validator

from jetbench.spec.base import Spec
from jetbench.spec.bounds import Amount


class ClassCounts(Spec):
    """Pixel counts of each class over one whole split, from one confusion matrix; void pixels are left out."""

    true_positives: tuple[Amount, ...]
    false_positives: tuple[Amount, ...]
    false_negatives: tuple[Amount, ...]

    @model_validator(mode="after")
    def _of_labelled_pixels(self) -> "ClassCounts":
        if not len(self.true_positives) == len(self.false_positives) == len(self.false_negatives):
            raise ValueError("the counts are of different numbers of classes")
        if sum(self.true_positives) + sum(self.false_negatives) < 1:
            raise ValueError("the counts contain no labelled pixel")
        return self

    @property
    def class_iou(self) -> tuple[float | None, ...]:
        """TP / (TP + FP + FN) of each class; None for a class that is absent from the labels of the split."""
        rows = zip(self.true_positives, self.false_positives, self.false_negatives, strict=True)
        return tuple(tp / (tp + fp + fn) if tp + fn else None for tp, fp, fn in rows)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur in the labels of the split."""
        present = [iou for iou in self.class_iou if iou is not None]
        return sum(present) / len(present)
