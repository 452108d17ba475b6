"""Which points no other beats, and the hypervolume that they dominate. Less is better in every coordinate."""

from collections.abc import Sequence

Point = Sequence[float]


def dominates(one: Point, other: Point) -> bool:
    """Is `one` no worse in every coordinate and better in some?"""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def front_of(points: Sequence[Point]) -> list[int]:
    """The numbers of the points that no other dominates; equal points do not beat each other."""
    return [number for number, point in enumerate(points) if not any(dominates(other, point) for other in points)]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The volume between `reference` and what the points dominate; points beyond it in some coordinate add nothing."""
    inside = [tuple(p) for p in points if all(a < r for a, r in zip(p, reference, strict=True))]
    return _volume(sorted(set(inside)), tuple(reference))


def _volume(points: Sequence[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """Slices along the first coordinate; `points` in its order."""
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - points[0][0]
    total = 0.0
    for number, point in enumerate(points):
        end = points[number + 1][0] if number + 1 < len(points) else reference[0]
        if end > point[0]:
            total += (end - point[0]) * _volume(sorted({p[1:] for p in points[: number + 1]}), reference[1:])
    return total
