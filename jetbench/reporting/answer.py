"""What a search found: the front beside its base, over several seeds; and every proposal with its fate."""

import csv
import io
import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetbench.architecture import Architecture
from jetbench.cost import cost_of
from jetbench.record import Record
from jetbench.reporting import units
from jetbench.reporting.sheets import print_whole
from jetbench.reporting.tables import describe_machine

# 97.5 % quantiles of Student's t by degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
ANSWER, PROPOSALS, FRONT = "answer.md", "proposals.csv", "front"


@dataclass(frozen=True)
class Row:
    """One network of the answer with its trainings, one for each seed; `kept` are those that ended well."""

    name: str
    architecture: Architecture
    changes: Mapping[str, object]
    records: tuple[Record, ...]

    @property
    def kept(self) -> tuple[Record, ...]:
        """Trainings that have a result."""
        return tuple(record for record in self.records if record.failure is None and record.training)

    @property
    def val(self) -> tuple[float, ...]:
        """Best validation mIoU of each seed."""
        return tuple(record.training.best.counts.miou for record in self.kept if record.training)

    @property
    def test(self) -> tuple[float, ...]:
        """Test mIoU of each seed."""
        return tuple(record.training.test.miou for record in self.kept if record.training)

    @property
    def latencies_s(self) -> tuple[float, ...]:
        """Median latency of each seed's profile."""
        models = [record.profile.model_latency for record in self.kept if record.profile]
        return tuple(model.median_s for model in models if model)

    @property
    def latency_s(self) -> float | None:
        """Median over the seeds."""
        return statistics.median(self.latencies_s) if self.latencies_s else None


def gather(finalists: Sequence[tuple[str, Architecture, Mapping[str, object]]], records: Sequence[Record]) -> list[Row]:
    """Rows in the order of `finalists` (name, architecture, changes), each with its seeds' records."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.variant.rpartition(", seed=")[0], []).append(record)
    return [Row(name, architecture, changes, tuple(found.get(name, ()))) for name, architecture, changes in finalists]


def difference(one: Sequence[float], base: Sequence[float]) -> tuple[float, float] | None:
    """Difference of the means, and the half width of its 95 % interval (Student, pooled); None with too few."""
    degrees = len(one) + len(base) - 2
    if len(one) < 2 or len(base) < 2:
        return None
    pooled = ((len(one) - 1) * statistics.variance(one) + (len(base) - 1) * statistics.variance(base)) / degrees
    half = STUDENT[min(degrees, len(STUDENT)) - 1] * math.sqrt(pooled * (1 / len(one) + 1 / len(base)))
    return statistics.fmean(one) - statistics.fmean(base), half


def describe_difference(one: Sequence[float], base: Sequence[float]) -> str:
    """`+2.1 (told apart)` or `+0.4, a tie`: mIoU points against the base."""
    found = difference(one, base)
    if found is None:
        return units.MISSING
    mean, half = found
    return f"{100 * mean:+.1f} \N{PLUS-MINUS SIGN} {100 * half:.1f}" + ("" if abs(mean) > half else ", a tie")


def _spread(values: Sequence[float]) -> str:
    if not values:
        return units.MISSING
    mean = 100 * statistics.fmean(values)
    return f"{mean:.1f}" + (f" \N{PLUS-MINUS SIGN} {100 * statistics.stdev(values):.1f}" if len(values) > 1 else "")


HEADINGS = ("network", "params", "MACs M", "MiB", "ms", "val mIoU %", "test mIoU %", "val to base", "costs no more")


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The answer's table; the first row is the base."""
    base, told = rows[0], []
    for row in rows:
        record = row.records[0] if row.records else None
        if record is None:
            told.append([row.name, *[units.MISSING] * (len(HEADINGS) - 1)])
            continue
        counts, own = (
            cost_of(each.architecture, record.dataset.num_classes, record.dataset.size) for each in (base, row)
        )
        cheap = [own.macs <= counts.macs]
        if row.latency_s is not None and base.latency_s is not None:
            cheap.append(row.latency_s <= base.latency_s)
        told.append(
            [
                row.name,
                units.count(own.parameters),
                units.millions(own.macs),
                units.mebibytes(own.memory_bytes),
                units.milliseconds(row.latency_s),
                _spread(row.val),
                _spread(row.test),
                units.MISSING if row is base else describe_difference(row.val, base.val),
                units.MISSING if row is base else ("yes" if all(cheap) and len(cheap) == 2 else "no"),
            ]
        )
    return told


