"""Profiles for people: printed on the terminal, and written to a report folder."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from jetbench.errors import SpecError
from jetbench.files import write_whole
from jetbench.network.rules import format_size
from jetbench.records.folder import RECORDS, add_profiles, read_profiles
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
from jetbench.reporting.tables.columns import BY_NAME, find_columns, numbers, words
from jetbench.reporting.tables.csv import no_formula
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.html import to_html
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.protocol import describe_machine
from jetbench.reporting.tables.published import mark_of
from jetbench.reporting.tables.rows import rows_of
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, build_table, sort_rows
from jetbench.reporting.tables.terminal import show_on_terminal
from jetbench.spec.device import Device, load_device

STYLES: dict[Class, str] = {
    "counted": "cyan",
    "measured": "green",
    "estimated": "yellow",
    "reported": "magenta",
    "missing": "dim",
}
VERDICT_STYLES = {"valid": "green", "suspect": "yellow", "invalid": "bold red", "not measured": "dim"}
PAGE = 120
FIGURES = "figures.csv"
SHEETS: dict[str, Callable[[Table], str]] = {
    "profiles.md": to_markdown,
    "profiles.tex": to_latex,
    "profiles.html": to_html,
}
FILES = (RECORDS, FIGURES, *SHEETS)


def describe_record(record: Record) -> str:
    """A record as text: the sheet of its profile, and what its training scored."""
    text = io.StringIO()
    console = Console(file=text, width=PAGE, color_system=None)
    if record.training is not None:
        val, test = record.counts_on("val"), record.counts_on("test")
        scores = f"val mIoU {units.PERCENT.describe(val.miou)}" if val else "the file was not scored"
        scores += f", test mIoU {units.PERCENT.describe(test.miou)}" if test else ""
        console.print(f"{record.variant} on {record.data.name}: {scores}", highlight=False, markup=False)
    if record.failure is not None:
        console.print(f"{record.variant}: {record.failure.reason}", highlight=False, markup=False)
    if record.profile is not None:
        try:
            device = load_device(record.profile.device)
        except SpecError:  # a device of the user's, whose file is not known here
            device = load_device("cpu").model_copy(update={"name": record.profile.device, "title": "a device of yours"})
        print_profile(console, record, device)
    return text.getvalue().rstrip() or f"{record.variant}: neither trained nor profiled"


def print_profile(console: Console, record: Record, device: Device) -> None:
    """Print every number of a profile with its class, and the verdict on the measurement."""
    profile, config = record.measured, record.profiling_config
    verdict = judge(profile)
    heading = f"[bold]{escape(record.variant)}{mark_of(record.architecture)}[/] "
    heading += f"at {format_size(profile.input_size)}, {record.num_classes} classes, "
    where = "on" if profile.runs_on == "device" else "for"
    heading += f"{where} {escape(device.name)} ({escape(device.title)}): {config.describe()}"
    heading += "" if record.is_trained else ", random weights"
    console.print(heading, highlight=False)
    figures = _gather_tails(list_figures(record, device))
    table = RichTable(box=None, pad_edge=False, show_header=False)
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
            # In a narrow column a long text would wrap after every word.
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
    """Percentiles in one line below their median, and no ends of intervals, which the median's line already has."""
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
    """Print the verdict in its colour, with a line for each reason."""
    if verdict.level == "not measured":
        return
    style = VERDICT_STYLES[verdict.level]
    console.print(f"[{style}]verdict: {verdict.level}[/]", highlight=False)
    for reason in verdict.reasons:
        console.print(f"  - {escape(reason)}", highlight=False)


def print_summary(console: Console, records: Sequence[Record]) -> None:
    """Print several profiles side by side, the reference first."""
    show_on_terminal(console, summary_table(records).condensed(), notes="full")


def summary_table(records: Sequence[Record]) -> Table:
    """Several profiles as one table, the reference first, with the ratio of each to the reference."""
    rows = tuple(
        TableRow(f"{record.variant}, {_setting_of(record)}", tuple(map(Cell, _summary_cells(record))))
        for record in records
    )
    return Table("Side by side", SUMMARY, (Section("", rows),), Notes(_describe_ratios(records)), heading="network")


