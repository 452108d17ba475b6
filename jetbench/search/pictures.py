"""Pictures of searches: networks by cost with their front, the importance of each axis, the hypervolume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jetbench.records.record import Record
from jetbench.reporting.pictures.drawing import (
    ACCENT,
    DPI,
    INK,
    LABEL_POINTS,
    MUTED,
    PALETTE,
    Label,
    Look,
    house_style,
    make_panel,
    name_ends,
    name_points,
    save_figure,
)
from jetbench.search.answer import PICTURE, AnswerRow, title_of
from jetbench.search.importance import Importance, importances
from jetbench.search.ledger import Ledger
from jetbench.search.space import Quantities, column_of, describe_limits
from jetbench.search.stopping import miou_of
from jetbench.spec.search import Objective, Search
from jetbench.stats import front_of


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


@dataclass(frozen=True)
class Words:
    """What stands beside a picture: its title, what its networks were trained on, and how."""

    title: str
    data: str
    how: str

    def key(self, *parts: str) -> str:
        """The parts that are not empty, then how the networks were trained."""
        return "; ".join(part for part in (*parts, self.how) if part)


LOOK = Look()


def draw_search(
    path: Path,
    trained: Sequence[Trained],
    stopped: Sequence[Trained],
    base: Trained | None,
    label: str,
    limit: float | None,
    words: Words,
) -> list[Path]:
    """Draw networks by cost: the front with labels, trainings ended early as crosses, the base, and the limit."""
    best = sorted((trained[number] for number in front_of([(p.cost, -p.miou) for p in trained])), key=lambda p: p.cost)
    key = words.key(
        f"orange: Pareto front of the plain numbers among {len(trained)} networks, by the number in the name",
        f"crosses: {len(stopped)} ended early" if stopped else "",
        "circle: the base" if base else "",
        "dashed: the limit" if limit is not None else "",
    )
    with house_style():
        figure, axis = make_panel(words.title, key, [words.data], look=LOOK)
        x, y = [p.cost for p in trained], [p.miou for p in trained]
        axis.scatter(x, y, s=9, color=INK, alpha=0.55, linewidths=0, zorder=2)
        x, y = [p.cost for p in stopped], [p.miou for p in stopped]
        axis.scatter(x, y, s=9, marker="x", color=MUTED, linewidths=0.7, zorder=2)
        x, y = [p.cost for p in best], [p.miou for p in best]
        axis.step(x, y, "-", where="post", color=ACCENT, linewidth=0.8, alpha=0.7, zorder=3)
        axis.scatter(x, y, s=14, color=ACCENT, linewidths=0, zorder=4)
        if base is not None:
            axis.scatter(base.cost, base.miou, s=40, facecolors="none", edgecolors=INK, linewidths=0.9, zorder=5)
        if limit is not None:
            axis.axvline(limit, color=MUTED, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
        axis.set_xlabel(label)
        axis.set_ylabel("best validation mIoU (%)")
        everyone = [*trained, *stopped]
        labels = [Label(p.cost, p.miou, _number_of(p.name), ACCENT, rank=n) for n, p in enumerate(best, 1)]
        name_points(figure, axis, labels, [(p.cost, p.miou) for p in everyone])
        return save_figure(figure, path, dpi=DPI, look=LOOK)


def _number_of(name: str) -> str:
    """`013` of `camvid-0-013`."""
    return name.rpartition("-")[2]


@dataclass(frozen=True)
class Settled:
    """One network of the answer: its cost in the picture's unit, and the test mIoU (%) of each seed."""

    name: str
    cost: float
    mious: tuple[float, ...]


