"""run_sweep: runs a sweep from its YAML to its tables, in a report folder."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jetbench.data.cache import Source, load_data, open_source
from jetbench.data.camvid import assumed_camvid
from jetbench.errors import DataError, SpecError, StudyError, list_by_cause
from jetbench.execution.executor import Executor, check_threads
from jetbench.execution.requests import Phase
from jetbench.network.idle import describe_idle
from jetbench.network.plan import ForeignPlan
from jetbench.network.variants import Variant, expand_sweep, read_quoted, read_sweep
from jetbench.probe.machine import cores, foreign_load
from jetbench.profiling.listing import count_together, list_network
from jetbench.records.folder import RECORDS, keep_sweep, lock_folder, read_landed
from jetbench.records.record import DatasetInfo, Profile, Record
from jetbench.records.verdict import MAX_FOREIGN_LOAD, Level
from jetbench.reporting.report import write_files
from jetbench.reporting.studies import Study, study_of
from jetbench.reporting.units import counted, roughly
from jetbench.spec.architecture import Baseline
from jetbench.spec.device import load_device
from jetbench.spec.profiling import settings_of
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import Floor
from jetbench.study.chooser import TRAIN_AND_PROFILE, SilentView, View
from jetbench.study.driver import STORAGE_WAIT_S, Driver
from jetbench.study.forecast import USUAL_MACHINE, Forecast, list_work, profile_guess
from jetbench.study.jobs import Jobs, forms_of, variant_key
from jetbench.study.place import Place
from jetbench.study.trials import sweep_trials

LOOK_S = 0.5  # how long the load of other programs is watched before a sweep


def run_sweep(
    sweep: Sweep | str | Path,
    place: Place = Place(),
    view: View | None = None,
    retry_failed: bool = False,
    changes: Mapping[str, Any] | None = None,
    remeasure: Collection[Level] = (),
) -> Study:
    """Train and profile every variant of a sweep, and write its tables and plots. Finished variants are not run again.

    Args:
        sweep: a bundled name, the path of a YAML file, or a `Sweep`.
        place: where the report folder is, and where jobs run.
        view: shows the progress; by default nothing is shown.
        retry_failed: run failed rows again.
        changes: fields of the sweep with other values, dotted: `{"training.budget": "60 steps"}`.
        remeasure: verdicts of profiles that are made again; the trainings are kept.

    Returns:
        The study: its records, in the order of the sweep.

    Raises:
        SpecError: the sweep does not exist or is invalid, or this machine lacks what it needs; nothing was run.
        DataError: the dataset is missing or damaged.
        StudyError: another driver uses the folder, or it holds another sweep, or it cannot be written.
        KeyboardInterrupt: jobs were stopped and tables of the finished rows written; the same call continues.
    """
    return prepare_sweep(sweep, place, changes).run(view or SilentView(), retry_failed, remeasure)


@dataclass(frozen=True)
class SweepRun:
    """A sweep that has been checked and is ready to run."""

    asked: Sweep
    variants: tuple[Variant, ...]
    quoted: tuple[Baseline, ...]
    folder: Path
    place: Place
    device: str
    make_executor: Callable[[], Executor]

    @property
    def title(self) -> str:
        """The sweep's name, with its description if it has one."""
        return f"{self.asked.name}: {self.asked.description}" if self.asked.description else self.asked.name

    def run(self, view: View, retry_failed: bool = False, remeasure: Collection[Level] = ()) -> Study:
        """See `run_sweep`."""
        for line in describe_idle(self.asked, self.variants):
            view.note(line)
        if self.asked.profile and self.place.ray is self.place.on is None and (busy := describe_load()):
            view.note(busy)
        executor = self.make_executor()
        info = load_data(self.asked.dataset, view.prepare).info
        try:
            records = run_study(
                folder=self.folder,
                sweep=self.asked,
                variants=self.variants,
                dataset=info,
                device=self.device,
                executor=executor,
                view=view,
                retry_failed=retry_failed,
                storage=self.place.storage,
                storage_wait_s=self.place.wait_s,
                remeasure=remeasure,
                on=self.place.on,
            )
        except (KeyboardInterrupt, StudyError):
            with contextlib.suppress(
                KeyboardInterrupt, StudyError, OSError
            ):  # Ctrl-C again, or the folder cannot be written
                self._write(self._landed(info))
            raise
        return self._write(records)

    def estimate(self, images: Mapping[str, int]) -> str:
        """How long this will take, by the seconds of rows that have finished, or by those of a machine that is known.

        Args:
            images: the number of images of each split.
        """
        works = list_work(self.variants, images)
        places = {variant.identity: str(number) for number, variant in enumerate(self.variants)}
        named = {str(number): work for number, work in enumerate(works)}
        width = self.place.jobs or (1 if self.device == "cuda" else cores() // self.variants[0].training.threads)
        phases = TRAIN_AND_PROFILE if self.asked.profile else ("train",)
        forecast = Forecast(named, phases, width, self.place.ray is None)
        finished = 0
        for record in read_landed(self.folder) if (self.folder / RECORDS).exists() else ():
            identity = f"{record.fingerprint} {record.training_config.identity}" if record.training_config else ""
            if (place := places.get(identity)) is None or record.training is None or record.training.stopped:
                continue
            finished += 1
            forecast.took(place, "train", record.seconds_of("train"))
            forecast.took(place, "profile", record.seconds_of("profile"))
            forecast.drop(place)
        left = forecast.left([])
        if left is not None:
            return f"It will take {roughly(left)}, by the seconds of {counted(finished, 'finished row')}."
        if self.device == "cuda":
            return "How long it takes on a GPU is known when the first variant has finished."
        forecast.guess(self.asked.profiling)
        guess = roughly(forecast.left([]) or 0.0)
        return (
            f"It will take {guess} at the pace of {USUAL_MACHINE}; yours may be three times as fast or as slow. The "
            "true time is known when the first variant has finished."
        )

    def tally(self) -> str:
        """What is kept: `10 of 21 variants are trained, 4 of them profiled`."""
        info = load_data(self.asked.dataset).info
        landed = {record.key: record for record in self._landed(info)}
        jobs = Jobs(self.folder, self.asked, info, self.device)
        trained = profiled = 0
        for variant in self.variants:
            key = variant_key(variant, self.asked, info, self.device)
            record = landed.get(key)
            trained += (record is not None and record.training is not None) or jobs.result_file(key, "train").is_file()
            profiled += record is not None and record.profile is not None
        text = (
            f"{trained} of {counted(len(self.variants), 'variant')} {'is' if trained == 1 else 'are'} trained and kept"
        )
        return f"{text}, {profiled} profiled" if self.asked.profile else text

    def landed(self) -> Study | None:
        """The finished rows of exactly this sweep, these data and this device; None if there are no such rows."""
        records = self._landed(load_data(self.asked.dataset).info)
        return self._study(records) if records else None

    def _landed(self, dataset: DatasetInfo) -> list[Record]:
        by_key = {record.key: record for record in read_landed(self.folder)}
        keys = [variant_key(variant, self.asked, dataset, self.device) for variant in self.variants]
        return [by_key[key] for key in keys if key in by_key]

    def _study(self, records: Sequence[Record]) -> Study:
        return study_of(self.folder, records, self.asked.model_dump(mode="json"), self.quoted)

    def _write(self, records: Sequence[Record]) -> Study:
        study = self._study(records)
        if records:
            write_files(study)
        return study


def prepare_sweep(sweep: Sweep | str | Path, place: Place, changes: Mapping[str, Any] | None = None) -> SweepRun:
    """Read and check a sweep with all its variants, before anything runs; see `run_sweep`."""
    place.check()
    asked = on_board(_read(sweep, changes), place)
    quoted = read_quoted(asked.quoted)
    source = open_source(asked.dataset)
    variants = _expand(asked, source)
    _check_trainings(variants, source.size)
    images, batch = source.counts["train"], max(variant.training.batch_size for variant in variants)
    if batch > images:
        raise SpecError(f"training.batch_size={batch} is more than the {images} training images")
    if place.ray is None:
        check_threads("profiling.threads", asked.profiling.threads)
        if asked.board is not None and place.on is None:
            check_board(asked.board)
    device, make_executor = place.open(asked, max(variant.training.threads for variant in variants))
    if place.ray is None and asked.profile and asked.board is None:
        _check_runtimes(asked, device)
    folder = place.reports / asked.name
    return SweepRun(asked, variants, quoted, folder, place, device, make_executor)


Asked = TypeVar("Asked", Sweep, Search)


def on_board(asked: Asked, place: Place) -> Asked:
    """A sweep or search as a board runs it that SSH reaches: PyTorch runs the traced networks there.

    Raises:
        SpecError: no board is named, or it lacks a runtime or a number format.
    """
    if place.on is None:
        return asked
    if asked.board is None:
        raise SpecError(f"--on {place.on}: name the device that it is with --device")
    from jetbench.profiling.bundle import settings_for

    board = load_device(asked.board)
    settings = settings_of(asked.profiling, forms_of(asked))
    first, *others = [settings_for(board, [config])[0] for config in settings]
    if others != list(settings[1:]):
        raise SpecError("forms: a board runs the traced network in place of eager; write traced")
    return asked.model_copy(update={"profiling": first})


def list_variants(
    sweep: Sweep | str | Path, changes: Mapping[str, Any] | None = None
) -> tuple[Sweep, tuple[Variant, ...], bool]:
    """A sweep, its variants, and True if its data are assumed: CamVid is missing, and its usual form is used.

    Raises:
        SpecError: a variant cannot be built, its teacher is missing, or the device does not exist.
        DataError: the dataset is missing or damaged, and its usual form is not known.
    """
    checked = _read(sweep, changes)
    read_quoted(checked.quoted)
    source, is_assumed = _open_or_assume(checked)
    variants = _expand(checked, source)
    _check_trainings(variants, source.size)
    if checked.board is not None:
        load_device(checked.board)
    return checked, variants, is_assumed


def _read(sweep: Sweep | str | Path, changes: Mapping[str, Any] | None) -> Sweep:
    if not isinstance(sweep, Sweep):
        return read_sweep(str(sweep), changes)
    if changes:
        raise SpecError("changes: apply only to a sweep's YAML; set the values in the Sweep itself")
    return sweep


def _expand(asked: Sweep, source: Source) -> tuple[Variant, ...]:
    """`expand_sweep`, and each network of the user's own counted, which shows whether it can be built and run.

    Raises:
        SpecError: some variants cannot be built; the message lists all of them.
    """
    variants = expand_sweep(asked, len(source.class_names), source.size)
    count_together([variant.plan for variant in variants])
    problems = []
    for variant in variants:
        if isinstance(variant.plan, ForeignPlan):
            try:
                list_network(variant.plan)
            except SpecError as error:
                problems.append((variant.name, str(error).removeprefix(f"{variant.plan.name}: ")))
    if problems:
        raise SpecError(
            f"{asked.name}: {len(problems):,} of {len(variants):,} variants cannot be built; nothing was run\n"
            f"{list_by_cause(problems)}"
        )
    return variants


def _open_or_assume(asked: Sweep) -> tuple[Source, bool]:
    try:
        return open_source(asked.dataset), False
    except DataError:
        if asked.dataset.name != "camvid" or asked.dataset.path is not None:
            raise
    return assumed_camvid(asked.dataset), True


def describe_load() -> str:
    """A warning if other programs use this machine now, which makes profiles suspect or invalid; else empty."""
    foreign = foreign_load(LOOK_S)
    if foreign is None or foreign <= MAX_FOREIGN_LOAD:
        return ""
    return (
        f"This machine is busy: other programs use about {foreign:.1f} of its {cores()} cores. Profiles measured "
        "beside them are suspect or invalid. Stop them, or profile again later with --remeasure invalid,suspect."
    )


def check_board(name: str) -> None:
    """Raise if this machine is not the board.

    Raises:
        SpecError: this machine is a different one.
    """
    from jetbench.profiling.host import describe_host, is_here, read_identity

    board, identity = load_device(name), read_identity()
    if not is_here(board, identity):
        raise SpecError(
            f"--device {name}: this machine is not a {board.title} (it is: {describe_host(identity)}); run the sweep "
            "there, or with --ray on a cluster in which a machine has the board's token"
        )


def _check_runtimes(asked: Sweep, device: str) -> None:
    """Raise if a runtime that a sweep names is not installed on this machine, or cannot run where it profiles.

    Raises:
        SpecError: the message says how to install it.
    """
    settings = [config for config in settings_of(asked.profiling, asked.forms) if config.runs_file]
    if settings:
        from jetbench.deploy.backends import check_backend  # with torch, which a sweep's driver does not need

        for config in settings:
            check_backend(config, device)


def _check_trainings(variants: Sequence[Variant], size: tuple[int, int]) -> None:
    """Raise if a weights file that a training reads does not exist, or a crop is too large."""
    for variant in variants:
        variant.training.augmentation.check_size(size)
        for key, file in (("teacher", variant.training.teacher), ("init", variant.training.init)):
            if file is not None and not Path(file).is_file():
                raise SpecError(
                    f"{variant.name}: training.{key}: {file}: no such weights file; give one of a sweep, such as "
                    "reports/NAME/weights/....safetensors"
                )


class Listed:
    """The chooser of a sweep: every variant of a list, in its order."""

    def __init__(
        self, variants: Sequence[Variant], tell: Callable[[Record], None], phases: tuple[Phase, ...] = TRAIN_AND_PROFILE
    ) -> None:
        self._waiting, self._tell, self.phases, self.may_wait = iter(variants), tell, phases, True

    def ask(self) -> Variant | None:
        """See `Chooser`."""
        return next(self._waiting, None)

    def stop(self, variant: Variant, profile: Profile | None) -> None:
        """See `Chooser`."""
        return

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """See `Chooser`."""
        return ()

    def learn(self, record: Record) -> None:
        """See `Chooser`."""
        self._tell(record)


def run_study(
    folder: Path,
    sweep: Sweep,
    variants: Sequence[Variant],
    dataset: DatasetInfo,
    device: str,
    executor: Executor,
    view: View,
    retry_failed: bool = False,
    phases: tuple[Phase, ...] | None = None,
    storage: str | None = None,
    storage_wait_s: float = STORAGE_WAIT_S,
    remeasure: Collection[Level] = (),
    on: str | None = None,
) -> list[Record]:
    """Run the variants that have no record yet, and return the records of all variants in their order.

    Args:
        folder: the report folder; made if it does not exist.
        sweep: the sweep with its overrides; saved as sweep.yaml and compared on resume.
        variants: from `expand_sweep`.
        dataset: the data that the variants are trained on.
        device: torch device of all jobs.
        executor: runs the jobs; stopped before this returns or raises.
        view: shows the progress.
        retry_failed: run failed variants again.
        phases: phases of each variant; by default those of the sweep.
        storage: address of the database of the Optuna study; study.db in the folder by default.
        storage_wait_s: seconds to wait for a folder or storage that cannot be written.
        remeasure: verdicts of profiles that are made again, of trainings that are kept.
        on: how SSH reaches the board that profiles.

    Raises:
        StudyError: another driver uses the folder, or it holds another sweep, or it cannot be written.
        KeyboardInterrupt: after the jobs were stopped; the same call continues.
    """
    with contextlib.ExitStack() as stack:
        check_folder = stack.enter_context(lock_folder(folder))
        keep_sweep(folder, sweep)
        keys = [variant_key(variant, sweep, dataset, device) for variant in variants]
        trials, tell = sweep_trials(folder, sweep.name, dict(zip(keys, variants, strict=True)), storage)
        stack.callback(trials.close)
        phases = phases or (TRAIN_AND_PROFILE if sweep.profile else ("train",))
        works = dict(zip(keys, list_work(variants, dataset.images), strict=True))
        driver = Driver(
            jobs=Jobs(folder, sweep, dataset, device, on),
            chooser=Listed(variants, tell, phases),
            executor=executor,
            view=view,
            trials=trials,
            storage_wait_s=storage_wait_s,
            check_folder=check_folder,
            forecast=Forecast(works, phases, executor.width, executor.profiles_alone, profile_guess(sweep.profiling)),
        )
        finished = driver.recall(retry_failed, remeasure)
        view.begin(len(variants), len(finished.intersection(keys)))
        driver.run()
        return [driver.landed[key] for key in keys]
