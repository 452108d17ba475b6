"""The effect of each value of a sweep's axes compared with the base: mean differences with 95 % intervals."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetbench.errors import SpecError
from jetbench.network.plan import plan_network
from jetbench.network.variants import BUDGET, SEED, TRAINING, describe_changes, shorten_key
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import BY_NAME, Column, numbers
from jetbench.reporting.tables.footnotes import Notes, footnotes
from jetbench.reporting.tables.protocol import describe_differences, group_rows
from jetbench.reporting.tables.rows import Row, name_without_seed, rows_of
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, believed
from jetbench.spec.architecture import Baseline
from jetbench.spec.base import override, parse_spec
from jetbench.stats import student_quantile

METRICS = ("parameters", "macs", "latency", "memory", "val", "test")
CASES = "several things at once"


@dataclass(frozen=True)
class Effect:
    """The mean of paired differences, relative or of mIoU, and the ends of its interval; None for a single pair.

    For counts, which are exact, the ends are the minimum and the maximum.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    is_exact: bool = False

    @property
    def is_significant(self) -> bool:
        """True if the interval does not contain 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class AxisValue:
    """One value of one axis, the base value that it replaces, and its effect on each metric."""

    axis: str
    value: Any
    instead_of: Any
    effects: Mapping[str, Effect | None]


def list_effects(records: Sequence[Record]) -> list[AxisValue]:
    """The effect of each value, over all pairs of records that differ only in that value, seed by seed.

    A pair is two records of one seed: one has the value, the other the base's, or the axis's first value in a grid
    that leaves out the base's. Values are compared by the networks and recipes that result, not by how the sweep spells
    them. A case that changes several things is paired with the whole base.
    """
    # A variant in several forms is one variant: its first form stands for it. A profile alone is no variant.
    ended = [
        each
        for each in records
        if each.training_config is not None and not (each.training and each.training.stopped) and not each.is_form
    ]
    keys = list(dict.fromkeys(key for record in ended for key in record.changes if key != SEED))
    base = next((record for record in ended if not _changed(record)), ended[0] if ended else None)
    if base is None:
        return []
    usual = {key: str(_value_of(base, key)) for key in keys}
    is_same = _comparer(base)
    values = {
        id(record): {
            key: usual[key] if (text := str(_value_of(record, key))) == usual[key] or is_same(record, key) else text
            for key in keys
        }
        for record in ended
    }
    pairs_of: dict[tuple[str, str], list[tuple[Record, Record]]] = {}
    values_of: dict[tuple[str, str], tuple[Any, Any]] = {}

    def add(one: Record, other: Record, key: str) -> None:
        name = (key, values[id(one)][key])
        pairs_of.setdefault(name, []).append((one, other))
        values_of[name] = (_value_of(one, key), _value_of(other, key))

    near: dict[str, list[tuple[Record, Record]]] = {}  # pairs that differ in one key
    cases: list[tuple[Record, Record]] = []
    for one in ended:
        whole = None
        is_paired = False
        for other in ended:
            if other is one or other.recipe.seed != one.recipe.seed:
                continue
            touched = [key for key in keys if key in one.changes or key in other.changes]
            apart = [key for key in touched if values[id(one)][key] != values[id(other)][key]]
            if len(apart) == 1:
                near.setdefault(apart[0], []).append((one, other))
                is_paired = is_paired or values[id(other)][apart[0]] == usual[apart[0]]
            elif len(apart) > 1 and _is_base_of(other, one):
                whole = other
        if whole is not None and not is_paired:
            cases.append((one, whole))
    for key in keys:
        pairs = near.get(key, [])
        instead = usual[key]
        if not any(values[id(other)][key] == instead for _, other in pairs):
            # No pair has the base's value: a grid without it. Its first value is what the others are compared with.
            tried = (values[id(record)][key] for record in ended)
            instead = next((value for value in tried if value != instead), instead)
        for one, other in pairs:
            if values[id(other)][key] == instead:
                add(one, other, key)
    for one, whole in cases:
        name = (CASES, name_without_seed(one))
        pairs_of.setdefault(name, []).append((one, whole))
        values_of[name] = (name[1], name_without_seed(whole))
    return [
        AxisValue(name[0], *values_of[name], {metric: _effect(metric, pairs) for metric in METRICS})
        for name, pairs in pairs_of.items()
    ]


def _comparer(base: Record) -> Callable[[Record, str], bool]:
    """A function that is True if a record's value equals the one that a rule gives the base, whose field is None."""
    equal: dict[tuple[str, str], bool] = {}
    classes, size = base.data.num_classes, base.data.size

    def is_same(record: Record, key: str) -> bool:
        if _value_of(base, key) is not None or key.startswith(TRAINING) or type(base.architecture) is Baseline:
            return False
        value: Any = record.architecture.model_dump(mode="json")
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if (key, str(value)) not in equal:
            raw = base.architecture.model_dump(mode="json")
            spelt = parse_spec(type(base.architecture), override(raw, {key: value}), base.variant)
            plans = [plan_network(network, classes, size).fingerprint for network in (base.architecture, spelt)]
            equal[key, str(value)] = plans[0] == plans[1]
        return equal[key, str(value)]

    return is_same


def _changed(record: Record) -> list[str]:
    return [key for key in record.changes if key != SEED]


def _is_base_of(base: Record, case: Record) -> bool:
    """True if the record is the base; in a sweep with several budgets, the base with the budget of `case`."""
    changed = _changed(base)
    return not changed or (changed == [BUDGET] and base.recipe.budget == case.recipe.budget)


