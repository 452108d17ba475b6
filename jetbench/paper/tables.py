"""reports/paper/: the paper's tables with our columns next to the printed ones, made from records.

`python -m jetbench.paper.tables FOLDER` writes all files again, the same bytes each time. Counting a baseline at the
paper's inputs builds it with torch; everything else comes from records and closed forms.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jetbench.errors import JetbenchError, SpecError
from jetbench.files import write_whole
from jetbench.network.closed_form import cost_of
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Cost, add_up
from jetbench.network.plan import plan_architecture, plan_network
from jetbench.network.rules import format_size
from jetbench.paper import equation2
from jetbench.paper.claims import (
    CLASSES,
    PrintedRow,
    build_claims,
    is_unchanged,
    judge_claims,
    read_table1,
)
from jetbench.profiling.listing import list_network
from jetbench.profiling.roofline import estimate
from jetbench.reporting import units
from jetbench.reporting.questions.budgets import build_budgets
from jetbench.reporting.questions.effects import build_effects
from jetbench.reporting.questions.forms import build_forms, forms_of_study
from jetbench.reporting.questions.transfer import build_transfer
from jetbench.reporting.report import write_tables
from jetbench.reporting.studies import Study, read_study
from jetbench.reporting.tables.columns import BY_NAME, Column, NumberClass, class_columns, evaluation_columns, words
from jetbench.reporting.tables.footnotes import Notes, footnotes
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.published import mark_of
from jetbench.reporting.tables.rows import Row
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, believed, build_table
from jetbench.spec.catalog import load_architecture, load_jetseg
from jetbench.spec.device import load_device
from jetbench.spec.values import Size

BASELINE_STUDY, BASELINES_ELSEWHERE, ABLATION, LOSSES = "realtime", "realtime-elsewhere", "ablation", "losses"
BRIEF, BRIEF_BASELINES = ("brief", "brief-streets", "brief-64x96", "brief-144x192"), "brief-baselines"
STUDIES = (BASELINE_STUDY, BASELINES_ELSEWHERE, ABLATION, LOSSES, *BRIEF, BRIEF_BASELINES)
DEPLOYMENT, INT8 = "deployment", "int8"
"""Studies of what ships. Their trainings are too brief for the paper's claims, so they are no part of them."""
DEVICES = ("workstation", "agx", "nano")
FORMS = ("", "-released")
WORDS = ("input", "pretrained", "augmentation")


def text_column(name: str, heading: str, kind: NumberClass, short: str = "") -> Column:
    """A column whose cells the caller writes."""
    return words(name, heading, kind=kind, short=short, holds_numbers=name not in WORDS)


TABLE1 = (
    text_column("input", "input", "reported"),
    text_column("pretrained", "pretrained", "reported", "pretr."),
    text_column("augmentation", "augmentation", "reported", "augm."),
    text_column("params", "params", "reported"),
    text_column("flops", "FLOPs (G)", "reported", "G"),
    text_column("fps", "FPS", "reported"),
    text_column("parameters", "params (M)", "counted", "M"),
    text_column("macs", "MACs (G) at that input", "counted", "MACs G"),
    text_column("twice", "2 x MACs (G)", "counted", "x 2"),
    text_column("eq2", "eq. 2 (G)", "counted", "eq. 2"),
    text_column("latency", "latency (ms)", "measured", "ms"),
    text_column("fps-here", "FPS", "measured"),
    text_column("val", "val mIoU (%)", "measured", "val %"),
    text_column("test", "test mIoU (%)", "measured", "test %"),
)


