"""run_search: proposals until the trainings are spent; run_final: the front again, longer and with several seeds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jetbench.catalog import load_architecture
from jetbench.device import Device
from jetbench.execution.executor import Executor
from jetbench.experiment import Search, Sweep, TrainingConfig
from jetbench.plan import plan_architecture
from jetbench.record import DatasetInfo, Record
from jetbench.search.searcher import Searcher
from jetbench.search.space import SearchSpace
from jetbench.study import (
    Driver,
    View,
    append_record,
    keep_sweep,
    lock_folder,
    read_records,
    run_study,
    variant_key,
)
from jetbench.sweep import Variant
from jetbench.trials import Goal, Trials

FINAL = "final"


class SearchView(View, Protocol):
    """Shows a person what a search does."""

    def follow(self, finished: Callable[[], int], describe: Callable[[], str]) -> None:
        """Where to read how many trainings have ended, and what became of the proposals."""


@contextmanager
def open_search(
    folder: Path,
    search: Search,
    dataset: DatasetInfo,
    device: str,
    board: Device | None,
    is_here: bool,
    others: Sequence[Path],
) -> Iterator[Searcher]:
    """The search in `folder` with all that has landed there, as its only driver.

    Args:
        folder: the report folder; made if it does not exist.
        search: as it runs; compared with the one that the folder holds.
        dataset: what the networks learn from.
        device: torch device of all jobs.
        board: what is searched for; its data sheet says what a network would take at best.
        is_here: whether this machine is that; else nothing is measured.
        others: folders of sweeps or searches whose rows are taken over where they are networks of this space that were
            trained and profiled alike.

    Raises:
        SpecError: no network of the space is within the limits.
        StudyError: another driver has the folder, or it holds another search.
    """
    space = SearchSpace(search, dataset.num_classes, dataset.size)
    space.look(search.seed).check(search.limits)
    with lock_folder(folder):
        keep_sweep(folder, search)
        _take_over(folder, Searcher(space), search, dataset, device, others)
        goals: dict[str, Goal] = {name: "maximize" if name == "miou" else "minimize" for name in search.objectives}
        trials = Trials(folder, search.name, space.choices, goals)
        yield Searcher(space, read_records(folder), board, is_here, trials.tell)


def _take_over(
    folder: Path, searcher: Searcher, search: Search, dataset: DatasetInfo, device: str, others: Sequence[Path]
) -> None:
    """Equal keys would give the same numbers, so only such rows are taken over."""
    there = {record.key for record in read_records(folder)}
    for other in others:
        for record in read_records(other):
            taken = searcher.take_over(record) if record.failure is None and record.key not in there else None
            if taken is None:
                continue
            plan = plan_architecture(taken.architecture, dataset.num_classes, dataset.size)
            variant = Variant(taken.variant, taken.changes, taken.architecture, search.training, plan)
            if variant_key(variant, search, dataset, device) == record.key:
                append_record(folder, taken)
                there.add(record.key)


def run_search(
    folder: Path,
    search: Search,
    dataset: DatasetInfo,
    device: str,
    executor: Executor,
    view: SearchView,
    parallel: int = 1,
    board: Device | None = None,
    is_here: bool = True,
    others: Sequence[Path] = (),
) -> Searcher:
    """Propose, check and train networks until the trainings are spent; see `open_search` for what is raised."""
    with open_search(folder, search, dataset, device, board, is_here, others) as searcher:
        driver = Driver(folder, search, searcher, dataset, device, executor, view, parallel)
        driver.recall()
        view.follow(lambda: searcher.finished, searcher.describe)
        view.begin(search.trainings, searcher.finished)
        driver.run()
        return searcher


@dataclass(frozen=True)
class Finalist:
    """A network of the answer: the search's name for it, and its record there (the base may have none)."""

    name: str
    variant: Variant
    found: Record | None


def finalists(searcher: Searcher) -> list[Finalist]:
    """The base, then at most `final.most` networks of the front, both of its ends among them."""
    search, space = searcher.search, searcher.space
    architecture = load_architecture(search.base)
    plan = plan_architecture(architecture, space.num_classes, space.input_size)
    base = Variant(search.base, {}, architecture, search.training, plan)
    found = next((record for record in searcher.landed if record.fingerprint == plan.fingerprint), None)
    chosen = [Finalist(search.base, base, found)]
    front, most = [record for record in searcher.front() if record.fingerprint != plan.fingerprint], search.final.most
    if len(front) > most:
        last = len(front) - 1
        front = [front[round(number * last / max(1, most - 1))] for number in range(most)]
    for record in front:
        own = plan_architecture(record.architecture, space.num_classes, space.input_size)
        variant = Variant(record.variant, record.changes, record.architecture, search.training, own)
        chosen.append(Finalist(record.variant, variant, record))
    return chosen


def final_variants(search: Search, chosen: Sequence[Finalist]) -> tuple[Variant, ...]:
    """Every finalist with every seed, in an order in which the first seeds of all come first."""
    return tuple(
        Variant(
            f"{each.name}, seed={seed}",
            {**each.variant.changes, "training.seed": seed},
            each.variant.architecture,
            _final_training(search, seed),
            each.variant.plan,
        )
        for seed in search.final.seeds
        for each in chosen
    )


def _final_training(search: Search, seed: int) -> TrainingConfig:
    return search.training.model_copy(update={"budget": search.final.budget, "seed": seed})


def run_final(
    folder: Path,
    search: Search,
    chosen: Sequence[Finalist],
    dataset: DatasetInfo,
    device: str,
    executor: Executor,
    view: View,
    parallel: int = 1,
) -> list[Record]:
    """Train and profile the finalists with every seed, as a sweep in the folder's `final`."""
    sweep = Sweep(
        name=FINAL,
        description=f"the front of {search.name} again, longer and with several seeds",
        base=search.base,
        include_base=False,
        dataset=search.dataset,
        training=_final_training(search, search.final.seeds[0]),
        profiling=search.profiling,
        device=search.device,
        timeout_s=search.timeout_s,
    )
    variants = final_variants(search, chosen)
    return run_study(folder / FINAL, sweep, variants, dataset, device, executor, view, parallel)
