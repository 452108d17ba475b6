"""python -m jetbench.paper.samplers [--again] OUT FOLDER...: samplers by hypervolume, and the stopping rule replayed.

It reads records only. With --again it trains the fronts with other seeds and keeps the records in OUT/again: a front
also selects lucky trainings, and a sampler that proposes many similar networks selects the luckiest of more. Runs may
differ only in sampler, seed and how their front is trained again; others are refused.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jetbench.data.cache import load_data
from jetbench.errors import JetbenchError, SpecError
from jetbench.execution.local import LocalExecutor, choose_device, local_slots
from jetbench.files import write_whole
from jetbench.network.plan import plan_architecture
from jetbench.network.variants import Variant
from jetbench.records.folder import SWEEP, read_records
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.tables.columns import numbers
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow
from jetbench.reporting.tables.terminal import to_terminal
from jetbench.reporting.terminal import print_notes, print_whole
from jetbench.search.answer import describe_difference
from jetbench.search.ledger import Ledger
from jetbench.search.pictures import Words, draw_hypervolumes
from jetbench.search.space import SearchSpace, describe_limits
from jetbench.search.stopping import curve_of, miou_of
from jetbench.spec.base import parse_spec, read_yaml
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.stats import differences, front_of, hypervolume
from jetbench.study.progress import LineView
from jetbench.study.run import run_study
from jetbench.training.loop import why_stopped

FREE = {"name", "sampler", "seed", "description", "final"}
AGAIN, AGAIN_SEEDS = "again", (11, 12, 13)
Scores = Mapping[str, Sequence[float]]  # mIoU of each training, by the network's fingerprint


@dataclass(frozen=True)
class Run:
    """One search's finished trainings in their order, with their objectives; lower is better."""

    search: Search
    records: tuple[Record, ...]
    points: tuple[tuple[float, ...], ...]
    ledger: Ledger

    def volumes(self, reference: Sequence[float]) -> list[float]:
        """The dominated share after each training (see `dominated_share`)."""
        return [dominated_share(self.points[:count], reference) for count in range(1, len(self.points) + 1)]

    def front(self) -> list[int]:
        """Positions of the Pareto-optimal trainings."""
        return front_of(self.points)

    def lacking(self, scores: Scores) -> list[Record]:
        """Records of the front whose network was trained again fewer than two times."""
        front = (self.records[number] for number in self.front())
        return [record for record in front if len(scores.get(record.fingerprint, ())) < 2]

    def again(self, scores: Scores) -> list[tuple[float, ...]]:
        """The front's points with the mean mIoU of the repeated trainings, which did not select the front."""
        at = self.search.objectives.index("miou")
        points = []
        for number in self.front():
            point = list(self.points[number])
            point[at] = -statistics.fmean(scores[self.records[number].fingerprint])
            points.append(tuple(point))
        return points


@dataclass(frozen=True)
class Replay:
    """The stopping rule applied to trainings that ran to their end."""

    trainings: int
    stopped: int
    saved: float
    front: int
    front_stopped: int


def read_run(folder: Path) -> Run:
    """The search in a report folder.

    Raises:
        SpecError: the folder holds no search, no finished training, or rows of another study.
    """
    if not (folder / SWEEP).exists():
        raise SpecError(f"{folder}: has no {SWEEP}, so no search; give the report folder of a search")
    search = parse_spec(Search, read_yaml(folder / SWEEP), str(folder / SWEEP))
    records = read_records(folder)
    if not records:
        raise SpecError(f"{folder}: has no finished network; run the search first")
    dataset = records[0].data
    ledger = Ledger(SearchSpace(search, dataset.num_classes, dataset.size)).enter_all(records)
    rows = list(ledger.points())
    if not rows:
        raise SpecError(f"{folder}: has no finished training; run the search first")
    if ledger.counts["taken over"]:
        raise SpecError(
            f"{folder}: took over rows of another study, so not all of its trainings are its own; give another search"
        )
    return Run(search, tuple(r for r, _ in rows), tuple(tuple(values) for _, values in rows), ledger)


