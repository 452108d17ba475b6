"""Which value of a column is best and which second, and what cannot be told apart from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.reporting.tables.columns import Value


@dataclass(frozen=True)
class Mark:
    """`best` or `second`, and whether another row shares that place because neither can be told from the other."""

    place: Literal["best", "second"]
    is_tie: bool = False


@dataclass(frozen=True)
class Ranking:
    """A mark for each value, or none for all of them and why: `unsure` of some value, or `tied`, nearly all of them."""

    marks: tuple[Mark | None, ...]
    problem: Literal["unsure", "tied", ""] = ""


def rank(values: Sequence[Value | None], better: Literal["low", "high"]) -> Ranking:
    """Best is what has the best number, and all that cannot be told from it; second the best of what is left, likewise.

    A place that more than half of its rows share says nothing, and neither does a second place that is the last one.
    """
    there = [(number, value) for number, value in enumerate(values) if value is not None]
    marks: list[Mark | None] = [None] * len(values)
    if len(there) < 2:
        return Ranking(tuple(marks))
    if any(not value.has_interval for _, value in there):
        return Ranking(tuple(marks), "unsure")
    sign = 1 if better == "low" else -1
    left = sorted(there, key=lambda each: sign * each[1].number)
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


def front_of_told(points: Sequence[tuple[Value, Value]]) -> set[int]:
    """Numbers of the points (cost, gain) that no other beats: told to be better in one, and not worse in the other.

    So of points whose gain cannot be told apart the cheapest is on it alone. Empty where it is not known how sure they
    are.
    """
    if any(not value.has_interval for point in points for value in point):
        return set()

    def beats(one: tuple[Value, Value], other: tuple[Value, Value]) -> bool:
        cheaper, better = _told(one[0], other[0], "low"), _told(one[1], other[1], "high")
        return cheaper + better > 0 and min(cheaper, better) >= 0

    return {number for number, each in enumerate(points) if not any(beats(other, each) for other in points)}


def _told(one: Value, other: Value, better: Literal["low", "high"]) -> int:
    """1 where the first is told to be better, -1 where worse, 0 where they cannot be told apart."""
    if one.is_tied_with(other):
        return 0
    return 1 if (one.number < other.number) == (better == "low") else -1
