"""Profiles as people read them, on the terminal and in a report folder."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetbench.network.rules import format_size
from jetbench.records.record import Record
from jetbench.records.verdict import Verdict, judge
from jetbench.reporting import units
from jetbench.reporting.sheets.figures import (
    Class,
    Figure,
    describe_control,
    describe_watches,
    list_figures,
)
from jetbench.reporting.tables.protocol import describe_machine, describe_setting
from jetbench.reporting.tables.published import mark_of
from jetbench.reporting.terminal import print_whole
from jetbench.spec.device import Device

STYLES: dict[Class, str] = {
    "counted": "cyan",
    "measured": "green",
    "estimated": "yellow",
    "reported": "magenta",
    "missing": "dim",
}
VERDICT_STYLES = {"valid": "green", "suspect": "yellow", "invalid": "bold red", "not measured": "dim"}
FILES = RECORDS, FIGURES, TABLE = "records.jsonl", "figures.csv", "table.md"
MARKS = {"suspect": "?", "invalid": "INVALID", "not measured": "", "valid": ""}


def print_profile(console: Console, record: Record, device: Device) -> None:
    """Everything that is known of one network on one device, each number with its class, and whether to believe it."""
    profile, config = record.measured, record.profiling_config
    verdict = judge(profile)
    heading = f"[bold]{escape(record.variant)}{mark_of(record.architecture)}[/] "
    heading += f"at {format_size(profile.input_size)}, {record.num_classes} classes, "
    heading += f"on {escape(device.name)} ({escape(device.title)}): {describe_setting(config)}"
    heading += "" if record.is_trained else ", random weights"
    console.print(heading, highlight=False)
    figures = _gather_tails(list_figures(record, device))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    widest = sum(max(len(getattr(figure, name)) for figure in figures) for name in ("kind", "label", "text"))
    room = max(20, console.width - widest - 3)
    notes: dict[str, int] = {}
    for figure in figures:
        how = figure.how
        if len(how) > 2 * room - 10:
            # In a narrow column it would be a pillar of single words.
            how = f"({notes.setdefault(how, len(notes) + 1)})"
        style = STYLES[figure.kind]
        table.add_row(
            f"[{style}]{figure.kind}[/]", f"[bold]{escape(figure.label)}[/]", escape(figure.text), escape(how)
        )
    console.print(table, highlight=False)
    for how, number in notes.items():
        console.print(f"[dim]({number}) {escape(how)}[/]", highlight=False)
    if profile.model_latency is not None:
        console.print(f"[dim]Measured on: {escape(describe_machine(profile.environment))}.[/]", highlight=False)
        if meanwhile := describe_watches(profile.watches):
            console.print(f"[dim]Meanwhile: {escape(meanwhile)}.[/]", highlight=False)
    print_verdict(console, verdict)


def _gather_tails(figures: Sequence[Figure]) -> list[Figure]:
    """Percentiles in one line below their median; the ends of intervals stand in the median's line already."""
    gathered: list[Figure] = []
    tail: list[str] = []
    for figure in figures:
        if figure.quantity.endswith(("_low_s", "_high_s")):
            continue
        if re.search(r"_(p\d+|worst)_s$", figure.quantity):
            tail.append(f"{figure.label.strip()} {figure.text.removesuffix(' ms')}")
            if figure.quantity.endswith("_worst_s"):
                gathered.append(Figure("", None, figure.kind, "  tail", "", f"{', '.join(tail)} ms, {figure.how}"))
                tail = []
            continue
        gathered.append(figure)
    return gathered


def print_verdict(console: Console, verdict: Verdict) -> None:
    """The verdict in its colour, a line for each reason."""
    if verdict.level == "not measured":
        return
    style = VERDICT_STYLES[verdict.level]
    console.print(f"[{style}]verdict: {verdict.level}[/]", highlight=False)
    for reason in verdict.reasons:
        console.print(f"  - {escape(reason)}", highlight=False)


