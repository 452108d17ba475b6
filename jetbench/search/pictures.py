"""Pictures of searches: networks by cost with their front, the importance of each axis, the hypervolume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import matplotlib
from matplotlib.axes import Axes

from jetbench.records.record import Record
from jetbench.reporting.pictures.drawing import ACCENT, INK, MUTED, house_style, make_figure, save_figure
from jetbench.search.answer import PICTURE, AnswerRow, title_of
from jetbench.search.importance import Importance, importances
from jetbench.search.ledger import Ledger
from jetbench.search.space import Quantities, column_of, describe_limits
from jetbench.search.stopping import miou_of
from jetbench.spec.search import Objective, Search
from jetbench.stats import front_of

matplotlib.use("Agg")


class Bar(Protocol):
    """One axis with its share of the variance, and the share by chance."""

    @property
    def axis(self) -> str:
        """The axis's name."""

    @property
    def share(self) -> float:
        """The share of the variance that the axis explains, 0 to 1."""

    @property
    def chance(self) -> float:
        """The share that chance explains in 19 of 20 cases, 0 to 1."""


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
    """Draw networks by cost: the front with labels, trainings ended early as crosses, the base, and the limit."""
    best = sorted((trained[number] for number in front_of([(p.cost, -p.miou) for p in trained])), key=lambda p: p.cost)
    with house_style():
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
        lines = [("orange: Pareto-optimal", ACCENT), ("(labelled by the number in the name)", ACCENT)]
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
    """Draw the mean test mIoU by cost with every seed as a dot; the first row is the base and is drawn dark."""
    with house_style():
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
        lines = [("orange: found by the search", ACCENT), ("(labelled by the number in the name)", ACCENT)]
        _write_key(key, [*lines, (f"dark: the base, {rows[0].name}", INK), ("large: mean; small: each seed", MUTED)])
        return save_figure(figure, path)


def _write_key(key: Axes, lines: Sequence[tuple[str, str]]) -> None:
    key.axis("off")
    for number, (text, colour) in enumerate(lines):
        key.text(0, 0.95 - 0.07 * number, text, fontsize=8, color=colour, transform=key.transAxes)


def draw_importances(path: Path, bars: Sequence[Bar], texts: tuple[str, str, str]) -> list[Path]:
    """Draw a bar for each axis, grey if its share is not above chance."""
    with house_style():
        figure, axis, key = make_figure(*texts)
        places = range(len(bars), 0, -1)
        colours = [ACCENT if bar.share > bar.chance else MUTED for bar in bars]
        axis.barh(places, [100 * bar.share for bar in bars], color=colours, height=0.6)
        chances = [100 * bar.chance for bar in bars]
        axis.vlines(chances, [p - 0.42 for p in places], [p + 0.42 for p in places], color=INK, linewidth=1.2)
        axis.set_yticks(places, [bar.axis for bar in bars])
        axis.set_xlabel("share of the variance in mIoU that the axis explains (%)")
        axis.set_xlim(left=0)
        _write_key(key, [("line: share by chance in 19 of 20 cases", INK), ("grey: not above chance", INK)])
        return save_figure(figure, path)


def draw_hypervolumes(
    path: Path, groups: Mapping[str, Sequence[Sequence[float]]], texts: tuple[str, str, str]
) -> list[Path]:
    """Draw each group's mean over its seeds as a line, with its range."""
    colours = (ACCENT, INK, "#2b8a3e", "#5f3dc4")
    with house_style():
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


FEW = 8  # trained networks that importances need; with fewer they would be chance


def importance_of(ledger: Ledger) -> list[Importance]:
    """The importance of each axis for the validation mIoU of the trained networks."""
    trained = [
        (params, miou_of(record))
        for record in ledger.landed
        if record.failure is None and record.training and (params := ledger.space.params(record.changes)) is not None
    ]
    return importances([params for params, _ in trained], [miou for _, miou in trained], list(ledger.space.choices))


def write_pictures(folder: Path, ledger: Ledger) -> list[Path]:
    """Write one picture for each cost among the objectives, and one of the importances."""
    trained = [record for record in ledger.landed if record.training is not None]
    ended = [record for record in trained if record.failure is None]
    if not ended:
        return []
    search = ledger.search
    title = title_of(search)
    data = trained[0].data.describe()
    how = f"{search.training.budget} each, one run each; limits {describe_limits(search.limits)}"
    written: list[Path] = []
    start = ledger.space.start()
    base = next((r for r in ended if start is not None and ledger.space.params(r.changes) == start), None)
    for name in search.objectives:
        if name == "miou":
            continue
        scale, label = column_of(name).on_axis.scale, column_of(name).axis_label
        most = search.limits.given.get(name)

        def point(record: Record, name: Objective = name, scale: float = scale) -> Trained:
            quantities = Quantities.of(ledger.space.cost(record.architecture), record.profile)
            return Trained(record.variant, scale * (quantities.get(name) or 0.0), 100 * miou_of(record))

        written += draw_search(
            folder / f"search-{name}",
            [point(record) for record in ended],
            [point(record) for record in trained if record.failure is not None],
            point(base) if base else None,
            label,
            None if most is None else scale * most,
            (title, data, how),
        )
    if len(ended) >= FEW and (bars := importance_of(ledger)):
        early = len(trained) - len(ended)
        without = f"; {early} that were ended early are left out" if early else ""
        how = f"{how}; main effects among the {len(ended)} networks trained to the end, not of the whole space{without}"
        written += draw_importances(folder / "importance", bars, (f"{search.name}: importance of each axis", data, how))
    return written


def write_answer_picture(folder: Path, rows: Sequence[AnswerRow], search: Search) -> list[Path]:
    """Write answer.png and answer.svg: the networks of the answer and the base by the search's first cost."""
    name = next(goal for goal in search.objectives if goal != "miou")
    scale, label = column_of(name).on_axis.scale, column_of(name).axis_label
    settled = [
        Settled(row.name, scale * cost, tuple(100 * miou for miou in row.test))
        for row in rows
        if (cost := row.cost(name)) is not None and row.test
    ]
    if not settled or settled[0].name != rows[0].name:
        return []  # the base, which is drawn first, is missing, so there is nothing to compare with
    trained = next(record for row in rows for record in row.kept)
    how = f"{search.final.budget} each, seeds {', '.join(map(str, search.final.seeds))}; the search did not use test"
    return draw_answer(folder / PICTURE, settled, label, (title_of(search), trained.data.describe(), how))
