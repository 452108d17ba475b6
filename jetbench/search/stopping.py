"""When a training of a search is ended early: once it cannot reach the front at its already known cost any more."""

import math
from collections.abc import Sequence

from jetbench.experiment import Floor
from jetbench.record import Record

CURVES = 5  # finished trainings that the rule needs before it ends one
SLACK = 1.5  # times the largest gain that a finished training still made: more than any has shown


def miou_of(record: Record) -> float:
    """Its best validation mIoU; NaN without a training."""
    return record.training.best.counts.miou if record.training else math.nan


Curve = Sequence[tuple[float, float]]
"""(share of the budget, best validation mIoU so far), the last at the end."""


def curve_of(record: Record) -> Curve:
    """The learning curve of a finished training."""
    training = record.training
    if training is None:
        return []
    best, curve = 0.0, []
    for evaluation in training.val:
        best = max(best, evaluation.counts.miou)
        curve.append((evaluation.step / training.steps, best))
    return curve


def floors_of(curves: Sequence[Curve], beaten_by: Sequence[float], shares: Sequence[float]) -> tuple[Floor, ...]:
    """The stopping rule of a search.

    `beaten_by` are the mIoUs of finished networks that cost no more in any objective: to reach the front, a training
    must end above the best of them. After a share s of its budget it is ended if even 1.5 times the largest gain that
    any finished training still made after s would not take it there. Fewer than five curves, or nothing that is as
    cheap: no rule.
    """
    curves = [curve for curve in curves if curve]
    if len(curves) < CURVES or not beaten_by:
        return ()
    needed = max(beaten_by)
    floors = []
    for share in shares:
        largest = max(curve[-1][1] - _reached(curve, share) for curve in curves)
        gain = SLACK * largest
        why = (
            f"to reach the front at its cost it must end above {100 * needed:.1f} %, and from there no training here "
            f"gained more than {100 * largest:.1f} % ({SLACK:g} times that is allowed for)"
        )
        floors.append(Floor(share=share, miou=needed - gain, why=why))
    return tuple(floors)


def _reached(curve: Curve, share: float) -> float:
    """The best mIoU by that share of the budget."""
    return max((miou for at, miou in curve if at <= share + 1e-6), default=0.0)
