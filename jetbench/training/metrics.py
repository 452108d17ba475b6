"""Confusion matrix over a whole split, and its scores (paper, eq. 3)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from jetbench.data.labels import VOID
from jetbench.errors import DivergedError
from jetbench.records.scores import ClassCounts


def confusion_matrix(logits: Tensor, target: Tensor) -> Tensor:
    """Pixel counts by true class (rows) and predicted class (columns), int64 (K, K), void left out.

    Args:
        logits: (N, K, H, W).
        target: (N, H, W) of class ids, 255 for void.
    """
    num_classes = logits.shape[1]
    predicted, scored = logits.argmax(dim=1), target != VOID
    pairs = target[scored].long() * num_classes + predicted[scored]
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def class_counts(matrix: Tensor) -> ClassCounts:
    """True positives, false positives and false negatives of each class of a (K, K) confusion matrix."""
    hits = matrix.diagonal()
    return ClassCounts(
        true_positives=tuple(hits.tolist()),
        false_positives=tuple((matrix.sum(dim=0) - hits).tolist()),
        false_negatives=tuple((matrix.sum(dim=1) - hits).tolist()),
    )


def confusion_over(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], num_classes: int) -> Tensor:
    """The confusion matrix of `model` over all batches, int64 (K, K) as in `confusion_matrix`; keeps its mode.

    Args:
        model: maps images (N, 3, H, W) to logits (N, K, H, W).
        batches: pairs of images (N, 3, H, W) and targets (N, H, W).
        num_classes: K.

    Raises:
        DivergedError: a logit was infinite or not a number.
    """
    was_training = model.training
    model.eval()
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    with torch.inference_mode():
        for images, target in batches:
            logits = model(images)
            if not torch.isfinite(logits).all():
                # argmax would still give a class, and a broken network would get a score.
                raise DivergedError("the network's output was not finite during evaluation")
            matrix += confusion_matrix(logits, target).cpu()
    model.train(was_training)
    return matrix
