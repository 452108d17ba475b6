"""Compares how two devices rank networks: Kendall's tau with its interval, and the pairs that change order."""

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
    *("board", "device", "processor", "threads", "power mode", "jetson_clocks", "driver", "power sensor"),
    *("freed memory", "denormals flushed", "TF32", "torch", "jetbench", "trained on", "mixed precision"),
)
"""Facts in which the two studies may differ, because they belong to the device."""
LISTED_FLIPS = 12


@dataclass(frozen=True)
class Shared:
    """A network that both studies have measured; it is ranked by `values`, and `shown` are in the metric's own unit."""

    name: str
    rows: tuple[Row, Row]
    values: tuple[Value, Value]
    shown: tuple[Value, Value]


@dataclass(frozen=True)
class Transfer:
    """Networks on two devices, and how well their rankings agree; `ranked_by` is a column's name."""

    ranked_by: str
    networks: tuple[Shared, ...]
    tau: float
    interval: tuple[float, float] | None
    flips: tuple[tuple[str, str], ...]
    """Pairs (a, b): a is significantly better than b in the first study and significantly worse in the second."""
    pairs: int
    """The number of pairs that differ significantly in both studies."""


def measure_transfer(first: Study, second: Study, metric: str = "latency", show_invalid: bool = False) -> Transfer:
    """Compare both studies' rankings by one metric, networks paired by name.

    `show_invalid` takes the measurements of invalid profiles, too.

    Raises:
        SpecError: fewer than three networks have the metric in both studies.
    """
    if metric not in METRICS:
        raise SpecError(f"{metric}: devices are not compared by this; choose from {', '.join(METRICS)}")
    column = BY_NAME[metric]
    shown = [study.rows() if show_invalid else believed(study.rows()) for study in (first, second)]
    rows = [{row.name: row for row in each if row.records} for each in shown]
    _check(first, second, rows, column)
    networks = _shared(rows, column, column)
    ranked_by = column
    if metric == "latency":
        # Networks that were timed minutes or days apart: the standard network was timed beside each of them.
        normalised = _shared(rows, BY_NAME["normalised"], column)
        if len(normalised) == len(networks):
            networks, ranked_by = normalised, BY_NAME["normalised"]
    if len(networks) < 3:
        raise SpecError(
            f"{first.folder} and {second.folder}: {units.counted(len(networks), 'network')} in common with "
            f"{column.heading}; a ranking needs at least three"
        )
    numbers = [(each.values[0].number, each.values[1].number) for each in networks]
    tau = kendall_tau(numbers)
    if tau is None:
        raise SpecError(f"{column.heading}: all networks have the same value, so they cannot be ranked")
    flips, pairs = [], 0
    for number, a in enumerate(networks):
        for b in networks[:number]:
            orders = [_order(a.values[at], b.values[at]) for at in (0, 1)]
            if all(orders):
                pairs += 1
                if orders[0] != orders[1]:
                    is_first = (orders[0] < 0) == (column.better == "low")
                    flips.append((a.name, b.name) if is_first else (b.name, a.name))
    return Transfer(ranked_by.name, tuple(networks), tau, tau_interval(numbers), tuple(flips), pairs)


def _shared(rows: Sequence[dict[str, Row]], ranked_by: Column, shown: Column) -> list[Shared]:
    """The networks that have a value on both devices, in the order of the first."""
    networks = []
    for name, row in rows[0].items():
        pair = (row, rows[1][name]) if name in rows[1] else None
        if pair is None:
            continue
        (one, two), (own, other) = ([column.read(each) for each in pair] for column in (ranked_by, shown))
        if one and two and own and other:
            networks.append(Shared(name, pair, (one, two), (own, other)))
    return networks


