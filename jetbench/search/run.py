"""run_search: trains proposals until the budget is spent, then the front again, longer and with several seeds."""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from jetbench.data.cache import Source, load_data, open_source
from jetbench.errors import SpecError, StudyError
from jetbench.execution.executor import Executor, check_threads
from jetbench.files import write_whole
from jetbench.network.list_operations import list_operations
from jetbench.network.plan import plan_architecture, plan_network
from jetbench.network.variants import Variant
from jetbench.probe.machine import cores
from jetbench.profiling.latency_model import LatencyModel
from jetbench.profiling.roofline import estimate
from jetbench.records.folder import append_records, keep_sweep, lock_folder, read_landed
from jetbench.records.record import DatasetInfo, Record
from jetbench.reporting.tables.table import Table
from jetbench.reporting.units import counted, percent, roughly
from jetbench.search.answer import AnswerRow, build_answer, gather, write_answer, write_proposals
from jetbench.search.forecast import SearchForecast
from jetbench.search.ledger import Ledger
from jetbench.search.pictures import write_answer_picture, write_pictures
from jetbench.search.prediction import check_model, model_of
from jetbench.search.proposer import Proposer
from jetbench.search.space import SearchSpace, check_axes, read_search
from jetbench.spec.catalog import load_architecture, load_jetseg, name_loss
from jetbench.spec.device import Device, load_device
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import TrainingConfig
from jetbench.study.chooser import SilentView, View
from jetbench.study.driver import STORAGE_WAIT_S, Driver
from jetbench.study.forecast import USUAL_MACHINE, USUAL_PACE, list_work, profile_guess
from jetbench.study.jobs import Jobs, variant_key
from jetbench.study.place import Place
from jetbench.study.run import on_board, run_study
from jetbench.study.trials import Goal, Trials

FINAL = "final"
TAKEN = "taken-over-"
UNDER_WAY = "under-way.json"  # networks under way, so that a stopped search continues with the same ones


class SearchView(View, Protocol):
    """Shows the progress of a search to a person."""

    def follow(self, finished: Callable[[], int], state: Callable[[], Sequence[str]]) -> None:
        """Take functions that return the number of ended trainings, and lines about the proposals and the front."""


class SilentSearchView(SilentView):
    """Shows nothing: for scripts."""

    def follow(self, finished: Callable[[], int], state: Callable[[], Sequence[str]]) -> None:
        """See `SearchView`."""


def run_search(
    search: Search | str | Path,
    place: Place = Place(),
    view: "SearchView | None" = None,
    others: Sequence[Path] = (),
    retry_failed: bool = False,
    final: bool = True,
    changes: Mapping[str, Any] | None = None,
) -> "SearchResult":
    """Search for the best networks of a space under limits, then train the front again with several seeds.

    Args:
        search: a bundled name, the path of a YAML file, or a `Search`.
        place: where the report folder is, and where jobs run.
        view: shows the progress; by default nothing is shown.
        others: report folders whose rows of this space are taken over.
        retry_failed: allow networks that failed earlier to be tried again.
        final: train the front again.
        changes: fields of the search with other values, dotted: `{"limits.macs": "100M"}`.

    Raises:
        SpecError: the search cannot run here, or no network of the space is within its limits; nothing was run.
        StudyError: another driver uses the folder, or it holds another search, or it cannot be written.
        KeyboardInterrupt: jobs were stopped; the same call continues.
    """
    prepared = prepare_search(search, place, changes)
    shown = view or SilentSearchView()
    result = prepared.search(shown, others, retry_failed)
    return prepared.finish(result, shown, retry_failed) if final else result


@dataclass(frozen=True)
class SearchResult:
    """The result of a search: its proposals and its front; `answer` is the base, then the front, trained again."""

    folder: Path
    asked: Search
    ledger: Ledger
    ended_by: str | None
    finalists: "tuple[Finalist, ...]"
    answer: tuple[AnswerRow, ...] = ()
    written: tuple[Path, ...] = ()

    @property
    def table(self) -> Table:
        """The answer as a table."""
        return build_answer(self.answer, self.asked, self.ledger.describe())


