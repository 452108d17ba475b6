"""Many records: a sweep's variants, run to their end in a folder by one driver."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from jetbench.execution.executor import Executor
from jetbench.execution.requests import Phase
from jetbench.network.variants import Variant
from jetbench.records.folder import keep_sweep, lock_folder, read_landed
from jetbench.records.record import DatasetInfo, Profile, Record
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import Floor
from jetbench.study.driver import (
    STORAGE_WAIT_S,
    TRAIN_AND_PROFILE,
    Driver,
    View,
    variant_key,
)
from jetbench.study.trials import sweep_trials


class Listed:
    """The chooser of a sweep: every variant of a list, in its order."""

    def __init__(
        self, variants: Sequence[Variant], tell: Callable[[Record], None], phases: tuple[Phase, ...] = TRAIN_AND_PROFILE
    ) -> None:
        self._waiting, self._tell, self.phases = iter(variants), tell, phases

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
) -> list[Record]:
    """Run what has not landed yet, and return the records of all variants in their order.

    Args:
        folder: the report folder; made if it does not exist.
        sweep: as it runs, overrides included; kept as sweep.yaml and compared on resume.
        variants: from `expand_sweep`.
        dataset: what the variants learn from.
        device: torch device of all jobs.
        executor: who runs the jobs; stopped before this returns or raises.
        view: who is shown the progress.
        retry_failed: run again what has landed as a failure.
        phases: what is done with each variant; as the sweep says by default.
        storage: address of the database of the Optuna study; study.db in the folder by default.
        storage_wait_s: how long a folder or storage that cannot be written to is waited for.

    Raises:
        StudyError: another driver has the folder, or it holds another sweep, or it cannot be written to.
        KeyboardInterrupt: after the jobs were stopped; the same call goes on from there.
    """
    with contextlib.ExitStack() as held:
        check_folder = held.enter_context(lock_folder(folder))
        keep_sweep(folder, sweep)
        keys = [variant_key(variant, sweep, dataset, device) for variant in variants]
        trials, tell = sweep_trials(folder, sweep.name, dict(zip(keys, variants, strict=True)), storage)
        held.callback(trials.close)
        chooser = Listed(variants, tell, phases or (TRAIN_AND_PROFILE if sweep.profile else ("train",)))
        driver = Driver(
            *(folder, sweep, chooser, dataset, device, executor, view, trials, storage_wait_s),
            check_folder=check_folder,
        )
        known = driver.recall(retry_failed)
        view.begin(len(variants), len(known.intersection(keys)))
        driver.run()
        return [driver.landed[key] for key in keys]


def landed_records(
    folder: Path, sweep: Sweep, variants: Sequence[Variant], dataset: DatasetInfo, device: str
) -> list[Record]:
    """The records of exactly these variants, this data and this device, in the variants' order."""
    found = {record.key: record for record in read_landed(folder)}
    keys = [variant_key(variant, sweep, dataset, device) for variant in variants]
    return [found[key] for key in keys if key in found]
