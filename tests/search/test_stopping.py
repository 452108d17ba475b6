import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbench.search.stopping import CURVES, SLACK, floors_of
from jetbench.training.loop import why_stopped

SHARES = (0.25, 0.5, 0.75)
SCORES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


def curve(*values: float) -> list[tuple[float, float]]:
    return [(share, value) for share, value in zip((*SHARES, 1.0), values, strict=True)]


def test_the_floor_is_what_is_needed_less_the_largest_gain_and_half_as_much_again() -> None:
    curves = [curve(0.1, 0.2, 0.3, 0.4)] * (CURVES - 1) + [curve(0.1, 0.3, 0.4, 0.45)]
    floors = floors_of(curves, [0.3, 0.5], SHARES)
    assert [floor.share for floor in floors] == list(SHARES)
    assert [floor.miou for floor in floors] == pytest.approx([0.5 - SLACK * gain for gain in (0.35, 0.2, 0.1)])
    assert why_stopped(floors, 0.5, 0.21) is None
    stopped = why_stopped(floors, 0.5, 0.19)
    assert stopped
    assert stopped.startswith(
        "val mIoU 19.0 % after 50 % of its budget is below 20.0 %: to reach the front at its cost"
    )
    assert why_stopped(floors, 1.0, 0.0) is None


def test_without_rivals_or_with_few_curves_nothing_is_ended() -> None:
    assert floors_of([curve(0.1, 0.2, 0.3, 0.4)] * CURVES, [], SHARES) == ()
    assert floors_of([curve(0.1, 0.2, 0.3, 0.4)] * (CURVES - 1), [0.9], SHARES) == ()


@given(
    curves=st.lists(st.lists(SCORES, min_size=4, max_size=4).map(sorted), min_size=CURVES, max_size=8),
    needed=SCORES,
)
def test_a_training_that_gains_as_the_others_did_and_gets_there_is_never_ended(
    curves: list[list[float]], needed: float
) -> None:
    floors = floors_of([curve(*values) for values in curves], [needed], SHARES)
    for values in curves:
        if values[-1] > needed:
            assert all(why_stopped(floors, share, value) is None for share, value in zip(SHARES, values, strict=False))