def print_summary(console: Console, records: Sequence[Record]) -> None:
    """Several profiles side by side, the reference first."""
    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    table.add_column("setting", no_wrap=True)
    headings = ["params", "MACs M", "ms", "95 % over processes", "FPS", "e2e FPS", "ratio", "MiB", "mJ/image"]
    for heading in (*headings, "at best ms (estimate)"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for record in records:
        table.add_row(*(escape(cell) for cell in _summary_cells(record)))
    print_whole(console, table)
    # A process has one number of threads: each has its own reference and its own copy of it.
    controls = {r.measured.environment.threads: r.measured for r in records if r.measured.comparison}
    if controls:
        reference = next(iter(controls.values())).comparison
        several = len(controls) > 1
        told = "; ".join(
            (f"{threads} thread{'s' * (threads > 1)}: " if several else "") + describe_control(profile)
            for threads, profile in controls.items()
        )
        console.print(
            f"[dim]ratio: time per image over {escape(reference.reference if reference else '')}'s"
            f"{' with as many threads' * several} in the same rounds, median of the processes; = cannot be told apart "
            f"({told}); \N{EM DASH} is the reference, or was not timed beside it.[/]",
            highlight=False,
        )


def _summary_cells(record: Record) -> list[str]:
    profile, verdict = record.measured, judge(record.measured)
    model, end_to_end, compared = profile.model_latency, profile.end_to_end_latency, profile.comparison
    interval = model.interval_s if model else None
    ratio = units.MISSING
    if compared:
        ratio = f"{compared.median:.3f}" + ("" if compared.is_told_apart else " =")
    return [
        record.variant,
        describe_setting(record.profiling_config),
        units.count(profile.parameters),
        units.millions(profile.macs),
        units.milliseconds(model.median_s if model else None),
        f"{units.milliseconds(interval[0])} to {units.milliseconds(interval[1])}" if interval else units.MISSING,
        units.fps(model.throughput_fps if model else None),
        units.fps(end_to_end.throughput_fps if end_to_end else None),
        ratio,
        units.mebibytes(profile.peak_memory_bytes),
        units.millijoules(profile.energy_j_per_image),
        units.milliseconds(profile.estimate.seconds if profile.estimate else None),
        verdict.level,
    ]


def describe_profile(record: Record, device: Device) -> dict[str, Any]:
    """A record with its raw samples as plain data, its verdict, and each number with its class."""
    verdict = judge(record.measured)
    return {
        **record.model_dump(mode="json"),
        "figures": {
            figure.quantity: {"value": figure.value, "class": figure.kind, "how": figure.how}
            for figure in list_figures(record, device)
        },
        "verdict": {"level": verdict.level, "reasons": verdict.reasons},
    }


def write_profiles(folder: Path, records: Sequence[Record], device: Device) -> list[Path]:
    """Append the records to a folder's records.jsonl, and write figures.csv and table.md of these records."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RECORDS).open("a", encoding="utf-8") as file:
        file.writelines(record.model_dump_json() + "\n" for record in records)
    (folder / FIGURES).write_text(_figures_csv(records, device), encoding="utf-8")
    (folder / TABLE).write_text(_markdown(records, device), encoding="utf-8")
    return [folder / name for name in (RECORDS, FIGURES, TABLE)]


def _figures_csv(records: Sequence[Record], device: Device) -> str:
    """A line per number, in SI units, with its class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("network", "setting", "device", "quantity", "value", "class", "verdict", "how"))
    for record in records:
        level = judge(record.measured).level
        for figure in list_figures(record, device):
            value = "" if figure.value is None else figure.value
            setting = describe_setting(record.profiling_config)
            row = (record.variant, setting, device.name, figure.quantity, value, figure.kind, level, figure.how)
            writer.writerow(row)
    return text.getvalue()


def _markdown(records: Sequence[Record], device: Device) -> str:
    lines = [f"# Profiles on {device.name}: {device.title}", ""]
    for record in records:
        profile, verdict = record.measured, judge(record.measured)
        weights = "trained weights" if record.is_trained else "random weights"
        lines += [
            f"## {record.variant}, {describe_setting(record.profiling_config)}",
            "",
            f"{format_size(profile.input_size)} (HxW), {record.num_classes} classes, {weights}, {record.finished}.",
            "",
            "| number | value | class | how |",
            "| :-- | --: | :-- | :-- |",
        ]
        for figure in list_figures(record, device):
            how = figure.how.replace("|", "\\|")
            lines.append(f"| {figure.label.strip()} | {figure.text} | {figure.kind} | {how} |")
        lines += ["", f"Verdict: **{verdict.level}**."]
        lines += [f"- {reason}" for reason in verdict.reasons]
        if profile.model_latency is not None:
            lines += ["", f"Measured on: {describe_machine(profile.environment)}."]
            if meanwhile := describe_watches(profile.watches):
                lines += ["", f"Meanwhile: {meanwhile}."]
        lines.append("")
    return "\n".join(lines)
