"""Does one device rank networks as another does? Kendall's tau with its interval, and the picks that flip."""

from collections.abc import Sequence
from dataclasses import dataclass

from jetbench.errors import SpecError
from jetbench.network.rules import format_size
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import BY_NAME, Column, Value, numbers, words
from jetbench.reporting.tables.footnotes import Notes, on_one_line
from jetbench.reporting.tables.protocol import (
    Needs,
    describe_differences,
    describe_machine,
    facts_of,
    group_rows,
)
from jetbench.reporting.tables.rows import Row
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, believed, front
from jetbench.stats import kendall_tau, tau_interval

METRICS = ("latency", "fps-e2e", "memory", "power", "energy", "val", "test")
OF_THE_DEVICE = (
    *("device", "processor", "threads", "power mode", "jetson_clocks", "driver", "power sensor"),
    *("freed memory", "denormals flushed", "TF32", "torch", "jetbench", "trained on", "mixed precision"),
)
"""Facts in which two devices may differ: they are what is compared."""
LISTED_FLIPS = 12


@dataclass(frozen=True)
class Shared:
    """A network that both studies have measured."""

    name: str
    rows: tuple[Row, Row]
    values: tuple[Value, Value]


@dataclass(frozen=True)
class Transfer:
    """Networks on two devices, and how far one tells about the other."""

    networks: tuple[Shared, ...]
    tau: float
    interval: tuple[float, float] | None
    flips: tuple[tuple[str, str], ...]
    """Pairs (a, b): a better than b in the first study and worse in the second, told apart in both."""
    pairs: int
    """Pairs that are told apart in both."""


def measure_transfer(first: Study, second: Study, metric: str = "latency") -> Transfer:
    """Both studies' networks, paired by name, by one metric.

    Raises:
        SpecError: fewer than three networks have it in both.
    """
    if metric not in METRICS:
        raise SpecError(f"{metric}: devices are compared by one of {', '.join(METRICS)}")
    column = BY_NAME[metric]
    rows = [{row.name: row for row in believed(study.rows()) if row.records} for study in (first, second)]
    _check(first, second, rows, column)
    networks = []
    for name, row in rows[0].items():
        other = rows[1].get(name)
        one, two = column.read(row), column.read(other) if other else None
        if other and one and two:
            networks.append(Shared(name, (row, other), (one, two)))
    if len(networks) < 3:
        raise SpecError(
            f"{first.folder} and {second.folder}: {units.counted(len(networks), 'network')} in common with "
            f"{column.heading}; ranks need three at least"
        )
    numbers = [(each.values[0].number, each.values[1].number) for each in networks]
    tau = kendall_tau(numbers)
    if tau is None:
        raise SpecError(f"{column.heading}: all networks have the same, so there are no ranks")
    flips, pairs = [], 0
    for number, a in enumerate(networks):
        for b in networks[:number]:
            orders = [_order(a.values[at], b.values[at]) for at in (0, 1)]
            if all(orders):
                pairs += 1
                if orders[0] != orders[1]:
                    is_first = (orders[0] < 0) == (column.better == "low")
                    flips.append((a.name, b.name) if is_first else (b.name, a.name))
    return Transfer(tuple(networks), tau, tau_interval(numbers), tuple(flips), pairs)


def _check(first: Study, second: Study, rows: Sequence[dict[str, Row]], column: Column) -> None:
    """Refuse what differs in more than the device.

    Raises:
        SpecError: rows of one study do not compare, or networks were run otherwise in the two.
    """
    needs: tuple[Needs, ...] = ("counted", column.needs) if column.needs else ("counted",)
    for study, own in ((first, rows[0]), (second, rows[1])):
        groups = group_rows(list(own.values()), needs)
        if len(groups) > 1:
            raise SpecError(f"{study.folder}: its rows do not compare:\n{describe_differences(groups)}")
    for name, row in rows[0].items():
        if name not in rows[1]:
            continue
        one, other = (_settings(each, needs) for each in (row, rows[1][name]))
        for fact in one.keys() & other.keys():
            if one[fact] != other[fact]:
                raise SpecError(f"{name} differs in more than the device: {fact}: {one[fact]} against {other[fact]}")