def build_table1(study: Study) -> Table:
    """The paper's table 1 as printed, our counts at its inputs, and the study's measurements of the same networks."""
    rows = {row.architecture.name: row for row in believed(study.rows()) if is_unchanged(row)}
    printed = read_table1()
    classes = {"linknet": 11, "cgnet": 19, "dsanet": 11, "jetseg-nano-released": CLASSES}
    lines = [_table1_row(line, rows.get(line.network), classes.get(line.network)) for line in printed]
    also = [name for preset in ("nano", "agx", "workstation") for form in FORMS if (name := f"jetseg-{preset}{form}")]
    others = [
        _table1_row(None, rows[name], CLASSES, name)
        for name in also
        if name in rows and name not in {each.network for each in printed}
    ]
    measured = [rows[name] for name in (*(each.network for each in printed), *also) if name in rows]
    notes = footnotes(measured, [BY_NAME[name] for name in ("parameters", "latency", "val", "test")])
    first = (
        "Reported: as printed in table 1. Its columns of parameters and FLOPs are headed G, but four of the five "
        "parameter counts are millions. Its JetSeg row fits the nano preset in its released form with 32 classes.",
        "Counted at the printed input (our other presets at 512x512), with 19 classes for CGNet, 11 for LinkNet and "
        "DSANet (as deployed, without auxiliary heads), and 32 for JetSeg.",
        f"Measured at {format_size(study.records[0].data.size)} instead of the printed input.",
    )
    return Table(
        "Table 1 of the JetSeg paper, with our counts and measurements",
        TABLE1,
        (Section("printed in the paper", tuple(lines)), Section("JetSeg's other presets and form", tuple(others))),
        Notes((*first, *notes.essential), notes.details),
        heading="model",
    )


def _table1_row(printed: PrintedRow | None, row: Row | None, classes: int | None, name: str = "") -> TableRow:
    network = printed.network if printed else name
    size: Size | None = printed.input if printed else (512, 512)
    cost = _count(network, classes, size) if classes and size else None
    reported = [units.MISSING] * 6
    if printed:
        reported = [
            format_size(printed.input) if printed.input else "original",
            "yes" if printed.pretrained else "no",
            "yes" if printed.augmentation else "no",
            f"{printed.parameters:.5f}" if printed.parameters < 0.01 else f"{printed.parameters:g}",
            f"{printed.flops:g}",
            units.MISSING if printed.fps is None else f"{printed.fps:g}",
        ]
    counted = [units.MISSING] * 4
    if cost:
        counted = [f"{cost.parameters / 1e6:.3g}", *(f"{n / 1e9:.3g}" for n in (cost.macs, 2 * cost.macs))]
        counted.append(f"{cost.eq2_flops / 1e9:.4g}")
    measured = [BY_NAME[column].cell(row) if row else units.MISSING for column in ("latency", "fps", "val", "test")]
    label = f"{printed.model} ({network})" if printed else network
    mark = mark_of(row.architecture) if row else ""
    return TableRow(label + mark, tuple(Cell(text) for text in (*reported, *counted, *measured)))


def _count(network: str, classes: int, size: Size) -> Cost:
    return add_up(list_network(plan_network(load_architecture(network), classes, size)))


DEVICE = (
    text_column("parameters", "parameters", "counted", "params"),
    text_column("macs", "MACs (G)", "counted", "MACs G"),
    text_column("eq2", "eq. 2 (G)", "counted", "eq. 2 G"),
    text_column("memory", "weights and peak activations (MiB)", "counted", "MiB"),
    text_column("estimate", "latency at best (ms)", "estimated", "ms"),
    text_column("estimate-fps", "FPS at best", "estimated", "FPS"),
    text_column("latency", "latency (ms)", "measured", "ms"),
    text_column("fps", "FPS", "measured"),
    text_column("power", "power (W)", "measured", "W"),
    text_column("energy", "energy (mJ)", "measured", "mJ"),
)