def _check(first: Study, second: Study, rows: Sequence[dict[str, Row]], column: Column) -> None:
    """Refuse studies that differ in more than the device.

    Raises:
        SpecError: rows of one study do not compare, or a network was run with different settings in the two.
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
    """-1 if `one` is significantly lower, 1 if higher, 0 if they are not significantly different."""
    if not (one.has_interval and other.has_interval) or one.is_tied_with(other):
        return 0
    return -1 if one.number < other.number else 1


def build_transfer(first: Study, second: Study, metric: str = "latency", show_invalid: bool = False) -> Table:
    """A table of the networks' ranks in both studies, in the first one's order; flips and tau are in the notes."""
    transfer = measure_transfer(first, second, metric, show_invalid)
    column = BY_NAME[metric]
    is_normalised = transfer.ranked_by != column.name
    networks = sorted(transfer.networks, key=lambda each: each.values[0].number, reverse=column.better == "high")
    ranks = [_ranks([each.values[at] for each in networks], column) for at in (0, 1)]
    fronts = [front([each.rows[at] for each in networks]) for at in (0, 1)]
    has_fronts = any(fronts)  # a front needs several trainings per network
    flipped = {name for pair in transfer.flips for name in pair}
    rows = []
    for number, each in enumerate(networks):
        texts = [column.show(value.number) for value in each.shown]
        if is_normalised:
            texts = [
                f"{text} ({BY_NAME[transfer.ranked_by].show(value.number)})"
                for text, value in zip(texts, each.values, strict=True)
            ]
        ratio = each.shown[1].number / each.shown[0].number if each.shown[0].number else 0.0
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
    notes = Notes(tuple(_describe(first, second, transfer, has_fronts)))
    return Table(title, columns, (Section("", tuple(rows)),), notes, heading="network")


def _ranks(values: Sequence[Value], column: Column) -> list[int]:
    """The rank of each value, 1 for the best; equal numbers share a rank."""
    ordered = sorted((value.number for value in values), reverse=column.better == "high")
    return [ordered.index(value.number) + 1 for value in values]


def _describe(first: Study, second: Study, transfer: Transfer, has_fronts: bool) -> list[str]:
    span = "no interval: too few networks, or all in the same order"
    if transfer.interval is not None:
        span = f"95 % [{transfer.interval[0]:.3f}, {transfer.interval[1]:.3f}] by bootstrap"
    records = [record for each in transfer.networks for record in each.rows[0].records]
    settings = dict.fromkeys(record.profiling_config.describe() for record in records)
    size = format_size(transfer.networks[0].rows[0].records[0].data.size)
    lines = [
        f"Kendall's tau-b {transfer.tau:.3f} over {len(transfer.networks)} networks ({span}): 1 is the same order, "
        "0 is no relation.",
        f"Settings of both: {'; or '.join(settings)}, at {size}.",
        *(
            ["Ranked by latency over the standard network's on the same device, which is in brackets."]
            if transfer.ranked_by == "normalised"
            else []
        ),
        f"Of {transfer.pairs:,} pairs that differ significantly on both devices, {len(transfer.flips)} have the "
        f"opposite order on the second{' (bold rank: part of such a pair)' if transfer.flips else ''}.",
    ]
    if transfer.flips:
        some = "; ".join(f"{a} before {b}" for a, b in transfer.flips[:LISTED_FLIPS])
        more = f"; and {len(transfer.flips) - LISTED_FLIPS} more" if len(transfer.flips) > LISTED_FLIPS else ""
        lines.append(f"Pairs in the opposite order, the better one on {first.name} first: {some}{more}.")
    if has_fronts:
        lines.append(
            "On the front of: Pareto-optimal in that study. No other of these networks is significantly better in one "
            "of latency and validation mIoU without being significantly worse in the other."
        )
    for study in (first, second):
        names = {each.name for each in transfer.networks}
        alone = [row.name for row in study.rows() if row.records and row.name not in names]
        if alone:
            lines.append(f"Left out, because only {study.name} has the value: {', '.join(alone)}.")
    for study, at in ((first, 0), (second, 1)):
        machines = dict.fromkeys(
            describe_machine(profile.environment) for each in transfer.networks for profile in each.rows[at].profiles
        )
        lines += [f"{study.name} was measured on: {machine}." for machine in machines]
    return [on_one_line(line) for line in lines]
