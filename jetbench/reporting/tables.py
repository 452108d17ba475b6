"""Records to comparison tables: Markdown and LaTeX to read, CSV in SI units to compute with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from jetbench.architecture import AnyArchitecture, Baseline
from jetbench.front import front_of
from jetbench.measurement import Latency
from jetbench.operations import add_up
from jetbench.plan import AnyPlan, plan_network
from jetbench.profiling.listing import list_network
from jetbench.publication import QUANTITIES
from jetbench.record import CounterResult, Environment, Record
from jetbench.reporting import units
from jetbench.reporting.published import (
    APPROXIMATE,
    HEADINGS,
    describe_rivals,
    describe_sources,
    mark_of,
    reported_cell,
)
from jetbench.verdict import judge


@dataclass(frozen=True)
class Column:
    """One column of a table to read: its heading, a short one for the terminal (or none there), each record's cell."""

    heading: str
    cell: Callable[[Record], str]
    short: str | None = None


def _val_best(record: Record) -> float | None:
    return record.training.best.counts.miou if record.training else None


def _model(record: Record) -> Latency | None:
    return record.profile.model_latency if record.profile else None


def _latency(record: Record) -> float | None:
    model = _model(record)
    return model.median_s if model else None


def _percentile(record: Record, percent: float) -> float | None:
    model = _model(record)
    return model.percentile_s(percent) if model else None


def _fps(latency: Latency | None) -> float | None:
    return latency.throughput_fps if latency else None


def _verdict(record: Record) -> str:
    return judge(record.profile).level if record.profile else units.MISSING


@dataclass(frozen=True)
class Counts:
    """What is counted of a network for one image; all None of a rival without a profile, where there is no torch."""

    parameters: int | None = None
    macs: int | None = None
    flops: int | None = None
    eq2_flops: float | None = None
    peak_activation_bytes: int | None = None


def _cost(record: Record) -> Counts:
    """Counted from the architecture, so that a row that failed has it too; equal to what a profile counts."""
    profile = record.profile
    if isinstance(record.architecture, Baseline) and profile and profile.eq2_flops is not None:
        # A rival is counted by building it, which takes torch; its profile has done that.
        return Counts(profile.parameters, profile.macs, profile.flops, profile.eq2_flops, profile.peak_activation_bytes)
    return _count(plan_network(record.architecture, record.dataset.num_classes, record.dataset.size))


@lru_cache(maxsize=1024)
def _count(plan: AnyPlan) -> Counts:
    try:
        cost = add_up(list_network(plan))
    except ImportError:
        return Counts()
    return Counts(cost.parameters, cost.macs, cost.flops, cost.eq2_flops, cost.peak_activation_bytes)


COLUMNS = (
    Column("parameters", lambda r: units.count(_cost(r).parameters), "params"),
    Column("MACs (M)", lambda r: units.millions(_cost(r).macs), "MACs M"),
    Column("FLOPs (M)", lambda r: units.millions(_cost(r).flops)),
    Column("eq. 2 (M)", lambda r: units.millions(_cost(r).eq2_flops)),
    Column("val mIoU best (%)", lambda r: units.score(_val_best(r)), "val %"),
    Column("val mIoU last (%)", lambda r: units.score(r.training.last.counts.miou if r.training else None)),
    Column("test mIoU (%)", lambda r: units.score(r.training.test.miou if r.training else None), "test %"),
    Column("latency median (ms)", lambda r: units.milliseconds(_latency(r)), "ms"),
    Column("p90 (ms)", lambda r: units.milliseconds(_percentile(r, 90))),
    Column("p99 (ms)", lambda r: units.milliseconds(_percentile(r, 99))),
    Column("FPS model", lambda r: units.fps(_fps(_model(r))), "FPS"),
    Column(
        "FPS end to end",
        lambda r: units.fps(_fps(r.profile.end_to_end_latency if r.profile else None)),
        "e2e FPS",
    ),
    Column("peak memory (MiB)", lambda r: units.mebibytes(r.profile.peak_memory_bytes if r.profile else None), "MiB"),
    Column("power (W)", lambda r: units.watts(r.profile.power_w if r.profile else None), "W"),
    Column("energy (mJ)", lambda r: units.millijoules(r.profile.energy_j_per_image if r.profile else None)),
    Column("verdict", _verdict, "verdict"),
)


