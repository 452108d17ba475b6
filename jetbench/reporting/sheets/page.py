"""One self-contained HTML report of a study, from its records: table, plots, and a page for each variant.

page.html has the layout and script; this module makes its data, the same bytes for the same study. Predictions come
from the weights files beside the records, images and ground truth from the dataset; each is left out if missing.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from jetbench.data.cache import load_data
from jetbench.errors import DataError
from jetbench.files import write_whole
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Operation
from jetbench.network.plan import Plan, plan_architecture
from jetbench.network.rules import format_size
from jetbench.network.variants import SEED, describe_changes
from jetbench.records.measurement import NetworkPart
from jetbench.records.record import DatasetInfo, Failure, Record
from jetbench.records.verdict import judge
from jetbench.reporting import units
from jetbench.reporting.questions.forms import build_forms, forms_of_study, has_conversion
from jetbench.reporting.questions.in_short import SIGNS, answer_in_short
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import COLUMNS, LAYOUTS, Column, Value
from jetbench.reporting.tables.footnotes import on_one_line
from jetbench.reporting.tables.protocol import describe_machine
from jetbench.reporting.tables.published import describe_figure, describe_kind
from jetbench.reporting.tables.ranking import Mark
from jetbench.reporting.tables.rows import Row, name_without_seed
from jetbench.reporting.tables.table import KINDS, Table, believed, build_table
from jetbench.spec.architecture import Architecture, Foreign, InCode
from jetbench.spec.dataset import DatasetConfig
from jetbench.training.samples import colours_of, read_predictions, sample_indices, shown_split

TEMPLATE = Path(__file__).with_name("page.html")
STRIP_HEIGHT = 120  # pixels of each image in a strip
MOST_AXES = 8
SCORED: tuple[Literal["val", "test"], ...] = ("val", "test")


def write_page(path: Path, study: Study, show_invalid: bool = False) -> Path:
    """Write the report of a study to one HTML file; returns its path.

    Args:
        path: the file to write.
        study: what to show.
        show_invalid: include the measurements of invalid profiles, marked.
    """
    write_whole(path, render(describe_study(study, show_invalid)))
    return path


def render(data: dict[str, Any]) -> str:
    """The page with its data, escaped so that no text in it can end the script element."""
    text = (
        json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace("&", "\\u0026")
    )
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.replace("{{TITLE}}", escape(data["title"])).replace("{{SIGNS}}", SIGNS).replace("{{DATA}}", text)


def describe_study(study: Study, show_invalid: bool = False) -> dict[str, Any]:
    """Everything that the page shows, as plain data."""
    every = [row for row in study.labelled_rows() if row.records]
    names = [name for name in LAYOUTS["wide"] if _has_values(name, every)]
    columns = [column for column in COLUMNS if column.name in names]
    columns.sort(key=lambda column: names.index(column.name))
    table = build_table(every, columns, study.title, mixed=True, show_invalid=show_invalid)
    rows = every if show_invalid else believed(every)
    samples, nosamples = _samples(study)
    axes = _axes(rows)
    cells = _placed(table, rows)
    info = next((record.dataset for record in study.records if record.dataset), None)
    return {
        "title": study.title,
        "subtitle": f"{units.counted(len(rows), 'row')}; {info.describe() if info else 'profiles alone'}",
        "answer": [[line.role, line.text] for line in answer_in_short(study.labelled_rows())],
        "columns": [_column(column) for column in columns],
        "rows": [_row(row, columns, axes, *cells[id(row)]) for row in rows],
        "details": {_id_of(row): _details(row, study, whole) for row, whole in zip(rows, every, strict=True)},
        "axes": axes,
        "groups": list(dict.fromkeys(section.label for section in table.sections)),
        "notes": list(table.notes.essential),
        "more": [*table.notes.details, *table.sources],
        "failures": _failures(every),
        "forms": _forms(study, show_invalid),
        "samples": samples,
        "nosamples": nosamples,
        "legend": _legend(info) if info else [],
    }


def _has_values(name: str, rows: Sequence[Row]) -> bool:
    """True if any row has a value in that column; the notes say what is missing."""
    column = next(column for column in COLUMNS if column.name == name)
    return any(column.cell(row) != units.MISSING for row in rows)


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "key": column.key or column.name,
        "heading": column.heading,
        "short": column.brief,
        "kind": KINDS[column.kind],
        "better": column.better,
        "numeric": column.is_number,
    }


def _id_of(row: Row) -> str:
    return row.records[0].key


def _placed(table: Table, rows: Sequence[Row]) -> dict[int, tuple[str, bool, tuple[Mark | None, ...]]]:
    """For each row (by id) its group, whether it is on the group's front, and the marks of its cells."""
    waiting: dict[str, list[Row]] = {}
    for row in rows:
        waiting.setdefault(on_one_line(row.listed), []).append(row)
    places = {}
    for section in table.sections:
        for placed in section.rows:
            row = waiting[placed.name].pop(0)
            places[id(row)] = (section.label, placed.is_on_front, tuple(cell.mark for cell in placed.cells))
    return places


