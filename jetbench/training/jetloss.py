"""JetLoss (section 2.4) in a form that learns, and in the form of the released code, which does not.

The paper prints JetLoss as a sum of scores to be maximised; we minimise sum_c W_c (1 - score_c) for each term. The
released code minimises the scores themselves, so it trains away from the labels. `jetloss-released` exists only to show
that.
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
    """Class weights of Cui et al.: (1 - beta) / (1 - beta^n) for n pixels of a class, float32 (K,), scaled to sum to 1.

    If `beta` is None, `rare_share` r sets it to 1 - 1 / (r N) for N labelled pixels. Classes with many more than r N
    pixels then have equal weights, and rarer classes weigh more, independent of the number of images. A class without
    pixels has weight 0.
    """
    pixels = torch.tensor(class_pixels, dtype=torch.float64)
    log_beta = math.log1p(-1 / max(config.rare_share * float(pixels.sum()), 1.0 + 1e-9))
    if config.beta is not None:
        log_beta = math.log(config.beta) if config.beta > 0 else -math.inf
    weights = torch.where(pixels > 0, -math.expm1(log_beta) / -torch.expm1(log_beta * pixels.clamp(min=1)), 0.0)
    return (weights / weights.sum()).float()


class JetLoss(nn.Module):
    """Recall, precision and batch IoU from soft counts, each as sum_c W_c (1 - score_c).

    logits (N, K, H, W) and target (N, H, W) -> a scalar. Counts are summed over the batch without void pixels. The
    weighted mean leaves out classes that are absent from the batch.
    """

    class_weights: Tensor

    def __init__(self, class_weights: Tensor, config: JetLossConfig) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)
        self.config = config

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        # Pixel counts soon exceed 65,504, the largest half-precision number.
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
    labelled = target != VOID
    ids = torch.where(labelled, target, 0).unsqueeze(1)
    # torch sums a masked tensor pairwise; adding pixel by pixel would lose small values in a large batch.
    actual_mask = torch.zeros_like(scores).scatter_(1, ids, labelled.unsqueeze(1).to(scores.dtype))
    true_positives = (actual_mask * scores).sum(dim=(0, 2, 3))
    predicted = torch.where(labelled.unsqueeze(1), scores, 0.0).sum(dim=(0, 2, 3))
    return true_positives, predicted, actual_mask.sum(dim=(0, 2, 3))


class ReleasedJetLoss(nn.Module):
    """The loss of the released code: scores of raw logits, 10 w (recall + 100 precision + 10 background IoU).

    w is one constant: the mean share of pixels over classes and images, without the background. The background
    (class 30) has a term only if the data has that many classes. logits (N, K, H, W), target (N, H, W) -> scalar.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        num_classes = logits.shape[1]
        labelled = (target != VOID).unsqueeze(1)
        ids = torch.where(target != VOID, target, 0).long()
        actual_mask = F.one_hot(ids, num_classes).movedim(-1, 1) * labelled  # (N, K, H, W)
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