@dataclass(frozen=True)
class SearchRun:
    """A search that has been checked and is ready to run. `remark` says what is not measured here, and why."""

    asked: Search
    source: Source
    board: Device | None
    is_here: bool
    remark: str
    folder: Path
    place: Place
    device: str
    make_executor: Callable[[], Executor]
    model: LatencyModel | None = None

    def search(self, view: "SearchView", others: Sequence[Path] = (), retry_failed: bool = False) -> SearchResult:
        """Propose, check and train networks until the trainings are spent; see `run_search`."""
        for line in SearchSpace(self.asked, len(self.source.class_names), self.source.size).idle():
            view.note(line)
        executor = self.make_executor()
        info = load_data(self.asked.dataset, view.prepare).info
        proposer = search_study(
            folder=self.folder,
            search=self.asked,
            dataset=info,
            device=self.device,
            executor=executor,
            view=view,
            board=self.board,
            is_here=self.is_here,
            is_local=self.place.ray is None,
            others=others,
            retry_failed=retry_failed,
            storage=self.place.storage,
            storage_wait_s=self.place.wait_s,
            on=self.place.on,
            model=self.model,
        )
        ledger = proposer.ledger
        written = [write_proposals(self.folder, ledger.fates(), list(self.asked.axes))]
        written += write_pictures(self.folder, ledger)
        if not ledger.front():
            raise SpecError(f"{self.asked.name}: no network was trained: {proposer.ended_by or ledger.describe()}")
        return SearchResult(
            folder=self.folder,
            asked=self.asked,
            ledger=ledger,
            ended_by=proposer.ended_by,
            finalists=tuple(finalists(ledger)),
            written=tuple(written),
        )

    def finish(self, result: SearchResult, view: View, retry_failed: bool = False) -> SearchResult:
        """Train the finalists with every seed of the final, and write the answer."""
        executor = self.make_executor()
        view.note(describe_final(self.asked, result.finalists, executor.width))
        records = run_final(
            folder=self.folder,
            search=self.asked,
            chosen=result.finalists,
            dataset=load_data(self.asked.dataset).info,
            device=self.device,
            executor=executor,
            view=view,
            retry_failed=retry_failed,
            storage_wait_s=self.place.wait_s,
            is_here=self.is_here,
            on=self.place.on,
        )
        named = [(one.name, one.variant.architecture, one.variant.changes) for one in result.finalists]
        ledger = result.ledger
        rows = [
            replace(
                row,
                estimated_latency=ledger.assumed_latency(row.architecture) if ledger.estimates else None,
                is_predicted=ledger.model is not None and ledger.estimates,
            )
            for row in gather(named, records)
        ]
        written = write_answer(self.folder, rows, self.asked, result.ledger.describe())
        written += write_answer_picture(self.folder, rows, self.asked)
        return replace(result, answer=tuple(rows), written=(*written, *result.written))


def prepare_search(search: Search | str | Path, place: Place, changes: Mapping[str, Any] | None = None) -> SearchRun:
    """Read and check a search before anything runs; see `run_search`."""
    place.check()
    asked = on_board(read(search, changes), place)
    source = open_source(asked.dataset)
    asked.training.augmentation.check_size(source.size)
    board: Device | None = None
    is_here, remark = True, ""
    model = model_of(asked, source)
    if place.on is not None:
        board = load_device(asked.board or "")  # its probe says what of it cannot be measured
    elif place.ray is None:
        check_threads("training.threads", asked.training.threads)
        board, is_here, remark = find_board(asked, model)
        check_energy(asked, board)
    elif asked.board is not None:
        board = load_device(asked.board)  # a machine with its token measures, and checks that it is that board
    check_model(asked, model, board, is_here and place.on is None and place.ray is None)
    device, make_executor = place.open(asked, asked.training.threads)
    return SearchRun(
        asked=asked,
        source=source,
        board=board,
        is_here=is_here,
        remark=remark,
        folder=place.reports / asked.name,
        place=place,
        device=device,
        make_executor=make_executor,
        model=model,
    )


