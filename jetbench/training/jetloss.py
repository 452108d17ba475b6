"""JetLoss (section 2.4) in the form that learns, and the released code's form that cannot.

The paper prints JetLoss as a sum of scores to be maximised; we minimise sum_c W_c (1 - score_c) for each term. What
the release minimises are the scores themselves, so that it trains away from the labels: `jetloss-released` is kept to
show that, not to be used.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.data.labels import CLASSES_32, VOID
from jetbench.spec.training import JetLossConfig

SMOOTHING_PIXELS = 1.0
RELEASED_BACKGROUND = CLASSES_32.index("Void")


def effective_number_weights(class_pixels: Sequence[int], config: JetLossConfig) -> Tensor:
    """Cui et al.'s class weights (1 - beta) / (1 - beta^n), n the class's pixels, float32 (K,), scaled to sum to 1.

    Without a beta of its own, `rare_share` r sets it to 1 - 1 / (r N) for N labelled pixels: classes with much more
    than r N pixels weigh alike, rarer ones weigh more, and the same r means the same for any number of images. A
    class without a pixel weighs 0.
    """
    pixels = torch.tensor(class_pixels, dtype=torch.float64)
    log_beta = math.log1p(-1 / max(config.rare_share * float(pixels.sum()), 1.0 + 1e-9))
    if config.beta is not None:
        log_beta = math.log(config.beta) if config.beta > 0 else -math.inf
    weights = torch.where(pixels > 0, -math.expm1(log_beta) / -torch.expm1(log_beta * pixels.clamp(min=1)), 0.0)
    return (weights / weights.sum()).float()


class JetLoss(nn.Module):
    """Recall, precision and batch IoU from soft counts, each as sum_c W_c (1 - score_c).

    logits (N, K, H, W) and target (N, H, W) -> a scalar. Counts are summed over the batch; void pixels are left out,
    classes that are absent from the batch are left out of the weighted mean.
    """

    class_weights: Tensor

    def __init__(self, class_weights: Tensor, config: JetLossConfig) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)
        self.config = config

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        # Half precision ends at 65,504, which counts of pixels pass at once.
        scores = (logits.float() if logits.dtype != torch.float64 else logits).softmax(dim=1)
        true_positives, predicted, actual = soft_counts(scores, target)
        union = predicted + actual - true_positives
        e = SMOOTHING_PIXELS
        terms = (
            (self.config.recall, (true_positives + e) / (actual + e)),
            (self.config.precision, (true_positives + e) / (predicted + e)),
            (self.config.batch_iou, (true_positives + e) / (union + e)),
        )
        weights = self.class_weights.to(scores.dtype) * (actual > 0)
        weights = weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        losses = [strength * (weights * (1 - score)).sum() for strength, score in terms]
        return torch.stack(losses).sum()


def soft_counts(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Soft true positives, predicted and actual pixels of each class over the batch, (K,) each, void left out."""
    known = target != VOID
    ids = torch.where(known, target, 0).unsqueeze(1)
    # Sums over a mask are taken pairwise: adding pixel by pixel would lose the small ones of a large batch.
    actual_mask = torch.zeros_like(scores).scatter_(1, ids, known.unsqueeze(1).to(scores.dtype))
    true_positives = (actual_mask * scores).sum(dim=(0, 2, 3))
    predicted = torch.where(known.unsqueeze(1), scores, 0.0).sum(dim=(0, 2, 3))
    return true_positives, predicted, actual_mask.sum(dim=(0, 2, 3))


class ReleasedJetLoss(nn.Module):
    """What the release minimises: scores of raw logits, 10 w (recall + 100 precision + 10 background IoU).

    w is one constant, the mean over classes and images of the share of pixels, background left out. The background
    (class 30) has a term only where the data has that many classes. logits (N, K, H, W), target (N, H, W) -> scalar.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        num_classes = logits.shape[1]
        known = (target != VOID).unsqueeze(1)
        ids = torch.where(target != VOID, target, 0).long()
        actual_mask = F.one_hot(ids, num_classes).movedim(-1, 1) * known  # (N, K, H, W)
        hits = (actual_mask * logits).sum(dim=(2, 3))
        actual, predicted = actual_mask.sum(dim=(2, 3)), logits.sum(dim=(2, 3))
        e = 1e-6
        recall = ((hits + e) / (actual + e)).mean().clamp(min=0)
        precision = 100 * ((hits + e) / (predicted + e)).mean().clamp(min=0)
        shares = actual / actual.sum().clamp(min=1)
        background = logits.new_zeros(())
        if num_classes > RELEASED_BACKGROUND:
            b = RELEASED_BACKGROUND
            shares = shares * (torch.arange(num_classes, device=shares.device) != b)
            union = actual[:, b] + predicted[:, b] - hits[:, b]
            background = 10 * ((hits[:, b] + e) / (union + e)).mean().clamp(min=0)
        return (10 * shares.mean() * (recall + precision + background)).clamp(min=0)
