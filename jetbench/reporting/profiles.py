"""Profiles as people read them: every number with its class (counted, measured, estimated, reported, missing)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetbench.device import Device
from jetbench.experiment import ProfilingConfig
from jetbench.measurement import Energy, Latency
from jetbench.record import Profile, ProfileRecord
from jetbench.reporting import units
from jetbench.reporting.sheets import print_whole
from jetbench.reporting.tables import describe_machine
from jetbench.rules import format_size
from jetbench.verdict import Verdict, judge

Class = Literal["counted", "measured", "estimated", "reported", "missing"]
STYLES: dict[Class, str] = {
    "counted": "cyan",
    "measured": "green",
    "estimated": "yellow",
    "reported": "magenta",
    "missing": "dim",
}
VERDICT_STYLES = {"valid": "green", "suspect": "yellow", "invalid": "bold red", "not measured": "dim"}
FIRST_PASS = {"eager": "the very first", "compiled": "compilation included", "traced": "the first after tracing"}
RECORDS, FIGURES, TABLE = "records.jsonl", "figures.csv", "table.md"
MARKS = {"suspect": "?", "invalid": "INVALID", "not measured": "", "valid": ""}


@dataclass(frozen=True)
class Figure:
    """One number in SI units, its class, the number as people read it, and how it came about or why it is not there."""

    quantity: str
    value: float | None
    kind: Class
    label: str
    text: str
    how: str = ""


def list_figures(profile: Profile, config: ProfilingConfig, device: Device) -> list[Figure]:
    """Every number of a profile; what is missing too, with the reason."""
    figures = _counted(profile)
    figures += _latency_figures(profile, config)
    figures += _memory_figures(profile)
    figures += _energy_figures(profile)
    figures += _estimated(profile)
    for said in device.reported:
        text = f"{said.value:g}"
        how = f"{said.network}; {said.protocol}; {said.source}"
        figures.append(Figure(f"reported_{said.quantity.lower()}", said.value, "reported", said.quantity, text, how))
    return figures


def _missing(quantity: str, label: str, why: str) -> Figure:
    return Figure(quantity, None, "missing", label, units.MISSING, why)


def _counted(profile: Profile) -> list[Figure]:
    figures = [
        Figure("parameters", profile.parameters, "counted", "parameters", units.count(profile.parameters)),
        Figure(
            *("macs", profile.macs, "counted", "MACs", f"{units.millions(profile.macs)} M"),
            "; ".join(filter(None, ("of convolutions, one image; 1 MAC = 2 FLOPs", profile.notes.get("macs")))),
        ),
    ]
    if profile.flops is not None:
        figures.append(
            Figure(
                "flops", profile.flops, "counted", "FLOPs", f"{units.millions(profile.flops)} M", "see jetbench count"
            )
        )
    for counter in profile.counters:
        if counter.macs is None:
            figures.append(_missing(f"{counter.tool}_macs", counter.tool, profile.notes.get(counter.tool, "it failed")))
        else:
            text = f"{units.millions(counter.macs)} M"
            how = f"{counter.tool} {counter.version}, by its own rules"
            figures.append(Figure(f"{counter.tool}_macs", counter.macs, "counted", f"  {counter.tool}", text, how))
    return figures


def _latency_figures(profile: Profile, config: ProfilingConfig) -> list[Figure]:
    if profile.model_latency is None or profile.end_to_end_latency is None:
        why = profile.notes.get("latency", "not measured")
        return [
            _missing("latency_model_s", "latency, model", why),
            _missing("latency_end_to_end_s", "latency, end to end", why),
        ]
    figures = []
    for key, label, latency in (
        ("model", "latency, model", profile.model_latency),
        ("end_to_end", "latency, end to end", profile.end_to_end_latency),
    ):
        median = latency.median_s
        figures.append(Figure(f"latency_{key}_s", median, "measured", label, _ms(median), describe_interval(latency)))
        if (interval := latency.interval_s) is not None:
            for end, value in zip(("low", "high"), interval, strict=True):
                how = "95 % interval of the median over processes"
                figures.append(Figure(f"latency_{key}_{end}_s", value, "measured", f"  {end}", _ms(value), how))
        for percent in (90, 95, 99):
            value = latency.percentile_s(percent)
            figures.append(Figure(f"latency_{key}_p{percent}_s", value, "measured", f"  p{percent}", _ms(value)))
        worst = latency.worst_s
        count = f"of {len(latency.samples_s)} passes"
        figures.append(Figure(f"latency_{key}_worst_s", worst, "measured", "  worst", _ms(worst), count))
        fps = latency.throughput_fps
        name = "FPS, model" if key == "model" else "FPS, end to end"
        figures.append(Figure(f"fps_{key}", fps, "measured", name, units.fps(fps), "images a second at the median"))
    if (compared := profile.comparison) is not None:
        interval = compared.interval
        span = f"[{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "no interval of so few processes"
        apart = "told apart" if compared.is_told_apart else "CANNOT BE TOLD APART"
        how = f"{span}; time per image over {compared.reference}'s, same rounds; {apart}: {describe_control(profile)}"
        text = f"{compared.median:.3f}"
        figures.append(Figure("ratio_to_reference", compared.median, "measured", "ratio", text, how))
    if (cold := profile.cold_start) is not None:
        how = "the network, its weights, the device, tracing; Python and torch are not in it"
        figures.append(Figure("load_s", cold.load_s, "measured", "cold start, load", _ms(cold.load_s), how))
        how = FIRST_PASS[config.backend]
        first = cold.first_pass_s
        figures.append(Figure("first_pass_s", first, "measured", "cold start, first pass", _ms(first), how))
    if (paced := profile.paced) is not None:
        how = f"{paced.dropped} dropped, {paced.late} late, of {paced.frames} frames at {paced.rate:g} FPS, end to end"
        text = f"{paced.missed} ({units.percent(paced.missed / paced.frames)})"
        figures.append(Figure("missed_deadlines", paced.missed, "measured", "missed deadlines", text, how))
    if (soak := profile.soak) is not None:
        first_fps, steady = soak.first_fps, soak.steady_fps
        how = f"first tenth of {soak.seconds:.0f} s"
        figures.append(Figure("soak_first_fps", first_fps, "measured", "soak, first FPS", units.fps(first_fps), how))
        how = f"last fifth; {100 * (steady / first_fps - 1):+.1f} % to the first"
        figures.append(Figure("soak_steady_fps", steady, "measured", "soak, steady FPS", units.fps(steady), how))
    return figures


def _ms(seconds: float) -> str:
    return f"{units.milliseconds(seconds)} ms"


def describe_interval(latency: Latency) -> str:
    """How sure the median is, and what it is a median of."""
    interval, count = latency.interval_s, len(latency.runs)
    if interval is not None:
        low, high = (units.milliseconds(end) for end in interval)
        text = f"median of {count} processes, 95 % [{low}, {high}]"
    elif count > 1:
        low, high = (units.milliseconds(end) for end in (min(latency.medians_s), max(latency.medians_s)))
        text = f"median of {count} processes, {low} to {high}"
    else:
        within = latency.runs[0].interval_s
        span = f"95 % within it [{units.milliseconds(within[0])}, {units.milliseconds(within[1])}]" if within else ""
        text = ", ".join(filter(None, ("one process only", span)))
    ends = {run.stopped_by for run in latency.runs}
    stop = "; stopped at the time limit" if ends == {"limit"} else "; some stopped at the time limit"
    return text + (stop if "limit" in ends else "")


def describe_control(profile: Profile) -> str:
    """What a second copy of the reference differed from it by."""
    compared = profile.comparison
    return f"a copy of it differs by up to {compared.resolution:.1%}" if compared else ""


def _memory_figures(profile: Profile) -> list[Figure]:
    memory = profile.memory
    if memory is None:
        return [_missing("peak_memory_bytes", "peak memory", profile.notes.get("memory", "not measured"))]
    rows: list[tuple[str, str, float | None, str]] = [
        ("weights_bytes", "memory, weights", memory.weights_bytes, "running statistics included"),
        (
            "activations_peak_bytes",
            "  activations, peak",
            memory.activations_peak_bytes,
            "held by torch's allocator",
        ),
        (
            "peak_memory_bytes",
            "  allocator, peak",
            memory.allocator_peak_bytes,
            profile.notes.get("peak_memory_bytes", ""),
        ),
        ("reserved_bytes", "  reserved on the GPU", memory.reserved_bytes, "by torch's allocator"),
        (
            "process_growth_bytes",
            "  process, growth",
            memory.process_growth_bytes,
            f"high-water mark {units.mebibytes(memory.process_peak_bytes)} MiB less the "
            f"{units.mebibytes(memory.process_baseline_bytes)} MiB before the network was built",
        ),
        (
            "nvmap_growth_bytes",
            "  board, GPU memory",
            memory.nvmap_growth_bytes,
            f"NvMap of the whole board, above {units.mebibytes(memory.nvmap_baseline_bytes)} MiB before",
        ),
        (
            "unified_growth_bytes",
            "  machine, available fell",
            memory.unified_growth_bytes,
            f"from {units.mebibytes(memory.available_baseline_bytes)} MiB; all programs",
        ),
    ]
    always = ("peak_memory_bytes",)
    figures = []
    for key, label, value, how in rows:
        if value is not None:
            figures.append(Figure(key, value, "measured", label, f"{units.mebibytes(value)} MiB", how))
        elif key in always:
            figures.append(_missing(key, label, how))
    return figures


def _energy_figures(profile: Profile) -> list[Figure]:
    energy = profile.energy
    why = profile.notes.get("power_w", "not measured")
    power = energy.power_w if energy else None
    if energy is None or power is None:
        return [_missing("power_w", "power", why), _missing("energy_j_per_image", "energy per image", why)]
    gross, net = energy.energy_j_per_image, energy.net_energy_j_per_image
    spread = ", ".join(units.millijoules(joules) for joules in energy.window_energies_j)
    figures = [
        Figure("power_w", power, "measured", "power", f"{units.watts(power)} W", _describe_power(energy)),
        Figure(
            *("idle_w", energy.idle_w, "measured", "  idle", f"{units.watts(energy.idle_w)} W"),
            f"network loaded, before and after; moved by {energy.idle_drift_w or 0:+.2f} W",
        ),
        Figure(
            *("energy_j_per_image", gross, "measured", "energy per image", f"{units.millijoules(gross)} mJ"),
            f"gross; windows: {spread} mJ",
        ),
        Figure(
            *("net_energy_j_per_image", net, "measured", "  net", f"{units.millijoules(net)} mJ"),
            "above idle",
        ),
    ]
    if (check := energy.cross_check_w) is not None:
        how = "the same sensor's power readings, as a check"
        figures.append(Figure("cross_check_w", check, "measured", "  by readings", f"{units.watts(check)} W", how))
    total = set(energy.total_rails or ())
    for rail, watts in (energy.rails_w or {}).items():
        if len(energy.rails_w or {}) > 1:
            how = "in the total" if rail in total else "not in the total: a part of another rail"
            figures.append(Figure(f"rail_{rail}_w", watts, "measured", f"  {rail}", f"{units.watts(watts)} W", how))
    return figures


def _describe_power(energy: Energy) -> str:
    rails = "+".join(energy.total_rails or ())
    seconds = sum(end - start for start, end, _ in energy.load)
    return (
        f"{energy.sensor}, {rails}: {energy.scope}; {energy.sample_count} samples every {energy.interval_s:g} s in "
        f"{len(energy.load)} windows of {seconds:.0f} s together, {energy.coverage:.0%} covered"
    )


def _estimated(profile: Profile) -> list[Figure]:
    told = profile.estimate
    if told is None:
        why = profile.notes.get("estimate", "no estimate was made")
        return [_missing("estimated_latency_s", "at best", why)]
    clock = f", at {told.clock_share:.0%} of its clock" if told.clock_share else ""
    how = (
        f"ESTIMATE, not measured: roofline of {told.device}{clock}, kernel by kernel, nothing fused, no cache; "
        f"{told.memory_bound_share:.0%} of it bound by memory"
    )
    figures = [
        Figure("estimated_latency_s", told.seconds, "estimated", "at best", f"{_ms(told.seconds)} (estimate)", how),
        Figure(
            *("estimated_fps", told.throughput_fps, "estimated", "  FPS at best"),
            *(f"{units.fps(told.throughput_fps)} (estimate)", "; ".join(told.sources)),
        ),
    ]
    if profile.model_latency is not None and "processor" not in profile.notes:
        share = told.seconds / profile.model_latency.median_s
        how = "the estimate over the measured latency: how much of what the data sheet promises is used"
        figures.append(Figure("roofline_share", share, "estimated", "  reached", units.percent(share), how))
    return figures


def describe_setting(config: ProfilingConfig) -> str:
    """How a network was run, in a few words."""
    parts = [f"batch {config.batch_size}", config.dtype, f"{config.threads} thread{'s' * (config.threads > 1)}"]
    parts += ["channels last"] * config.channels_last + [config.backend]
    return ", ".join(parts)


def print_profile(console: Console, record: ProfileRecord, device: Device) -> None:
    """Everything that is known of one network on one device, each number with its class, and whether to believe it."""
    profile, config = record.profile, record.profiling_config
    verdict = judge(profile)
    heading = f"[bold]{escape(record.network)}[/] at {format_size(profile.input_size)}, {record.num_classes} classes, "
    heading += f"on {escape(device.name)} ({escape(device.title)}): {describe_setting(config)}"
    heading += "" if record.trained else ", random weights"
    table = Table(title=heading, title_justify="left", title_style="", box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    said: set[str] = set()
    for figure in list_figures(profile, config, device):
        if figure.quantity.endswith(("_low_s", "_high_s")):
            continue  # they stand in the median's line
        style = STYLES[figure.kind]
        how = figure.how
        if figure.kind == "missing" and how in said:
            how = "as above"
        said.add(figure.how)
        table.add_row(
            f"[{style}]{figure.kind}[/]", f"[bold]{escape(figure.label)}[/]", escape(figure.text), escape(how)
        )
    console.print(table, highlight=False)
    if profile.model_latency is not None:
        console.print(f"[dim]Measured on: {escape(describe_machine(profile.environment))}.[/]", highlight=False)
    print_verdict(console, verdict)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """The verdict in its colour, a line for each reason."""
    if verdict.level == "not measured":
        return
    style = VERDICT_STYLES[verdict.level]
    console.print(f"[{style}]verdict: {verdict.level}[/]", highlight=False)
    for reason in verdict.reasons:
        console.print(f"  - {escape(reason)}", highlight=False)


def print_summary(console: Console, records: Sequence[ProfileRecord]) -> None:
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
    compared = next((r.profile for r in records if r.profile.comparison), None)
    if compared and compared.comparison:
        console.print(
            f"[dim]ratio: time per image over {escape(compared.comparison.reference)}'s in the same rounds, median of "
            f"the processes; = cannot be told apart ({describe_control(compared)}); \N{EM DASH} is the reference, or "
            "was not timed beside it.[/]",
            highlight=False,
        )


def _summary_cells(record: ProfileRecord) -> list[str]:
    profile, verdict = record.profile, judge(record.profile)
    model, end_to_end, compared = profile.model_latency, profile.end_to_end_latency, profile.comparison
    interval = model.interval_s if model else None
    ratio = units.MISSING
    if compared:
        ratio = f"{compared.median:.3f}" + ("" if compared.is_told_apart else " =")
    return [
        record.network,
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


def describe_profile(record: ProfileRecord, device: Device) -> dict[str, Any]:
    """A record with its raw samples as plain data, its verdict, and each number with its class."""
    verdict = judge(record.profile)
    return {
        **record.model_dump(mode="json"),
        "figures": {
            figure.quantity: {"value": figure.value, "class": figure.kind, "how": figure.how}
            for figure in list_figures(record.profile, record.profiling_config, device)
        },
        "verdict": {"level": verdict.level, "reasons": verdict.reasons},
    }


def write_profiles(folder: Path, records: Sequence[ProfileRecord], device: Device) -> list[Path]:
    """Append the records to a folder's records.jsonl, and write figures.csv and table.md of these records."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RECORDS).open("a") as file:
        file.writelines(record.model_dump_json() + "\n" for record in records)
    (folder / FIGURES).write_text(_figures_csv(records, device))
    (folder / TABLE).write_text(_markdown(records, device))
    return [folder / name for name in (RECORDS, FIGURES, TABLE)]


