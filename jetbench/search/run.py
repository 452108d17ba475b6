"""run_search: proposals until the trainings are spent; run_final: the front again, longer and with several seeds."""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jetbench.errors import SpecError, StudyError
from jetbench.execution.executor import Executor
from jetbench.files import write_whole
from jetbench.network.plan import plan_architecture
from jetbench.network.variants import Variant
from jetbench.records.folder import append_records, keep_sweep, lock_folder, read_landed
from jetbench.records.record import DatasetInfo, Record
from jetbench.reporting.units import counted, roughly
from jetbench.search.proposer import Searcher
from jetbench.search.space import SearchSpace
from jetbench.spec.catalog import load_architecture
from jetbench.spec.device import Device
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import TrainingConfig
from jetbench.study.driver import STORAGE_WAIT_S, Driver, View, variant_key
from jetbench.study.run import run_study
from jetbench.study.trials import Goal, Trials

FINAL = "final"
TAKEN = "taken-over-"
UNDER_WAY = "under-way.json"  # what was asked for and has not landed: after a stop it goes on with the same networks


class SearchView(View, Protocol):
    """Shows a person what a search does."""

    def follow(self, finished: Callable[[], int], state: Callable[[], Sequence[str]]) -> None:
        """Where to read how many trainings have ended, and lines on the proposals' fates and the front."""


