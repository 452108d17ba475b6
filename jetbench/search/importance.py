"""Importance of each axis of a search: the share of the variance that it explains, compared with chance."""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SHUFFLES = 500


@dataclass(frozen=True)
class Importance:
    """Share of the variance between an axis's values (eta squared), and its 95th percentile over random shuffles."""

    axis: str
    share: float
    chance: float

    @property
    def is_above_chance(self) -> bool:
        """True if the share is larger than with 19 of 20 random assignments."""
        return self.share > self.chance


def importances(
    assignments: Sequence[Mapping[str, str]], values: Sequence[float], axes: Sequence[str], seed: int = 0
) -> list[Importance]:
    """The importance of each axis for `values`, the largest first. A conditional axis counts only where it was chosen.

    Main effects only, among the networks that were trained: an axis that matters only in combination with another one
    may show no effect.
    """
    generator = random.Random(seed)
    result = []
    for axis in axes:
        own = [
            (assignment[axis], value)
            for assignment, value in zip(assignments, values, strict=True)
            if axis in assignment
        ]
        chosen, reached = [option for option, _ in own], [value for _, value in own]
        if len(set(chosen)) < 2 or len(own) < 3:
            continue
        shuffled = list(reached)
        chance = []
        for _ in range(SHUFFLES):
            generator.shuffle(shuffled)
            chance.append(explained(chosen, shuffled))
        result.append(Importance(axis, explained(chosen, reached), sorted(chance)[int(0.95 * SHUFFLES)]))
    return sorted(result, key=lambda importance: -importance.share)


def explained(groups: Sequence[str], values: Sequence[float]) -> float:
    """Share of the values' variance that lies between the groups, 0 to 1."""
    mean = statistics.fmean(values)
    total = sum((value - mean) ** 2 for value in values)
    if total == 0:
        return 0.0
    members: dict[str, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        members.setdefault(group, []).append(value)
    return sum(len(own) * (statistics.fmean(own) - mean) ** 2 for own in members.values()) / total
