"""Compares two studies, paired by variant: each change with its interval, and what does not compare."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jetbench.errors import SpecError
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import (
    BETWEEN_SESSIONS,
    BETWEEN_SESSIONS_NORMALISED,
    BY_NAME,
    Column,
    Value,
    numbers,
    relative_half,
    standard_of,
)
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.protocol import ALL, Needs, facts_of
from jetbench.reporting.tables.rows import Row
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, believed
from jetbench.stats import differences

ChangeOutcome = Literal["better", "worse", "tie", "same", "not told", "gone", "new", "missing", "not comparable"]
TIMED = {
    **dict.fromkeys(("latency", "fps-e2e", "energy"), BETWEEN_SESSIONS),
    "normalised": BETWEEN_SESSIONS_NORMALISED,
}
"""What depends on the session, with the smallest relative half width of its change from one to another."""
METRICS = ("latency", "normalised", "fps-e2e", "memory", "energy", "val", "test", "parameters", "macs", "eq2")
ALIASES = {"miou": "test", "e2e": "fps-e2e"}
OUTCOMES: dict[ChangeOutcome, str] = {"tie": "not significant", "not told": "uncertainty unknown"}
"""How an outcome is shown, where its own word does not say it."""
VERSION = "jetbench"  # may differ: a comparison is often about two versions of jetbench


@dataclass(frozen=True)
class Change:
    """One number of one variant, before and after: `amount` is relative, or a difference of mIoU.

    `half` is the half width of its 95 % interval; None if the uncertainty is unknown.
    """

    metric: str
    before: Value | None
    after: Value | None
    amount: float | None = None
    half: float | None = None
    outcome: ChangeOutcome = "missing"

    @property
    def worse_by(self) -> float:
        """By how much the number has become worse; negative if it is better."""
        column = BY_NAME[self.metric]
        return (self.amount or 0.0) * (1 if column.better == "low" else -1)

    @property
    def text(self) -> str:
        """The change and its outcome in words, for a table cell."""
        if self.amount is None:
            return units.MISSING if self.outcome == "missing" else _shown(self.outcome)
        scale, unit = (100, "") if BY_NAME[self.metric].is_score else (100, " %")
        number = f"{scale * self.amount:+.1f}" + (f" \N{PLUS-MINUS SIGN} {scale * self.half:.1f}" if self.half else "")
        return f"{number}{unit} {_shown(self.outcome)}"


def _shown(outcome: ChangeOutcome) -> str:
    return OUTCOMES.get(outcome, outcome)


@dataclass(frozen=True)
class VariantPair:
    """A variant that both studies have, and its changes by metric."""

    name: str
    changes: dict[str, Change]

    def judged(self, metric: str) -> Change:
        """The change by which a metric is judged: latency by that over the standard network, where there is one."""
        normalised = self.changes["normalised"]
        is_known = metric == "latency" and normalised.amount is not None
        return normalised if is_known else self.changes[metric]


@dataclass(frozen=True)
class Limit:
    """How much worse a metric may become, from --fail-on: a share, or a difference of mIoU (0.01 is one point)."""

    metric: str
    amount: float
    asked: str


@dataclass(frozen=True)
class StudyComparison:
    """All pairs of two studies; `differing` gives the reason for each metric that does not compare."""

    before: Study
    after: Study
    pairs: tuple[VariantPair, ...]
    differing: dict[str, str]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """True if no metric of any variant compares."""
        return not self.pairs or len(self.differing) == len(METRICS)

    def failures(self, limits: Sequence[Limit]) -> list[str]:
        """What is worse than allowed or no longer there, a line each. A change within its interval is never worse."""
        lines = [f"{name}: is no longer in {self.after.name}" for name in self.only_before if limits]
        for limit in limits:
            for pair in self.pairs:
                change = pair.judged(limit.metric)
                if change.outcome == "gone":
                    lines.append(f"{pair.name}: {limit.metric} is no longer measured")
                elif change.outcome in ("worse", "not told") and change.worse_by > limit.amount:
                    doubt = "; with one run each this may be chance" if change.outcome == "not told" else ""
                    lines.append(f"{pair.name}: {limit.metric} {change.text}, more than {limit.asked} allows{doubt}")
        return lines


def read_limits(text: str) -> list[Limit]:
    """`latency:3%,miou:1` as limits.

    Raises:
        SpecError: a metric is not compared, or an amount is neither a percentage nor a number of points.
    """
    limits = []
    for part in text.split(","):
        name, _, amount = (word.strip() for word in part.partition(":"))
        metric = ALIASES.get(name, name)
        if metric not in METRICS:
            names = ", ".join((*METRICS, *ALIASES))
            raise SpecError(f"--fail-on {part.strip()}: {name!r} is not compared; choose from {names}")
        unit = "" if BY_NAME[metric].is_score else "%"
        match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*{unit}", amount)
        if not match:
            example = f"{name}:1 (points of mIoU)" if BY_NAME[metric].is_score else f"{name}:3%"
            raise SpecError(f"--fail-on {part.strip()}: expected {example}")
        limits.append(Limit(metric, float(match[1]) / 100, part.strip()))
    return limits


def compare_studies(before: Study, after: Study, show_invalid: bool = False) -> StudyComparison:
    """Both studies' rows, paired by name; a metric compares if all pairs share the facts on which it depends."""
    first, second = (_rows(study, show_invalid) for study in (before, after))
    shared = [name for name in first if name in second]
    differing: dict[str, str] = {}
    for needs in ALL:
        reason = _why_not([(first[name], second[name]) for name in shared], needs)
        if reason:
            differing |= {metric: reason for metric in METRICS if BY_NAME[metric].needs == needs}
    standards = dict.fromkeys(standard_of(row) for name in shared for row in (first[name], second[name]))
    if len(standards) > 1 and "" not in standards:
        differing.setdefault("normalised", f"standard network: {' against '.join(standards)}")
    pairs = tuple(
        VariantPair(
            name, {metric: _change(metric, first[name], second[name], metric in differing) for metric in METRICS}
        )
        for name in shared
    )
    gone, new = (tuple(n for n in one if n not in other) for one, other in ((first, second), (second, first)))
    return StudyComparison(before, after, pairs, differing, gone, new)


