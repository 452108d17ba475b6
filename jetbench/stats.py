"""Statistics: Student's t, Welch's test, Kendall's tau with its interval, Pareto fronts and hypervolume."""

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

RESAMPLES = 2000
FEWEST_FOR_INTERVAL = 10


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Kendall's tau-b, which allows for ties; None where all are tied on a side, or fewer than two are there."""
    agree = disagree = tied_first = tied_second = 0
    for number, (a, b) in enumerate(pairs):
        for c, d in pairs[:number]:
            first, second = (a > c) - (a < c), (b > d) - (b < d)
            if first and second:
                agree, disagree = (agree + 1, disagree) if first == second else (agree, disagree + 1)
            elif second:
                tied_first += 1
            elif first:
                tied_second += 1
    told = agree + disagree
    scale = ((told + tied_first) * (told + tied_second)) ** 0.5
    return (agree - disagree) / scale if scale else None


def tau_interval(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """95 % interval of tau over networks: the bootstrap's percentiles, the same each time.

    None where resampling cannot tell: of fewer than ten networks, or where all stand in the same or the reverse order.
    """
    tau = kendall_tau(pairs)
    if len(pairs) < FEWEST_FOR_INTERVAL or tau is None or abs(tau) == 1:
        return None
    generator = random.Random(0)
    told = []
    for _ in range(RESAMPLES):
        tau = kendall_tau([pairs[generator.randrange(len(pairs))] for _ in pairs])
        if tau is not None:
            told.append(tau)
    told.sort()
    return told[int(0.025 * len(told))], told[min(len(told) - 1, int(0.975 * len(told)))]


def student_cdf(t: float, degrees: int) -> float:
    """Probability of at most `t` with that many degrees of freedom (the finite series of Abramowitz and Stegun)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    if degrees == 1:
        return 0.5 + angle / math.pi
    # Sum of cosine powers: 1 + 1/2 c^2 + 1*3/(2*4) c^4 + ... (even), c + 2/3 c^3 + 2*4/(3*5) c^5 + ... (odd).
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term
    for power in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (power - 1) / power
        total += term
    return 0.5 + ((angle + sine * total) / math.pi if odd else sine * total / 2)


@lru_cache(maxsize=4096)
def student_quantile(probability: float, degrees: int) -> float:
    """The t below which that share of Student's distribution lies; `probability` from 0.5 to below 1."""
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def upper_prediction(values: Sequence[float], probability: float) -> float:
    """What one further value of the same normal distribution stays below with that probability; at least two values."""
    count = len(values)
    reach = student_quantile(probability, count - 1) * statistics.stdev(values) * math.sqrt(1 + 1 / count)
    return statistics.fmean(values) + reach


@dataclass(frozen=True)
class Difference:
    """Difference of two means and the half width of its interval."""

    mean: float
    half: float

    @property
    def is_tie(self) -> bool:
        """Does the interval hold 0?"""
        return abs(self.mean) <= self.half


def differences(groups: Sequence[Sequence[float]], level: float = 0.95) -> list[Difference | None]:
    """Each group's mean less the first group's, for every group after the first.

    The deviation is pooled over all groups, and the intervals hold all together with probability `level` (Bonferroni).
    None where a group is empty, and everywhere when no group has two values.
    """
    base, *others = groups
    degrees = sum(len(group) - 1 for group in groups if group)
    if not others or degrees < 1:
        return [None] * len(others)
    squares = sum((len(group) - 1) * statistics.variance(group) for group in groups if len(group) > 1)
    t = student_quantile(1 - (1 - level) / 2 / len(others), degrees)
    found: list[Difference | None] = []
    for group in others:
        if not group or not base:
            found.append(None)
            continue
        half = t * math.sqrt(squares / degrees * (1 / len(group) + 1 / len(base)))
        found.append(Difference(statistics.fmean(group) - statistics.fmean(base), half))
    return found


def paired_difference(values: Sequence[float], level: float = 0.95) -> Difference:
    """The mean of differences of pairs and the half width of its interval; at least two of them."""
    t = student_quantile(1 - (1 - level) / 2, len(values) - 1)
    return Difference(statistics.fmean(values), t * statistics.stdev(values) / math.sqrt(len(values)))


def welch_difference(one: tuple[float, float, int], other: tuple[float, float, int], level: float = 0.95) -> Difference:
    """The second mean less the first, each given with its deviation and count (two at least), by Welch's test.

    Degrees of freedom are rounded down, which makes the interval a little wider.
    """
    shares = [deviation**2 / count for _, deviation, count in (one, other)]
    total = sum(shares)
    if total == 0:
        return Difference(other[0] - one[0], 0.0)
    degrees = total**2 / sum(share**2 / (count - 1) for share, (*_, count) in zip(shares, (one, other), strict=True))
    half = student_quantile(1 - (1 - level) / 2, max(1, math.floor(degrees + 1e-9))) * math.sqrt(total)
    return Difference(other[0] - one[0], half)


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
