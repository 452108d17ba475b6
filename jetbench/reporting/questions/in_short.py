"""The answer of a study in at most eight lines: base, fastest, most accurate, best compromise, what to do next.

Only rows of one protocol are compared: those measured like the base, or else the largest group.
"""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jetbench.network.variants import BUDGET, SEED
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import BY_NAME, Column, describe_change
from jetbench.reporting.tables.protocol import ALL, group_rows
from jetbench.reporting.tables.rows import Row
from jetbench.reporting.tables.table import believed, rankable

COMPROMISE = "best compromise"
CHEAPEST = {"latency": "fastest", "estimate": "fastest at best", "macs": "fewest MACs"}
ALSO = {"fewest MACs": "which also has the fewest MACs"}
SIGNS = "In brackets: the change against the base (mIoU in points); = not significant (95 %), ? undecided."


@dataclass(frozen=True)
class Line:
    """One line of the answer: what it is about (`role`), a sentence, and the name of the row that it picks, if any."""

    role: str
    text: str
    pick: str = ""


@dataclass(frozen=True)
class _Best:
    """The best row of a column, how many others are not significantly worse, and True if that is known."""

    row: Row
    ties: int
    is_known: bool

    @property
    def others(self) -> str:
        """The end of a sentence about the row."""
        verb = "is" if self.ties == 1 else "are"
        return f"; {units.counted(self.ties, 'other')} {verb} not significantly worse" if self.ties else ""


@dataclass(frozen=True)
class _Rows:
    """The rows of one protocol, with the columns that stand for cost and gain."""

    rows: tuple[Row, ...]
    cost: Column
    gain: Column = BY_NAME["val"]

    def best(self, column: Column) -> _Best | None:
        """The best row of a column; None if no row has a number."""
        known = [(row, value) for row in self.rows if (value := rankable(row, column)) is not None]
        if not known:
            return None
        sign = 1 if column.better == "low" else -1
        first, top = min(known, key=lambda each: sign * each[1].number)
        ties = sum(value.is_tied_with(top) for row, value in known if row is not first)
        return _Best(first, ties, all(value.has_interval for _, value in known))

    def compromise(self) -> Row | None:
        """The row nearest to the best cost and the best gain at once, each scaled to its range."""
        both = [
            (row, cost.number, gain.number)
            for row in self.rows
            if (cost := rankable(row, self.cost)) is not None and (gain := rankable(row, self.gain)) is not None
        ]
        costs, gains = [cost for _, cost, _ in both], [gain for _, _, gain in both]
        if len(both) < 3 or min(costs) == max(costs) or min(gains) == max(gains):
            return None

        def distance(each: tuple[Row, float, float]) -> float:
            _, cost, gain = each
            return math.hypot(
                (cost - min(costs)) / (max(costs) - min(costs)), (max(gains) - gain) / (max(gains) - min(gains))
            )

        return min(both, key=distance)[0]

    def describe(self, row: Row, first: Column, second: Column) -> str:
        """`branches=3a: 15.6 ms (-42 %), val 27.4 % (-2.2 =)`, without what is not known."""
        parts = [part for column in (first, second) if (part := self._number(row, column))]
        return f"{row.name}: {', '.join(parts)}" if parts else row.name

    def _number(self, row: Row, column: Column) -> str:
        value = rankable(row, column)
        if value is None:
            return ""
        word = "val " if column.name == "val" else ""
        after = {"val": " %", "latency": " ms", "estimate": " ms by estimate"}.get(
            column.name, f" {column.unit.symbol} {column.noun}".rstrip()
        )
        return f"{word}{column.show(value.number)}{after}{self._change(row, column)}"

    def _change(self, row: Row, column: Column) -> str:
        if row.base is None or row.is_base:
            return ""
        if (name := f"{column.name}-change") in BY_NAME:
            change = BY_NAME[name].value(row)
            return f" ({describe_change(change, '' if column.is_score else ' %')})" if change is not None else ""
        old, new = column.value(row.base), column.value(row)
        return f" ({100 * (new.number / old.number - 1):+.0f} %)" if old and new and old.number else ""


def answer_in_short(
    rows: Sequence[Row], seeds_option: Callable[[int], str] = lambda count: f"--seeds {count}"
) -> tuple[Line, ...]:
    """What a study found, a line for each role; empty if it has fewer than two rows with a number.

    Args:
        rows: its rows, invalid profiles included: they are counted, and never named.
        seeds_option: the option that asks for so many seeds.
    """
    measured = [row for row in rows if row.records]
    kept = believed([row for row in measured if not row.is_failed])
    if len(kept) < 2:
        return ()
    groups = group_rows(kept, ALL)
    chosen = max(groups, key=lambda group: (any(row.is_base for row in group.rows), len(group.rows)))
    base = next((row for row in chosen.rows if row.is_base), None)
    members = tuple(row if base is not None else replace(row, base=None) for row in chosen.rows)
    timed = sum(rankable(row, BY_NAME["latency"]) is not None for row in members)
    estimated = sum(rankable(row, BY_NAME["estimate"]) is not None for row in members)
    it = _Rows(members, BY_NAME["latency" if timed > 1 else "estimate" if estimated > 1 and not timed else "macs"])
    lines = [Line("base", it.describe(base, it.gain, it.cost))] if base is not None else []
    cheapest, accurate = it.best(it.cost), it.best(it.gain)
    lines += _best_lines(it, cheapest, accurate)
    lines += _undecided(it, cheapest, accurate, seeds_option)
    lines += _left_out(measured, len(kept) - len(members))
    return tuple(lines)