def draw_answer(path: Path, rows: Sequence[Settled], label: str, words: Words) -> list[Path]:
    """Draw the mean test mIoU by cost with every seed as a dot; the first row is the base and is drawn dark."""
    key = words.key(
        "orange: found by the search, by the number in the name",
        f"dark: the base, {rows[0].name}",
        "large: mean; small: each seed",
    )
    with house_style():
        figure, axis = make_panel(words.title, key, [words.data], look=LOOK)
        labels, bars = [], []
        for number, row in enumerate(rows):
            colour, mean = ACCENT if number else INK, sum(row.mious) / len(row.mious)
            ends = min(row.mious), max(row.mious)
            axis.vlines(row.cost, *ends, color=colour, linewidth=0.7, alpha=0.5, zorder=2)
            axis.scatter([row.cost] * len(row.mious), row.mious, s=4, color=colour, alpha=0.6, linewidths=0, zorder=3)
            axis.scatter(row.cost, mean, s=16, color=colour, linewidths=0, zorder=4)
            bars.append(((row.cost, ends[0]), (row.cost, ends[1])))
            name = _number_of(row.name) if number else f"{row.name} (base)"
            labels.append(Label(row.cost, mean, name, colour, order=min(number, 1), rank=number + 1))
            if number == 0:
                axis.axhline(mean, color=INK, linewidth=0.5, linestyle=(0, (4, 3)), alpha=0.5, zorder=1)
        axis.set_xlabel(label)
        axis.set_ylabel("test mIoU (%)")
        name_points(figure, axis, labels, [(each.x, each.y) for each in labels], bars)
        return save_figure(figure, path, dpi=DPI, look=LOOK)


def draw_importances(path: Path, bars: Sequence[Bar], words: Words) -> list[Path]:
    """Draw a bar for each axis, grey if its share is not above chance."""
    key = words.key("line: share by chance in 19 of 20 cases", "grey: not above chance")
    with house_style():
        figure, axis = make_panel(words.title, key, [words.data], 1.3 + 0.13 * len(bars), LOOK)
        places = range(len(bars), 0, -1)
        colours = [ACCENT if bar.share > bar.chance else MUTED for bar in bars]
        axis.barh(places, [100 * bar.share for bar in bars], color=colours, height=0.6)
        chances = [100 * bar.chance for bar in bars]
        axis.vlines(chances, [p - 0.42 for p in places], [p + 0.42 for p in places], color=INK, linewidth=0.8)
        axis.set_yticks(places, [bar.axis for bar in bars], fontsize=LABEL_POINTS)
        axis.set_ylim(0.3, len(bars) + 0.7)
        axis.set_xlabel("share of the variance in mIoU (%)")
        axis.set_xlim(left=0)
        return save_figure(figure, path, dpi=DPI, look=LOOK)


def draw_hypervolumes(path: Path, groups: Mapping[str, Sequence[Sequence[float]]], words: Words) -> list[Path]:
    """Draw each group's mean over its seeds as a line, with its range."""
    seeds = sorted({len(runs) for runs in groups.values()})
    key = words.key(
        f"line: mean of {' or '.join(map(str, seeds))} seeds; band: from the least to the most",
        "box: up to the limits and 100 % mIoU",
    )
    with house_style():
        figure, axis = make_panel(words.title, key, [words.data], look=LOOK)
        labels = []
        for number, (name, runs) in enumerate(groups.items()):
            colour = PALETTE[number % len(PALETTE)]
            length = min(len(run) for run in runs)
            x = range(1, length + 1)
            columns = [[100 * run[step] for run in runs] for step in range(length)]
            means = [sum(column) / len(column) for column in columns]
            low, high = [min(column) for column in columns], [max(column) for column in columns]
            axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(x, means, color=colour, linewidth=0.9)
            labels.append(Label(length, means[-1], name, colour))
        axis.set_xlabel("networks trained")
        axis.set_ylabel("hypervolume (% of its box)")
        axis.set_ylim(bottom=0)
        axis.margins(x=0.03)
        name_ends(figure, axis, labels)
        return save_figure(figure, path, dpi=DPI, look=LOOK)


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
            Words(title, data, how),
        )
    if len(ended) >= FEW and (bars := importance_of(ledger)):
        early = len(trained) - len(ended)
        without = f"; {early} that were ended early are left out" if early else ""
        how = f"{how}; main effects among the {len(ended)} networks trained to the end, not of the whole space{without}"
        written += draw_importances(
            folder / "importance", bars, Words(f"{search.name}: importance of each axis", data, how)
        )
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
    return draw_answer(folder / PICTURE, settled, label, Words(title_of(search), trained.data.describe(), how))