def _setting_of(record: Record) -> str:
    """How the network ran, with the power mode of a board: `batch 1, fp32, 1 thread, eager, MODE_15W`."""
    state = record.measured.environment
    clocks = "jetson_clocks" if state.jetson_clocks else None
    return ", ".join(filter(None, (record.profiling_config.describe(), state.power_mode, clocks)))


def _describe_ratios(records: Sequence[Record]) -> tuple[str, ...]:
    # Each number of threads has its own processes, so its own reference and copy of it.
    controls = {each.measured.environment.threads: each.measured for each in records if each.measured.comparison}
    if not controls:
        return ()
    reference = next(iter(controls.values())).comparison
    several = len(controls) > 1
    copies = "; ".join(
        (f"{threads} thread{'s' * (threads > 1)}: " if several else "") + describe_control(profile)
        for threads, profile in controls.items()
    )
    return (
        f"Ratio: time per image over that of {reference.reference if reference else ''}"
        f"{' with as many threads' * several}, measured in the same rounds; median of the processes. "
        f"=: not significantly different from 1 ({copies}). \N{EM DASH}: the reference itself, or not timed with it.",
    )


def _summary_cells(record: Record) -> list[str]:
    profile = record.measured
    model, end_to_end, compared = profile.model_latency, profile.end_to_end_latency, profile.comparison
    interval = model.interval_s if model else None
    ratio = units.MISSING
    if compared:
        ratio = f"{compared.median:.3f}" + ("" if compared.is_significant else " =")
    return [
        units.count(profile.parameters),
        units.millions(profile.macs),
        units.milliseconds(model.median_s if model else None),
        f"{units.milliseconds(interval[0])} to {units.milliseconds(interval[1])}" if interval else units.MISSING,
        units.fps(model.throughput_fps if model else None),
        units.fps(end_to_end.throughput_fps if end_to_end else None),
        ratio,
        profile.deployment.describe_precision() if profile.deployment else record.profiling_config.dtype,
        f"{profile.deployment.file.bytes / 1e6:.2f}" if profile.deployment else units.MISSING,
        units.mebibytes(profile.peak_memory_bytes),
        units.millijoules(profile.energy_j_per_image),
        units.milliseconds(profile.estimate.seconds if profile.estimate else None),
        judge(profile).level,
    ]


SUMMARY = (
    BY_NAME["parameters"],
    BY_NAME["macs"],
    BY_NAME["latency"],
    numbers("interval", "95 % over processes (ms)", "measured", short="95 % over processes"),
    BY_NAME["fps"],
    BY_NAME["fps-e2e"],
    numbers("ratio", "ratio", "measured"),
    words("precision", "precision", kind="measured"),
    numbers("file", "file (MB)", "measured", short="file MB"),
    BY_NAME["memory"],
    BY_NAME["energy"],
    BY_NAME["estimate"],
    BY_NAME["verdict"],
)


def describe_profile(record: Record, device: Device) -> dict[str, Any]:
    """A record as plain data: its raw samples, its verdict, and each number with its class."""
    verdict = judge(record.measured)
    (row,) = record.rows()
    return {
        **row.model_dump(mode="json"),
        "figures": {
            figure.quantity: {"value": figure.value, "class": figure.kind, "how": figure.how}
            for figure in list_figures(record, device)
        },
        "verdict": {"level": verdict.level, "reasons": verdict.reasons},
    }


