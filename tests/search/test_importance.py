import random

import pytest

from jetbench.search.importance import explained, importances


def test_what_decides_alone_explains_all_and_what_does_nothing_explains_chance() -> None:
    generator = random.Random(1)
    rows = [{"a": generator.choice("xyz"), "b": generator.choice("uv")} for _ in range(60)]
    values = [{"x": 0.0, "y": 1.0, "z": 4.0}[row["a"]] for row in rows]
    first, second = importances(rows, values, ["b", "a"])
    assert (first.axis, second.axis) == ("a", "b")
    assert first.share == pytest.approx(1)
    assert first.is_above_chance
    assert not second.is_above_chance


def test_the_share_is_between_groups_over_total() -> None:
    assert explained(["a", "a", "b", "b"], [0, 2, 4, 6]) == pytest.approx(16 / 20)


def test_an_axis_that_depends_on_others_counts_where_it_was_chosen() -> None:
    rows: list[dict[str, str]] = [{}, {"a": "x"}, {}, {"a": "x"}, {"a": "y"}, {"a": "y"}]
    # That it is there at all is worth a lot, which of its values it has is worth nothing.
    (only,) = importances(rows, [1, 8, 1, 9, 9, 8], ["a", "never"])
    assert only.share == pytest.approx(0)
