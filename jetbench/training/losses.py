"""build_loss: JetLoss and the usual losses to compare it with, all from logits and class ids, ignoring void.

Own implementations, because the libraries that have all of these losses require a vision stack, and none ignores void
everywhere. The tests compare them with kornia's.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from jetbench.data.labels import VOID
from jetbench.errors import SpecError
from jetbench.models.user_code import call_factory
from jetbench.spec.training import OhemConfig, TrainingConfig
from jetbench.training.jetloss import (
    SMOOTHING_PIXELS,
    JetLoss,
    ReleasedJetLoss,
    effective_number_weights,
    soft_counts,
)

FOCUS = 2.0
ENET_OFFSET = 1.02


def log_probabilities(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel: the log-probability of its class, its class id (0 for void), and True if it has a class.

    (N, K, H, W) and (N, H, W) -> three tensors (N, H, W). Computed in single precision at least.
    """
    labelled = target != VOID
    ids = torch.where(labelled, target, 0)
    logs = logits.float() if logits.dtype != torch.float64 else logits
    own = logs.log_softmax(dim=1).gather(1, ids.unsqueeze(1)).squeeze(1)
    return own, ids, labelled


class CrossEntropy(nn.Module):
    """Weighted mean of -log p over the pixels with a class, by class weights; without weights all pixels count 1.

    logits (N, K, H, W) and target (N, H, W) -> a scalar; 0 for a batch without labelled pixels.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        own, ids, labelled = log_probabilities(logits, target)
        weights = labelled.to(own.dtype)
        if self.class_weights is not None:
            weights = weights * self.class_weights.to(own.dtype)[ids]
        return -(own * weights).sum() / weights.sum().clamp(min=torch.finfo(own.dtype).tiny)


class Ohem(nn.Module):
    """Mean of -log p over the hard pixels: those whose class has p below a threshold, at least the hardest share.

    logits (N, K, H, W) and target (N, H, W) -> a scalar; 0 for a batch without labelled pixels.
    """

    def __init__(self, config: OhemConfig) -> None:
        super().__init__()
        self.limit, self.least = -math.log(config.threshold), config.least

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        own, _, labelled = log_probabilities(logits, target)
        costs = -own[labelled]
        if not len(costs):
            return 0.0 * logits.sum()
        hard = costs[costs > self.limit]
        least = max(1, math.ceil(self.least * len(costs)))
        return (hard if len(hard) >= least else costs.topk(least).values).mean()


class Focal(nn.Module):
    """Focal loss (Lin et al., 2017, eq. 4): mean of -(1 - p)^2 log p over pixels with a class; no class weights.

    logits (N, K, H, W) and target (N, H, W) -> a scalar.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        own, _, labelled = log_probabilities(logits, target)
        losses = -((1 - own.exp()).clamp(min=0) ** FOCUS) * own
        return (losses * labelled).sum() / labelled.sum().clamp(min=1)


class Dice(nn.Module):
    """Soft Dice (Milletari et al., 2016): 1 - (2 TP + 1) / (predicted + actual + 1), the mean over the batch's classes.

    logits (N, K, H, W) and target (N, H, W) -> a scalar. Counts are summed over the batch; classes that are absent
    from it are left out.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        scores = (logits.float() if logits.dtype != torch.float64 else logits).softmax(dim=1)
        true_positives, predicted, actual = soft_counts(scores, target)
        e = SMOOTHING_PIXELS
        losses = 1 - (2 * true_positives + e) / (predicted + actual + e)
        present = actual > 0
        return (losses * present).sum() / present.sum().clamp(min=1)


class Lovasz(nn.Module):
    """Lovász-softmax (Berman et al., 2018): the convex extension of 1 - IoU, the mean over the batch's classes.

    logits (N, K, H, W) and target (N, H, W) -> a scalar. Errors are sorted over the whole batch: each class that is
    present costs a sort of all pixels.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        scores = (logits.float() if logits.dtype != torch.float64 else logits).softmax(dim=1)
        labelled = target != VOID
        scores, ids = scores.movedim(1, -1)[labelled], target[labelled]  # (P, K), (P,)
        losses = []
        for label in torch.unique(ids).tolist():
            actual = ids == label
            errors, order = torch.where(actual, 1 - scores[:, label], scores[:, label]).sort(descending=True)
            losses.append((errors * jaccard_slope(actual[order]).to(errors.dtype)).sum())
        return torch.stack(losses).mean() if losses else 0.0 * logits.sum()


def jaccard_slope(actual: Tensor) -> Tensor:
    """The increase of 1 - IoU by each further wrong pixel, in the order of errors: booleans (P,) -> (P,), float64.

    Integer counts keep it exact for any number of pixels.
    """
    hits = actual.cumsum(0)
    total = hits[-1]
    ranks = torch.arange(1, len(actual) + 1, device=actual.device)
    distance = 1 - (total - hits).double() / (total + ranks - hits).double()
    return torch.diff(distance, prepend=distance.new_zeros(1))


def enet_weights(class_pixels: Sequence[int]) -> Tensor:
    """ENet's class weights 1 / ln(1.02 + p) (Paszke et al., 2016) for a share p of labelled pixels: float32 (K,)."""
    total = sum(class_pixels)
    return torch.tensor([1 / math.log(ENET_OFFSET + pixels / total) for pixels in class_pixels])


class OwnLoss(nn.Module):
    """A loss of the user's own: logits (N, K, H, W) and target (N, H, W), in which 255 is void -> a scalar."""

    def __init__(self, call: Callable[[Tensor, Tensor], Tensor], name: str) -> None:
        super().__init__()
        self.call, self.name = call, name

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        loss = self.call(logits, target)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            gives = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            gives += " without a gradient" if isinstance(loss, Tensor) and loss.numel() == 1 else ""
            raise SpecError(f"training.loss: {self.name} gives {gives}; expected a scalar tensor with a gradient")
        return loss.reshape(())


def _own_loss(config: TrainingConfig, class_pixels: Sequence[int]) -> OwnLoss:
    """The loss of the user's own.

    Raises:
        SpecError: the command did not name its source, or its factory fails or returns nothing that can be called.
    """
    offered = {"num_classes": len(class_pixels), "class_pixels": list(class_pixels)}
    name = config.describe_loss()
    call = call_factory("training.loss", config.loss, config.loss_source, config.loss_arguments, offered)
    if not callable(call):
        raise SpecError(
            f"training.loss: {name} returned a {type(call).__name__}; expected a loss, a module or function of "
            "(logits, target)"
        )
    return OwnLoss(call, name)


def build_loss(config: TrainingConfig, class_pixels: Sequence[int]) -> nn.Module:
    """The loss that `config` names; `class_pixels` counts the training pixels of each class."""
    match config.loss:
        case "cross-entropy":
            return CrossEntropy()
        case "weighted-cross-entropy":
            return CrossEntropy(enet_weights(class_pixels))
        case "ohem":
            return Ohem(config.ohem)
        case "focal":
            return Focal()
        case "dice":
            return Dice()
        case "lovasz":
            return Lovasz()
        case "jetloss-released":
            return ReleasedJetLoss()
        case "jetloss":
            return JetLoss(effective_number_weights(class_pixels, config.jetloss), config.jetloss)
        case _:
            return _own_loss(config, class_pixels)