def _value_of(record: Record, key: str) -> Any:
    """The value of a dotted key in a record's network or recipe."""
    if key == "base":
        return record.architecture.name
    top, _, rest = key.partition(".")
    value: Any = record.training_config if top == "training" else record.architecture
    for part in (rest if top == "training" else key).split("."):
        value = getattr(value, part, None)
    return [str(each) for each in value] if isinstance(value, tuple) else value


def _effect(metric: str, pairs: Sequence[tuple[Record, Record]]) -> Effect | None:
    column, amounts, exact = BY_NAME[metric], [], True
    for one, base in pairs:
        new, old = (column.read(Row(r.variant, r.architecture, (r,))) for r in (one, base))
        if new is None or old is None:
            continue
        exact = exact and new.is_exact and old.is_exact
        amounts.append(new.number - old.number if BY_NAME[metric].is_score else math.log(new.number / old.number))
    if not amounts:
        return None
    mean, low, high = statistics.fmean(amounts), None, None
    if exact:
        low, high = min(amounts), max(amounts)
    elif len(amounts) > 1:
        half = student_quantile(0.975, len(amounts) - 1) * statistics.stdev(amounts) / len(amounts) ** 0.5
        low, high = mean - half, mean + half
    if BY_NAME[metric].is_score:
        return Effect(mean, low, high, len(amounts))
    ends = [None if end is None else math.expm1(end) for end in (low, high)]
    return Effect(math.expm1(mean), ends[0], ends[1], len(amounts), exact)


def build_effects(study: Study) -> Table:
    """The effects as a table, with a section for each axis.

    Raises:
        SpecError: no two variants differ in one key only, or the rows do not compare.
    """
    rows = rows_of([record for record in study.records if not record.is_form], study.name)
    records = [record for row in believed(rows) for record in row.records]
    groups = group_rows(believed(rows), ("counted", "trained", "measured"))
    if len(groups) > 1:
        raise SpecError(f"these rows do not compare:\n{describe_differences(groups)}")
    values = list_effects(records)
    if not values:
        raise SpecError(f"{study.folder}: no two variants differ in one key only, so no effect can be computed")
    labels = study.labels
    names = {row.name: shown.name for row, shown in zip(study.rows(), study.labelled_rows(), strict=True)}
    columns = tuple(_as_text(BY_NAME[metric]) for metric in METRICS)
    sections = []
    for axis in dict.fromkeys(each.axis for each in values):
        members = [each for each in values if each.axis == axis]
        usual = members[0].instead_of
        # None: the value that a rule of the base's form gives
        instead = "the base's own" if usual is None else _name(axis, usual, labels, names)
        short = shorten_key(axis)
        title = f"{labels.get(axis, labels.get(short, axis))}, instead of {instead}"
        sections.append(Section(title, tuple(_row(each, labels, names) for each in members)))
    notes = footnotes(rows, [BY_NAME[metric] for metric in METRICS])
    pairs = sorted({effect.pairs for each in values for effect in each.effects.values() if effect})
    first = (
        f"Mean effect of a value instead of the one that its heading names, over pairs that differ only in it "
        f"({_pairs(pairs)}, seed by seed): in percent, or in points of mIoU, with its 95 % interval by Student's t. "
        "Bold: significant, the interval does not contain 0. Each interval is a 95 % interval by itself, not jointly "
        "with the others."
    )
    return Table(
        f"{study.name}: effects by axis",
        columns,
        tuple(sections),
        Notes((first, *notes.essential), notes.details),
        heading="value",
    )


def _pairs(counts: Sequence[int]) -> str:
    return units.counted(counts[0], "pair") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} pairs"


def _row(value: AxisValue, labels: Mapping[str, str], names: Mapping[str, str]) -> TableRow:
    name = _name(value.axis, value.value, labels, names)
    return TableRow(name, tuple(_cell(metric, value.effects[metric]) for metric in METRICS))


def _name(axis: str, value: Any, labels: Mapping[str, str], names: Mapping[str, str]) -> str:
    """What a table calls a value, or a variant that changes several things, in the words of the labels."""
    text = describe_changes({axis: value}).partition("=")[2] or str(value)
    if axis == CASES:
        return names.get(text, labels.get(text, text))
    return next((labels[n] for n in (f"{axis}={text}", f"{shorten_key(axis)}={text}") if n in labels), text)


def _cell(metric: str, effect: Effect | None) -> Cell:
    if effect is None:
        return Cell(units.MISSING)
    unit = "" if BY_NAME[metric].is_score else " %"
    text = _signed(effect.mean)
    if effect.is_exact and effect.low is not None and effect.high is not None:
        if 100 * (effect.high - effect.low) >= 0.1:
            text = f"{_signed(effect.low)} to {_signed(effect.high)}"
    elif effect.low is not None and effect.high is not None:
        text += f" [{_signed(effect.low)}, {_signed(effect.high)}]"
    return Cell(text + unit, is_strong=effect.is_significant and not effect.is_exact)


def _signed(share: float) -> str:
    """In percent or points, with a sign unless it rounds to 0."""
    amount = round(100 * share, 1)
    return f"{amount:+.1f}" if amount else "0.0"


def _as_text(column: Column) -> Column:
    heading = column.heading.split(" (")[0] + (" (points)" if column.is_score else "")
    return numbers(column.name, heading, column.kind)
