"""python -m jetbench.paper.samplers [--again] OUT FOLDER...: samplers by hypervolume, and the stopping rule replayed.

Reads records alone. With --again the fronts are trained anew with other seeds, which are kept in OUT/again: a front is
made of the luckiest trainings too, and a sampler that proposes many alike picks the luckiest of more. Runs that differ
in more than sampler, seed and how their front is trained again are refused.
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
from jetbench.search.answer import describe_difference
from jetbench.search.ledger import Ledger
from jetbench.search.pictures import draw_hypervolumes
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
    """One search's finished trainings in their order, with objectives of which less is better."""

    search: Search
    records: tuple[Record, ...]
    points: tuple[tuple[float, ...], ...]
    ledger: Ledger

    def volumes(self, reference: Sequence[float]) -> list[float]:
        """The share that is dominated after each training (see `dominated_share`)."""
        return [dominated_share(self.points[:count], reference) for count in range(1, len(self.points) + 1)]

    def front(self) -> list[int]:
        """Positions of what no other training beats."""
        return front_of(self.points)

    def lacking(self, scores: Scores) -> list[Record]:
        """Networks of the front that were not trained again twice or more."""
        front = (self.records[number] for number in self.front())
        return [record for record in front if len(scores.get(record.fingerprint, ())) < 2]

    def again(self, scores: Scores) -> list[tuple[float, ...]]:
        """The front's points with the mean mIoU of trainings that it was not picked by."""
        at = self.search.objectives.index("miou")
        found = []
        for number in self.front():
            point = list(self.points[number])
            point[at] = -statistics.fmean(scores[self.records[number].fingerprint])
            found.append(tuple(point))
        return found


@dataclass(frozen=True)
class Replay:
    """The stopping rule applied to trainings that were run to their end."""

    trainings: int
    stopped: int
    saved: float
    front: int
    front_stopped: int


def read_run(folder: Path) -> Run:
    """The search in a report folder.

    Raises:
        SpecError: it holds no search, or no finished training.
    """
    if not (folder / SWEEP).exists():
        raise SpecError(f"{folder}: holds no search")
    search = parse_spec(Search, read_yaml(folder / SWEEP), str(folder / SWEEP))
    records = read_records(folder)
    if not records:
        raise SpecError(f"{folder}: no network has landed there")
    dataset = records[0].data
    ledger = Ledger(SearchSpace(search, dataset.num_classes, dataset.size)).enter_all(records)
    rows = list(ledger.points())
    if not rows:
        raise SpecError(f"{folder}: no training has ended there")
    if ledger.counts["taken over"]:
        raise SpecError(
            f"{folder}: has rows of another study, so its trainings are not its own; compare another search"
        )
    return Run(search, tuple(r for r, _ in rows), tuple(tuple(values) for _, values in rows), ledger)