def _row(
    row: Row,
    columns: Sequence[Column],
    axes: Sequence[dict[str, Any]],
    group: str,
    is_front: bool,
    marks: Sequence[Mark | None],
) -> dict[str, Any]:
    values, texts = {}, {}
    for column, mark in zip(columns, marks, strict=True):
        if (value := column.value(row)) is not None:
            values[column.name] = _value(column, value, row, mark)
        elif column.text is not None:
            texts[column.name] = column.cell(row)
    doubt = "; ".join(filter(None, (_doubt(row), "approximate" if "\N{ALMOST EQUAL TO}" in row.label else "")))
    changes = {key: value for key, value in row.records[0].changes.items() if key != SEED}
    return {
        "id": _id_of(row),
        "label": row.listed,
        "kind": describe_kind(row.architecture),
        "family": _family(row),
        "front": is_front,
        "group": group,
        "doubt": doubt,
        "changes": describe_changes(changes),
        "values": values,
        "texts": texts,
        "axes": {axis["name"]: _word(changes[axis["name"]]) for axis in axes if axis["name"] in changes},
    }


def _value(column: Column, value: Value, row: Row, mark: Mark | None) -> dict[str, Any]:
    scale = column.unit.scale
    entry: dict[str, Any] = {"v": _short(scale * value.number), "t": column.cell(row)}
    if value.low is not None and value.high is not None and not value.is_exact:
        low, high = scale * value.low, scale * value.high
        if column.is_score:
            low, high = max(0.0, low), min(100.0, high)
        entry |= {"lo": _short(low), "hi": _short(high)}
    if mark is not None:
        entry["mark"] = mark.place
        entry["t"] += " =" if mark.is_tie else ""
    return entry


def _short(value: float) -> float:
    """Six significant digits: more than is measured, and they halve the size of the page."""
    return float(f"{value:.6g}")


def _family(row: Row) -> str:
    if isinstance(row.architecture, InCode):
        return "baseline"
    return "released" if row.architecture.form == "released" else "jetseg"


def _doubt(row: Row) -> str:
    reasons = [reason for profile in row.profiles for reason in judge(profile).reasons]
    return f"{row.level}: {'; '.join(dict.fromkeys(reasons))}" if row.level in ("suspect", "invalid") else ""


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _axes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the study varies, with every value; rows that do not change it have the value `base`."""
    values: dict[str, list[str]] = {}
    for row in rows:
        for key, value in row.records[0].changes.items():
            if key != SEED and _word(value) not in values.setdefault(key, []):
                values[key].append(_word(value))
    kept = sorted(values, key=lambda key: -len(values[key]))[:MOST_AXES]
    return [
        {"name": key, "label": key.removeprefix("training."), "values": ["(base)", *values[key]], "base": "(base)"}
        for key in values
        if key in kept
    ]


def _failures(rows: Sequence[Row]) -> list[dict[str, str]]:
    failures = []
    for row in rows:
        for record in row.records:
            name = row.name if len(row.records) == 1 else f"{row.name} (seed {record.seed})"
            if record.failure:
                failures.append({"name": name, "text": _describe_failure(record.failure)})
            if record.profile and (verdict := judge(record.profile)).level == "invalid":
                failures.append({"name": name, "text": f"its profile is {verdict}"})
    return failures


def _forms(study: Study, show_invalid: bool) -> dict[str, Any] | None:
    """What each other form of the networks changes against the first; None if no network has two."""
    forms = forms_of_study(study)
    others = [other for other in forms[1:] if has_conversion(study, forms[0], other, show_invalid)]
    if not others:
        return None
    table = build_forms(study, [forms[0], *others], show_invalid)
    return {
        "columns": [column.brief for column in table.columns],
        "sections": [
            {
                "label": section.label,
                "rows": [
                    {
                        "name": f"{row.name} (?)" if row.is_suspect else row.name,
                        "cells": [[cell.text, cell.is_strong] for cell in row.cells],
                    }
                    for row in section.rows
                ],
            }
            for section in table.sections
        ],
        "notes": [note for note in table.notes.all if not note.startswith("Measured on")],
    }


def _describe_failure(failure: Failure) -> str:
    return f"{failure.phase}, {failure.status}: {failure.reason}"


def _details(row: Row, study: Study, whole: Row) -> dict[str, Any]:
    """The data of one variant's page; `whole` is the row including its invalid profiles."""
    # What has no mean over seeds is shown for one of them, if possible one that was trained and measured.
    record = max(row.records, key=lambda each: (each.training is not None) + (each.profile is not None))
    profile, training = record.profile, record.training
    details: dict[str, Any] = {
        "seed": f"of seed {record.seed}" if len(row.records) > 1 else "",
        "about": _about(row),
        "verdict": whole.level if whole.profiles else units.MISSING,
        "reasons": list(dict.fromkeys(reason for each in whole.profiles for reason in judge(each).reasons)),
        "failure": "; ".join(
            f"{r.failure.phase}, {r.failure.status}: {r.failure.reason}" for r in row.records if r.failure
        ),
        "curves": [
            {
                "name": f"seed {each.seed}",
                "points": [[_short(e.epoch), _short(100 * e.counts.miou)] for e in each.training.val],
            }
            for each in row.records
            if each.training
        ],
        "losses": [
            {
                "name": f"seed {each.seed}",
                "points": [[step, _short(loss)] for step, loss in each.training.loss_curve],
            }
            for each in row.records
            if each.training and each.training.loss_curve
        ],
        "classes": _classes(row),
        "training": _describe_training(record),
        "environment": _environment(record),
        "published": [describe_figure(figure) for figure in record.architecture.reported],
        **_network(record, row),
        **_strip(record, study),
    }
    times = (
        profile.notes.get("layers", "the time of each part was not measured")
        if profile
        else "the measurement is invalid and left out (`jetbench report --all` shows it)"
        if whole.profiles
        else "not measured"
    )
    details["times"] = f"Counted for one image. Time: {times}."
    if training is None:
        details["training"] = "This network was not trained."
    return details


