"""The style of pictures: one paper column wide, colours for colour-blind readers, names beside their points."""

import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")  # files only: no window, and none needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

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
    "text.hinting": "no_hinting",  # a text has the same share of the width at any resolution
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


POINTS_PER_INCH = 72.27  # of TeX
ONE_COLUMN_IN, TWO_COLUMNS_IN = 252 / POINTS_PER_INCH, 516 / POINTS_PER_INCH  # IEEE, CVPR
TITLE_POINTS, LABEL_POINTS, NOTE_POINTS = 7.5, 6.0, 5.5
FORMATS = ("png", "svg", "pdf")
DPI = 300


@dataclass(frozen=True)
class Look:
    """What stands beside a plot. By default a PNG has its title and its key; SVG and PDF, for papers, have neither.

    Args:
        title: every format has the title.
        notes: every format has all notes.
        columns: width of the picture, in columns of a paper.
    """

    title: bool = False
    notes: bool = False
    columns: Literal[1, 2] = 1

    @property
    def width_in(self) -> float:
        """Width in inches."""
        return ONE_COLUMN_IN if self.columns == 1 else TWO_COLUMNS_IN


Segment = tuple[tuple[float, float], tuple[float, float]]
"""A line from one point to another, in data coordinates."""


@dataclass(frozen=True)
class Label:
    """A name to write near a point in data coordinates; bold if it is important. Lower `order` is placed first.

    Where the name does not fit, its `rank` is written.
    """

    x: float
    y: float
    text: str
    colour: str = INK
    is_important: bool = False
    order: int = 0
    rank: int = 0


def make_panel(
    title: str, key: str, notes: Sequence[str] = (), height_in: float = 2.9, look: Look = Look()
) -> tuple[Figure, Axes]:
    """A figure one or two columns wide: title, one plot, and below it the key and, if `look` says so, the notes."""
    figure, (axis,) = make_panels(1, title, key, notes, height_in, look)
    return figure, axis


def make_panels(
    count: int, title: str, key: str, notes: Sequence[str] = (), height_in: float = 2.9, look: Look = Look()
) -> tuple[Figure, tuple[Axes, ...]]:
    """`make_panel` with several plots, one below the other, over one axis to the right."""
    figure, axes = plt.subplots(count, 1, figsize=(look.width_in, height_in), layout="constrained", sharex=True)
    plots = (axes,) if count == 1 else tuple(axes)
    for axis in plots:
        style_axis(axis)
    letters = 62 * look.columns
    heading = fill(title, letters, look.width_in, TITLE_POINTS, "bold")
    figure.suptitle(heading, x=0.01, ha="left", fontsize=TITLE_POINTS, color=INK, fontweight="bold")
    lines = [each for each in (key, *(notes if look.notes else ())) if each]
    below = "\n".join(fill(each, 84 * look.columns, look.width_in, NOTE_POINTS) for each in lines)
    figure.supxlabel(below, x=0.01, ha="left", fontsize=NOTE_POINTS, color=MUTED)
    return figure, plots


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
    if not line.strip():
        return 0.0  # matplotlib makes no path of nothing
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
KEY_DROP_POINTS = 29.0  # from the plot to the names of the numbers, below the label of the axis
NEAR_POINTS = 6.0
"""A name further from its point than this gets a line to it."""


def name_points(
    figure: Figure,
    axis: Axes,
    labels: Sequence[Label],
    marks: Sequence[tuple[float, float]],
    bars: Sequence[Segment] = (),
) -> None:
    """Write names beside their points; where one does not fit, write its rank, and the name below the plot.

    Args:
        figure: the figure.
        axis: its plot.
        labels: the names.
        marks: the points, which no name covers.
        bars: lines that no name covers.
    """
    plain, height_in = set(axis.texts), figure.get_figheight()
    spelt: list[Label] = []
    while True:  # a longer key makes the plot smaller, so that another name may not fit
        for text in [text for text in axis.texts if text not in plain]:
            text.remove()
        _write_key(figure, axis, spelt, height_in)
        left_out = place_labels(figure, axis, [_with_number(label, spelt) for label in labels], marks, bars)
        fresh = [label for label in labels if label in left_out and label not in spelt]
        if not fresh:
            break
        spelt += fresh