def _figures_csv(records: Sequence[ProfileRecord], device: Device) -> str:
    """A line per number, in SI units, with its class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("network", "setting", "device", "quantity", "value", "class", "verdict", "how"))
    for record in records:
        level = judge(record.profile).level
        for figure in list_figures(record.profile, record.profiling_config, device):
            value = "" if figure.value is None else figure.value
            setting = describe_setting(record.profiling_config)
            row = (record.network, setting, device.name, figure.quantity, value, figure.kind, level, figure.how)
            writer.writerow(row)
    return text.getvalue()


def _markdown(records: Sequence[ProfileRecord], device: Device) -> str:
    lines = [f"# Profiles on {device.name}: {device.title}", ""]
    for record in records:
        profile, verdict = record.profile, judge(record.profile)
        weights = "trained weights" if record.trained else "random weights"
        lines += [
            f"## {record.network}, {describe_setting(record.profiling_config)}",
            "",
            f"{format_size(profile.input_size)} (HxW), {record.num_classes} classes, {weights}, {record.finished}.",
            "",
            "| number | value | class | how |",
            "| :-- | --: | :-- | :-- |",
        ]
        for figure in list_figures(profile, record.profiling_config, device):
            how = figure.how.replace("|", "\\|")
            lines.append(f"| {figure.label.strip()} | {figure.text} | {figure.kind} | {how} |")
        lines += ["", f"Verdict: **{verdict.level}**."]
        lines += [f"- {reason}" for reason in verdict.reasons]
        if profile.model_latency is not None:
            lines += ["", f"Measured on: {describe_machine(profile.environment)}."]
        lines.append("")
    return "\n".join(lines)