def dominated_share(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Share of the box between 0 cost, mIoU 1 and `reference` that is dominated."""
    box = hypervolume([tuple(-1.0 if r == 0 else 0.0 for r in reference)], reference)
    return hypervolume(points, reference) / box


def reference_of(runs: Sequence[Run]) -> tuple[float, ...]:
    """The worst corner: each cost's limit, or the highest value of all runs; mIoU 0."""
    search = runs[0].search
    corner = []
    for number, name in enumerate(search.objectives):
        seen = max(point[number] for run in runs for point in run.points)
        corner.append(0.0 if name == "miou" else float(search.limits.given.get(name, seen)))
    return tuple(corner)


def replay(run: Run) -> Replay:
    """Apply the stopping rule to each training, judged by the trainings that finished before it."""
    space = run.ledger.space
    search = run.search.model_copy(update={"early_stop": True})
    judge = Ledger(SearchSpace(search, space.num_classes, space.input_size))
    front = {run.records[number].key for number in run.front()}
    stopped, saved, lost = 0, 0.0, 0
    for record in run.records:
        floors = judge.floors(record.architecture, record.profile, record.recipe.evaluations)
        curve = curve_of(record)
        ended = next((number for number, best in enumerate(curve, 1) if why_stopped(floors, number, best)), None)
        if ended is not None:
            stopped, saved, lost = stopped + 1, saved + 1 - ended / len(curve), lost + (record.key in front)
        else:
            # A stopped training has no final value by which later trainings could be judged.
            judge.enter(record)
    return Replay(len(run.records), stopped, saved / len(run.records), len(front), lost)


def train_again(folder: Path, runs: Sequence[Run]) -> list[Record]:
    """Train each network of the runs' fronts with `AGAIN_SEEDS` and the same budget; not profiled."""
    search = runs[0].search
    dataset = load_data(search.dataset, print).info
    networks = {run.records[number].fingerprint: run.records[number] for run in runs for number in run.front()}
    variants = [
        Variant(
            f"{record.variant}, seed={seed}",
            {"network": record.variant, "training.seed": seed},
            record.architecture,
            search.training.model_copy(update={"seed": seed}),
            plan_architecture(record.architecture, dataset.num_classes, dataset.size),
        )
        for seed in AGAIN_SEEDS
        for record in networks.values()
    ]
    sweep = Sweep(
        name=AGAIN,
        description="the fronts of several searches with other seeds",
        base=search.base,
        include_base=False,
        dataset=search.dataset,
        training=variants[0].training,
        profiling=search.profiling,
        device=search.device,
        timeout_s=search.timeout_s,
    )
    device = choose_device(search.device)
    executor = LocalExecutor(local_slots(device, search.training.threads, None))
    view = LineView(Console(highlight=False))
    with view:
        return run_study(
            folder=folder,
            sweep=sweep,
            variants=variants,
            dataset=dataset,
            device=device,
            executor=executor,
            view=view,
            phases=("train",),
        )


def scores_of(folder: Path) -> dict[str, list[float]]:
    """Validation mIoU of every training in a folder, by the network's fingerprint."""
    scores: dict[str, list[float]] = {}
    for record in read_records(folder):
        if record.training is not None:
            scores.setdefault(record.fingerprint, []).append(miou_of(record))
    return scores


def main(out: Path, folders: Sequence[Path], again: bool = False) -> None:
    """Write comparison.md, hypervolume.png and .svg to `out`; OUT/again is read if it exists.

    Raises:
        SpecError: the searches differ in more than sampler, seed and how their front is trained again.
    """
    runs = [read_run(folder) for folder in folders]
    protocols = [run.search.model_dump(mode="json", exclude=FREE) for run in runs]
    for folder, protocol in zip(folders, protocols, strict=True):
        if protocol != protocols[0]:
            different = [key for key in protocol if protocol[key] != protocols[0][key]]
            raise SpecError(f"{folder}: does not compare with {folders[0]}: they differ in {', '.join(different)}")
    reference = reference_of(runs)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.search.sampler, []).append(run)
    volumes = {name: [run.volumes(reference) for run in own] for name, own in groups.items()}
    out.mkdir(parents=True, exist_ok=True)
    first = runs[0]
    budget = f"{first.search.training.budget} each, limits {describe_limits(first.search.limits)}"
    draw_hypervolumes(
        out / "hypervolume",
        volumes,
        Words(
            "Hypervolume of each sampler over the same number of trainings", first.records[0].data.describe(), budget
        ),
    )
    if again:
        train_again(out / AGAIN, runs)
    table = build_comparison(runs, scores_of(out / AGAIN))
    write_whole(out / "comparison.md", f"{to_markdown(table)}\n![hypervolume](hypervolume.png)\n")
    console = Console(highlight=False)
    print_whole(console, to_terminal(table, not console.is_terminal))
    print_notes(console, table.notes.all)


COLUMNS = (
    numbers("seed", "seed"),
    numbers("trained", "trained"),
    numbers("hypervolume", "hypervolume (%)", "measured"),
    numbers("best", "best val mIoU (%)", "measured", short="best val"),
    numbers("over", "over a limit"),
    numbers("front", "on its front", short="front"),
    numbers("hypervolume-again", "hypervolume again (%)", "measured", short="again"),
    numbers("best-again", "best again (%)", "measured", short="best again"),
    numbers("luck", "luck (points)", "measured", short="luck"),
)