def dominated_share(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Share of the box between 0 cost, mIoU 1 and `reference` that is dominated."""
    box = hypervolume([tuple(-1.0 if r == 0 else 0.0 for r in reference)], reference)
    return hypervolume(points, reference) / box


def reference_of(runs: Sequence[Run]) -> tuple[float, ...]:
    """The worst corner: each cost's limit, or the most that was seen; mIoU 0."""
    search = runs[0].search
    corner = []
    for number, name in enumerate(search.objectives):
        seen = max(point[number] for run in runs for point in run.points)
        corner.append(0.0 if name == "miou" else float(search.limits.given.get(name, seen)))
    return tuple(corner)


def replay(run: Run) -> Replay:
    """What the rule would have ended, each training judged by those that landed before it."""
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
            # What would have been ended has no end that later trainings could be judged by.
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
    found: dict[str, list[float]] = {}
    for record in read_records(folder):
        if record.training is not None:
            found.setdefault(record.fingerprint, []).append(miou_of(record))
    return found


def main(out: Path, folders: Sequence[Path], again: bool = False) -> None:
    """Write comparison.md, hypervolume.png and .svg to `out`; OUT/again is read where it is there."""
    runs = [read_run(folder) for folder in folders]
    held = [run.search.model_dump(mode="json", exclude=FREE) for run in runs]
    for folder, each in zip(folders, held, strict=True):
        if each != held[0]:
            different = [key for key in each if each[key] != held[0][key]]
            raise SpecError(f"{folder}: another search than {folders[0]}: {', '.join(different)} differ")
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
        ("What each sampler finds with the same trainings", first.records[0].data.describe(), budget),
    )
    if again:
        train_again(out / AGAIN, runs)
    scores = scores_of(out / AGAIN)
    lines = ["# Samplers with the same trainings, limits and data", "", "![hypervolume](hypervolume.png)", ""]
    lines += ["| sampler | seed | trained | hypervolume % | best val mIoU % | over a limit | front |"]
    lines += ["| :-- | --: | --: | --: | --: | --: | --: |"]
    for name, own in groups.items():
        for run, volume in zip(own, volumes[name], strict=True):
            over = sum(count for what, count in run.ledger.counts.items() if what.startswith("over "))
            best = 100 * max(miou_of(record) for record in run.records)
            front = len(run.front())
            cells = (name, run.search.seed, len(run.records), f"{100 * volume[-1]:.2f}", f"{best:.1f}", over, front)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines.append("")
    ends = {name: [volume[-1] for volume in own] for name, own in volumes.items()}
    lines += _describe_ends(ends)
    if any(len(each) > 1 for each in scores.values()):
        lines += _describe_again(groups, scores, reference)
    replays = [replay(run) for run in runs if not run.search.early_stop]
    if replays:
        total, stopped = sum(r.trainings for r in replays), sum(r.stopped for r in replays)
        saved = statistics.fmean(r.saved for r in replays)
        front, lost = sum(r.front for r in replays), sum(r.front_stopped for r in replays)
        lines += [
            "",
            f"The stopping rule, replayed on these {total} trainings, all of which ran to their end: it would have "
            f"ended {stopped} ({stopped / total:.0%}), saving {saved:.0%} of the training time, and {lost} of the "
            f"{front} that are on a final front.",
        ]
    write_whole(out / "comparison.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


def _describe_again(groups: Mapping[str, Sequence[Run]], scores: Scores, reference: Sequence[float]) -> list[str]:
    """The fronts by trainings that they were not picked by, and how lucky the picked ones were."""
    first = next(iter(groups.values()))[0]
    at = first.search.objectives.index("miou")
    spread = statistics.fmean(statistics.variance(each) for each in scores.values() if len(each) > 1) ** 0.5
    lines = ["", "## The same fronts, trained again", ""]
    lines.append(
        f"The {len(scores)} networks of these fronts with seeds {', '.join(map(str, AGAIN_SEEDS))}: the trainings of a "
        f"network differ by {100 * spread:.1f} points (standard deviation). A front is picked by one training of each, "
        "the lucky ones with it; `luck` is by how much its mIoU fell when it was trained again."
    )
    missing: list[str] = []
    lines += ["", "| sampler | seed | hypervolume again % | best again % | luck, points |"]
    lines += ["| :-- | --: | --: | --: | --: |"]
    volumes: dict[str, list[float]] = {}
    for name, own in groups.items():
        lacking = {record.variant for run in own for record in run.lacking(scores)}
        if lacking:
            lines.append(f"| {name} | {' | '.join([units.MISSING] * 4)} |")
            missing.append(
                f"- {name}: not trained again, or not all: {', '.join(sorted(lacking)[:3])} ...; --again does"
            )
            continue
        for run in own:
            points = run.again(scores)
            share = 100 * dominated_share(points, reference)
            seen = [run.points[number][at] for number in run.front()]
            luck = 100 * statistics.fmean(new[at] - old for new, old in zip(points, seen, strict=True))
            best = -100 * min(point[at] for point in points)
            lines.append(f"| {name} | {run.search.seed} | {share:.2f} | {best:.1f} | {luck:.1f} |")
            volumes.setdefault(name, []).append(share / 100)
    return [*lines, "", *_describe_ends(volumes), *missing]


def _describe_ends(ends: Mapping[str, Sequence[float]]) -> list[str]:
    """Each sampler's mean, and its difference to random search."""
    others = [name for name in ends if name != "random"]
    found = differences([ends["random"], *(ends[name] for name in others)]) if "random" in ends else []
    told, lines = dict(zip(others, found, strict=False)), []
    for name, last in ends.items():
        spread = f" \N{PLUS-MINUS SIGN} {100 * statistics.stdev(last):.2f}" if len(last) > 1 else ""
        against = f"; against random {describe_difference(told[name])}" if name in told else ""
        lines.append(f"- {name}: {100 * statistics.fmean(last):.2f}{spread} (standard deviation over seeds){against}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m jetbench.paper.samplers", description=__doc__)
    parser.add_argument("out", type=Path, help="where comparison.md and the picture are written")
    parser.add_argument("folders", type=Path, nargs="+", help="report folders of searches")
    parser.add_argument("--again", action="store_true", help="train the fronts with other seeds first")
    asked = parser.parse_args()
    try:
        main(asked.out, asked.folders, asked.again)
    except JetbenchError as problem:
        sys.exit(f"error: {problem}")
