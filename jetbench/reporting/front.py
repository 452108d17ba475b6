"""The front of a set of variants: those that no other beats in both cost and gain."""

from collections.abc import Sequence


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (cost, gain): is there no other that costs no more and gains no less? Equal points do not beat."""
    return [
        not any(other != point and other[0] <= point[0] and other[1] >= point[1] for other in points)
        for point in points
    ]
