"""Shows a screening: its progress, how much of the space fits, and the survivors as a table and as a sweep."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from jetbench import __version__
from jetbench.errors import SpecError
from jetbench.files import write_whole
from jetbench.network.rules import format_size
from jetbench.network.variants import describe_changes
from jetbench.reporting import units
from jetbench.reporting.tables.columns import BY_NAME
from jetbench.reporting.tables.csv import frame_to_csv
from jetbench.search.screen import (
    CountedQuantity,
    Screening,
    ScreenLimits,
    Survivors,
    changes_at,
    count_variants,
    describe_space,
    distinct,
    rank_survivors,
)
from jetbench.spec.search import Space

NAMES: dict[CountedQuantity, str] = {
    "parameters": BY_NAME["parameters"].noun,
    "macs": BY_NAME["macs"].noun,
    "eq2": BY_NAME["eq2"].noun,
    "memory": BY_NAME["counted-memory"].noun,
    "latency": "ms of latency, PREDICTED",
}
MEMORY = (
    "Memory: float32 weights and peak activations; each map is held from the operation that makes it to the last that "
    "reads it, each operation works out of place, in PyTorch's order. An estimate: eager PyTorch uses more, a runtime "
    "that fuses or works in place uses less."
)
SHOWN = 10
LONGEST_NAME = 60
STREETS_CLASSES = 11  # of the generated scenes that a survivors' sweep trains on by default


class ScreenBar:
    """A progress bar with the rate and the time left on a terminal; elsewhere a line for each tenth of the work."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()
        self.tenth = 0
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.progress.add_task("screening", total=1.0, state="")

    def __enter__(self) -> "ScreenBar":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def report(self, done: int, total: int, feasible: int) -> None:
        """Show the progress; see `screen.TellCounts`."""
        seconds = time.monotonic() - self.began
        state = f"{done:,} of {total:,}, {done / max(seconds, 1e-9):,.0f}/s, {feasible:,} fit"
        if done < total:
            state += f", {units.roughly(seconds * (total - done) / done)} left"
        if self.console.is_terminal:
            self.progress.update(self.task, completed=done / total, state=state)
        elif 10 * done // total > self.tenth:
            self.tenth = 10 * done // total
            self.console.print(state, highlight=False, soft_wrap=True)


def describe_screen_limits(limits: ScreenLimits) -> str:
    """The limits in words, or `no limit`."""
    if not limits:
        return "no limit"
    return ", ".join(f"at most {_amount(quantity, limit)} {NAMES[quantity]}" for quantity, limit in limits.items())


def _amount(quantity: CountedQuantity, value: float) -> str:
    """A quantity in the unit of its name."""
    return units.milliseconds(value) if quantity == "latency" else f"{value:,.0f}"


def describe_outcome(result: Screening) -> list[str]:
    """Lines about the size of the space, how much was counted, how much fits, and why the rest does not."""
    counted, fit = result.looked_at, len(result.survivors)
    share = f"{100 * result.share:.2f} %"
    lines = [f"The space: {describe_space(result.space)}."]
    if result.walked:
        lines.append(f"All of them were counted: {fit:,} fit ({share}) under {describe_screen_limits(result.limits)}.")
    else:
        low, high = result.share_interval
        lines.append(
            f"{counted:,} random ones were counted (seed {result.seed}): {fit:,} fit ({share}) under "
            f"{describe_screen_limits(result.limits)}. "
            f"Estimate for the whole space: {100 * low:.2f} to {100 * high:.2f} % "
            f"(95 % interval), {low * result.total:,.0f} to {high * result.total:,.0f} variants."
        )
    if result.over:
        over = ", ".join(f"{NAMES[quantity]} {count:,}" for quantity, count in result.over.most_common())
        lines.append(f"Over each limit (a variant may be over several): {over}.")
    if result.unbuildable:
        reason, times = result.reasons.most_common(1)[0]
        lines.append(f"{result.unbuildable:,} cannot be built; most often ({times:,}): {reason}.")
    if result.model is not None:
        lines.append(
            f"Latency is predicted for {result.model.describe_setting()} within \N{PLUS-MINUS SIGN} "
            f"{units.percent(result.model.half)} (95 %), and nothing was measured. {result.unknown:,} variants are "
            "outside of what the model knows and have no prediction."
        )
    if not fit and result.smallest:
        least = ", ".join(
            f"{_amount(quantity, value)} {NAMES[quantity]}" for quantity, value in result.smallest.items()
        )
        lines.append(f"Nothing fits. The smallest values, possibly of different networks: {least}.")
    return lines