def build_comparison(runs: Sequence[Run], scores: Scores) -> Table:
    """The searches as a table: a row for each, and the differences between samplers as notes.

    Args:
        runs: the searches, all of one protocol.
        scores: of the fronts' networks, trained again; empty if they were not.
    """
    reference = reference_of(runs)
    ends: dict[str, list[float]] = {}
    ends_again: dict[str, list[float]] = {}
    missing: dict[str, dict[str, None]] = {}
    rows = []
    for run in runs:
        sampler, share = run.search.sampler, dominated_share(run.points, reference)
        ends.setdefault(sampler, []).append(share)
        texts = [str(run.search.seed), str(len(run.records)), f"{100 * share:.2f}"]
        texts.append(units.PERCENT.show(max(miou_of(record) for record in run.records)))
        texts += [str(run.ledger.counts["over"]), str(len(run.front()))]
        if lacking := run.lacking(scores):
            missing.setdefault(sampler, {}).update(dict.fromkeys(record.variant for record in lacking))
            texts += [units.MISSING] * 3
        else:
            again = run.again(scores)
            share = dominated_share(again, reference)
            ends_again.setdefault(sampler, []).append(share)
            at = run.search.objectives.index("miou")
            luck = statistics.fmean(
                new[at] - run.points[number][at] for new, number in zip(again, run.front(), strict=True)
            )
            best = max(-point[at] for point in again)
            texts += [f"{100 * share:.2f}", units.PERCENT.show(best), units.PERCENT.show(luck)]
        rows.append(TableRow(sampler, tuple(map(Cell, texts))))
    notes = [_describe_ends("Hypervolume", ends)]
    if any(len(each) > 1 for each in scores.values()):
        notes += _describe_again(scores)
        # A sampler's mean is given over all of its seeds or not at all.
        whole = {name: values for name, values in ends_again.items() if name not in missing}
        notes += [_describe_ends("Hypervolume again", whole)] if whole else []
        notes += [
            f"{name}: not all networks were trained again: {', '.join(sorted(lacking)[:3])} ...; run with --again."
            for name, lacking in missing.items()
        ]
    notes += _describe_replays([replay(run) for run in runs if not run.search.early_stop])
    title = "Samplers with the same trainings, limits and data"
    table = Table(title, COLUMNS, (Section("", tuple(rows)),), Notes(tuple(notes)), heading="sampler")
    return table.condensed()


def _describe_again(scores: Scores) -> list[str]:
    spread = statistics.fmean(statistics.variance(each) for each in scores.values() if len(each) > 1) ** 0.5
    return [
        f"Again: the {len(scores)} networks of these fronts were trained with seeds "
        f"{', '.join(map(str, AGAIN_SEEDS))}. The trainings of a network differ by {100 * spread:.1f} points "
        "(standard deviation). One training of each network selects a front, so it also selects lucky trainings. "
        "Luck: the mean mIoU that the front loses when trained again."
    ]


def _describe_replays(replays: Sequence[Replay]) -> list[str]:
    if not replays:
        return []
    total, stopped = sum(r.trainings for r in replays), sum(r.stopped for r in replays)
    saved = statistics.fmean(r.saved for r in replays)
    front, lost = sum(r.front for r in replays), sum(r.front_stopped for r in replays)
    return [
        f"The stopping rule, replayed on these {total} trainings, all of which ran to their end: it would have "
        f"stopped {stopped} ({stopped / total:.0%}), saved {saved:.0%} of the training time, and lost {lost} of "
        f"the {front} on a final front."
    ]


def _describe_ends(what: str, ends: Mapping[str, Sequence[float]]) -> str:
    """Each sampler's mean and standard deviation over its seeds, and its difference from random search."""
    others = [name for name in ends if name != "random"]
    changes = differences([ends["random"], *(ends[name] for name in others)]) if "random" in ends else []
    from_random, parts = dict(zip(others, changes, strict=False)), []
    for name, last in ends.items():
        spread = f" \N{PLUS-MINUS SIGN} {100 * statistics.stdev(last):.2f}" if len(last) > 1 else ""
        change = f" (compared with random {describe_difference(from_random[name])})" if name in from_random else ""
        parts.append(f"{name} {100 * statistics.fmean(last):.2f}{spread}{change}")
    return f"{what} (%), mean and standard deviation over seeds: {'; '.join(parts)}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m jetbench.paper.samplers", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for comparison.md and the picture")
    parser.add_argument("folders", type=Path, nargs="+", help="report folders of searches")
    parser.add_argument("--again", action="store_true", help="train the fronts with other seeds first")
    arguments = parser.parse_args()
    try:
        main(arguments.out, arguments.folders, arguments.again)
    except JetbenchError as problem:
        sys.exit(f"error: {problem}")
