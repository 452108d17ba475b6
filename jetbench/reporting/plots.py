"""Records to pictures: accuracy against latency and against MACs, and how each variant learned."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no window, and none needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jetbench.front import front_of
from jetbench.record import Record
from jetbench.reporting.protocol import describe_machine

INK, MUTED, ACCENT, GRID = "#1f2933", "#7b8794", "#d9480f", "#e4e7eb"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "jetbench",
}
LONGEST_NAME = 44


@dataclass(frozen=True)
class Point:
    """One variant in a picture; `spread` is the 10th to the 90th percentile of its cost, where that was sampled."""

    name: str
    cost: float
    miou: float
    spread: tuple[float, float] | None = None


def write_plots(folder: Path, records: Sequence[Record], title: str) -> list[Path]:
    """Draw what the records allow, as PNG and SVG; returns the paths."""
    latencies, macs, machines = [], [], []
    batch_sizes: set[int] = set()
    for record in records:
        if record.failure or not record.training or not record.profile or record.profile.model_latency is None:
            continue
        latency, miou = record.profile.model_latency, 100 * record.training.best.counts.miou
        spread = (1e3 * latency.percentile_s(10), 1e3 * latency.percentile_s(90))
        latencies.append(Point(record.variant, 1e3 * latency.median_s, miou, spread))
        macs.append(Point(record.variant, record.profile.macs / 1e6, miou))
        batch_sizes.add(latency.batch_size)
        machines.append(describe_machine(record.profile.environment))
    if not latencies:
        return []
    data = records[0].dataset.describe()
    curves = [
        (record.variant, [(evaluation.epoch, 100 * evaluation.counts.miou) for evaluation in record.training.val])
        for record in records
        if record.training is not None
    ]
    where = "; and ".join(dict.fromkeys(machines))
    return [
        *_draw(
            folder / "accuracy-against-latency",
            latencies,
            f"latency of {_batch(batch_sizes)}, median, with the 10th to 90th percentile (ms)",
            (title, data, where),
        ),
        *_draw(
            folder / "accuracy-against-macs",
            macs,
            "MACs of one image (millions)",
            (title, data, "MACs are counted, the same on every machine"),
        ),
        *_draw_curves(folder / "learning-curves", curves, title, data),
    ]


def _batch(sizes: set[int]) -> str:
    return "one image" if sizes == {1} else f"a batch of {' or '.join(str(size) for size in sorted(sizes))}"


def _draw(path: Path, points: Sequence[Point], label: str, texts: tuple[str, str, str]) -> list[Path]:
    best_points = front_of([(point.cost, -point.miou) for point in points])
    fronts = [number in best_points for number in range(len(points))]
    best = sorted((p for p, is_best in zip(points, fronts, strict=True) if is_best), key=lambda p: p.cost)
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(*texts)
        axis.step([p.cost for p in best], [p.miou for p in best], where="post", color=ACCENT, linewidth=1.2, alpha=0.6)
        for number, point in enumerate(points, 1):
            _draw_point(axis, number, point, ACCENT if point in best else INK)
        axis.set_xlabel(label)
        axis.set_ylabel("best validation mIoU (%)")
        entries = [(point.name, ACCENT if point in best else INK) for point in points]
        _draw_key(key, entries, "orange: nothing is both better and cheaper")
        return save_figure(figure, path)


def _draw_curves(
    path: Path, curves: Sequence[tuple[str, list[tuple[float, float]]]], title: str, data: str
) -> list[Path]:
    """Validation mIoU at each evaluation: a curve that still rises had too little budget to rank anything."""
    palette = matplotlib.colormaps["tab10" if len(curves) <= 10 else "tab20"]
    colours = [palette(number % palette.N) for number in range(len(curves))]
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(title, data, "one run each; scored on the whole validation split")
        for number, ((_, points), colour) in enumerate(zip(curves, colours, strict=True), 1):
            x, y = zip(*points, strict=True)
            axis.plot(x, y, color=colour, linewidth=1.4, marker="o", markersize=3)
            axis.annotate(
                str(number), (x[-1], y[-1]), xytext=(5, -3), textcoords="offset points", fontsize=8, color=colour
            )
        axis.set_xlabel("passes over the training images")
        axis.set_ylabel("validation mIoU (%)")
        axis.set_ylim(bottom=0)
        _draw_key(key, [(name, colour) for (name, _), colour in zip(curves, colours, strict=True)], "")
        return save_figure(figure, path)


def make_figure(title: str, data: str, where: str) -> tuple[Figure, Axes, Axes]:
    """A figure with a plot on the left and an empty axis for the key on the right."""
    figure, (axis, key) = plt.subplots(1, 2, figsize=(9.6, 5.0), width_ratios=(2.1, 1), layout="constrained")
    axis.set_axisbelow(True)
    axis.grid(color=GRID, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(0.08, 0.1)
    axis.set_title(textwrap.fill(data, 84), loc="left", fontsize=7.5, color=MUTED)
    figure.suptitle(textwrap.fill(title, 92), x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold")
    figure.supxlabel(textwrap.fill(where, 180), fontsize=6.5, color=MUTED)
    return figure, axis, key


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write and close a figure as PNG and SVG; the same bytes each time."""
    paths = [path.with_suffix(".png"), path.with_suffix(".svg")]
    figure.savefig(paths[0], dpi=160)
    figure.savefig(paths[1], metadata={"Date": None})
    plt.close(figure)
    return paths


def _draw_point(axis: Axes, number: int, point: Point, colour: str) -> None:
    if point.spread is not None:
        axis.hlines(point.miou, *point.spread, color=colour, linewidth=1.0, alpha=0.45, zorder=2)
    axis.scatter(point.cost, point.miou, s=190, color="white", edgecolors=colour, linewidths=1.5, zorder=3)
    axis.text(point.cost, point.miou, str(number), ha="center", va="center", fontsize=8, color=colour, zorder=4)


def _draw_key(axis: Axes, entries: Sequence[tuple[str, Any]], note: str) -> None:
    """The numbered names, each in its colour, and a line below them."""
    axis.axis("off")
    step = min(0.075, 0.95 / (len(entries) + 2))
    for number, (name, colour) in enumerate(entries, 1):
        short = textwrap.shorten(name, LONGEST_NAME, placeholder=" \N{HORIZONTAL ELLIPSIS}")
        axis.text(0, 1 - number * step, f"{number}  {short}", fontsize=8, color=colour, transform=axis.transAxes)
    axis.text(0, 1 - (len(entries) + 1.3) * step, note, fontsize=7, color=MUTED, transform=axis.transAxes)