def front(records: Sequence[Record]) -> set[str]:
    """Keys of the records that no other beats in both validation mIoU and latency."""
    ended = [record for record in records if record.failure is None]
    known = [(r.key, latency, miou) for r in ended if (miou := _val_best(r)) is not None and (latency := _latency(r))]
    return {known[number][0] for number in front_of([(latency, -miou) for _, latency, miou in known])}


def frame(records: Sequence[Record], quoted: Sequence[Baseline] = ()) -> pd.DataFrame:
    """One row per record in SI units and plain fractions, for computing; what was not measured is empty.

    After them, a row for each rival of which there are only published figures.
    """
    rows = [_row(record) for record in records]
    rows += [
        {"variant": each.name, "status": "quoted", "reason": "; ".join(each.assumed), **_published(each)}
        for each in quoted
    ]
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _published(architecture: AnyArchitecture) -> dict[str, object]:
    """Columns of the CSV that say what is published, `reported_...`: text, since each figure has its conditions."""
    columns: dict[str, object] = {"fidelity": architecture.fidelity if isinstance(architecture, Baseline) else None}
    for name in QUANTITIES:
        told = reported_cell(architecture, name)
        columns[f"reported_{name}"] = None if told == units.MISSING else told
    return columns


def _row(record: Record) -> dict[str, object]:
    training, profile, dataset, cost = record.training, record.profile, record.dataset, _cost(record)
    row: dict[str, object] = {
        "variant": record.variant,
        "also_named": "; ".join(record.also_named),
        "status": record.failure.status if record.failure else "ok",
        "reason": record.failure.reason if record.failure else "",
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "eq2_flops": cost.eq2_flops,
        "peak_activation_bytes": cost.peak_activation_bytes,
        **{f"macs_{tool}": _counted(profile.counters if profile else (), tool) for tool in ("fvcore", "thop")},
        "val_miou_best": training.best.counts.miou if training else None,
        "val_best_epoch": training.best.epoch if training else None,
        "val_miou_last": training.last.counts.miou if training else None,
        "test_miou": training.test.miou if training else None,
        "val_miou_constant": dataset.constant_miou["val"],
        "test_miou_constant": dataset.constant_miou["test"],
        "steps": training.steps if training else None,
        "epochs": training.epochs if training else None,
        "training_s": training.seconds if training else None,
        "final_loss": training.loss_curve[-1][1] if training and training.loss_curve else None,
        "loss": record.training_config.loss,
        "seed": record.training_config.seed,
    }
    for name, latency in (
        ("model", profile and profile.model_latency),
        ("end_to_end", profile and profile.end_to_end_latency),
    ):
        row[f"latency_{name}_median_s"] = latency.median_s if latency else None
        row[f"latency_{name}_p90_s"] = latency.percentile_s(90) if latency else None
        row[f"latency_{name}_p99_s"] = latency.percentile_s(99) if latency else None
        row[f"throughput_{name}_fps"] = latency.throughput_fps if latency else None
        row[f"latency_{name}_samples"] = len(latency.samples_s) if latency else None
        row[f"latency_{name}_processes"] = len(latency.runs) if latency else None
        for end, value in zip(("low", "high"), (latency and latency.interval_s) or (None, None), strict=True):
            row[f"latency_{name}_{end}_s"] = value
    row |= {
        "batch_size": record.profiling_config.batch_size,
        "dtype": record.profiling_config.dtype,
        "peak_memory_bytes": profile.peak_memory_bytes if profile else None,
        "power_w": profile.power_w if profile else None,
        "energy_j_per_image": profile.energy_j_per_image if profile else None,
        "verdict": _verdict(record) if profile else None,
        "verdict_reasons": "; ".join(judge(profile).reasons) if profile else None,
    }
    ious = training.best.counts.class_iou if training else (None,) * dataset.num_classes
    test_ious = training.test.class_iou if training else (None,) * dataset.num_classes
    row |= {f"val_iou_{name}": iou for name, iou in zip(dataset.class_names, ious, strict=True)}
    row |= {f"test_iou_{name}": iou for name, iou in zip(dataset.class_names, test_ious, strict=True)}
    environment = profile.environment if profile else None
    row |= {
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "train_images": dataset.images["train"],
        "val_images": dataset.images["val"],
        "test_images": dataset.images["test"],
        "image_height": dataset.size[0],
        "image_width": dataset.size[1],
        "classes": dataset.num_classes,
        "void_rule": dataset.void_rule,
        "device": environment.device if environment else None,
        "cpu": environment.cpu if environment else None,
        "threads": environment.threads if environment else None,
        "torch": environment.torch if environment else None,
        "load_average": environment.load_average if environment else None,
        "key": record.key,
        "finished": record.finished,
    }
    return row | _published(record.architecture)