def _with_number(label: Label, spelt: Sequence[Label]) -> Label:
    return replace(label, text=str(label.rank), order=-1) if label in spelt else label


def _write_key(figure: Figure, axis: Axes, spelt: Sequence[Label], height_in: float) -> None:
    """Write the names of the numbers below the label of the axis, in a figure that grows by their lines."""
    if not spelt:
        return
    named = sorted(spelt, key=lambda label: label.rank)
    key = "; ".join(f"{label.rank}\N{NO-BREAK SPACE}{label.text}" for label in named)
    text = fill(key, int(24 * figure.get_figwidth()), 0.86 * figure.get_figwidth(), NOTE_POINTS)
    height_points = 1.35 * NOTE_POINTS * (text.count("\n") + 1)
    figure.set_figheight(height_in + height_points / 72)
    # Blank lines below the label keep the room: a text wider than the plot would make the layout shrink the plot.
    blank = math.ceil(height_points / (1.2 * STYLE["font.size"]))
    axis.set_xlabel(axis.get_xlabel().rstrip("\n") + "\n" * blank)
    written = axis.annotate(
        text,
        (0, 0),
        xycoords="axes fraction",
        xytext=(0, -KEY_DROP_POINTS),
        textcoords="offset points",
        va="top",
        fontsize=NOTE_POINTS,
        color=INK,
        annotation_clip=False,
    )
    written.set_in_layout(False)


def place_labels(
    figure: Figure,
    axis: Axes,
    labels: Sequence[Label],
    marks: Sequence[tuple[float, float]],
    bars: Sequence[Segment] = (),
) -> list[Label]:
    """Write names where they cover no mark, no bar, no other name and no line to one; returns those that do not fit.

    A name is nearer to its own point than to any other, or has a line to it. A number, which the key explains, is
    always written: if it fits nowhere, its line may cross others; if there is still no room, it lies on them.
    """
    figure.canvas.draw()
    scale = figure.dpi / 72
    points = [axis.transData.transform(mark) for mark in marks]
    taken = [_around(point, 3.0 * scale) for point in points]
    lines: list[Line] = [(axis.transData.transform(bar[0]), axis.transData.transform(bar[1])) for bar in bars]
    left_out = []
    for label in sorted(labels, key=lambda each: (each.order, not each.is_important, each.x)):
        centre = axis.transData.transform((label.x, label.y))
        others = [point for point in points if abs(point[0] - centre[0]) + abs(point[1] - centre[1]) > scale]
        rooms = [_Room(taken, lines, others)]
        if label.text == str(label.rank):
            rooms += [_Room(taken, [], others, may_cross=True), _Room([], [], others, may_cross=True)]
        spot = next((spot for room in rooms if (spot := _find_spot(axis, label, centre, room, scale))), None)
        if spot is None:
            left_out.append(label)
            continue
        taken.append(spot.box)
        if spot.line is not None:
            lines.append(spot.line)
        _write(axis, label, spot.offset, spot.line is not None)
    return left_out


Line = tuple[Any, Any]
"""A line from one point to another, in dots."""


@dataclass(frozen=True)
class _Room:
    """What a name must not cover, the other points, and whether its line may cross what is taken."""

    taken: Sequence[Box]
    lines: Sequence[Line]
    others: Sequence[Any]
    may_cross: bool = False


@dataclass(frozen=True)
class _Spot:
    """A place for a name: its box, its offset from the point in points, and the line to it if it has one."""

    box: Box
    offset: tuple[float, float]
    line: Line | None


def _find_spot(axis: Axes, label: Label, centre: Any, room: _Room, scale: float) -> _Spot | None:
    """The first candidate position of a name that covers nothing; None if there is none."""
    frame = axis.get_window_extent()
    weight = "bold" if label.is_important else "normal"
    width, height = scale * (_width(label.text, LABEL_POINTS, weight) + 1.0), 1.15 * LABEL_POINTS * scale
    for distance, across, up in _spots():
        x, y = centre[0] + across * distance * scale, centre[1] + up * distance * scale
        left = x if across > 0 else x - width if across < 0 else x - width / 2
        box = (left, y - height / 2, left + width, y + height / 2)
        if not (frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1):
            continue
        if any(_overlap(box, other) for other in room.taken) or any(_crosses(line, box) for line in room.lines):
            continue
        nearest = min((_distance(box, point) for point in room.others), default=float("inf"))
        has_line = distance > NEAR_POINTS or nearest < 1.4 * _distance(box, centre) + scale
        line = (centre, (left if across > 0 else left + width if across < 0 else x, y))
        is_crossed = has_line and any(_crosses(line, other) for other in room.taken if not _inside(other, centre))
        if is_crossed and not room.may_cross:
            continue
        return _Spot(box, (across * distance, up * distance), line if has_line else None)
    return None


