"""Pictures of searches: trained networks with their front, what each choice matters, hypervolume over trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from jetbench.front import front_of
from jetbench.reporting.drawing import ACCENT, INK, MUTED, STYLE, make_figure, save_figure


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


@dataclass(frozen=True)
class Trained:
    """One training of a search: its name, its cost in the picture's unit, its best validation mIoU (%)."""

    name: str
    cost: float
    miou: float


def draw_search(
    path: Path,
    trained: Sequence[Trained],
    stopped: Sequence[Trained],
    base: Trained | None,
    label: str,
    limit: float | None,
    texts: tuple[str, str, str],
) -> list[Path]:
    """Networks by cost, those that were ended early as crosses; the front by name, the base, the limit as a line."""
    best = sorted(
        (trained[number] for number in front_of([(each.cost, -each.miou) for each in trained])), key=lambda p: p.cost
    )
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(*texts)
        axis.scatter(
            [p.cost for p in trained], [p.miou for p in trained], s=22, color=INK, alpha=0.55, linewidths=0, zorder=2
        )
        axis.scatter(
            [p.cost for p in stopped],
            [p.miou for p in stopped],
            s=22,
            marker="x",
            color=MUTED,
            linewidths=1.0,
            zorder=2,
        )
        axis.step([p.cost for p in best], [p.miou for p in best], "-", where="post", color=ACCENT, alpha=0.7, zorder=3)
        axis.scatter([p.cost for p in best], [p.miou for p in best], s=34, color=ACCENT, zorder=4)
        for point in best:
            axis.annotate(
                point.name.rpartition("-")[2],
                (point.cost, point.miou),
                xytext=(-4, 5),
                textcoords="offset points",
                ha="right",
                fontsize=7,
                color=ACCENT,
            )
        if base is not None:
            axis.scatter(base.cost, base.miou, s=110, facecolors="none", edgecolors=INK, linewidths=1.5, zorder=5)
        if limit is not None:
            axis.axvline(limit, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        axis.set_xlabel(label)
        axis.set_ylabel("best validation mIoU (%)")
        lines = [("orange: nothing is both better and cheaper", ACCENT), ("(by the number in its name)", ACCENT)]
        lines += [(f"{len(trained)} networks trained", INK)]
        lines += [(f"crosses: {len(stopped)} ended early", MUTED)] if stopped else []
        lines += [("circle: the base", INK)] if base else []
        lines += [("dashed: the limit", MUTED)] if limit is not None else []
        _write_key(key, lines)
        return save_figure(figure, path)


@dataclass(frozen=True)
class Settled:
    """One network of the answer: its cost in the picture's unit, and the test mIoU (%) of each seed."""

    name: str
    cost: float
    mious: tuple[float, ...]


def draw_answer(path: Path, rows: Sequence[Settled], label: str, texts: tuple[str, str, str]) -> list[Path]:
    """Mean test mIoU by cost with every seed as a dot; the base, the first row, in ink."""
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(*texts)
        for number, row in enumerate(rows):
            colour, mean = ACCENT if number else INK, sum(row.mious) / len(row.mious)
            axis.vlines(row.cost, min(row.mious), max(row.mious), color=colour, linewidth=1.2, alpha=0.5, zorder=2)
            axis.scatter([row.cost] * len(row.mious), row.mious, s=9, color=colour, alpha=0.6, linewidths=0, zorder=3)
            axis.scatter(row.cost, mean, s=44, color=colour, zorder=4)
            if number == 0:
                axis.axhline(mean, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.5, zorder=1)
                continue
            axis.annotate(
                row.name.rpartition("-")[2],
                (row.cost, mean),
                xytext=(-7, 4),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color=colour,
            )
        axis.set_xlabel(label)
        axis.set_ylabel("test mIoU (%)")
        lines = [("orange: what the search found", ACCENT), ("(by the number in its name)", ACCENT)]
        _write_key(key, [*lines, (f"dark: the base, {rows[0].name}", INK), ("large: mean; small: each seed", MUTED)])
        return save_figure(figure, path)


def _write_key(key: Axes, lines: Sequence[tuple[str, str]]) -> None:
    key.axis("off")
    for number, (text, colour) in enumerate(lines):
        key.text(0, 0.95 - 0.07 * number, text, fontsize=8, color=colour, transform=key.transAxes)


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
        _write_key(key, [("line: what chance explains in 19 of 20 cases", INK), ("grey: no more than chance", INK)])
        return save_figure(figure, path)


def draw_hypervolumes(
    path: Path, groups: Mapping[str, Sequence[Sequence[float]]], texts: tuple[str, str, str]
) -> list[Path]:
    """A line for each group's mean over its seeds, its range behind it."""
    colours = (ACCENT, INK, "#2b8a3e", "#5f3dc4")
    with plt.rc_context(STYLE):
        figure, axis, key = make_figure(*texts)
        lines = []
        for number, (name, runs) in enumerate(groups.items()):
            colour = colours[number % len(colours)]
            length = min(len(run) for run in runs)
            x = range(1, length + 1)
            columns = [[100 * run[step] for run in runs] for step in range(length)]
            axis.fill_between(x, [min(c) for c in columns], [max(c) for c in columns], color=colour, alpha=0.15)
            axis.plot(x, [sum(c) / len(c) for c in columns], color=colour, linewidth=1.6)
            lines.append((f"{name}: mean and range of {len(runs)} seeds", colour))
        _write_key(key, lines)
        axis.set_xlabel("networks trained")
        axis.set_ylabel("hypervolume (% of the box up to the limit)")
        return save_figure(figure, path)
