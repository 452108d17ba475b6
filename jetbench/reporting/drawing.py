"""How pictures look: one column of a paper wide, colours that every eye tells apart, names beside what they name."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no window, and none needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK, MUTED, ACCENT, GRID = "#1f2933", "#616e7c", "#d55e00", "#e4e7eb"
# Okabe and Ito's colours, which differ for every common form of colour blindness.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "jetbench",
    "pdf.fonttype": 42,
}
ONE_COLUMN_IN = 3.5
LABEL_POINTS, NOTE_POINTS = 6.0, 5.5
FORMATS = ("png", "svg", "pdf")
DPI = 300


@dataclass(frozen=True)
class Label:
    """A name to stand near a point in data coordinates; more important ones are placed first."""

    x: float
    y: float
    text: str
    colour: str = INK
    is_important: bool = False


def make_panel(title: str, notes: Sequence[str], height_in: float = 3.1) -> tuple[Figure, Axes]:
    """A figure one column wide: title, one plot, notes below it."""
    figure, axis = plt.subplots(figsize=(ONE_COLUMN_IN, height_in), layout="constrained")
    style_axis(axis)
    figure.suptitle(textwrap.fill(title, 62), x=0.01, ha="left", fontsize=7.5, color=INK, fontweight="bold")
    figure.supxlabel(
        "\n".join(textwrap.fill(note, 84) for note in notes), x=0.01, ha="left", fontsize=NOTE_POINTS, color=MUTED
    )
    return figure, axis


def style_axis(axis: Axes) -> None:
    """Grid behind, no box."""
    axis.set_axisbelow(True)
    axis.grid(color=GRID, linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(0.09, 0.11)


def use_log_scale(axis: Axes, which: str, values: Iterable[float], always: bool = False) -> None:
    """A logarithmic axis with plain numbers, where the values span more than a factor of 12, or `always`."""
    numbers = [value for value in values if value > 0]
    if not numbers or (max(numbers) / min(numbers) < 12 and not always):
        return
    getattr(axis, f"set_{which}scale")("log")
    chosen = axis.xaxis if which == "x" else axis.yaxis
    few = max(numbers) / min(numbers) < 300
    chosen.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if few else (1.0,)))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    chosen.set_minor_formatter(NullFormatter())


def place_labels(figure: Figure, axis: Axes, labels: Sequence[Label], marks: Sequence[tuple[float, float]]) -> int:
    """Write names beside their points where they cover no mark and no other name; returns how many found no place.

    What is important is placed first, and a name that has to stand further off gets a line to its point.
    """
    figure.canvas.draw()
    scale = figure.dpi / 72
    taken = [_around(axis.transData.transform(mark), 3.0 * scale) for mark in marks]
    frame = axis.get_window_extent()
    left_out = 0
    for label in sorted(labels, key=lambda each: (not each.is_important, each.x)):
        centre = axis.transData.transform((label.x, label.y))
        width, height = 0.56 * LABEL_POINTS * scale * len(label.text), 1.15 * LABEL_POINTS * scale
        for distance, across, up in _spots():
            x, y = centre[0] + across * distance * scale, centre[1] + up * distance * scale
            left = x if across > 0 else x - width if across < 0 else x - width / 2
            box = (left, y - height / 2, left + width, y + height / 2)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                _write(axis, label, (across * distance, up * distance))
                break
        else:
            left_out += 1
    return left_out


def _spots() -> Iterable[tuple[float, float, float]]:
    """Where a name may stand: distance in points, and direction across and up."""
    for distance in (5.0, 9.0, 14.0, 20.0, 28.0):
        for across, up in ((1, 0), (-1, 0), (1, 0.7), (-1, 0.7), (1, -0.7), (-1, -0.7), (0, 1.1), (0, -1.1)):
            yield distance, across, up


def _around(centre: Any, half: float) -> tuple[float, float, float, float]:
    return (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write(axis: Axes, label: Label, offset: tuple[float, float]) -> None:
    alignment = "left" if offset[0] > 0 else "right" if offset[0] < 0 else "center"
    far = max(map(abs, offset)) > 10
    axis.annotate(
        label.text,
        (label.x, label.y),
        xytext=offset,
        textcoords="offset points",
        ha=alignment,
        va="center",
        fontsize=LABEL_POINTS,
        color=label.colour,
        fontweight="bold" if label.is_important else "normal",
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.2},  # a name may stand on a line
        arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0} if far else None,
    )


def name_ends(figure: Figure, axis: Axes, labels: Sequence[Label]) -> None:
    """Write names to the right of the ends of lines, one above the other where they would meet, each with a line."""
    figure.canvas.draw()
    step = 1.2 * LABEL_POINTS * figure.dpi / 72
    right = max((axis.transData.transform((label.x, label.y))[0] for label in labels), default=0.0)
    ordered = sorted(labels, key=lambda label: label.y)
    heights = [float(axis.transData.transform((label.x, label.y))[1]) for label in ordered]
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + step)
    # What was pushed over the top comes down again, and pushes what is below it.
    top = axis.get_window_extent().y1
    for number in reversed(range(len(heights))):
        heights[number] = min(heights[number], top - step * (len(heights) - 1 - number))
    for label, height in zip(ordered, heights, strict=True):
        x, y = axis.transData.inverted().transform((right + 14 * figure.dpi / 72, height))
        axis.annotate(
            label.text,
            (label.x, label.y),
            xytext=(x, y),
            fontsize=LABEL_POINTS,
            color=label.colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 1},
        )


def make_figure(title: str, data: str, where: str) -> tuple[Figure, Axes, Axes]:
    """A figure with a plot on the left and an empty axis for the key on the right."""
    figure, (axis, key) = plt.subplots(1, 2, figsize=(9.6, 5.0), width_ratios=(2.1, 1), layout="constrained")
    style_axis(axis)
    axis.set_title(textwrap.fill(data, 84), loc="left", fontsize=7.5, color=MUTED)
    figure.suptitle(textwrap.fill(title, 92), x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold")
    figure.supxlabel(textwrap.fill(where, 180), fontsize=6.5, color=MUTED)
    return figure, axis, key


def save_figure(figure: Figure, path: Path, formats: Sequence[str] = ("png", "svg"), dpi: int = 160) -> list[Path]:
    """Write and close a figure; the same bytes each time."""
    paths = [path.with_suffix(f".{name}") for name in formats]
    for target in paths:
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(target, dpi=dpi, metadata=dates.get(target.suffix[1:]))
    plt.close(figure)
    return paths