def _counted(counters: Sequence[CounterResult], tool: str) -> int | None:
    return next((counter.macs for counter in counters if counter.tool == tool), None)


def cells(records: Sequence[Record], columns: Sequence[Column] = COLUMNS) -> list[list[str]]:
    """The cells of a table to read, a list per record, the variant's name first."""
    return [[marked(record), *(column.cell(record) for column in columns)] for record in records]


def has_published(records: Sequence[Record], quoted: Sequence[Baseline] = ()) -> bool:
    """Is anything published of any row?"""
    return bool(quoted) or any(record.architecture.reported for record in records)


def published_cells(architecture: AnyArchitecture) -> list[str]:
    """The cells of the columns `published.HEADINGS`."""
    return [reported_cell(architecture, name) for name in QUANTITIES]


def footnotes(records: Sequence[Record], quoted: Sequence[Baseline] = ()) -> list[str]:
    """What one must know to read the numbers: data, training, how and where measured, what is missing and why."""
    if not records:
        return []
    lines = [f"Data: {data}." for data in dict.fromkeys(record.dataset.describe() for record in records)]
    dataset = records[0].dataset
    lines.append(
        "mIoU: mean IoU of the classes that occur in the split, one confusion matrix over the whole split at the size "
        f"above. The best constant prediction scores {units.score(dataset.constant_miou['val'])} % on val, "
        f"{units.score(dataset.constant_miou['test'])} % on test. "
        "Test was scored once, with the weights of the best val."
    )
    trainings = dict.fromkeys(_describe_training(record) for record in records)
    lines.append(f"Training: {'; or '.join(trainings)}.")
    lines.append(
        "One run per row, from random weights: differences that another seed could undo rank nothing, and no network's "
        "own recipe was used."
    )
    lines += _describe_profiles([record for record in records if record.profile])
    busy = _busiest(records)
    if busy is not None:
        lines.insert(0, f"BUSY MACHINE: {busy}; latencies and FPS are not to be trusted.")
    differing = [what for what, values in _must_agree(records).items() if len(values) > 1]
    if differing:
        lines.insert(0, f"NOT COMPARABLE: rows differ in {', '.join(differing)}; see below.")
    for record in records:
        if record.failure:
            lines.append(
                f"{record.variant} failed ({record.failure.stage}, {record.failure.status}): {record.failure.reason}"
            )
        if record.profile and (verdict := judge(record.profile)).level in ("suspect", "invalid"):
            left_out = " (left out of the table; `jetbench table --all` shows it)" if verdict.level == "invalid" else ""
            lines.append(f"{record.variant} is {verdict}{left_out}.")
        if record.also_named:
            lines.append(
                f"{record.variant} is the same network and training as {', '.join(record.also_named)}: run once."
            )
    lines += _describe_heads(records)
    lines += describe_rivals(_named(records, quoted))
    return [_on_one_line(line) for line in lines]


