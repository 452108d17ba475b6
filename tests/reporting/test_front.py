from jetbench.reporting.front import on_front


def test_a_point_that_costs_more_and_gains_less_is_off_the_front() -> None:
    assert on_front([(1, 5), (2, 6), (3, 5.5), (2, 4)]) == [True, True, False, False]


def test_equal_points_do_not_beat_each_other_and_a_tie_in_one_is_beaten_by_the_other() -> None:
    assert on_front([(1, 5), (1, 5)]) == [True, True]
    assert on_front([(1, 5), (1, 4), (2, 5)]) == [True, False, False]