def what_next(study: Study, rows: Sequence[Row], lines: Sequence[Line]) -> tuple[str, ...]:
    """The commands that a reader of the answer would give next, on one line or two."""
    folder = shlex.quote(str(study.folder))
    commands = [f"jetbench report {folder}"]
    more: list[str] = []
    changed = {key for row in rows for record in row.records for key in record.changes} - {SEED, BUDGET}
    if changed and any(row.is_base for row in rows):
        commands.append(f"jetbench table {folder} --per axis")
    picks = [line.pick for line in lines if line.pick]
    pick = next((row for row in rows if picks and row.name == picks[-1]), None)
    if pick is not None:
        key = pick.records[0].key
        weights = sorted((study.folder / "weights").glob(f"*-{key}.safetensors")) if key.isalnum() else []
        more = [f"jetbench profile {shlex.quote(str(path))}" for path in weights[:1]]
    return ("; ".join(commands), *more)


def _best_lines(it: _Rows, cheapest: _Best | None, accurate: _Best | None) -> list[Line]:
    compromise = it.compromise()
    picks = [
        (CHEAPEST[it.cost.name], cheapest, it.cost, it.gain),
        ("most accurate", accurate, it.gain, it.cost),
        (COMPROMISE, _Best(compromise, 0, True) if compromise else None, it.gain, it.cost),
    ]
    lines: list[Line] = []
    roles: dict[str, str] = {}
    for role, best, first, second in picks:
        if best is None:
            continue
        row, known = best.row, roles.get(best.row.records[0].key)
        also = f"{row.name}, {ALSO.get(known, f'also the {known}')}" if known else ""
        also = also or (f"{row.name}, the base" if row.is_base else "")
        is_unsure = role == COMPROMISE and accurate is not None and (accurate.ties or not accurate.is_known)
        unsure = "; by the plain numbers, of which some are undecided" if is_unsure else ""
        lines.append(Line(role, (also or it.describe(row, first, second)) + best.others + unsure, row.name))
        roles.setdefault(row.records[0].key, role)
    return lines


def _undecided(it: _Rows, cheapest: _Best | None, accurate: _Best | None, option: Callable[[int], str]) -> list[Line]:
    """What cannot be decided, and the one option that decides it; accuracy before latency."""
    trained = [row for row in it.rows if row.trainings]
    if accurate is not None and len(trained) > 1 and not accurate.is_known:
        return [Line("undecided", f"which is the most accurate, from one training each: `{option(3)}` decides it")]
    if accurate is not None and accurate.ties:
        seeds = max(len(row.trainings) for row in trained)
        rows = f"which of {accurate.ties + 1} is the most accurate, from {seeds} trainings each"
        return [Line("undecided", f"{rows}: `{option(2 * seeds)}` narrows it")]
    if cheapest is not None and cheapest.ties and it.cost.name == "latency":
        rows = f"which of {cheapest.ties + 1} is the fastest"
        return [Line("undecided", f"{rows}: `jetbench profile A B` measures them in turn")]
    return []


def _left_out(rows: Sequence[Row], others: int) -> list[Line]:
    failed = sum(row.is_failed for row in rows)
    invalid, suspect = (sum(row.level == level for row in rows) for level in ("invalid", "suspect"))
    parts = [f"{units.counted(failed, 'row')} failed"] if failed else []
    parts += (
        [f"{units.counted(invalid, 'row')} with an invalid profile, whose measurements are left out"] if invalid else []
    )
    parts += [f"{units.counted(suspect, 'row')} with a suspect profile"] if suspect else []
    parts += [f"{units.counted(others, 'row')} measured in another way, left out"] if others else []
    text = "; ".join(parts) + "; the notes say why" if parts else ""
    trained = [row for row in rows if row.trainings]
    weak = [constant for row in trained if (constant := _beaten_by_a_constant(row)) is not None]
    if weak:
        verb = "scores" if len(weak) == 1 else "score"
        learnt = f"{len(weak)} of {units.counted(len(trained), 'row')} {verb} no more than a constant prediction "
        text = f"{learnt}({100 * max(weak):.1f} %): train longer{'; ' if text else ''}{text}"
    return [Line("in doubt", text)] if text else []


def _beaten_by_a_constant(row: Row) -> float | None:
    """The val mIoU of the best constant prediction on a row's data, if no training of the row scores more."""
    (constant,) = {record.data.constant_miou["val"] for record in row.records}
    best = max((counts.miou for record in row.records if (counts := record.counts_on("val"))), default=None)
    return constant if constant is not None and best is not None and best <= constant else None