def _rows(study: Study, show_invalid: bool) -> dict[str, Row]:
    rows = [row for row in study.rows() if row.records]
    return {row.name: row for row in (rows if show_invalid else believed(rows))}


def _why_not(pairs: Sequence[tuple[Row, Row]], needs: Needs) -> str:
    """The first fact in which a pair differs, with both values; empty if all agree."""
    for pair in pairs:
        one, other = (_facts(row, needs) for row in pair)
        for name in one.keys() & other.keys() - {VERSION}:
            if one[name] != other[name]:
                return f"{name}: {one[name]} against {other[name]}"
    return ""


def _facts(row: Row, needs: Needs) -> dict[str, str]:
    facts: dict[str, str] = {}
    for record in row.records:
        facts |= facts_of(record, (needs,), with_varied=True)  # both of a pair are the same variant
    return facts


def _change(metric: str, one: Row, other: Row, differs: bool) -> Change:
    column = BY_NAME[metric]
    before, after = column.read(one), column.read(other)
    if before is None or after is None:
        outcome: ChangeOutcome = "gone" if before else "new" if after else "missing"
        return Change(metric, before, after, outcome=outcome)
    if differs:
        return Change(metric, before, after, outcome="not comparable")
    half = _half_of_change(metric, one, other, before, after)
    change = after.number - before.number
    amount = change if BY_NAME[metric].is_score else change / before.number if before.number else 0.0
    return Change(metric, before, after, amount, half, _outcome(column, before, after, amount, half))


def _half_of_change(metric: str, one: Row, other: Row, before: Value, after: Value) -> float | None:
    """Half width of the change's 95 % interval: for mIoU by a t-test over the seeds, else from both intervals."""
    if BY_NAME[metric].is_score:
        scores = [_scores(metric, row) for row in (one, other)]
        if not all(value.has_interval for value in (before, after)):
            return None
        (difference,) = differences(scores)
        return difference.half if difference else None
    halves = [relative_half(value) for value in (before, after)]
    if any(half is None for half in halves):
        return None
    half = math.hypot(*(half or 0.0 for half in halves))
    return max(half, TIMED.get(metric, 0.0))