def _settings(row: Row, needs: Sequence[Needs]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for record in row.records:
        facts |= facts_of(record, needs, with_varied=True)
    return {name: value for name, value in facts.items() if name not in OF_THE_DEVICE}


def _order(one: Value, other: Value) -> int:
    """-1 where one is lower, 1 where it is higher, 0 where they cannot be told apart."""
    if not (one.has_interval and other.has_interval) or one.is_tied_with(other):
        return 0
    return -1 if one.number < other.number else 1


def build_transfer(first: Study, second: Study, metric: str = "latency") -> Table:
    """The networks by their rank in the first study, beside their rank in the second; flips and tau in the notes."""
    told = measure_transfer(first, second, metric)
    column = BY_NAME[metric]
    networks = sorted(told.networks, key=lambda each: each.values[0].number, reverse=column.better == "high")
    ranks = [_ranks([each.values[at] for each in networks], column) for at in (0, 1)]
    fronts = [front([each.rows[at] for each in networks]) for at in (0, 1)]
    has_fronts = any(fronts)  # not of one training each
    flipped = {name for pair in told.flips for name in pair}
    rows = []
    for number, each in enumerate(networks):
        texts = [column.show(each.values[0].number), column.show(each.values[1].number)]
        ratio = each.values[1].number / each.values[0].number if each.values[0].number else 0.0
        on = [at for at in (0, 1) if number in fronts[at]]
        rows.append(
            TableRow(
                on_one_line(each.name),
                (
                    Cell(texts[0]),
                    Cell(str(ranks[0][number])),
                    Cell(texts[1]),
                    Cell(str(ranks[1][number]), is_strong=each.name in flipped),
                    Cell(f"{ratio:.2f}"),
                    Cell({(0,): first.name, (1,): second.name, (0, 1): "both"}.get(tuple(on), units.MISSING)),
                )[: None if has_fronts else -1],
            )
        )
    unit = column.heading
    columns = (
        numbers("first", f"{first.name}: {unit}", column.kind, short=first.name),
        numbers("first-rank", "rank", column.kind),
        numbers("second", f"{second.name}: {unit}", column.kind, short=second.name),
        numbers("second-rank", "rank", column.kind),
        numbers("ratio", "second / first", column.kind),
        words("front", "on the front of"),
    )[: None if has_fronts else -1]
    title = f"{column.heading.split(' (')[0]} on two devices: {first.name} and {second.name}"
    notes = Notes(tuple(_describe(first, second, told, has_fronts)))
    return Table(title, columns, (Section("", tuple(rows)),), notes)


def _ranks(values: Sequence[Value], column: Column) -> list[int]:
    """1 for the best; equal numbers share a rank."""
    ordered = sorted((value.number for value in values), reverse=column.better == "high")
    return [ordered.index(value.number) + 1 for value in values]


def _describe(first: Study, second: Study, told: Transfer, has_fronts: bool) -> list[str]:
    span = "no interval: too few networks, or all in one order"
    if told.interval is not None:
        span = f"95 % [{told.interval[0]:.3f}, {told.interval[1]:.3f}] by bootstrap"
    records = [record for each in told.networks for record in each.rows[0].records]
    settings = dict.fromkeys(record.profiling_config.describe() for record in records)
    lines = [
        f"Kendall's tau-b {told.tau:.3f} over {len(told.networks)} networks ({span}): 1 is the same order, 0 none.",
        f"Both as: {'; or '.join(settings)}, at {format_size(told.networks[0].rows[0].records[0].data.size)}.",
        f"Of {told.pairs:,} pairs that both devices tell apart, {len(told.flips)} are in the other order on the second"
        + (" (bold rank: in one of them)." if told.flips else "."),
    ]
    if told.flips:
        some = "; ".join(f"{a} before {b}" for a, b in told.flips[:LISTED_FLIPS])
        more = f"; and {len(told.flips) - LISTED_FLIPS} more" if len(told.flips) > LISTED_FLIPS else ""
        lines.append(f"Flips, better first on {first.name} and worse on {second.name}: {some}{more}.")
    if has_fronts:
        lines.append(
            "On the front of: no other of these networks is told to be faster there, or to have a higher validation "
            "mIoU, without being told to be worse in the other."
        )
    for study, other in ((first, second), (second, first)):
        names = {each.name for each in told.networks}
        alone = [row.name for row in study.rows() if row.records and row.name not in names]
        if alone:
            lines.append(f"Not in it, of {study.name}: {', '.join(alone)}; {other.name} has no such value of them.")
    for study, at in ((first, 0), (second, 1)):
        machines = dict.fromkeys(
            describe_machine(profile.environment) for each in told.networks for profile in each.rows[at].profiles
        )
        lines += [f"{study.name} was measured on: {machine}." for machine in machines]
    return [on_one_line(line) for line in lines]