def read(search: Search | str | Path, changes: Mapping[str, Any] | None = None) -> Search:
    """The search of that bundled name or path; a `Search` is returned as it is.

    Raises:
        SpecError: the search does not exist, or a key breaks a rule.
    """
    if not isinstance(search, Search):
        asked = read_search(str(search), dict(changes or {}))
    elif changes:
        raise SpecError("changes: apply only to a search's YAML; set the values in the Search itself")
    else:
        check_axes(search, search.name)
        asked = search
    return asked.model_copy(update={"training": name_loss(asked.training)})


def look_at_space(search: Search | str | Path, changes: Mapping[str, Any] | None = None) -> list[str]:
    """Lines about what a search would do, and how much of its space is within the limits; nothing is run.

    Raises:
        SpecError: no network of the space is within the limits.
    """
    asked = read(search, changes)
    source = open_source(asked.dataset)
    model = model_of(asked, source)
    board, is_here, remark = find_board(asked, model)
    check_energy(asked, board)
    check_model(asked, model, board, is_here)
    space = SearchSpace(asked, len(source.class_names), source.size)
    look = space.look(asked.seed)
    look.check()
    lines = [*space.describe(), look.describe(asked.limits), *space.idle(), _describe_time(asked, source, space)]
    if remark:
        seconds = Ledger(space, board, False, model).assumed_latency(load_architecture(asked.base))
        how = "at best" if model is None else "by prediction"
        of_base = f" The base takes {seconds * 1e3:.2f} ms there {how}." if seconds is not None else ""
        lines.append(f"{remark[:1].upper()}{remark[1:]}{of_base}")
    return lines