def footnotes(rows: Sequence[Row], described: str) -> list[str]:
    """What the table's numbers are."""
    kept = [record for row in rows for record in row.kept]
    notes = [f"The search: {described}."]
    if not kept:
        return [*notes, "No final training has ended well."]
    first, seeds = kept[0], sorted({record.training_config.seed for record in kept})
    notes += [
        f"Data: {first.dataset.describe()}. Every network trained anew: {first.training_config.budget}, seeds "
        f"{', '.join(map(str, seeds))}; mean and standard deviation over them, best val of each.",
        "val to base: difference of the means with its 95 % interval (Student); a tie where that holds 0. The networks "
        "were chosen on this val split, so their val is flattered; test was not looked at by the search.",
        "costs no more: neither more MACs nor a longer measured latency than the base. MiB: weights and peak "
        "activations, counted. ms: model, batch 1, median of the seeds' profiles.",
        f"Measured on: {describe_machine(first.profile.environment)}." if first.profile else "",
    ]
    for row in rows:
        notes += [
            f"{record.variant} failed ({record.failure.stage}, {record.failure.status}): {record.failure.reason}"
            for record in row.records
            if record.failure
        ]
    return [note for note in notes if note]


def write_answer(folder: Path, rows: Sequence[Row], described: str, title: str) -> list[Path]:
    """Write answer.md, and each network of the front as a YAML with the weights of its best seed."""
    (folder / FRONT).mkdir(parents=True, exist_ok=True)
    lines = [f"# {title}", "", "| " + " | ".join(HEADINGS) + " |", "| :-- |" + " --: |" * (len(HEADINGS) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in cells(rows)]
    lines += ["", *(f"- {note}" for note in footnotes(rows, described)), ""]
    for row in rows[1:]:
        changed = ", ".join(f"{axis} {value}" for axis, value in row.changes.items())
        lines.append(f"- **{row.name}**: {changed}")
    (folder / ANSWER).write_text("\n".join(lines) + "\n")
    written = [folder / ANSWER]
    for row in rows[1:]:
        path = folder / FRONT / f"{row.name}.yaml"
        # What is None follows from the form; a network's own name and story, not the base's.
        raw = row.architecture.model_dump(mode="json", exclude_none=True)
        raw |= {"name": row.name, "description": f"found by {title}"}
        path.write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))
        written.append(path)
        best = max(
            row.kept, key=lambda record: record.training.best.counts.miou if record.training else 0, default=None
        )
        if best is not None and best.training is not None:
            weights = folder / "final" / "weights" / best.training.weights_file
            if weights.exists():
                written.append(Path(shutil.copy(weights, path.with_suffix(".safetensors"))))
    return written


def print_answer(console: Console, rows: Sequence[Row], described: str, title: str) -> None:
    """The answer's table on the terminal."""
    table = Table(title=f"\n[bold]{escape(title)}", title_justify="left", box=None, pad_edge=False)
    table.add_column(HEADINGS[0], no_wrap=True)
    for heading in HEADINGS[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in cells(rows):
        table.add_row(*(escape(cell) for cell in row))
    print_whole(console, table)
    for note in footnotes(rows, described):
        console.print(f"[dim]- {escape(note)}[/]", highlight=False, soft_wrap=not console.is_terminal)


def write_proposals(folder: Path, rows: Sequence[tuple[Record, Mapping[str, float | None]]]) -> Path:
    """proposals.csv: every network that was proposed, in SI units, and what became of it."""
    axes = list(dict.fromkeys(axis for record, _ in rows for axis in record.changes))
    quantities = list(rows[0][1]) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", "outcome", "reason", *quantities, *axes])
    for record, known in rows:
        outcome = record.failure.status if record.failure else "trained"
        values = ["" if known[name] is None else known[name] for name in quantities]
        reason = record.failure.reason if record.failure else ""
        writer.writerow([record.variant, outcome, reason, *values, *(record.changes.get(axis, "") for axis in axes)])
    path = folder / PROPOSALS
    path.write_text(text.getvalue())
    return path