def _spots() -> Iterable[tuple[float, float, float]]:
    """Candidate positions of a name: distance in points, and direction across and up."""
    for distance in (5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0, 66.0, 86.0, 112.0):
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
    """Write names to the right of the plot, one for the end of each line, stacked where they would overlap.

    The plot becomes narrower by the longest name; a name wider than 45 % of the figure is shortened in its middle.
    """
    figure.canvas.draw()
    step = 1.2 * LABEL_POINTS * figure.dpi / 72
    ordered = sorted(labels, key=lambda label: label.y)
    heights = [float(axis.transData.transform((label.x, label.y))[1]) for label in ordered]
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + step)
    # Names pushed over the top come down again, and push those below them.
    top = axis.get_window_extent().y1
    for number in reversed(range(len(heights))):
        heights[number] = min(heights[number], top - step * (len(heights) - 1 - number))
    for label, height in zip(ordered, heights, strict=True):
        axis.annotate(
            shorten(label.text, 0.45 * 72 * figure.get_figwidth(), LABEL_POINTS),
            (label.x, label.y),
            xytext=(1.04, axis.transData.inverted().transform((0.0, height))[1]),
            textcoords=axis.get_yaxis_transform(),
            fontsize=LABEL_POINTS,
            color=label.colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                **{"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 1},
                "relpos": (0.0, 0.5),
            },
        )


def shorten(text: str, most_points: float, points: float) -> str:
    """`text`, or its beginning and its end around `…` so that it is at most `most_points` wide."""
    kept, shown = len(text), text
    while kept > 2 and _width(shown, points, "normal") > most_points:
        kept -= 1
        shown = text[: kept - kept // 2] + "\N{HORIZONTAL ELLIPSIS}" + text[len(text) - kept // 2 :]
    return shown


def save_figure(
    figure: Figure, path: Path, formats: Sequence[str] = ("png", "svg"), dpi: int = 160, look: Look | None = None
) -> list[Path]:
    """Write and close a figure; the same figure gives the same bytes.

    Args:
        figure: the figure.
        path: of the files, without an ending.
        formats: the endings.
        dpi: dots per inch of a PNG.
        look: what SVG and PDF keep beside the plot; None keeps all of it.
    """
    paths = [path.with_suffix(f".{name}") for name in formats]
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if visible(text.get_text()) != text.get_text():  # XML allows no control character
            text.set_text(visible(text.get_text()))
    if look is not None:
        figure.canvas.draw()  # the layout is that of the whole, also where less of it is shown
        figure.set_layout_engine("none")
    for target in paths:
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        box = _hide_beside(figure, look if target.suffix != ".png" else None)
        with replaced(target, is_durable=False) as partial:
            figure.savefig(
                partial, format=target.suffix[1:], dpi=dpi, metadata=dates.get(target.suffix[1:]), bbox_inches=box
            )
        figure.set_layout_engine("none")  # layout takes longer than drawing, and the first format has done it
    plt.close(figure)
    return paths


def _hide_beside(figure: Figure, look: Look | None) -> Bbox | None:
    """Hide the title and the notes unless `look` keeps them; returns what is left of the figure, None for all of it."""
    above, below = figure._suptitle, figure._supxlabel  # type: ignore[attr-defined]
    for text, is_kept in ((above, look is None or look.title), (below, look is None or look.notes)):
        if text is not None:
            text.set_visible(is_kept)
    if look is None or (look.title and look.notes):
        return None
    box = figure.get_tightbbox()
    return Bbox.from_extents(0.0, box.y0 - 0.03, figure.get_figwidth(), box.y1 + 0.03)