def _scores(metric: str, row: Row) -> list[float]:
    """The metric of each seed."""
    column = BY_NAME[metric]
    singles = [column.read(replace(row, records=(record,))) for record in row.records]
    return [value.number for value in singles if value]


def _outcome(column: Column, before: Value, after: Value, amount: float, half: float | None) -> ChangeOutcome:
    if amount == 0 and before.is_exact and after.is_exact:
        return "same"
    if half is None:
        return "not told"
    if abs(amount) <= half:
        return "tie"
    return "better" if (amount < 0) == (column.better == "low") else "worse"


def build_comparison(found: StudyComparison) -> Table:
    """The comparison as a table: a row for each variant, a column for each metric that has values."""
    metrics = [m for m in METRICS if any(pair.changes[m].outcome != "missing" for pair in found.pairs)]
    # Counts are exact: a column of them is left out if none has changed.
    shown = [
        metric
        for metric in metrics
        if metric not in ("parameters", "macs", "eq2")
        or any(pair.changes[metric].outcome != "same" for pair in found.pairs)
    ]
    columns = tuple(_as_text(BY_NAME[metric]) for metric in shown)
    rows = tuple(
        TableRow(pair.name, tuple(Cell(pair.changes[metric].text) for metric in shown)) for pair in found.pairs
    )
    title = f"{found.after.name} against {found.before.name}"
    return Table(title, columns, (Section("", rows),), Notes(tuple(_describe(found, shown))))


def _as_text(column: Column) -> Column:
    return numbers(column.name, column.heading, column.kind, short=column.brief)


def _describe(comparison: StudyComparison, shown: Iterable[str]) -> list[str]:
    lines = [
        "Change of the second study compared with the first, "
        f"{units.counted(len(comparison.pairs), 'variant')} paired by name: in percent, or in points of mIoU, with the "
        "half width of the 95 % interval. Not significant: the change "
        "is within that interval.",
    ]
    if any(metric in TIMED for metric in shown):
        lines.append(
            f"From one study to another the latency of one network on one machine may change by "
            f"{100 * BETWEEN_SESSIONS:g} %, so smaller changes are not significant. `jetbench profile A B` measures "
            "networks in turn, which detects smaller differences."
        )
    if "normalised" in shown and "normalised" not in comparison.differing:
        lines.append(
            "Latency over the standard network's: both were timed in the same rounds, and a machine that is slower "
            f"slows both; changes below {100 * BETWEEN_SESSIONS_NORMALISED:g} % are not significant. "
            "--fail-on latency is judged by it."
        )
    for metric in shown:
        if metric in comparison.differing:
            lines.append(f"{BY_NAME[metric].heading} does not compare: {comparison.differing[metric]}.")
            continue
        outcomes = Counter(pair.changes[metric].outcome for pair in comparison.pairs)
        order: tuple[ChangeOutcome, ...] = ("better", "worse", "tie", "same", "not told", "gone", "new")
        counts = ", ".join(f"{outcomes[outcome]} {_shown(outcome)}" for outcome in order if outcomes[outcome])
        lines.append(f"{BY_NAME[metric].heading}: {counts}{_mean(metric, comparison.pairs)}.")
    if any(change.outcome == "not told" for pair in comparison.pairs for change in pair.changes.values()):
        lines.append(
            "Uncertainty unknown: there is only one training of each variant; add `seeds: [0, 1, 2]` to both sweeps."
        )
    for names, study in ((comparison.only_before, comparison.before), (comparison.only_after, comparison.after)):
        if names:
            lines.append(f"Only in {study.name}: {', '.join(names)}.")
    return lines


def _mean(metric: str, pairs: Sequence[VariantPair]) -> str:
    """The mean change over all variants; geometric for ratios."""
    amounts = [change.amount for pair in pairs if (change := pair.changes[metric]).amount is not None]
    if len(amounts) < 2:
        return ""
    if BY_NAME[metric].is_score:
        return f"; on average {100 * sum(amounts) / len(amounts):+.1f} points"
    ratio = math.exp(sum(math.log1p(amount) for amount in amounts) / len(amounts))
    return f"; on average {100 * (ratio - 1):+.1f} %"