def build_device_table(name: str, studies: Sequence[Study]) -> Table:
    """JetSeg's presets in both forms at a device's input: counts, the estimate, and measurements on the device."""
    device = load_device(name)
    profiled = {
        row.architecture.name: row
        for study in studies
        for row in believed([row for row in study.rows() if row.records])
        if is_unchanged(row) and _was_run_so(row, name, device.size, device.dtype)
    }
    own: list[TableRow] = []
    others: list[TableRow] = []
    about = ""
    for preset in ("nano", "agx", "workstation"):
        for form in FORMS:
            network = f"jetseg-{preset}{form}"
            architecture = load_jetseg(network)
            cost = cost_of(architecture, CLASSES, device.size)
            operations = list_operations(plan_architecture(architecture, CLASSES, device.size))
            best = estimate(operations, device, device.dtype, 1)
            texts = [
                units.count(cost.parameters),
                *(f"{count / 1e9:.3g}" for count in (cost.macs, cost.eq2_flops)),
                units.mebibytes(cost.memory_bytes),
            ]
            if isinstance(best, str):
                texts, about = [*texts, units.MISSING, units.MISSING], best
            else:
                texts += [units.milliseconds(best.seconds), units.fps(best.throughput_fps)]
                about = (
                    f"At best: for a {best.device}, {'; '.join(best.sources)}; each kernel is bound by its FLOPs or "
                    "bytes, nothing fused, no cache"
                )
            row = profiled.get(network)
            texts += [
                BY_NAME[each].cell(row) if row else units.MISSING for each in ("latency", "fps", "power", "energy")
            ]
            line = TableRow(network, tuple(map(Cell, texts)), network.startswith(device.preset))
            (own if network.startswith(device.preset) else others).append(line)
    missing = "" if profiled else f"No study was measured on a {device.title}, so the measured columns are dashes."
    first = (
        f"{device.title}: its preset is {device.preset} ({device.preset_reason or 'our choice'}), bold; at "
        f"{format_size(device.size)}, {CLASSES} classes, {device.dtype}, batch 1.",
        f"{about}. An ESTIMATE is the best that the data sheet allows, not a measurement.",
        *((missing,) if missing else ()),
    )
    return Table(
        f"JetSeg on the {device.title}",
        DEVICE,
        (Section("", tuple(own)), Section("", tuple(others))),
        Notes(first),
        heading="network",
    )


def _was_run_so(row: Row, device: str, size: Size, dtype: str) -> bool:
    """True if the row was measured on that device with the settings in the table's caption."""
    config, classes = row.records[0].profiling_config, row.records[0].data.num_classes
    return (config.batch_size, config.dtype, classes) == (1, dtype, CLASSES) and any(
        profile.device == device and profile.model_latency and profile.input_size == size for profile in row.profiles
    )


def write_paper(folder: Path) -> list[Path]:
    """Write every table of the folder; returns their paths.

    Raises:
        SpecError: a study is missing from the folder.
    """
    asked = (*STUDIES, DEPLOYMENT, INT8)
    studies = {name: read_study(folder / name) for name in asked if (folder / name).is_dir()}
    missing = [name for name in asked if name not in studies]
    if missing:
        raise SpecError(
            f"{folder}: the studies {', '.join(missing)} are missing; the tables are made from their records"
        )
    paths = equation2.write_equation2(folder)
    deployment, int8 = studies.pop(DEPLOYMENT), studies.pop(INT8)
    baselines, every = studies[BASELINE_STUDY], list(studies.values())
    for study in (*every, deployment, int8):
        paths += write_tables(study, study.rows())
    builders: dict[str, Callable[[], Table]] = {
        "table-1": lambda: build_table1(baselines),
        **{f"device-{name}": _device_builder(name, every) for name in DEVICES},
        "ablation": lambda: build_effects(studies[ABLATION]),
        "classes": lambda: _build_classes(baselines),
        "losses": lambda: _build_losses(studies[LOSSES]),
        "brief": lambda: build_budgets([studies[name] for name in BRIEF]),
        "brief-baselines": lambda: build_budgets([studies[BRIEF_BASELINES]]),
        "transfer": lambda: build_transfer(studies[BASELINES_ELSEWHERE], baselines),
        "deployment": lambda: build_forms(deployment, forms_of_study(deployment)),
        "int8": lambda: build_forms(int8, forms_of_study(int8)),
        "claims": lambda: build_claims(judge_claims(every), every),
    }
    for name, build in builders.items():
        table = build()
        for suffix, text in (("md", to_markdown(table)), ("tex", to_latex(table))):
            path = folder / f"{name}.{suffix}"
            write_whole(path, text)
            paths.append(path)
    return paths


def _device_builder(name: str, studies: Sequence[Study]) -> Callable[[], Table]:
    return lambda: build_device_table(name, studies)


def _build_classes(study: Study) -> Table:
    rows = [row for row in study.rows() if row.records]
    return build_table(rows, class_columns(rows), f"{study.name}: IoU of each class on test (%)", mixed=True)


def _build_losses(study: Study) -> Table:
    rows = study.rows()
    return build_table(rows, evaluation_columns(rows), f"{study.title}, as the trainings went on")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m jetbench.paper.tables FOLDER   (make tables: reports/paper)")
    try:
        for path in write_paper(Path(sys.argv[1])):
            print(path)
    except (JetbenchError, OSError) as error:
        sys.exit(f"error: {error}")