def survivor_frame(space: Space, survivors: Survivors) -> pd.DataFrame:
    """One row for each survivor: its number in the space, its axis values, and its costs in SI units."""
    columns: dict[str, Any] = {"index": survivors.indices}
    turns = count_variants(space)  # number of variants with the same value of the axis and of those before it
    for axis, values in space.axes.items():
        turns //= len(values)
        texts = [_as_text(value) for value in values]
        columns[axis] = [texts[index // turns % len(values)] for index in survivors.indices]
    columns["parameters"] = survivors.parameters
    columns["macs"] = survivors.macs
    columns["eq2_flops"] = survivors.eq2
    columns["peak_activation_bytes"] = survivors.peak_activation_bytes
    columns["memory_bytes"] = survivors.values("memory")
    if not np.isnan(survivors.latency).all():
        columns["predicted_latency_s"] = survivors.latency
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


def _as_text(value: object) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def write_screening(
    console: Console, folder: Path, result: Screening, by: CountedQuantity, largest: bool, top: int | None, most: int
) -> None:
    """Write survivors.csv, survivors.yaml (a sweep of `most` of them) and screening.json; print the outcome.

    Args:
        console: where the outcome is printed.
        folder: made if it does not exist; files of an earlier screening are replaced.
        result: from `screen`.
        by: the quantity that the survivors are sorted by.
        largest: True to put the largest first.
        top: the number of survivors to keep; None keeps all.
        most: the most different networks in the sweep.
    """
    ranked = rank_survivors(result.survivors, by, largest)
    kept = ranked if top is None else ranked.take(range(min(top, len(ranked))))
    chosen = distinct(result.space, kept, most)
    sweep_path = folder / "survivors.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        had_sweep = sweep_path.exists()
        sweep_path.unlink(missing_ok=True)
        write_whole(folder / "survivors.csv", frame_to_csv(survivor_frame(result.space, kept)))
        if chosen:
            write_whole(sweep_path, _sweep_text(result, chosen, by, largest))
        provenance = json.dumps(_provenance(result, by, largest, len(kept)), indent=2)
        write_whole(folder / "screening.json", provenance + "\n")
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written ({error}); give another folder with --reports") from None

    for line in describe_outcome(result):
        console.print(escape(line), highlight=False, soft_wrap=not console.is_terminal)
    if len(kept):
        _print_survivors(console, result, kept, by, largest)
        console.print(f"[dim]{MEMORY}[/]", soft_wrap=not console.is_terminal)
    if had_sweep and not chosen:
        console.print(f"{sweep_path} was of an earlier screening and is removed.", highlight=False, soft_wrap=True)
    names = "survivors.csv" if not chosen else "survivors.csv, survivors.yaml"
    console.print(f"\nWritten to {folder}: {names}, screening.json", highlight=False, soft_wrap=True)
    if chosen:
        count = "it" if len(chosen) == 1 else f"the first {len(chosen)} different networks"
        console.print(f"To train {count}: jetbench sweep {sweep_path}", highlight=False, soft_wrap=True)
        if result.space.classes != STREETS_CLASSES:
            console.print(
                f"[bold yellow]Screened with {result.space.classes} classes; the generated streets of that sweep have "
                f"{STREETS_CLASSES}, so its counts differ. Give the sweep data with {result.space.classes} classes.[/]",
                soft_wrap=True,
            )


def _print_survivors(console: Console, result: Screening, kept: Survivors, by: CountedQuantity, largest: bool) -> None:
    space = result.space
    shown = kept.take(range(min(SHOWN, len(kept))))
    listed = [changes_at(space, index) for index in shown.indices]
    varied = [axis for axis in space.axes if len({repr(changes[axis]) for changes in listed}) > 1]
    same = {axis: listed[0][axis] for axis in space.axes if axis not in varied}
    order = _order(by, largest)
    title = f"\n[bold]{len(shown):,} of {len(result.survivors):,} survivors, {order}"
    if len(kept) < len(result.survivors):
        title += f" ({len(kept):,} kept)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    predicted = ("ms, PREDICTED",) if result.model is not None else ()
    for heading in ("number", "params", "MACs M", "eq. 2 M", "memory MiB", *predicted):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("differs in", overflow="fold")
    memory = shown.values("memory")
    for row, (index, changes) in enumerate(zip(shown.indices, listed, strict=True)):
        costs = [
            units.count(shown.parameters[row]),
            units.exact_millions(shown.macs[row]),
            units.exact_millions(shown.eq2[row]),
            units.mebibytes(memory[row]),
        ]
        if predicted:
            seconds = float(shown.latency[row])
            costs.append(units.MISSING if np.isnan(seconds) else units.milliseconds(seconds))
        table.add_row(str(index), *costs, escape(describe_changes({axis: changes[axis] for axis in varied})))
    console.print(table)
    if same and len(listed) > 1:
        console.print(f"[dim]The same in all of these: {escape(describe_changes(same))}.[/]", highlight=False)


def _order(by: CountedQuantity, largest: bool) -> str:
    """The order of the survivors in words."""
    if by == "latency":
        return f"the {'highest' if largest else 'lowest'} predicted latency first"
    return f"the {'most' if largest else 'fewest'} {NAMES[by]} first"


def _from_anywhere(base: str) -> str:
    """The base; if it is a file, its absolute path, so that the sweep runs from any folder."""
    return str(Path(base).resolve()) if Path(base).is_file() else base


def _sweep_text(result: Screening, chosen: list[tuple[int, dict[str, Any]]], by: CountedQuantity, largest: bool) -> str:
    space = result.space
    varied = [axis for axis in space.axes if len({repr(changes[axis]) for _, changes in chosen}) > 1]
    names = [describe_changes({axis: changes[axis] for axis in varied}) for _, changes in chosen]
    if not varied or len(set(names)) < len(names) or max(map(len, names)) > LONGEST_NAME:
        names = [f"number {index}" for index, _ in chosen]
    order = _order(by, largest)
    sweep = {
        "name": f"{space.name}-survivors"[-80:],
        "description": f"Survivors of screening {space.name} with {space.classes} classes, {order}, "
        f"under {describe_screen_limits(result.limits)}",
        "base": _from_anywhere(space.base),
        "include_base": False,
        "dataset": {"name": "streets", "size": format_size(space.size)},
        "variants": [{"cases": {name: changes for name, (_, changes) in zip(names, chosen, strict=True)}}],
    }
    head = "# Written by jetbench screen. Give the data with --dataset and how long to train with --budget.\n"
    return head + yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True, width=120)


def _provenance(result: Screening, by: CountedQuantity, largest: bool, kept: int) -> dict[str, Any]:
    low, high = result.share_interval
    return {
        "jetbench": __version__,
        "space": result.space.model_dump(mode="json"),
        "variants_in_space": result.total,
        "looked_at": result.looked_at,
        "sample_seed": result.seed,
        "limits": result.limits,
        "fit": len(result.survivors),
        "fit_share": result.share,
        "fit_share_95_interval": [low, high],
        "over_limit": dict(result.over),
        "unbuildable": result.unbuildable,
        "latency_model": result.model
        and {
            "setting": result.model.describe_setting(),
            "learnt_from": len(result.model.learnt),
            "interval": result.model.half,
            "without_prediction": result.unknown,
        },
        "unbuildable_reasons": dict(result.reasons.most_common(20)),
        "smallest_seen": result.smallest,
        "ordered_by": by,
        "largest_first": largest,
        "rows_in_table": kept,
    }
