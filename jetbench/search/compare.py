"""python -m jetbench.search.compare OUT FOLDER...: samplers by hypervolume, and what the stopping rule would have done.

Reads records alone; nothing is trained. Runs that differ in anything but sampler and seed are refused.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jetbench.errors import JetbenchError, SpecError
from jetbench.experiment import Search
from jetbench.front import front_of, hypervolume
from jetbench.plan import plan_architecture
from jetbench.record import Record
from jetbench.reporting.answer import describe_difference
from jetbench.reporting.searches import draw_hypervolumes
from jetbench.search.searcher import Searcher
from jetbench.search.space import SearchSpace, describe_limits
from jetbench.search.stopping import miou_of
from jetbench.spec import parse_spec, read_yaml
from jetbench.study import SWEEP, read_records
from jetbench.sweep import Variant
from jetbench.training.loop import why_stopped

FREE = {"name", "sampler", "seed", "description", "early_stop"}


@dataclass(frozen=True)
class Run:
    """One search's finished trainings in their order, with objectives of which less is better."""

    search: Search
    records: tuple[Record, ...]
    points: tuple[tuple[float, ...], ...]
    searcher: Searcher

    def volumes(self, reference: Sequence[float]) -> list[float]:
        """Share of the box between 0 cost, mIoU 1 and `reference` that is dominated after each training."""
        box = hypervolume([tuple(-1.0 if r == 0 else 0.0 for r in reference)], reference)
        return [hypervolume(self.points[:count], reference) / box for count in range(1, len(self.points) + 1)]


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
    dataset = records[0].dataset
    searcher = Searcher(SearchSpace(search, dataset.num_classes, dataset.size), records)
    rows = list(searcher.points())
    if not rows:
        raise SpecError(f"{folder}: no training has ended there")
    return Run(search, tuple(r for r, _ in rows), tuple(tuple(values) for _, values in rows), searcher)


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
    space = run.searcher.space
    search = run.search.model_copy(update={"early_stop": True})
    judge = Searcher(SearchSpace(search, space.num_classes, space.input_size))
    front = {run.records[number].key for number in front_of(run.points)}
    stopped, saved, lost = 0, 0.0, 0
    for record in run.records:
        plan = plan_architecture(record.architecture, space.num_classes, space.input_size)
        variant = Variant(record.variant, record.changes, record.architecture, record.training_config, plan)
        floors = judge.floors(variant, record.profile)
        best = 0.0
        for evaluation in record.training.val if record.training else ():
            best = max(best, evaluation.counts.miou)
            share = evaluation.step / record.training.steps if record.training else 1.0
            if why_stopped(floors, share, best):
                stopped, saved, lost = stopped + 1, saved + 1 - share, lost + (record.key in front)
                break
        judge.learn(record)
    return Replay(len(run.records), stopped, saved / len(run.records), len(front), lost)


def main(out: Path, folders: Sequence[Path]) -> None:
    """Write comparison.md, hypervolume.png and .svg to `out`."""
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
        ("What each sampler finds with the same trainings", first.records[0].dataset.describe(), budget),
    )
    lines = ["# Samplers with the same trainings, limits and data", "", "![hypervolume](hypervolume.png)", ""]
    lines += ["| sampler | seed | trained | hypervolume % | best val mIoU % | over a limit | front |"]
    lines += ["| :-- | --: | --: | --: | --: | --: | --: |"]
    for name, own in groups.items():
        for run, volume in zip(own, volumes[name], strict=True):
            over = sum(count for what, count in run.searcher.counts.items() if what.startswith("over "))
            best = 100 * max(miou_of(record) for record in run.records)
            front = len(front_of(run.points))
            cells = (name, run.search.seed, len(run.records), f"{100 * volume[-1]:.2f}", f"{best:.1f}", over, front)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines.append("")
    ends = {name: [volume[-1] for volume in own] for name, own in volumes.items()}
    for name, last in ends.items():
        spread = f" \N{PLUS-MINUS SIGN} {100 * statistics.stdev(last):.2f}" if len(last) > 1 else ""
        is_told = name != "random" and "random" in ends
        against = f"; against random {describe_difference(last, ends['random'])}" if is_told else ""
        lines.append(f"- {name}: {100 * statistics.fmean(last):.2f}{spread} (standard deviation over seeds){against}")
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
    (out / "comparison.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
    except JetbenchError as problem:
        sys.exit(f"error: {problem}")
