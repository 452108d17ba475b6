"""The best and second values of a column, and those not significantly different from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.reporting.tables.columns import Value


@dataclass(frozen=True)
class Mark:
    """`best` or `second`; `is_tie` if another row shares that place without a significant difference."""

    place: Literal["best", "second"]
    is_tie: bool = False


@dataclass(frozen=True)
class Ranking:
    """A mark for each value, or no marks at all and the reason.

    `problem` is `unsure` if a value has no interval, `tied` if more than half of the values share the best place.
    """

    marks: tuple[Mark | None, ...]
    problem: Literal["unsure", "tied", ""] = ""


def rank(values: Sequence[Value | None], better: Literal["low", "high"]) -> Ranking:
    """Best is the best number and all values not significantly different from it; second likewise among the rest.

    A place is not marked if more than half of the remaining rows share it, nor a second place that all of them share.
    """
    known = [(number, value) for number, value in enumerate(values) if value is not None]
    marks: list[Mark | None] = [None] * len(values)
    if len(known) < 2:
        return Ranking(tuple(marks))
    if any(not value.has_interval for _, value in known):
        return Ranking(tuple(marks), "unsure")
    sign = 1 if better == "low" else -1
    left = sorted(known, key=lambda each: sign * each[1].number)
    places: tuple[Literal["best", "second"], ...] = ("best", "second")
    for place in places:
        first = left[0][1]
        tied = [(number, value) for number, value in left if value.is_tied_with(first)]
        if 1 < len(tied) > len(left) / 2:
            return Ranking(tuple(marks), "tied" if place == "best" else "")
        is_tie = any(value.number != first.number for _, value in tied)
        if place == "second" and len(tied) == len(left):
            break
        for number, _ in tied:
            marks[number] = Mark(place, is_tie)
        left = [each for each in left if each not in tied]
        if not left:
            break
    return Ranking(tuple(marks))


def front_of_significant(points: Sequence[tuple[Value, Value]]) -> set[int]:
    """Numbers of the Pareto-optimal points (cost, gain).

    A point beats another if it is significantly better in one of the two and not significantly worse in the other. Of
    points whose gains are not significantly different, only the cheapest is on the front. Empty if any value has no
    interval.
    """
    if any(not value.has_interval for point in points for value in point):
        return set()

    def beats(one: tuple[Value, Value], other: tuple[Value, Value]) -> bool:
        cheaper, better = _told(one[0], other[0], "low"), _told(one[1], other[1], "high")
        return cheaper + better > 0 and min(cheaper, better) >= 0

    return {number for number, each in enumerate(points) if not any(beats(other, each) for other in points)}


def _told(one: Value, other: Value, better: Literal["low", "high"]) -> int:
    """1 if the first is significantly better, -1 if worse, 0 if they are not significantly different."""
    if one.is_tied_with(other):
        return 0
    return 1 if (one.number < other.number) == (better == "low") else -1
