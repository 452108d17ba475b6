"""Pictures of searches: trained networks with their front, what each choice matters, hypervolume over trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from jetbench.front import front_of
from jetbench.reporting.plots import ACCENT, INK, MUTED, STYLE, make_figure, save_figure


class Bar(Protocol):
    """One axis with its share of the variance, and what chance gives."""

    @property
    def axis(self) -> str:
        """Its name."""

    @property
    def share(self) -> float:
        """0 to 1."""

    @property
    def chance(self) -> float:
        """0 to 1."""


def draw_search(
    path: Path,
    points: Sequence[tuple[float, float]],
    stopped: Sequence[tuple[float, float]],
    base: tuple[float, float] | None,
    label: str,
    texts: tuple[str, str, str],
) -> list[Path]:
    """(cost, mIoU in percent) of trained networks and of those ended early, the front and the base."""
    best = sorted(points[number] for number in front_of([(cost, -miou) for cost, miou in points]))
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(*texts)
        axis.scatter(
            [x for x, _ in points], [y for _, y in points], s=22, color=INK, alpha=0.55, linewidths=0, zorder=2
        )
        if stopped:
            axis.scatter(
                [x for x, _ in stopped],
                [y for _, y in stopped],
                s=22,
                marker="x",
                color=MUTED,
                linewidths=1.0,
                zorder=2,
            )
        axis.step(
            [x for x, _ in best], [y for _, y in best], where="post", color=ACCENT, linewidth=1.4, alpha=0.7, zorder=3
        )
        axis.scatter([x for x, _ in best], [y for _, y in best], s=34, color=ACCENT, zorder=4)
        if base is not None:
            axis.scatter(base[0], base[1], s=110, facecolors="none", edgecolors=INK, linewidths=1.5, zorder=5)
        axis.set_xlabel(label)
        axis.set_ylabel("best validation mIoU (%)")
        key.axis("off")
        lines = [("orange: nothing is both better and cheaper", ACCENT), (f"{len(points)} networks trained", INK)]
        lines += [(f"crosses: {len(stopped)} ended early", MUTED)] if stopped else []
        lines += [("circle: the base", INK)] if base else []
        for number, (text, colour) in enumerate(lines):
            key.text(0, 0.95 - 0.07 * number, text, fontsize=8, color=colour, transform=key.transAxes)
        return save_figure(figure, path)


def draw_importances(path: Path, bars: Sequence[Bar], texts: tuple[str, str, str]) -> list[Path]:
    """A bar for each axis; what is within chance is grey."""
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(*texts)
        places = range(len(bars), 0, -1)
        colours = [ACCENT if bar.share > bar.chance else MUTED for bar in bars]
        axis.barh(places, [100 * bar.share for bar in bars], color=colours, height=0.6)
        chances = [100 * bar.chance for bar in bars]
        axis.vlines(chances, [p - 0.42 for p in places], [p + 0.42 for p in places], color=INK, linewidth=1.2)
        axis.set_yticks(places, [bar.axis for bar in bars])
        axis.set_xlabel("share of the spread in mIoU that its values explain (%)")
        axis.set_xlim(left=0)
        key.axis("off")
        for number, text in enumerate(("line: what chance explains in 19 of 20 cases", "grey: no more than chance")):
            key.text(0, 0.95 - 0.07 * number, text, fontsize=8, color=INK, transform=key.transAxes)
        return save_figure(figure, path)


def draw_hypervolumes(
    path: Path, groups: Mapping[str, Sequence[Sequence[float]]], texts: tuple[str, str, str]
) -> list[Path]:
    """A line for each group's mean over its seeds, its range behind it."""
    colours = (ACCENT, INK, "#2b8a3e", "#5f3dc4")
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(*texts)
        key.axis("off")
        for number, (name, runs) in enumerate(groups.items()):
            colour = colours[number % len(colours)]
            length = min(len(run) for run in runs)
            x = range(1, length + 1)
            columns = [[100 * run[step] for run in runs] for step in range(length)]
            axis.fill_between(x, [min(c) for c in columns], [max(c) for c in columns], color=colour, alpha=0.15)
            axis.plot(x, [sum(c) / len(c) for c in columns], color=colour, linewidth=1.6)
            text = f"{name}: mean and range of {len(runs)} seeds"
            key.text(0, 0.95 - 0.07 * number, text, fontsize=8, color=colour, transform=key.transAxes)
        axis.set_xlabel("networks trained")
        axis.set_ylabel("hypervolume (% of the box up to the limit)")
        return save_figure(figure, path)
