"""What each value of each axis of a sweep changes, against the base's: mean effects with 95 % intervals."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetbench.errors import SpecError
from jetbench.record import Record
from jetbench.reporting import units
from jetbench.reporting.columns import BY_NAME, Column
from jetbench.reporting.footnotes import Notes, footnotes
from jetbench.reporting.protocol import describe_differences, group_rows
from jetbench.reporting.rows import Row, name_without_seed, rows_of
from jetbench.reporting.studies import Study
from jetbench.reporting.tables import Cell, Section, Table, TableRow, believed
from jetbench.student import student_quantile
from jetbench.sweep import SEED, describe_changes

METRICS = ("parameters", "macs", "latency", "memory", "val", "test")
POINTS = ("val", "test")
CASES = "several things at once"


@dataclass(frozen=True)
class Effect:
    """Mean of paired differences: relative, or in points of mIoU. `half` is None of a single pair."""

    mean: float
    half: float | None
    pairs: int
    is_exact: bool = False

    @property
    def is_told(self) -> bool:
        """Does the interval leave out 0?"""
        return self.is_exact or (self.half is not None and abs(self.mean) > self.half)


@dataclass(frozen=True)
class AxisValue:
    """One value of one axis, what it takes the place of, and its effect on each metric."""

    axis: str
    value: Any
    instead_of: Any
    effects: Mapping[str, Effect | None]


def list_effects(records: Sequence[Record]) -> list[AxisValue]:
    """The effect of each value over all pairs that differ in nothing else: variant against base value, seed by seed.

    A pair is two variants of which one has the value and the other leaves that key as the base has it.
    """
    by_changes = {_frozen(record.changes): record for record in records}
    found: dict[tuple[str, str], list[tuple[Record, Record]]] = {}
    values: dict[tuple[str, str], tuple[Any, Any]] = {}
    for record in records:
        changed = {key: value for key, value in record.changes.items() if key != SEED}
        seed = {key: value for key, value in record.changes.items() if key == SEED}
        partners = {
            (key, str(value)): (value, base)
            for key, value in changed.items()
            if (base := by_changes.get(_frozen({k: v for k, v in record.changes.items() if k != key})))
        }
        for (key, text), (value, base) in partners.items():
            found.setdefault((key, text), []).append((record, base))
            values[key, text] = (value, _value_of(base, key))
        if len(changed) > 1 and not partners and (base := by_changes.get(_frozen(seed))):
            # A named case changes several things at once: it has an effect as a whole.
            name = name_without_seed(record)
            found.setdefault((CASES, name), []).append((record, base))
            values[CASES, name] = (name, name_without_seed(base))
    return [
        AxisValue(name[0], *values[name], {metric: _effect(metric, pairs) for metric in METRICS})
        for name, pairs in found.items()
    ]


def _frozen(changes: Mapping[str, Any]) -> str:
    return str(sorted((key, str(value)) for key, value in changes.items()))


def _value_of(record: Record, key: str) -> Any:
    """What a dotted key stands for in a record that does not change it."""
    if key == "base":
        return record.architecture.name
    top, _, rest = key.partition(".")
    held: Any = record.training_config if top == "training" else record.architecture
    for part in (rest if top == "training" else key).split("."):
        held = getattr(held, part, None)
    return [str(each) for each in held] if isinstance(held, tuple) else held


def _effect(metric: str, pairs: Sequence[tuple[Record, Record]]) -> Effect | None:
    column, told, exact = BY_NAME[metric], [], True
    for one, base in pairs:
        new, old = (column.read(Row(r.variant, r.architecture, (r,))) for r in (one, base))
        if new is None or old is None:
            continue
        exact = exact and new.is_exact and old.is_exact
        told.append(new.number - old.number if metric in POINTS else math.log(new.number / old.number))
    if not told:
        return None
    mean, half = statistics.fmean(told), None
    if len(told) > 1:
        half = student_quantile(0.975, len(told) - 1) * statistics.stdev(told) / len(told) ** 0.5
    if metric not in POINTS:
        mean, half = math.expm1(mean), None if half is None else math.exp(mean) * math.sinh(half)
    return Effect(mean, half, len(told), exact)


def build_effects(study: Study, mixed: bool = False) -> Table:
    """The effects as a table, an axis a section.

    Raises:
        SpecError: no two variants differ in one key only, or rows do not compare.
    """
    rows = believed(rows_of(study.records, study.name))
    records = [record for row in rows for record in row.records]
    groups = group_rows(rows, ("counted", "trained", "measured"))
    if len(groups) > 1 and not mixed:
        raise SpecError(f"these rows do not compare:\n{describe_differences(groups)}")
    found = list_effects(records)
    if not found:
        raise SpecError(f"{study.folder}: no two variants differ in one thing only, so no effect can be told")
    columns = tuple(_as_text(BY_NAME[metric]) for metric in METRICS)
    sections = []
    for axis in dict.fromkeys(each.axis for each in found):
        members = [each for each in found if each.axis == axis]
        instead = describe_changes({axis: members[0].instead_of}).partition("=")[2] or str(members[0].instead_of)
        sections.append(Section(f"{axis}, instead of {instead}", tuple(_row(each) for each in members)))
    notes = footnotes(rows, [BY_NAME[metric] for metric in METRICS])
    pairs = sorted({effect.pairs for each in found for effect in each.effects.values() if effect})
    first = (
        f"Mean effect of a value against the base's, over pairs that differ in nothing else ({_pairs(pairs)}, "
        "seed by seed): relative, or in points of mIoU, with the half width of its 95 % interval by Student's t. Bold: "
        "the interval leaves out 0. Intervals hold one by one, not all together."
    )
    told = Notes((first, *notes.essential), notes.details)
    return Table(f"{study.name}: effects by axis", columns, tuple(sections), told)


def _pairs(counts: Sequence[int]) -> str:
    return units.counted(counts[0], "pair") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} pairs"


def _row(each: AxisValue) -> TableRow:
    name = describe_changes({each.axis: each.value}).partition("=")[2] or str(each.value)
    return TableRow(name, tuple(_cell(metric, each.effects[metric]) for metric in METRICS))


def _cell(metric: str, effect: Effect | None) -> Cell:
    if effect is None:
        return Cell(units.MISSING)
    unit = "" if metric in POINTS else " %"
    text = f"{100 * effect.mean:+.1f}"
    if not effect.is_exact and effect.half is not None:
        text += f" \N{PLUS-MINUS SIGN} {100 * effect.half:.1f}"
    return Cell(text + unit, is_strong=effect.is_told and not effect.is_exact)


def _as_text(column: Column) -> Column:
    heading = column.heading.split(" (")[0] + (" (points)" if column.name in POINTS else "")
    return Column(column.name, heading, column.kind, text=lambda row: "")
