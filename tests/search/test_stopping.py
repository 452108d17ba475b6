from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbench.search.stopping import CURVES, floors_of
from jetbench.stats import upper_prediction
from jetbench.training.loop import why_stopped

SCORES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
ENDS = [0.40 + 0.01 * (number % 3) for number in range(CURVES)]


def test_the_floor_is_what_is_needed_less_what_trainings_may_still_gain() -> None:
    floors = floors_of([(0.1, 0.2, 0.3, end) for end in ENDS], [0.3, 0.5], 4)
    assert [floor.evaluation for floor in floors] == [1, 2, 3]
    gains = [upper_prediction([end - at for end in ENDS], 0.99) for at in (0.1, 0.2, 0.3)]
    assert [floor.miou for floor in floors] == pytest.approx([0.5 - gain for gain in gains])
    assert why_stopped(floors, 2, floors[1].miou + 0.001) is None
    stopped = why_stopped(floors, 2, floors[1].miou - 0.01)
    assert stopped
    assert stopped.startswith(f"val mIoU {100 * floors[1].miou - 1:.1f} % at evaluation 2 of 4 is below")
    assert "it must end above 50.0 %" in stopped
    assert why_stopped(floors, 4, 0.0) is None


def test_without_baselines_or_with_few_curves_nothing_is_ended() -> None:
    curves = [(0.1, 0.2, 0.3, end) for end in ENDS]
    assert floors_of(curves, [], 4) == ()
    assert floors_of(curves[1:], [0.9], 4) == ()
    # A training that was shorter says nothing of later evaluations.
    assert [floor.evaluation for floor in floors_of([(0.1, 0.2)] * CURVES, [0.9], 4)] == [1]


@given(
    curves=st.lists(st.lists(SCORES, min_size=4, max_size=4).map(sorted), min_size=CURVES, max_size=12),
    needed=SCORES,
)
def test_a_training_that_gains_what_the_others_gain_and_gets_there_is_never_ended(
    curves: list[list[float]], needed: float
) -> None:
    floors = floors_of(curves, [needed], 4)
    for number in (1, 2, 3):
        gain = fmean(values[-1] - values[number - 1] for values in curves)
        assert why_stopped(floors, number, needed - gain + 1e-9) is None
