"""The style of pictures: one paper column wide, colours for colour-blind readers, names beside their points."""

import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no window, and none needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jetbench.errors import visible
from jetbench.files import replaced

INK, MUTED, ACCENT, GRID = "#1f2933", "#616e7c", "#d55e00", "#e4e7eb"
# Okabe and Ito's colours, which are distinct for every common form of colour blindness.
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
    "text.parse_math": False,  # a name may hold $
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in our style; a letter that the font lacks is a box, without a word."""
    with plt.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


ONE_COLUMN_IN = 3.5
TITLE_POINTS, LABEL_POINTS, NOTE_POINTS = 7.5, 6.0, 5.5
FORMATS = ("png", "svg", "pdf")
DPI = 300


@dataclass(frozen=True)
class Label:
    """A name to write near a point in data coordinates; bold if it is important. Lower `order` is placed first."""

    x: float
    y: float
    text: str
    colour: str = INK
    is_important: bool = False
    order: int = 0


def make_panel(title: str, notes: Sequence[str], height_in: float = 3.1) -> tuple[Figure, Axes]:
    """A figure one column wide: title, one plot, notes below it."""
    figure, axis = plt.subplots(figsize=(ONE_COLUMN_IN, height_in), layout="constrained")
    style_axis(axis)
    heading = fill(title, 62, ONE_COLUMN_IN, TITLE_POINTS, "bold")
    figure.suptitle(heading, x=0.01, ha="left", fontsize=TITLE_POINTS, color=INK, fontweight="bold")
    below = "\n".join(fill(note, 84, ONE_COLUMN_IN, NOTE_POINTS) for note in notes)
    figure.supxlabel(below, x=0.01, ha="left", fontsize=NOTE_POINTS, color=MUTED)
    return figure, axis


def fill(text: str, most: int, width_in: float, points: float, weight: str = "normal") -> str:
    """`text` in lines of at most `most` letters, or fewer until each line fits into a figure `width_in` inches wide."""
    for letters in range(most, 10, -1):
        lines = textwrap.wrap(text, letters)
        if max((_width(line, points, weight) for line in lines), default=0) <= 0.98 * 72 * width_in:
            break
    return "\n".join(lines)


@lru_cache(maxsize=1024)  # the same notes are under several pictures
def _width(line: str, points: float, weight: str) -> float:
    """The width of a line in points."""
    font = FontProperties(family=STYLE["font.family"], weight=weight)
    return float(TextPath((0, 0), line, size=points, prop=font).get_extents().width)


def style_axis(axis: Axes) -> None:
    """Draw the grid behind the data, and no box."""
    axis.set_axisbelow(True)
    axis.grid(color=GRID, linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(0.09, 0.11)


def use_log_scale(axis: Axes, which: str, values: Iterable[float], always: bool = False) -> None:
    """Make an axis logarithmic, with plain numbers, if the values span a factor of 12 or more, or `always`."""
    numbers = [value for value in values if value > 0]
    if not numbers or (max(numbers) / min(numbers) < 12 and not always):
        return
    getattr(axis, f"set_{which}scale")("log")
    chosen = axis.xaxis if which == "x" else axis.yaxis
    few = max(numbers) / min(numbers) < 300
    chosen.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if few else (1.0,)))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    chosen.set_minor_formatter(NullFormatter())


Box = tuple[float, float, float, float]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NEAR_POINTS = 6.0
"""A name further from its point than this gets a line to it."""


def name_points(figure: Figure, axis: Axes, labels: Sequence[Label], marks: Sequence[tuple[float, float]]) -> None:
    """Write names beside their points; where one does not fit, write a letter and its name below the plot."""
    plain = {text for text in axis.texts}
    spelt: list[Label] = []
    for _ in range(8):  # a longer text below makes the plot smaller, so that another name may not fit
        for text in [text for text in axis.texts if text not in plain]:
            text.remove()
        lettered = [_with_letter(label, spelt) for label in labels]
        left_out = place_labels(figure, axis, lettered, marks)
        fresh = [label for label in labels if _with_letter(label, spelt) in left_out and label not in spelt]
        if not fresh:
            break
        count = len(spelt)
        spelt += fresh[: len(LETTERS) - count]
        key = "; ".join(f"{LETTERS[number]}\N{NO-BREAK SPACE}{label.text}" for number, label in enumerate(spelt))
        _set_key(figure, key)


def _with_letter(label: Label, spelt: Sequence[Label]) -> Label:
    return replace(label, text=LETTERS[spelt.index(label)], order=-1) if label in spelt else label


def _set_key(figure: Figure, key: str) -> None:
    """Write the names of the letters above the notes."""
    notes = figure.get_supxlabel()
    kept = notes[notes.index(END_OF_KEY) + 1 :] if END_OF_KEY in notes else notes
    spelt = fill(key, 84, ONE_COLUMN_IN, NOTE_POINTS)
    figure.supxlabel(f"{spelt}{END_OF_KEY}{kept}", x=0.01, ha="left", fontsize=NOTE_POINTS, color=MUTED)


END_OF_KEY = "\n\N{ZERO WIDTH SPACE}"


def place_labels(
    figure: Figure, axis: Axes, labels: Sequence[Label], marks: Sequence[tuple[float, float]]
) -> list[Label]:
    """Write names where they cover no mark, no other name and no line to one; returns those that do not fit.

    A name is nearer to its own point than to any other, or has a line to it.
    """
    figure.canvas.draw()
    scale = figure.dpi / 72
    points = [axis.transData.transform(mark) for mark in marks]
    taken = [_around(point, 3.0 * scale) for point in points]
    lines: list[tuple[Any, Any]] = []
    frame = axis.get_window_extent()
    left_out = []
    for label in sorted(labels, key=lambda each: (each.order, not each.is_important, each.x)):
        centre = axis.transData.transform((label.x, label.y))
        width, height = 0.6 * LABEL_POINTS * scale * len(label.text), 1.15 * LABEL_POINTS * scale
        others = [point for point in points if abs(point[0] - centre[0]) + abs(point[1] - centre[1]) > scale]
        for distance, across, up in _spots():
            x, y = centre[0] + across * distance * scale, centre[1] + up * distance * scale
            left = x if across > 0 else x - width if across < 0 else x - width / 2
            box = (left, y - height / 2, left + width, y + height / 2)
            if not (frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1):
                continue
            if any(_overlap(box, other) for other in taken) or any(_crosses(line, box) for line in lines):
                continue
            nearest = min((_distance(box, point) for point in others), default=float("inf"))
            has_line = distance > NEAR_POINTS or nearest < 1.4 * _distance(box, centre) + scale
            line = (centre, (left if across > 0 else left + width if across < 0 else x, y))
            if has_line and any(_crosses(line, other) for other in taken if not _inside(other, centre)):
                continue
            taken.append(box)
            if has_line:
                lines.append(line)
            _write(axis, label, (across * distance, up * distance), has_line)
            break
        else:
            left_out.append(label)
    return left_out


def _spots() -> Iterable[tuple[float, float, float]]:
    """Candidate positions of a name: distance in points, and direction across and up."""
    for distance in (5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0):
        for across, up in ((1, 0), (-1, 0), (1, 0.7), (-1, 0.7), (1, -0.7), (-1, -0.7), (0, 1.1), (0, -1.1)):
            yield distance, across, up


def _around(centre: Any, half: float) -> Box:
    return (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(box: Box, point: Any) -> bool:
    return bool(box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])


def _distance(box: Box, point: Any) -> float:
    across = max(box[0] - point[0], 0.0, point[0] - box[2])
    up = max(box[1] - point[1], 0.0, point[1] - box[3])
    return math.hypot(across, up)


def _crosses(line: tuple[Any, Any], box: Box) -> bool:
    """True if a line passes over a box; checked in steps of about 6 dots."""
    (x0, y0), (x1, y1) = line
    steps = 2 + int(max(abs(x1 - x0), abs(y1 - y0)) // 6)
    return any(_inside(box, (x0 + (x1 - x0) * n / steps, y0 + (y1 - y0) * n / steps)) for n in range(1, steps))


def _write(axis: Axes, label: Label, offset: tuple[float, float], has_line: bool) -> None:
    alignment = "left" if offset[0] > 0 else "right" if offset[0] < 0 else "center"
    across = {"left": 0.0, "right": 1.0, "center": 0.5}[alignment]
    end = (across, 0.5) if alignment != "center" else (0.5, 0.0 if offset[1] > 0 else 1.0)
    line = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "relpos": end}
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
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.2},  # a name may cover a line
        arrowprops=line if has_line else None,
    )


def name_ends(figure: Figure, axis: Axes, labels: Sequence[Label]) -> None:
    """Write names to the right of the ends of lines, stacked where they would overlap, each with a line."""
    figure.canvas.draw()
    step = 1.2 * LABEL_POINTS * figure.dpi / 72
    right = max((axis.transData.transform((label.x, label.y))[0] for label in labels), default=0.0)
    ordered = sorted(labels, key=lambda label: label.y)
    heights = [float(axis.transData.transform((label.x, label.y))[1]) for label in ordered]
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + step)
    # Names pushed over the top come down again, and push those below them.
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
            arrowprops={
                **{"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 1},
                "relpos": (0.0, 0.5),
            },
        )


def make_figure(title: str, data: str, where: str) -> tuple[Figure, Axes, Axes]:
    """A figure with a plot on the left and an empty axis for the key on the right."""
    figure, (axis, key) = plt.subplots(1, 2, figsize=(9.6, 5.0), width_ratios=(2.1, 1), layout="constrained")
    style_axis(axis)
    axis.set_title(textwrap.fill(data, 84), loc="left", fontsize=7.5, color=MUTED)
    heading = fill(title, 92, 9.6, 11, "bold")
    figure.suptitle(heading, x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold")
    figure.supxlabel(textwrap.fill(where, 180), fontsize=6.5, color=MUTED)
    return figure, axis, key


def save_figure(figure: Figure, path: Path, formats: Sequence[str] = ("png", "svg"), dpi: int = 160) -> list[Path]:
    """Write and close a figure; the same figure gives the same bytes."""
    paths = [path.with_suffix(f".{name}") for name in formats]
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if visible(text.get_text()) != text.get_text():  # XML allows no control character
            text.set_text(visible(text.get_text()))
    for target in paths:
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        with replaced(target, is_durable=False) as partial:
            figure.savefig(partial, format=target.suffix[1:], dpi=dpi, metadata=dates.get(target.suffix[1:]))
        figure.set_layout_engine("none")  # layout takes longer than drawing, and the first format has done it
    plt.close(figure)
    return paths
