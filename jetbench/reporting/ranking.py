"""Which value of a column is best and which second, and what cannot be told apart from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.reporting.columns import Value


@dataclass(frozen=True)
class Mark:
    """`best` or `second`, and whether another row shares that place because neither can be told from the other."""

    place: Literal["best", "second"]
    is_tie: bool = False


def rank(values: Sequence[Value | None], better: Literal["low", "high"]) -> list[Mark | None] | None:
    """A mark for each value; None for the whole column where it is not known how sure some value is.

    Best is what has the best number, and all whose interval overlaps its own; second the best of what is left, and
    likewise.
    """
    there = [(number, value) for number, value in enumerate(values) if value is not None]
    marks: list[Mark | None] = [None] * len(values)
    if len(there) < 2:
        return marks
    if any(not value.has_interval for _, value in there):
        return None
    sign = 1 if better == "low" else -1
    left = sorted(there, key=lambda each: sign * each[1].number)
    places: tuple[Literal["best", "second"], ...] = ("best", "second")
    for place in places:
        if not left:
            break
        first = left[0][1]
        tied = [(number, value) for number, value in left if value.is_tied_with(first)]
        is_tie = any(value.number != first.number for _, value in tied)
        for number, _ in tied:
            marks[number] = Mark(place, is_tie)
        left = [each for each in left if each not in tied]
    return marks
