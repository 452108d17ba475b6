"""The picture of streaming: mIoU at a camera's rate against the latency, one line per network."""

from collections.abc import Sequence
from pathlib import Path

from jetbench.reporting.pictures.drawing import (
    FORMATS,
    PALETTE,
    Label,
    Look,
    house_style,
    make_panel,
    name_ends,
    name_points,
    save_figure,
)
from jetbench.reporting.questions.streaming import Streamed

MOST_LINES = 7
"""Colours that differ."""


def draw_streaming(path: Path, results: Sequence[Streamed], title: str, look: Look = Look()) -> list[Path]:
    """Write the picture in each format; returns the paths.

    Args:
        path: of the files, without an ending.
        results: networks at latencies.
        title: above the picture.
        look: what stands beside it.
    """
    networks = list(dict.fromkeys(each.served.network for each in results))
    shown = sorted(networks, key=lambda name: -max(each.miou or 0.0 for each in results if each.served.network == name))
    rate = results[0].rate
    key = "one line per network; at the left end without delay; a point per board, mode and form"
    if len(networks) > MOST_LINES:
        key += f"; the {MOST_LINES} best of {len(networks)}"
    with house_style():
        figure, axis = make_panel(title, key, look=look)
        ends, names = [], []
        for number, network in enumerate(shown[:MOST_LINES]):
            own = sorted((each for each in results if each.served.network == network), key=lambda e: e.served.median_s)
            still = own[0].still.counts
            points = [(0.0, 100 * still.miou)] if still is not None else []
            points += [(1e3 * each.served.median_s, 100 * each.miou) for each in own if each.miou is not None]
            colour = PALETTE[number % len(PALETTE)]
            axis.plot(*zip(*points, strict=True), color=colour, linewidth=0.9, marker="o", markersize=2.5)
            ends.append(Label(*points[-1], network, colour))
            if number == 0:
                names = [
                    Label(1e3 * each.served.median_s, 100 * each.miou, each.served.where, colour, order=at, rank=at + 1)
                    for at, each in enumerate(own)
                    if each.miou is not None
                ]
        axis.axvline(1e3 / rate, color="#cbd2d9", linewidth=0.8)
        axis.set_xlabel(f"latency end to end (ms); the line: one frame at {rate:g} FPS")
        axis.set_ylabel(f"mIoU at {rate:g} FPS (%)")
        axis.set_xlim(left=0)
        if len(shown) > 1:
            name_ends(figure, axis, ends)
        else:
            name_points(figure, axis, names, [(label.x, label.y) for label in names])
        return save_figure(figure, path, FORMATS, look=look)