def _about(row: Row) -> str:
    record = row.records[0]
    changes = {key: value for key, value in record.changes.items() if key != SEED}
    changed = describe_changes(changes) if name_without_seed(record) != describe_changes(changes) else ""
    parts = [describe_kind(row.architecture), row.architecture.description, changed and f"changes: {changed}"]
    if record.also_named:
        parts.append(f"the same as {', '.join(record.also_named)}")
    return "; ".join(filter(None, parts))


def _classes(row: Row) -> list[dict[str, Any]]:
    """The IoU of each class in percent, averaged over the seeds."""
    val, test = (
        [counts.class_iou for record in row.records if (counts := record.counts_on(split)) is not None]
        for split in SCORED
    )
    if not val:
        return []
    return [
        {"name": name, "val": _mean([each[n] for each in val]), "test": _mean([each[n] for each in test])}
        for n, name in enumerate(row.records[0].data.class_names)
    ]


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return _short(100 * sum(known) / len(known)) if known else None


def _describe_training(record: Record) -> str:
    config, training = record.training_config, record.training
    if config is None:
        return "trained elsewhere" if record.is_trained else "random weights"
    text = (
        f"{config.describe_loss(whole=True)}, {config.budget}, batch {config.batch_size}, "
        f"{config.describe_optimizer()}, seed {config.seed}"
    )
    if training:
        text += f"; {training.steps} steps, {training.epochs:.1f} epochs, {training.seconds:.0f} s"
        text += f"; weights: {training.weights_file}"
        text += f"; ended early: {training.stopped}" if training.stopped else ""
    return text


def _environment(record: Record) -> list[str]:
    lines = []
    if record.profile:
        lines.append(f"Measured on: {describe_machine(record.profile.environment)}")
        lines.append(f"Settings: {record.profiling_config.describe()}")
        lines += [f"{key}: {note}" for key, note in record.profile.notes.items()]
    if record.training_environment:
        lines.append(f"Trained on: {describe_machine(record.training_environment)}")
    return [*lines, f"Finished: {record.finished}", f"Key: {record.key}, network {record.fingerprint}"]


def _network(record: Record, row: Row) -> dict[str, Any]:
    """The blocks to draw, and the cost of each part; for a baseline only what its profile counted and timed."""
    architecture = record.architecture
    parts = next((profile.parts for profile in row.profiles if profile.parts), ())
    if not isinstance(architecture, Architecture):
        why = "There are no blocks to draw: its layers are defined in code."
        shown = architecture.name if isinstance(architecture, Foreign) else architecture.network
        nocosts = f"This record does not list its parts; `jetbench show {shown}` lists their costs."
        return {
            "blocks": None,
            "decoder": None,
            "noblocks": why,
            "costs": [_part(p) for p in parts],
            "nocosts": nocosts,
        }
    plan = plan_architecture(architecture, record.num_classes, record.input_size)
    return {
        "blocks": [_block(plan, number) for number in range(len(plan.blocks))],
        "decoder": {
            "fusion": plan.decoder.fusion,
            "head": plan.decoder.head_channels,
            "taps": [{"block": tap.block, "channels": tap.channels} for tap in plan.decoder.taps],
        },
        "costs": _costs(list_operations(plan), {part.name: part.median_s for part in parts}),
    }