def _describe_time(asked: Search, source: Source, space: SearchSpace) -> str:
    """How long the search and its final trainings take at the pace of a machine that is known."""
    architecture = load_architecture(asked.base)
    plan = plan_network(architecture, space.num_classes, space.input_size)
    base = Variant(asked.base, {}, architecture, asked.training, plan)
    work = list_work([base], source.counts)[0]
    forecast = SearchForecast(asked, lambda: 0, max(1, cores() // asked.training.threads), True)
    forecast.took("", "train", work.seconds + USUAL_PACE * work.amount)
    forecast.took("", "profile", profile_guess(asked.profiling))
    return (
        f"The trainings and the final ones take {roughly(forecast.left([]) or 0.0)} at the pace of {USUAL_MACHINE}; "
        "yours may be three times as fast or as slow. --budget shortens the trainings."
    )


def find_board(asked: Search, model: LatencyModel | None = None) -> tuple[Device, bool, str]:
    """The device that is searched for, True if this machine is it, and a remark about the consequences if it is not.

    A latency model stands for latencies that cannot be measured here.

    Raises:
        SpecError: an objective or limit needs measurements that are impossible here.
    """
    from jetbench.profiling.host import describe_host, host_device, is_here, read_identity, with_card

    identity = read_identity()
    if asked.board is None:
        return (load_device("cpu") if asked.device == "cpu" else with_card(host_device(identity))), True, ""
    board = load_device(asked.board)
    if is_here(board, identity):
        return with_card(board), True, ""
    why = f"this machine is not a {board.title} (it is: {describe_host(identity)})"
    if "energy" in asked.objectives:
        raise SpecError(f"objective energy: {why}; run the search there, or use --objectives miou,macs")
    for option, limit in (("--max-energy", asked.limits.energy), ("--max-power", asked.limits.power)):
        if limit is not None:
            raise SpecError(f"{option}: {why}; run the search there, with --on, or leave {option} out")
    needs_latency = asked.limits.latency is not None or "latency" in asked.objectives
    mode = asked.power_mode
    if mode is not None:
        board.check_mode(mode)
        if needs_latency and model is None and board.clock_share(mode) is None:
            raise SpecError(
                f"--power-mode {mode}: {why}, and the GPU clock of that mode is not in the file of {board.name}"
            )
    if needs_latency and model is None:
        config = asked.profiling
        operations = list_operations(plan_architecture(load_jetseg("jetseg-nano"), 11, (512, 512)))  # any network
        roof = estimate(operations, board, config.dtype, config.batch_size)
        if isinstance(roof, str):
            what = "--max-latency" if asked.limits.latency is not None else "objective latency"
            raise SpecError(f"{what}: {why}, and {roof}; run the search there, or search without latency")
    remark = f"{why}. Nothing is measured."
    if needs_latency and model is not None:
        remark += (
            f" Latencies are PREDICTED by {asked.latency_model} ({model.describe_setting()}), within "
            f"\N{PLUS-MINUS SIGN} {percent(model.half)} (95 %); a network outside of what it knows is not trained."
        )
    elif needs_latency:
        where = mode or "its highest power mode"
        remark += (
            f" Latencies are those of {board.name} by estimate from its data sheet, in {where}: each of PyTorch's "
            "kernels at its peak, nothing fused. A network may be slower there, or faster in a runtime that fuses "
            "kernels."
        )
    return board, False, remark


def check_energy(asked: Search, board: Device) -> None:
    """Raise if the search limits or minimises energy and no sensor can measure it.

    Raises:
        SpecError: no sensor of the board can be read here.
    """
    if asked.limits.energy is asked.limits.power is None and "energy" not in asked.objectives:
        return
    from jetbench.probe.sensors import SENSORS

    reasons = [f"{name}: {reason}" for name in board.sensors if (reason := SENSORS[name].missing()) is not None]
    if len(reasons) == len(board.sensors):
        raise SpecError(
            f"energy cannot be measured here: {'; '.join(reasons) or 'no sensor'}; leave energy out of the search"
        )


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
    model: LatencyModel | None = None,
) -> Iterator[tuple[Proposer, Trials, Callable[[], None]]]:
    """Open the search in `folder` with all its records, as its only driver.

    Args:
        folder: the report folder; made if it does not exist.
        search: the search with its overrides; compared with the one that the folder holds.
        dataset: the data that the networks are trained on.
        device: torch device of all jobs.
        board: the device that is searched for; its data sheet bounds a network's latency from below.
        is_here: True if this machine is that device; otherwise nothing is measured.
        others: folders of sweeps or searches. Their rows are taken over if they are networks of this space that were
            trained and profiled in the same way.
        note: called with a text about how many rows were taken over, and why others were not.
        retry_failed: forget failed networks, so that they may be proposed again.
        storage: address of the database of the Optuna study; study.db in the folder by default.
        is_local: True if jobs run on this machine; then earlier measurements must be from this machine too.
        model: predicts latencies on that device.

    Raises:
        SpecError: no network of the space is within the limits, or a folder of `others` has no rows.
        StudyError: another driver uses the folder, or it holds another search, other data or another machine's rows.
    """
    space = SearchSpace(search, dataset.num_classes, dataset.size)
    space.look(search.seed).check()
    with lock_folder(folder) as check_folder:
        keep_sweep(folder, search)
        whole = _Whole(space, dataset, device)
        records = read_landed(folder)
        if foreign := [record for record in records if not whole.has(record)]:
            raise StudyError(
                f"{folder}: {counted(len(foreign), 'row')} of {len(records)} {'is' if len(foreign) == 1 else 'are'} of "
                f"other data, another device or another {search.base}, and not comparable with this search; "
                "use --name for a new folder, or remove this one"
            )
        ledger = Ledger(space, board, is_here, model)
        if is_local and ledger.measures and (elsewhere := _measured_elsewhere(records, device)):
            raise StudyError(f"{folder}: {elsewhere}; use --name for a new folder")
        for other in others:
            records += _take_over(folder, other, ledger, whole, records, note, is_local)
        goals: dict[str, Goal] = {name: "maximize" if name == "miou" else "minimize" for name in search.objectives}
        trials = Trials(folder, search.name, space.choices, goals, storage)
        path = folder / UNDER_WAY

        def keep(under_way: Mapping[str, Mapping[str, str]]) -> None:
            with suppress(OSError):  # only a convenience: a failure must not end the search
                write_whole(path, json.dumps(under_way))

        try:
            under_way = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            under_way = {}  # only a convenience: other networks are proposed instead
        try:
            proposer = Proposer(ledger, records, trials.tell, retry_failed, under_way, keep)
            yield proposer, trials, check_folder
        finally:
            trials.close()


@dataclass(frozen=True)
class _Whole:
    """All that decides whether two rows are comparable: the space with its base and training, the data, the device."""

    space: SearchSpace
    dataset: DatasetInfo
    device: str

    def has(self, record: Record) -> bool:
        """True if this search gives that record the same key. Equal keys give the same numbers, up to noise."""
        params = self.space.params(record.changes)
        if params is None:
            return False
        variant = self.space.variant(params, record.variant)
        return variant_key(variant, self.space.search, self.dataset, self.device) == record.key


def _measured_elsewhere(records: Sequence[Record], device: str) -> str | None:
    """Why the measurements of these records are not comparable with this machine's; None if they are."""
    import torch

    from jetbench.profiling.environment import describe_environment

    here = describe_environment(torch.device(device), None)
    for record in records:
        origin = record.profile.environment if record.profile else None
        if origin is not None and (origin.device, origin.cpu) != (here.device, here.cpu):
            return (
                f"{record.variant} was measured on {origin.cpu}, {origin.device}; this machine is {here.cpu}, "
                f"{here.device}, and latencies of the two are not comparable"
            )
    return None


def _of_no_board(records: Sequence[Record], board: Device | None) -> str | None:
    """Why these rows were not measured on the board that a cluster profiles on; None if they were."""
    if board is None:
        return "the device that the cluster profiles on is not known; name it with --device"
    devices = {record.profile.device for record in records if record.profile}
    return None if devices <= {board.name} else f"measured on {', '.join(sorted(devices))}, not on {board.name}"


def _take_over(
    folder: Path,
    other: Path,
    ledger: Ledger,
    whole: _Whole,
    present: Sequence[Record],
    note: Callable[[str], None],
    is_local: bool,
) -> list[Record]:
    """Append the comparable rows of another folder to this search's records, under new names."""
    records = read_landed(other)
    if not records:
        raise SpecError(f"--warm-start {other}: has no records.jsonl with a finished row")
    measures = ledger.measures
    if measures and not is_local and (reason := _of_no_board(records, ledger.board)):
        note(f"{other}: nothing is taken over: {reason}")
        return []
    if measures and is_local and (reason := _measured_elsewhere(records, whole.device)):
        note(f"{other}: nothing is taken over: {reason}")
        return []
    keys, number = {record.key for record in present}, sum(record.origin is not None for record in present)
    taken: list[Record] = []
    networks = 0
    for record in records:
        own = ledger.take_over(record)
        networks += own is not None
        if own is None or record.key in keys or not whole.has(own):
            continue
        named = (record.variant, *record.also_named)
        name = f"{TAKEN}{number + len(taken) + 1}"
        own = own.model_copy(update={"variant": name, "also_named": named, "origin": str(other)})
        append_records(folder, own)
        taken.append(own)
    rest = len(records) - len(taken)
    why = f"; of the others {networks - len(taken)} are networks of this space, but repeated or trained differently"
    note(f"{other}: {counted(len(taken), 'row')} of {len(records)} taken over" + (why if rest else ""))
    return taken


def search_study(
    folder: Path,
    search: Search,
    dataset: DatasetInfo,
    device: str,
    executor: Executor,
    view: "SearchView",
    board: Device | None = None,
    is_here: bool = True,
    others: Sequence[Path] = (),
    retry_failed: bool = False,
    storage: str | None = None,
    storage_wait_s: float = STORAGE_WAIT_S,
    is_local: bool = True,
    on: str | None = None,
    model: LatencyModel | None = None,
) -> Proposer:
    """Propose, check and train networks until the trainings are spent; raises what `open_search` raises."""
    opened = open_search(
        folder=folder,
        search=search,
        dataset=dataset,
        device=device,
        board=board,
        is_here=is_here,
        others=others,
        note=view.note,
        retry_failed=retry_failed,
        storage=storage,
        is_local=is_local,
        model=model,
    )
    with opened as (proposer, trials, check_folder):
        driver = Driver(
            jobs=Jobs(folder, search, dataset, device, on),
            chooser=proposer,
            executor=executor,
            view=view,
            trials=trials,
            storage_wait_s=storage_wait_s,
            check_folder=check_folder,
            forecast=SearchForecast(search, lambda: proposer.ledger.finished, executor.width, executor.profiles_alone),
        )
        driver.recall(retry_failed)
        ledger = proposer.ledger
        view.follow(lambda: ledger.finished, ledger.state)
        view.begin(search.trainings, ledger.finished)
        driver.run()
        return proposer


@dataclass(frozen=True)
class Finalist:
    """A network of the answer: its name in the search, and its record there (None if the base has none)."""

    name: str
    variant: Variant
    found: Record | None


def finalists(ledger: Ledger) -> list[Finalist]:
    """The base, then at most `final.most` networks of the front, including both of its ends."""
    search, space = ledger.search, ledger.space
    architecture = load_architecture(search.base)
    plan = plan_network(architecture, space.num_classes, space.input_size)
    base = Variant(search.base, {}, architecture, search.training, plan)
    base_record = next((record for record in ledger.landed if record.fingerprint == plan.fingerprint), None)
    chosen = [Finalist(search.base, base, base_record)]
    front, most = [record for record in ledger.front() if record.fingerprint != plan.fingerprint], search.final.most
    if len(front) > most:
        last = len(front) - 1
        front = [front[round(number * last / max(1, most - 1))] for number in range(most)]
    for record in front:
        own = plan_network(record.architecture, space.num_classes, space.input_size)
        variant = Variant(record.variant, record.changes, record.architecture, search.training, own)
        chosen.append(Finalist(record.variant, variant, record))
    return chosen


def describe_final(search: Search, chosen: Sequence[Finalist], parallel: int) -> str:
    """A line about the final trainings, and about how long they take at the pace of the search's trainings."""
    final, budget = search.final, search.final.budget
    text = (
        f"Now training and profiling {len(chosen)} networks, including {search.base}, with {len(final.seeds)} seeds "
        f"and {budget} each."
    )
    paces = [one.found.training for one in chosen if one.found and one.found.training]
    if not paces or budget.unit == "epochs":
        return text
    step = statistics.fmean(pace.seconds / pace.steps for pace in paces)
    seconds = budget.amount if budget.unit == "seconds" else step * budget.amount
    return f"{text} The trainings will take {roughly(seconds * len(chosen) * len(final.seeds) / parallel)}."


def final_variants(search: Search, chosen: Sequence[Finalist]) -> tuple[Variant, ...]:
    """Every finalist with every seed: all finalists with the first seed, then all with the second, and so on."""
    return tuple(
        Variant(
            f"{finalist.name}, seed={seed}",
            {**finalist.variant.changes, "training.seed": seed},
            finalist.variant.architecture,
            _final_training(search, seed),
            finalist.variant.plan,
        )
        for seed in search.final.seeds
        for finalist in chosen
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
    is_here: bool = True,
    on: str | None = None,
) -> list[Record]:
    """Train the finalists with every seed, as a sweep in the folder's `final`; profile them if the device is here."""
    sweep = Sweep(
        name=FINAL,
        description=f"the front of {search.name} again; each row has a budget and a seed of its own",
        base=search.base,
        include_base=False,
        dataset=search.dataset,
        training=search.training,
        profiling=search.profiling,
        profile=is_here,
        board=search.board,
        power_mode=search.power_mode,
        device=search.device,
        timeout_s=search.timeout_s,
        memory_limit=search.memory_limit,
    )
    variants = final_variants(search, chosen)
    return run_study(
        folder=folder / FINAL,
        sweep=sweep,
        variants=variants,
        dataset=dataset,
        device=device,
        executor=executor,
        view=view,
        retry_failed=retry_failed,
        storage_wait_s=storage_wait_s,
        on=on,
    )
