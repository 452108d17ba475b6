"""Which networks of a space are measured to learn its latencies: a sample that has all of its kernels; no torch."""

from collections.abc import Sequence

from jetbench.network.kernels import kernel_class
from jetbench.network.operations import Operation

COVERING = 0.5
"""Largest share of the sample that is chosen to cover kernels; the others are random, as the space has them."""

Facts = frozenset[tuple[object, ...]]


def facts_of(operations: Sequence[Operation]) -> Facts:
    """What a network has that a model must have seen: its classes of kernels, with their maps, groups and channels."""
    facts: set[tuple[object, ...]] = set()
    for operation in operations:
        shape = operation.convolution
        if shape is None:
            facts.add((operation.kernel,))
            continue
        name = kernel_class(operation)
        facts.add((name, "map", shape.size))
        facts.add((name, "groups", 0 if shape.is_depthwise else shape.groups))
    return frozenset(facts)


def choose(facts: Sequence[Facts], extremes: Sequence[float], count: int) -> list[int]:
    """Positions of the networks to measure, in the order in which they cover most.

    Args:
        facts: of each candidate, in random order.
        extremes: the MACs of each, whose least and most are measured, too.
        count: how many networks to choose.
    """
    numbers = range(len(facts))
    chosen = list(dict.fromkeys((min(numbers, key=lambda n: extremes[n]), max(numbers, key=lambda n: extremes[n]))))
    seen = set().union(*(facts[number] for number in chosen))
    while len(chosen) < min(count * COVERING, len(facts)):
        best = max(numbers, key=lambda number: len(facts[number] - seen))
        if not facts[best] - seen:
            break
        chosen.append(best)
        seen |= facts[best]
    taken = set(chosen)
    chosen += [number for number in numbers if number not in taken][: max(0, count - len(chosen))]
    return chosen[:count]