def _busiest(records: Sequence[Record]) -> str | None:
    """The highest load average, where it is more than the cores can carry."""
    environments = [record.profile.environment for record in records if record.profile]
    loads = [(e.load_average, e.cores) for e in environments if e.load_average is not None]
    load, cores = max(loads, default=(0.0, 1))
    return f"load average {load:.1f} on {cores} cores" if load > cores + 1 else None


def _on_one_line(text: str) -> str:
    """Reasons come from anywhere and may have lines; a table cell, a list entry and a LaTeX comment have one."""
    return " ".join(text.split())


def _describe_training(record: Record) -> str:
    config = record.training_config
    mixed = ", mixed precision" if record.training and record.training.mixed_precision else ""
    loss: str = config.loss
    if loss == "jetloss":
        beta = config.jetloss.beta
        loss += f" (rare_share {config.jetloss.rare_share:g})" if beta is None else f" (beta {beta:g})"
    return (
        f"{loss}, {config.budget}, batch {config.batch_size}, AdamW {config.learning_rate:g} {config.schedule}, "
        f"seed {config.seed}{mixed}"
    )


def _describe_profiles(records: Sequence[Record]) -> list[str]:
    profiles = [record.profile for record in records if record.profile]
    if not profiles:
        return []
    config = records[0].profiling_config
    counts = [len(profile.model_latency.samples_s) for profile in profiles if profile.model_latency] or [0]
    processes = [len(profile.model_latency.runs) for profile in profiles if profile.model_latency] or [0]
    freshly = f"{_span(processes, 0)} fresh process{'es' if max(processes) > 1 else ''}"
    passes = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    precision = config.dtype + (" with TF32" if any(profile.environment.tf32 for profile in profiles) else "")
    lines = [
        f"Latency: {passes} passes in {freshly} after a warm-up, batch {config.batch_size}, "
        f"{precision}, seeded random image. Model: normalised image to logits at the image's size. "
        "End to end: bytes, normalise, network, argmax, class ids; decoding a file is not in it.",
        "Counted by us, for one image: MACs, multiply-accumulates of convolutions; FLOPs, 2 per MAC (1 MAC = 2 FLOPs) "
        "and the rest by the rules that `jetbench count` prints; eq. 2, the paper's equation as its authors' tool "
        f"applies it. By rules of their own, for {records[0].variant}, {_describe_counters(profiles[0].counters)}.",
    ]
    headings = {
        "macs": "MACs",
        "peak_memory_bytes": "Peak memory",
        "power_w": "Power",
        "fvcore": "fvcore",
        "thop": "thop",
    }
    for key, heading in headings.items():
        notes = dict.fromkeys(profile.notes[key] for profile in profiles if key in profile.notes)
        lines += [f"{heading}: {note}." for note in notes]
    lines += [f"Measured on: {text}." for text in dict.fromkeys(describe_machine(p.environment) for p in profiles)]
    clocks = [clock for profile in profiles for clock in profile.environment.clock_mhz or ()]
    loads = [profile.environment.load_average for profile in profiles if profile.environment.load_average is not None]
    if clocks:
        lines.append(f"Processor clocks read after each profile: {_span(clocks, 0)} MHz.")
    if loads:
        lines.append(
            f"Load average read after each profile: {_span(loads, 1)}; one profile alone makes 1, and what ran before "
            "counts for a minute."
        )
    return lines


def _span(values: Sequence[float], decimals: int) -> str:
    low, high = f"{min(values):.{decimals}f}", f"{max(values):.{decimals}f}"
    return low if low == high else f"{low} to {high}"


