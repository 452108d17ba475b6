"""Losses of heads that only training uses: classes by the recipe's own loss, edges by a balanced cross-entropy.

Each baseline's paper has a recipe of its own for them. Here all share one, so that networks are compared, not recipes.
Only the weight of each head of classes is the baseline's own. Edges have weight 1: the papers' weights are for losses
of another scale.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jetbench.data.labels import VOID

LossFunction = Callable[[Tensor, Tensor], Tensor]


def edges_of(target: Tensor) -> Tensor:
    """Where a 3x3 neighbourhood holds two classes: target (N, H, W) of ids -> booleans (N, H, W); void is no class."""
    largest = torch.where(target == VOID, -1, target).unsqueeze(1).float()
    smallest = torch.where(target == VOID, VOID + 1, target).unsqueeze(1).float()
    highest = F.max_pool2d(largest, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-smallest, 3, stride=1, padding=1)
    return (highest > lowest).squeeze(1)


def edge_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of edge logits (N, 1, H, W): the mean over edges and the mean over the rest, halved each.

    So few pixels are edges that the rest would else drown them. Void is left out. An undecided head scores log 2.
    """
    edge = edges_of(target)
    losses = F.binary_cross_entropy_with_logits(logits.squeeze(1), edge.to(logits.dtype), reduction="none")
    halves = []
    for chosen in (edge & (target != VOID), ~edge & (target != VOID)):
        halves.append((losses * chosen).sum() / chosen.sum().clamp(min=1))
    return (halves[0] + halves[1]) / 2


def joint_loss(outputs: Sequence[Tensor], target: Tensor, weights: Sequence[float], loss: LossFunction) -> Tensor:
    """The loss of the logits, and of each auxiliary output by its weight: a scalar.

    Args:
        outputs: logits (N, K, H, W), then auxiliary ones, of K channels or of one, which is edges.
        target: (N, H, W) of class ids.
        weights: one for each auxiliary output.
        loss: of class logits.
    """
    logits, *auxiliary = (output.float() for output in outputs)
    total = loss(logits, target)
    for output, weight in zip(auxiliary, weights, strict=True):
        own = edge_loss(output, target) if output.shape[1] == 1 else loss(output, target)
        total = total + weight * own
    return total