@contextmanager
def open_search(
    folder: Path,
    search: Search,
    dataset: DatasetInfo,
    device: str,
    board: Device | None,
    is_here: bool,
    others: Sequence[Path],
    note: Callable[[str], None],
    retry_failed: bool,
    storage: str | None = None,
    is_local: bool = True,
) -> Iterator[tuple[Searcher, Trials, Callable[[], None]]]:
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
        note: told how many rows were taken over, and why others were not.
        retry_failed: forget what failed, so that it may be proposed again.
        storage: address of the database of the Optuna study; study.db in the folder by default.
        is_local: jobs run on this machine, so that what was measured before must have been measured here.

    Raises:
        SpecError: no network of the space is within the limits, or a folder of `others` holds no row.
        StudyError: another driver has the folder, or it holds another search, or rows of other data or another machine.
    """
    space = SearchSpace(search, dataset.num_classes, dataset.size)
    space.look(search.seed).check()
    with lock_folder(folder) as check_folder:
        keep_sweep(folder, search)
        whole = _Whole(space, dataset, device)
        records = read_landed(folder)
        if strange := [record for record in records if not whole.has(record)]:
            raise StudyError(
                f"{folder}: {counted(len(strange), 'row')} of {len(records)} {'is' if len(strange) == 1 else 'are'} of "
                f"other data, another device or another {search.base}, and would not compare with what is asked now; "
                "use --name for a new folder, or remove this one"
            )
        searcher = Searcher(space, (), board, is_here)
        if is_local and "profile" in searcher.phases and (elsewhere := _measured_elsewhere(records, device)):
            raise StudyError(f"{folder}: {elsewhere}; use --name for a new folder")
        for other in others:
            records += _take_over(folder, other, searcher, whole, records, note, is_local)
        goals: dict[str, Goal] = {name: "maximize" if name == "miou" else "minimize" for name in search.objectives}
        trials = Trials(folder, search.name, space.choices, goals, storage)
        path = folder / UNDER_WAY

        def keep(under_way: Mapping[str, Mapping[str, str]]) -> None:
            with suppress(OSError):  # only a convenience, which ends no search
                write_whole(path, json.dumps(under_way))

        try:
            asked = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            asked = {}  # only a convenience: other networks take the place of those that were under way
        try:
            yield Searcher(space, records, board, is_here, trials.tell, retry_failed, asked, keep), trials, check_folder
        finally:
            trials.close()


@dataclass(frozen=True)
class _Whole:
    """All that decides whether two rows compare: the space with its base and training, the data, the device."""

    space: SearchSpace
    dataset: DatasetInfo
    device: str

    def has(self, record: Record) -> bool:
        """Would this search give that record the same key? Equal keys would give the same numbers, up to noise."""
        params = self.space.params(record.changes)
        if params is None:
            return False
        variant = self.space.variant(params, record.variant)
        return variant_key(variant, self.space.search, self.dataset, self.device) == record.key


def _measured_elsewhere(records: Sequence[Record], device: str) -> str | None:
    """Why the measurements of these records do not compare with what this machine measures; None if they do."""
    import torch

    from jetbench.profiling.environment import describe_environment

    here = describe_environment(torch.device(device), None)
    for record in records:
        there = record.profile.environment if record.profile else None
        if there is not None and (there.device, there.cpu) != (here.device, here.cpu):
            return (
                f"{record.variant} was measured on {there.cpu}, {there.device}; this is {here.cpu}, {here.device}, and "
                "latencies of both do not compare"
            )
    return None


def _of_no_board(records: Sequence[Record], board: Device | None) -> str | None:
    """Why these rows were not measured on the board that a cluster profiles on; None if they were."""
    if board is None:
        return "a cluster's profiler is no known device; name it with --device"
    devices = {record.profile.device for record in records if record.profile}
    return None if devices <= {board.name} else f"measured on {', '.join(sorted(devices))}, not on {board.name}"


def _take_over(
    folder: Path,
    other: Path,
    searcher: Searcher,
    whole: _Whole,
    there: Sequence[Record],
    note: Callable[[str], None],
    is_local: bool,
) -> list[Record]:
    """Append the rows of another folder that this search would have got alike, under names of their own."""
    found = read_landed(other)
    if not found:
        raise SpecError(f"--warm-start {other}: holds no records.jsonl with a finished row")
    measures = "profile" in searcher.phases
    if measures and not is_local and (strange := _of_no_board(found, searcher.board)):
        note(f"{other}: nothing is taken over: {strange}")
        return []
    if measures and is_local and (elsewhere := _measured_elsewhere(found, whole.device)):
        note(f"{other}: nothing is taken over: {elsewhere}")
        return []
    known, number = {record.key for record in there}, sum(r.origin is not None for r in there)
    taken: list[Record] = []
    networks = 0
    for record in found:
        own = searcher.take_over(record)
        networks += own is not None
        if own is None or record.key in known or not whole.has(own):
            continue
        named = (record.variant, *record.also_named)
        name = f"{TAKEN}{number + len(taken) + 1}"
        own = own.model_copy(update={"variant": name, "also_named": named, "origin": str(other)})
        append_records(folder, own)
        taken.append(own)
    rest = len(found) - len(taken)
    why = f"; of the others {networks - len(taken)} are networks of this space, but known or trained otherwise"
    note(f"{other}: {counted(len(taken), 'row')} of {len(found)} taken over" + (why if rest else ""))
    return taken


def run_search(
    folder: Path,
    search: Search,
    dataset: DatasetInfo,
    device: str,
    executor: Executor,
    view: SearchView,
    board: Device | None = None,
    is_here: bool = True,
    others: Sequence[Path] = (),
    retry_failed: bool = False,
    storage: str | None = None,
    storage_wait_s: float = STORAGE_WAIT_S,
    is_local: bool = True,
) -> Searcher:
    """Propose, check and train networks until the trainings are spent; see `open_search` for what is raised."""
    opened = open_search(
        *(folder, search, dataset, device, board, is_here, others, view.note, retry_failed, storage, is_local)
    )
    with opened as (searcher, trials, check_folder):
        driver = Driver(
            *(folder, search, searcher, dataset, device, executor, view, trials, storage_wait_s),
            check_folder=check_folder,
        )
        driver.recall(retry_failed)
        view.follow(lambda: searcher.finished, searcher.state)
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


def describe_final(search: Search, chosen: Sequence[Finalist], parallel: int) -> str:
    """What is trained again, and about how long that takes by the pace of the search's trainings."""
    final, budget = search.final, search.final.budget
    text = (
        f"Now {len(chosen)} networks, {search.base} among them, with {len(final.seeds)} seeds and {budget} each, and "
        "each of these profiled."
    )
    paces = [each.found.training for each in chosen if each.found and each.found.training]
    if not paces or budget.unit == "epochs":
        return text
    step = statistics.fmean(pace.seconds / pace.steps for pace in paces)
    each = budget.amount if budget.unit == "seconds" else step * budget.amount
    return f"{text} The trainings will take {roughly(each * len(chosen) * len(final.seeds) / parallel)}."


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
    retry_failed: bool = False,
    storage_wait_s: float = STORAGE_WAIT_S,
) -> list[Record]:
    """Train and profile the finalists with every seed, as a sweep in the folder's `final`."""
    sweep = Sweep(
        name=FINAL,
        description=f"the front of {search.name} again; each row has a budget and a seed of its own",
        base=search.base,
        include_base=False,
        dataset=search.dataset,
        training=search.training,
        profiling=search.profiling,
        board=search.board,
        device=search.device,
        timeout_s=search.timeout_s,
        memory_limit=search.memory_limit,
    )
    variants = final_variants(search, chosen)
    return run_study(
        *(folder / FINAL, sweep, variants, dataset, device, executor, view, retry_failed), storage_wait_s=storage_wait_s
    )