def _describe_counters(counters: Sequence[CounterResult]) -> str:
    return ", ".join(f"{counter.tool} {counter.version} says {units.millions(counter.macs)} M" for counter in counters)


def describe_machine(environment: Environment) -> str:
    """One line about where a number was measured; what changes from minute to minute is not in it."""
    memory = f", {environment.memory_bytes / 2**30:.0f} GiB" if environment.memory_bytes else ""
    denormals = "denormals flushed" if environment.flush_denormals else "denormals kept"
    if environment.keeps_freed_memory is not None:
        denormals += ", freed memory kept" if environment.keeps_freed_memory else ", freed memory given back"
    denormals += f", power mode {environment.power_mode}" if environment.power_mode else ""
    if environment.jetson_clocks is not None:
        denormals += f", jetson_clocks {'on' if environment.jetson_clocks else 'off'}"
    commit = f" ({environment.commit})" if environment.commit else ""
    return (
        f"{environment.device}; processor {environment.cpu}, {environment.cores} cores{memory}, "
        f"{environment.threads} thread(s), {denormals}, {environment.system}, torch {environment.torch}, "
        f"Python {environment.python}, jetbench {environment.jetbench}{commit}"
    )


def _must_agree(records: Sequence[Record]) -> dict[str, set[object]]:
    """What rows must share to stand in one table, with the values they have."""
    environments = [record.profile.environment for record in records if record.profile]
    return {
        "data": {(record.dataset.digest, record.dataset.size) for record in records},
        "device": {environment.device for environment in environments},
        "processor": {(environment.cpu, environment.cores) for environment in environments},
        "threads": {environment.threads for environment in environments},
        "power mode": {environment.power_mode for environment in environments},
        "handling of freed memory": {environment.keeps_freed_memory for environment in environments},
        "denormals": {environment.flush_denormals for environment in environments},
        "TF32": {environment.tf32 for environment in environments},
        "torch": {environment.torch for environment in environments},
        "version of jetbench": {environment.jetbench for environment in environments},
        "profiling settings": {record.profiling_config for record in records},
    }


def believed(records: Sequence[Record]) -> list[Record]:
    """Records without those whose profile is invalid; a row that failed, and so claims nothing, stays."""
    return [record for record in records if record.profile is None or judge(record.profile).level != "invalid"]


def marked(record: Record) -> str:
    """The variant's name, marked where its network is approximate, or its profile suspect or invalid."""
    level = judge(record.profile).level if record.profile else "valid"
    return record.variant + mark_of(record.architecture) + {"suspect": " (?)", "invalid": " (INVALID)"}.get(level, "")


def sources(records: Sequence[Record], quoted: Sequence[Baseline] = ()) -> list[str]:
    """Footnotes that only a file has room for: each published figure with where it was read."""
    return [_on_one_line(line) for line in describe_sources(_named(records, quoted))]


def _named(records: Sequence[Record], quoted: Sequence[Baseline]) -> list[tuple[str, AnyArchitecture]]:
    return [*((record.variant, record.architecture) for record in records), *((each.name, each) for each in quoted)]


def _describe_heads(records: Sequence[Record]) -> list[str]:
    """Which networks had heads that only training used."""
    found = {r.variant: r.training.auxiliary_weights for r in records if r.training and r.training.auxiliary_weights}
    if not found:
        return []
    told = ", ".join(f"{name} ({', '.join(f'{weight:g}' for weight in weights)})" for name, weights in found.items())
    return [
        "Trained with heads that inference does not use, which are in no count and were taken off before profiling "
        f"(what each counts in the loss): {told}."
    ]


