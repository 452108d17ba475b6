"""When a training of a search is ended early: once it cannot reach the front at its already known cost any more."""

import math
from collections.abc import Sequence

from jetbench.records.record import Record
from jetbench.spec.training import Floor
from jetbench.stats import upper_prediction

CURVES = 8  # finished trainings that the rule needs before it ends one
SURE = 0.99  # the probability with which a training gains no more than it is allowed for

Curve = Sequence[float]
"""The best validation mIoU so far, after each evaluation."""


def miou_of(record: Record) -> float:
    """Its best validation mIoU; NaN without a training."""
    return record.training.best.counts.miou if record.training else math.nan


def curve_of(record: Record) -> Curve:
    """The learning curve of a training."""
    best, curve = 0.0, []
    for evaluation in record.training.val if record.training else ():
        best = max(best, evaluation.counts.miou)
        curve.append(best)
    return curve


def floors_of(curves: Sequence[Curve], beaten_by: Sequence[float], evaluations: int) -> tuple[Floor, ...]:
    """The stopping rule of a search.

    `beaten_by` are the mIoUs of finished networks that cost no more in any objective: to reach the front, a training
    must end above the best of them. After its k-th evaluation it is ended if what finished trainings of this search
    gained from their k-th evaluation to their end, with the upper end of the one-sided 99 % prediction interval
    (Student), would not take it there. Fewer than eight such trainings, or nothing that is as cheap: no rule.
    """
    floors: list[Floor] = []
    for number in range(1, evaluations):
        gains = [curve[-1] - curve[number - 1] for curve in curves if len(curve) > number]
        if len(gains) < CURVES or not beaten_by:
            break
        needed, most = max(beaten_by), upper_prediction(gains, SURE)
        why = (
            f"to reach the front at its cost it must end above {100 * needed:.1f} %, and from there 99 of 100 "
            f"trainings gain less than {100 * most:.1f} points, by the {len(gains)} that have ended here"
        )
        floors.append(Floor(evaluation=number, of=evaluations, miou=needed - most, why=why))
    return tuple(floors)
