"""The early-stopping rule: ends a training of a search once it can no longer reach the front at its known cost."""

import math
from collections.abc import Sequence

from jetbench.records.record import Record
from jetbench.spec.training import Floor
from jetbench.stats import upper_prediction

CURVES = 8  # finished trainings that the rule needs before it ends one
SURE = 0.99  # the probability that a training gains no more than the rule allows for

Curve = Sequence[float]
"""The best validation mIoU so far, after each evaluation."""


def miou_of(record: Record) -> float:
    """The best validation mIoU of a record; NaN without a training."""
    return record.training.best.counts.miou if record.training else math.nan


def curve_of(record: Record) -> Curve:
    """The learning curve of a training."""
    best, curve = 0.0, []
    for evaluation in record.training.val if record.training else ():
        best = max(best, evaluation.counts.miou)
        curve.append(best)
    return curve


def floors_of(curves: Sequence[Curve], beaten_by: Sequence[float], evaluations: int) -> tuple[Floor, ...]:
    """The floors of the stopping rule.

    `beaten_by` are the mIoUs of finished networks that cost no more in any objective. To reach the front, a training
    must end above the best of them. Its possible gain after the k-th evaluation is the upper end of the one-sided 99 %
    prediction interval (Student) of the gains of this search's finished trainings from their k-th evaluation to their
    end. The training is ended if its mIoU plus this gain is not enough. There are no floors with fewer than eight such
    trainings, or if no finished network is as cheap.
    """
    floors: list[Floor] = []
    for number in range(1, evaluations):
        gains = [curve[-1] - curve[number - 1] for curve in curves if len(curve) > number]
        if len(gains) < CURVES or not beaten_by:
            break
        needed, most = max(beaten_by), upper_prediction(gains, SURE)
        why = (
            f"to reach the front at its cost it must end above {100 * needed:.1f} %, and from this evaluation on 99 of "
            f"100 trainings gain less than {100 * most:.1f} points, as predicted from the {len(gains)} finished ones"
        )
        floors.append(Floor(evaluation=number, of=evaluations, miou=needed - most, why=why))
    return tuple(floors)