def _block(plan: Plan, number: int) -> dict[str, Any]:
    block = plan.blocks[number]
    groups = [block.jetconv.groups]
    if block.expanded_channels is not None:
        groups = [block.expand_groups, *groups, block.reduce_groups]
    expanded = f" to {block.expanded_channels}" if block.expanded_channels else ""
    return {
        "stage": block.stage.upper(),
        "out": block.out_channels,
        "size": format_size(block.out_size),
        "residual": block.residual,
        "attention": block.attention,
        "text": (
            f"block {number}: {block.in_channels}{expanded} to {block.out_channels} channels, JetConv "
            f"{' '.join(map(str, block.jetconv.branches))} ({block.jetconv.layout}), groups "
            f"{'/'.join(map(str, groups))}, stride {block.stride}, skip {block.skip}"
        ),
    }


def _part(part: NetworkPart) -> dict[str, Any]:
    return {
        "part": part.name,
        "macs": part.macs,
        "parameters": part.parameters,
        "bytes": part.bytes_moved,
        "seconds": part.median_s,
    }


def _costs(operations: Sequence[Operation], seconds: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """The counts and the time of each part, in the order in which they run."""
    parts: dict[str, dict[str, Any]] = {}
    for operation in operations:
        part = parts.setdefault(
            operation.part,
            {
                **{"part": operation.part, "macs": 0, "parameters": 0, "bytes": 0},
                "seconds": seconds.get(operation.part),
            },
        )
        part["macs"] += operation.macs
        part["parameters"] += operation.parameters
        part["bytes"] += operation.moved_bytes
    return list(parts.values())


def _strip(record: Record, study: Study) -> dict[str, Any]:
    """The network's predictions, from its weights file; or why they are missing."""
    if record.training is None:
        return {"strip": None, "nostrip": "This network was not trained."}
    if record.profiling_config.runs_file:
        why = (
            f"Not shown: PyTorch made the pictures that are kept, and {record.profiling_config.backend} runs this row."
        )
        return {"strip": None, "nostrip": why}
    path = study.folder / "weights" / record.training.weights_file
    if not path.is_file():
        return {"strip": None, "nostrip": f"Not shown, because its weights ({path.name}) are not beside the records."}
    ids = read_predictions(path)
    if ids is None:
        return {"strip": None, "nostrip": "Not shown, because an older jetbench saved its weights without predictions."}
    return {"strip": _paint(ids, record.data)}


def _samples(study: Study) -> tuple[dict[str, str] | None, str]:
    """The images and their ground truth, from the dataset; or why they are not shown."""
    info = next((record.dataset for record in study.records if record.dataset), None)
    if info is None:
        return None, "No images are shown, because these networks were not trained here."
    try:
        config: DatasetConfig = TypeAdapter(DatasetConfig).validate_python(study.asked.get("dataset"))
        data = load_data(config)
    except (ValidationError, DataError, OSError) as error:
        return None, f"Images and ground truth are not shown: {on_one_line(str(error)).split('. ')[0]}."
    if data.info.digest != info.digest:
        return None, "Images and ground truth are not shown: the dataset on this machine differs from the study's."
    split = shown_split(info)
    chosen = sample_indices(len(data.images[split]))
    images, truth = np.asarray(data.images[split][chosen]), np.asarray(data.labels[split][chosen])
    beside = np.concatenate(list(images), axis=1)
    picture = _shrunk(Image.fromarray(beside), len(chosen), Image.Resampling.BILINEAR)
    return {"images": _as_uri(picture, "JPEG", quality=80), "truth": _paint(truth, info)}, ""


def _paint(ids: npt.NDArray[np.uint8], info: DatasetInfo) -> str:
    """Class ids (N, H, W) side by side in their colours, as the URI of an image for the page."""
    indexed = Image.fromarray(np.concatenate(list(ids), axis=1), "P")
    indexed.putpalette(colours_of(info.class_names, info.classes).ravel().tolist())
    return _as_uri(_shrunk(indexed, len(ids), Image.Resampling.NEAREST), "PNG", optimize=True)


def _shrunk(picture: Image.Image, count: int, how: Image.Resampling) -> Image.Image:
    if picture.height <= STRIP_HEIGHT:
        return picture
    return picture.resize((round(picture.width * STRIP_HEIGHT / picture.height), STRIP_HEIGHT), how)


def _as_uri(picture: Image.Image, kind: str, **more: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **more)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _legend(info: DatasetInfo) -> list[dict[str, Any]]:
    colours = colours_of(info.class_names, info.classes)
    return [{"name": name, "rgb": [int(v) for v in colours[n]]} for n, name in enumerate(info.class_names)]
