import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbench.stats import dominates, front_of, hypervolume

POINTS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=8)


def test_a_point_that_costs_more_and_gains_less_is_off_the_front() -> None:
    assert front_of([(1, -5), (2, -6), (3, -5.5), (2, -4)]) == [0, 1]


def test_equal_points_do_not_beat_each_other_and_a_tie_in_one_is_beaten_by_the_other() -> None:
    assert front_of([(1, -5), (1, -5)]) == [0, 1]
    assert front_of([(1, -5), (1, -4), (2, -5)]) == [0]


def test_a_front_of_two_is_a_staircase() -> None:
    assert hypervolume([(1, 3), (2, 1), (3, 3), (9, 0)], (4, 4)) == 3 * 1 + 2 * 2


@given(points=POINTS)
def test_the_volume_is_the_number_of_unit_cubes_that_some_point_dominates(points: list[tuple[int, ...]]) -> None:
    size = 6
    cubes = [(a, b, c) for a in range(size) for b in range(size) for c in range(size)]
    covered = sum(any(all(p <= q for p, q in zip(point, cube, strict=True)) for point in points) for cube in cubes)
    assert hypervolume(points, (size, size, size)) == pytest.approx(covered)
    front = [points[number] for number in front_of(points)]
    assert hypervolume(front, (size, size, size)) == pytest.approx(covered)
    assert not any(dominates(a, b) for a in front for b in front)
    assert math.isclose(hypervolume([(size, size, size)], (size, size, size)), 0)