def markdown(records: Sequence[Record], title: str, show_invalid: bool = False, quoted: Sequence[Baseline] = ()) -> str:
    """The whole table.md: title, table, footnotes. What is published has columns of its own, where there is any."""
    shown = records if show_invalid else believed(records)
    best = front(shown)
    rows = [
        [f"**{row[0]}**" if r.key in best else row[0], *row[1:]] for r, row in zip(shown, cells(shown), strict=True)
    ]
    rows += [[f"{each.name} (quoted)", *[units.MISSING] * len(COLUMNS)] for each in quoted]
    headings = ["variant", *(column.heading for column in COLUMNS)]
    alignment = [":--", *["--:"] * len(COLUMNS)]
    if has_published(records, quoted):
        architectures = [*(record.architecture for record in shown), *quoted]
        rows = [[*row, *published_cells(each)] for row, each in zip(rows, architectures, strict=True)]
        headings, alignment = [*headings, *HEADINGS], [*alignment, *[":--"] * len(HEADINGS)]
    lines = [f"# {title}", "", _pipe(headings), _pipe(alignment), *map(_pipe, rows), ""]
    lines.append("Bold: no other row has both a higher validation mIoU and a lower latency.")
    lines += ["", *(f"- {note}" for note in (*footnotes(records, quoted), *sources(records, quoted))), ""]
    return "\n".join(lines)


def _pipe(row: Sequence[str]) -> str:
    return "| " + " | ".join(_on_one_line(cell).replace("|", "\\|") for cell in row) + " |"


def latex(records: Sequence[Record], title: str, show_invalid: bool = False, quoted: Sequence[Baseline] = ()) -> str:
    """The table for a paper (needs the booktabs package), its footnotes as comments and as the caption's first line."""
    everything, records = records, records if show_invalid else believed(records)
    best = front(records)
    columns = [c for c in COLUMNS if c.heading not in ("p99 (ms)", "val mIoU last (%)")]
    # A column in which nothing was measured says nothing in a paper; the comment below says why it is left out.
    kept = [c for c in columns if any(c.cell(record) != units.MISSING for record in records)]
    dropped = [c.heading for c in columns if c not in kept]
    published = HEADINGS if has_published(records, quoted) else ()
    lines = [f"% {line}" for line in (*footnotes(everything, quoted), *sources(everything, quoted))]
    if dropped:
        lines.append(f"% Not measured, so without a column: {', '.join(dropped)}.")
    lines += [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_tex(title)}. {_tex(everything[0].dataset.describe())}.}}",
    ]
    lines += [f"  \\begin{{tabular}}{{l{'r' * len(kept)}{'l' * len(published)}}}", r"    \toprule"]
    lines.append("    " + " & ".join(["variant", *(_tex(c.heading) for c in kept), *map(_tex, published)]) + r" \\")
    lines.append(r"    \midrule")
    for record, row in zip(records, cells(records, kept), strict=True):
        name = f"\\textbf{{{_tex(row[0])}}}" if record.key in best else _tex(row[0])
        told = published_cells(record.architecture) if published else []
        lines.append("    " + " & ".join([name, *(_tex(cell) for cell in (*row[1:], *told))]) + r" \\")
    for each in quoted:
        row = [f"{each.name} (quoted)", *[units.MISSING] * len(kept), *published_cells(each)]
        lines.append("    " + " & ".join(_tex(cell) for cell in row) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _tex(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "\N{EM DASH}": "---",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        APPROXIMATE: r"$\approx$",
    }
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in _on_one_line(text))


def write_tables(
    folder: Path,
    records: Sequence[Record],
    title: str,
    show_invalid: bool = False,
    quoted: Sequence[Baseline] = (),
) -> list[Path]:
    """Write table.md, table.csv and table.tex; returns their paths. The CSV has every row, with its verdict.

    `quoted` are rivals of which there are only published figures; each has a row too.
    """
    texts = {
        "table.md": markdown(records, title, show_invalid, quoted),
        "table.tex": latex(records, title, show_invalid, quoted),
        "table.csv": frame(records, quoted).to_csv(index=False),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]