def print_estimates(console: Console, records: Sequence[Record], device: Device, written: Sequence[Path] = ()) -> None:
    """Print many networks in one setting as one table: by latency where it was measured, else by its estimate.

    Args:
        console: where to print.
        records: a profile of each network, all in one setting.
        device: what they were profiled for.
        written: the files that hold all of it.
    """
    rows, first = rows_of(records), records[0]
    is_timed = any(record.measured.model_latency for record in records)
    columns = find_columns(("parameters-m", "macs", "latency", "fps", "memory", "estimate", "verdict"))
    title = (
        f"{device.name}: {device.title}; {format_size(first.input_size)}, {first.num_classes} classes, "
        f"{first.profiling_config.describe()}"
    )
    rows = sort_rows(rows, BY_NAME["latency" if is_timed else "estimate"])
    table = build_table(rows, columns, title, mixed=True, show_invalid=True).condensed().without_constants()
    if any(record.measured.estimate for record in records):
        note = (
            f"Latency at best: a roofline from the data sheet of {device.name}, with the peaks of its highest power "
            "mode; nothing is fused. How much slower a network is was not measured."
        )
        notes = replace(table.notes, essential=(note, *table.notes.essential), brief=(note, *table.notes.brief))
        table = replace(table, notes=notes)
    sheet = next((path.name for path in written if path.suffix == ".md"), "--json")
    show_on_terminal(console, table, hint=f"{sheet} has")
    if written:
        console.print(f"[dim]{', '.join(map(str, written))}[/]", highlight=False, soft_wrap=True)


def write_profiles(folder: Path, records: Sequence[Record], device: Device) -> list[Path]:
    """Append the records to the folder's records.jsonl, and write figures.csv and the sheets of all that are in it.

    A record that is there already, such as a result that is collected twice, is not appended again.

    Returns:
        The paths of all files.

    Raises:
        OSError: a file cannot be written.
        StudyError: a line of records.jsonl is not a record that this version can read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    add_profiles(folder, records)
    kept = read_profiles(folder)
    devices = {name: _device_of(name, device) for name in dict.fromkeys(each.measured.device for each in kept)}
    write_whole(folder / FIGURES, _figures_csv(kept, devices))
    sheet = figures_table(kept, devices)
    for name, write in SHEETS.items():
        write_whole(folder / name, write(sheet))
    return [folder / name for name in FILES]


def _device_of(name: str, device: Device) -> Device:
    """The device of a profile; a given one has its name if it is a file of the user."""
    if name == device.name:
        return device
    try:
        return load_device(name)
    except SpecError:  # a device of the user, whose file is not known here
        return device.model_copy(update={"name": name, "title": name})


def _figures_csv(records: Sequence[Record], devices: Mapping[str, Device]) -> str:
    """One line per number, in SI units, with its class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("network", "setting", "device", "quantity", "value", "class", "verdict", "how"))
    for record in records:
        level, setting = judge(record.measured).level, _setting_of(record)
        device = devices[record.measured.device]
        for figure in list_figures(record, device):
            value = "" if figure.value is None else figure.value
            row = (
                no_formula(record.variant),
                setting,
                device.name,
                figure.quantity,
                value,
                figure.kind,
                level,
                no_formula(figure.how),
            )
            writer.writerow(row)
    return text.getvalue()


def figures_table(records: Sequence[Record], devices: Mapping[str, Device]) -> Table:
    """A table of every number of every profile with its class and origin, one section per profile.

    Args:
        records: the profiles.
        devices: the devices of the profiles by name.
    """
    columns = (
        numbers("value", "value"),
        words("class", "class"),
        words("how", "how"),
    )
    sections, notes = [], []
    for record in records:
        profile, verdict = record.measured, judge(record.measured)
        weights = "trained weights" if record.is_trained else "random weights"
        label = (
            f"{record.variant}, {_setting_of(record)}, {format_size(profile.input_size)}, "
            f"{record.num_classes} classes, {weights}"
        )
        label += f", on {profile.device}" if len(devices) > 1 else ""
        rows = tuple(
            TableRow(figure.label.strip(), (Cell(figure.text), Cell(figure.kind), Cell(figure.how)))
            for figure in list_figures(record, devices[profile.device])
        )
        sections.append(Section(label, rows))
        when = "Counted" if profile.model_latency is None else "Measured"
        notes.append(f"{record.variant}, {record.profiling_config.describe()}: {verdict}. {when} {record.finished}.")
        if profile.model_latency is not None:
            notes.append(f"Measured on: {describe_machine(profile.environment)}.")
            if meanwhile := describe_watches(profile.watches):
                notes.append(f"Meanwhile: {meanwhile}.")
    title = f"Profiles on {', '.join(f'{name}: {device.title}' for name, device in devices.items())}"
    return Table(title, columns, tuple(sections), Notes(tuple(dict.fromkeys(notes))), heading="quantity")
