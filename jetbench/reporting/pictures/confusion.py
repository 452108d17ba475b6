"""The picture of a confusion matrix: for each true class, the share of its pixels that got each class."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.colors import LinearSegmentedColormap

from jetbench.reporting.pictures.drawing import (
    DPI,
    INK,
    LABEL_POINTS,
    PALETTE,
    Look,
    house_style,
    make_panel,
    save_figure,
    shorten,
)

MOST_NUMBERS = 20  # classes up to which every cell has its number
LEAST_SHOWN = 0.5  # per cent


def draw_confusion(
    path: Path, names: Sequence[str], matrix: Sequence[Sequence[int]], title: str, look: Look = Look()
) -> list[Path]:
    """Draw a matrix of pixels by true class (rows) and predicted class (columns), each row in percent of its sum.

    Args:
        path: of the files, without an ending.
        names: the classes.
        matrix: the pixels.
        title: of the picture.
        look: what stands beside it.
    """
    shares = [[100 * count / sum(row) if sum(row) else 0.0 for count in row] for row in matrix]
    size = len(names)
    key = "a row: the pixels of a class in percent, by the class that the network gave them"
    key += f"; no number: {LEAST_SHOWN:g} % or less" * (size <= MOST_NUMBERS)
    key += "; an empty row: not in the labels" * any(not sum(row) for row in matrix)
    with house_style():
        figure, axis = make_panel(title, key, height_in=max(2.6, min(9.0, 1.1 + 0.16 * size)), look=look)
        axis.grid(visible=False)
        axis.imshow(shares, cmap=_colours(), vmin=0, vmax=100, aspect="auto")
        if size <= MOST_NUMBERS:
            for row, values in enumerate(shares):
                for column, value in enumerate(values):
                    if value > LEAST_SHOWN:
                        ink = "white" if value > 55 else INK
                        axis.text(
                            column, row, f"{value:.0f}", ha="center", va="center", fontsize=LABEL_POINTS - 1, color=ink
                        )
        short = [shorten(name, 70, LABEL_POINTS) for name in names]
        points = LABEL_POINTS if size <= 2 * MOST_NUMBERS else 3.0
        axis.set_xticks(range(size), short, rotation=90, fontsize=points)
        axis.set_yticks(range(size), short, fontsize=points)
        axis.set_xlabel("predicted")
        axis.set_ylabel("true")
        axis.margins(0)
        return save_figure(figure, path, dpi=DPI, look=look)


def _colours() -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("share", ["white", PALETTE[0]])
