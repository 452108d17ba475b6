"""Why a network takes its time, on one screen: its parts, its kernels, its choices undone, and three sentences."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from jetbench.network.rules import format_size
from jetbench.network.undone import words_of
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.questions.why import (
    Spent,
    can_explain,
    choices,
    choices_table,
    explain,
    notes_of,
    sentences,
    spent_table,
)
from jetbench.reporting.tables.table import Table
from jetbench.reporting.tables.terminal import show_on_terminal
from jetbench.reporting.terminal import print_notes


def group_explained(records: Sequence[Record]) -> list[tuple[Record, list[Record]]]:
    """Each network and form that can be explained, with the networks in which one of its choices is undone."""
    explained = [record for record in records if can_explain(record.profile)]
    groups = [(base, [record for record in explained if _is_undone(record, base)]) for base in explained]
    undone = {id(record) for _, others in groups for record in others}
    return [(base, others) for base, others in groups if id(base) not in undone]


def _is_undone(record: Record, base: Record) -> bool:
    """True if a choice of `base` is undone in a record that was timed in turn with it."""
    compared = record.measured.comparison
    if compared is None or compared.reference != base.variant or record.profiling_config != base.profiling_config:
        return False
    return words_of(base.variant, record.variant) is not None and (
        record.measured.input_size == base.measured.input_size
    )


def tables_of(record: Record, others: Sequence[Record]) -> list[Table]:
    """The tables of an explained record: its parts, its kernels, and, if there are any, its choices undone."""
    why, undone = explain(record), choices(record, others)
    tables = [spent_table(why, "parts", "Parts"), spent_table(why, "kernels", "Kernels")]
    return [*tables, choices_table(undone, "One choice undone")] if undone else tables


def heading_of(record: Record) -> str:
    """`jetseg-nano at 512x512 on cpu: batch 1, fp32, 1 thread, eager: 110 ms (109 to 112), 9.1 FPS`."""
    profile, latency = record.measured, record.measured.model_latency
    text = f"{record.variant} at {format_size(profile.input_size)} on {profile.device}: "
    text += record.profiling_config.describe()
    if latency is None:
        return text
    text += f": {units.MILLISECONDS.describe(latency.median_s)}"
    if latency.interval_s is not None:
        low, high = latency.interval_s
        text += f" ({units.milliseconds(low)} to {units.milliseconds(high)})"
    return f"{text}, {units.FPS.describe(latency.throughput_fps)}"


def print_why(console: Console, record: Record, others: Sequence[Record]) -> None:
    """Print an explained record."""
    why, undone = explain(record), choices(record, others)
    console.print(f"[bold]{heading_of(record)}[/]", highlight=False)
    for line in sentences(record, why, undone):
        console.print(line, highlight=False, markup=False)
    for table in tables_of(record, others):
        show_on_terminal(console, table)
    print_notes(console, notes_of(record, why))


def describe_why(record: Record, others: Sequence[Record]) -> dict[str, Any]:
    """An explained record as plain data, in SI units."""
    why, undone = explain(record), choices(record, others)
    latency = record.measured.model_latency
    return {
        "network": record.variant,
        "form": record.profiling_config.form,
        "device": record.measured.device,
        "input_size": record.measured.input_size,
        "latency_s": latency.median_s if latency else None,
        "kernels_s": why.kernels_s,
        "peaks": why.peaks.model_dump(mode="json"),
        "limits": dict(why.bound_shares),
        "sentences": list(sentences(record, why, undone)),
        "parts": [_describe(each) for each in why.parts],
        "kernels": [_describe(each) for each in why.kernels],
        "fused": dict(why.fused),
        "undone": [
            {
                "choice": each.name,
                "change": each.change,
                "interval": each.interval,
                "is_significant": each.is_significant,
                "parameters": each.parameters,
                "macs": each.macs,
            }
            for each in undone
        ],
    }


def _describe(spent: Spent) -> dict[str, Any]:
    return {
        "name": spent.name,
        "seconds": spent.seconds,
        "time_share": spent.time_share,
        "kernels": spent.count,
        "macs": spent.macs,
        "macs_share": spent.macs_share,
        "bytes_moved": spent.bytes_moved,
        "limit": spent.bound,
        "reached": spent.reached,
    }
