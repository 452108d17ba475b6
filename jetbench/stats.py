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
    """Kendall's tau-b, which allows for ties; None if one side is all ties, or for fewer than two pairs."""
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
    untied = agree + disagree
    scale = ((untied + tied_first) * (untied + tied_second)) ** 0.5
    return (agree - disagree) / scale if scale else None


def tau_interval(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """95 % interval of tau over networks: bootstrap percentiles with a fixed seed.

    None where the bootstrap does not work: for fewer than ten networks, or if both orders are the same or the reverse.
    """
    tau = kendall_tau(pairs)
    if len(pairs) < FEWEST_FOR_INTERVAL or tau is None or abs(tau) == 1:
        return None
    generator = random.Random(0)
    taus = []
    for _ in range(RESAMPLES):
        tau = kendall_tau([pairs[generator.randrange(len(pairs))] for _ in pairs])
        if tau is not None:
            taus.append(tau)
    taus.sort()
    return taus[int(0.025 * len(taus))], taus[min(len(taus) - 1, int(0.975 * len(taus)))]


def student_cdf(t: float, degrees: int) -> float:
    """P(T <= t) for Student's t with that many degrees of freedom (the finite series of Abramowitz and Stegun)."""
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
    """The quantile of Student's t at `probability`, which must be in [0.5, 1)."""
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def upper_prediction(values: Sequence[float], probability: float) -> float:
    """Upper prediction limit: the next value of the same normal distribution is below it with `probability`.

    Needs at least two values.
    """
    count = len(values)
    reach = student_quantile(probability, count - 1) * statistics.stdev(values) * math.sqrt(1 + 1 / count)
    return statistics.fmean(values) + reach


@dataclass(frozen=True)
class Difference:
    """Difference of two means and the half-width of its interval."""

    mean: float
    half: float

    @property
    def is_tie(self) -> bool:
        """True if the interval contains 0: the means are not significantly different."""
        return abs(self.mean) <= self.half


def differences(groups: Sequence[Sequence[float]], level: float = 0.95) -> list[Difference | None]:
    """For every group after the first: its mean minus the mean of the first group.

    The standard deviation is pooled over all groups. `level` is the simultaneous coverage of all intervals
    (Bonferroni). A difference is None if its group or the first is empty; all are None if no group has two values.
    """
    base, *others = groups
    degrees = sum(len(group) - 1 for group in groups if group)
    if not others or degrees < 1:
        return [None] * len(others)
    squares = sum((len(group) - 1) * statistics.variance(group) for group in groups if len(group) > 1)
    t = student_quantile(1 - (1 - level) / 2 / len(others), degrees)
    results: list[Difference | None] = []
    for group in others:
        if not group or not base:
            results.append(None)
            continue
        half = t * math.sqrt(squares / degrees * (1 / len(group) + 1 / len(base)))
        results.append(Difference(statistics.fmean(group) - statistics.fmean(base), half))
    return results


def paired_difference(values: Sequence[float], level: float = 0.95) -> Difference:
    """The mean of paired differences and the half-width of its interval; needs at least two `values`."""
    t = student_quantile(1 - (1 - level) / 2, len(values) - 1)
    return Difference(statistics.fmean(values), t * statistics.stdev(values) / math.sqrt(len(values)))


def welch_difference(one: tuple[float, float, int], other: tuple[float, float, int], level: float = 0.95) -> Difference:
    """The second mean minus the first, with the interval of Welch's test.

    Args:
        one: mean, standard deviation and count (at least two) of the first sample.
        other: the same of the second sample.
        level: coverage of the interval. Degrees of freedom are rounded down, which widens it a little.
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
    """True if `one` is nowhere worse (larger) than `other` and better (smaller) in at least one coordinate."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def front_of(points: Sequence[Point]) -> list[int]:
    """Positions of the Pareto-optimal points; equal points do not dominate each other."""
    return [number for number, point in enumerate(points) if not any(dominates(other, point) for other in points)]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The volume that the points dominate, up to `reference`; a point beyond it in any coordinate adds nothing."""
    inside = [tuple(p) for p in points if all(a < r for a, r in zip(p, reference, strict=True))]
    return _volume(sorted(set(inside)), tuple(reference))


def _volume(points: Sequence[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """The volume as a sum of slices along the first coordinate, by which `points` are sorted."""
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
