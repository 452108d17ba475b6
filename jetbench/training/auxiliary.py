"""Losses of training-only heads: the configured loss for class heads, a balanced cross-entropy for edge heads.

The paper of each baseline has its own recipe for these heads. Here all share one recipe, so that a comparison shows the
networks and not the recipes. Only the weight of a class head comes from the baseline. Edge heads have weight 1, because
the papers' weights belong to losses of another scale.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jetbench.data.labels import VOID

LossFunction = Callable[[Tensor, Tensor], Tensor]


def edges_of(target: Tensor) -> Tensor:
    """True where a 3x3 neighbourhood contains two classes, void aside: ids (N, H, W) -> booleans (N, H, W)."""
    largest = torch.where(target == VOID, -1, target).unsqueeze(1).float()
    smallest = torch.where(target == VOID, VOID + 1, target).unsqueeze(1).float()
    highest = F.max_pool2d(largest, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-smallest, 3, stride=1, padding=1)
    return (highest > lowest).squeeze(1)


def edge_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of edge logits (N, 1, H, W): half the mean over edges plus half the mean over other pixels.

    The two halves balance the few edge pixels against the rest. Void is left out. An undecided head scores log 2.
    """
    edge = edges_of(target)
    losses = F.binary_cross_entropy_with_logits(logits.squeeze(1), edge.to(logits.dtype), reduction="none")
    halves = []
    for chosen in (edge & (target != VOID), ~edge & (target != VOID)):
        halves.append((losses * chosen).sum() / chosen.sum().clamp(min=1))
    return (halves[0] + halves[1]) / 2


def joint_loss(outputs: Sequence[Tensor], target: Tensor, weights: Sequence[float], loss: LossFunction) -> Tensor:
    """The loss of the logits plus the weighted losses of the auxiliary outputs: a scalar.

    Args:
        outputs: logits (N, K, H, W), then auxiliary outputs with K channels (classes) or one channel (edges).
        target: (N, H, W) of class ids.
        weights: one for each auxiliary output.
        loss: the loss of class logits.
    """
    logits, *auxiliary = (output.float() for output in outputs)
    total = loss(logits, target)
    for output, weight in zip(auxiliary, weights, strict=True):
        own = edge_loss(output, target) if output.shape[1] == 1 else loss(output, target)
        total = total + weight * own
    return total
