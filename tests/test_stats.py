import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbench.stats import (
    differences,
    dominates,
    front_of,
    hypervolume,
    paired_difference,
    student_cdf,
    student_quantile,
    upper_prediction,
)

POINTS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=8)


def test_quantiles_are_those_of_the_closed_forms() -> None:
    # One degree of freedom is Cauchy's distribution, two have an algebraic inverse, many are normal.
    assert student_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475))
    assert student_quantile(0.975, 2) == pytest.approx(0.95 * math.sqrt(2 / (4 * 0.975 * 0.025)))
    assert student_quantile(0.99, 3000) == pytest.approx(statistics.NormalDist().inv_cdf(0.99), rel=1e-3)
    for degrees in (1, 2, 3, 4, 7, 30):
        assert student_cdf(student_quantile(0.9, degrees), degrees) == pytest.approx(0.9)


def test_a_further_value_stays_below_its_prediction_as_often_as_it_says() -> None:
    generator = random.Random(1)
    below = 0
    for _ in range(5000):
        *known, further = (generator.gauss(3, 2) for _ in range(9))
        below += further < upper_prediction(known, 0.9)
    assert below / 5000 == pytest.approx(0.9, abs=0.02)


def test_the_interval_of_one_difference_is_students() -> None:
    (found,) = differences([[1.0, 2.0, 3.0], [3.0, 5.0, 7.0]])
    assert found
    assert found.mean == pytest.approx(3)
    assert found.half == pytest.approx(2.776 * math.sqrt((4 + 1) / 2 * (2 / 3)), rel=1e-3)  # four degrees of freedom
    assert found.is_tie
    assert differences([[1.0], [1.0]]) == [None]
    assert differences([[1.0, 2.0], []]) == [None]


def test_intervals_of_several_hold_together() -> None:
    generator = random.Random(2)
    wrong = 0
    for _ in range(2000):
        groups = [[generator.gauss(0, 1) for _ in range(3)] for _ in range(5)]
        wrong += any(found is not None and not found.is_tie for found in differences(groups))
    assert 0.02 < wrong / 2000 < 0.06


def test_a_paired_difference_is_students_interval_of_the_differences() -> None:
    found = paired_difference([0.03, 0.03, 0.06])
    # Mean 4, deviation 1.732, t(0.975, 2) = 4.3027 over the root of 3.
    assert found.mean == pytest.approx(0.04)
    assert found.half == pytest.approx(0.043027, rel=1e-3)
    assert found.is_tie


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
