"""A study's Optuna side: stores its records as finished trials, so that Optuna's own tools can read them."""

import json
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from jetbench.errors import StorageError, StudyError
from jetbench.network.variants import Variant
from jetbench.records.folder import study_id
from jetbench.records.record import Record
from jetbench.study.storage import (
    DAMAGE,
    DATABASE_ERRORS,
    StudyLock,
    close_storage,
    hide_password,
    open_storage,
    storage_url,
    trouble_of,
)

# Seconds: to wait for the thread at each flush, until a storage counts as silent, between checks of the lock, at close.
JOIN_S, SILENCE_S, CHECK_S, CLOSE_S = 0.02, 20.0, 5.0, 5.0

Goal = Literal["maximize", "minimize"]
Distributions = dict[str, optuna.distributions.BaseDistribution]


class Trials:
    """A study's Optuna side: one finished trial per record, so that Optuna's tools can read it too.

    Trials are added only when they are finished, so a killed driver leaves no running trials behind.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        choices: Mapping[str, Sequence[str]],
        goals: Mapping[str, Goal],
        address: str | None = None,
    ) -> None:
        """Open or make the study `name`, as its only driver.

        Args:
            folder: the folder of the records.
            name: the study's name.
            choices: the values that each axis may have, as text.
            goals: each metric's name with maximize or minimize.
            address: the database's address; study.db in the folder by default.

        Raises:
            SpecError: the kind of database is not known.
            StudyError: the database cannot be used now, another driver runs the study there, or the study belongs to
                another folder.
        """
        self._choices = {axis: list(options) for axis, options in choices.items()}
        self.distributions = distributions(self._choices)
        self.url, self._name, self._goals = storage_url(address, folder), name, goals
        self._home = study_id(folder) if address is not None else None
        self._waiting: deque[tuple[Record, Mapping[str, str], Sequence[float] | None]] = deque()
        self._teller: threading.Thread | None = None
        self._trouble: StudyError | None = None
        self._is_stale = False
        self._heard = 0.0
        self.lock = StudyLock(self.url, name)
        try:
            self._open()
        except StudyError:
            self.lock.release()
            raise
        except (*DATABASE_ERRORS, *DAMAGE) as error:
            self.lock.release()
            raise trouble_of(self.url, error) from None

    def _open(self) -> None:
        self.storage: RDBStorage = open_storage(self.url)
        self.study = self._study()
        trials = self.study.get_trials(deepcopy=False)
        self.told = {(trial.user_attrs.get("key"), trial.user_attrs.get("finished")) for trial in trials}

    def _study(self) -> optuna.Study:
        """The study. It is rebuilt if the axes have changed, which Optuna does not allow within a study."""
        if self._name in optuna.get_all_study_names(self.storage):
            study = optuna.load_study(study_name=self._name, storage=self.storage)
            if study.user_attrs.get("home", self._home) != self._home:
                raise StudyError(
                    f"storage {hide_password(self.url)}: its study {self._name} belongs to another report folder; use "
                    f"--name, or delete the study: optuna delete-study --study-name {self._name} --storage ADDRESS"
                )
            if self._home is not None and "choices" not in study.user_attrs:
                raise StudyError(
                    f"storage {hide_password(self.url)}: its study {self._name} was not made by jetbench; use --name"
                )
            if study.user_attrs.get("choices") == self._choices:
                if self._home is not None:
                    study.set_user_attr("home", self._home)
                return study
            optuna.delete_study(study_name=self._name, storage=self.storage)
        directions = list(self._goals.values())
        study = optuna.create_study(study_name=self._name, storage=self.storage, directions=directions)
        study.set_user_attr("choices", self._choices)
        if self._home is not None:
            study.set_user_attr("home", self._home)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(self._goals))
        return study

    def tell(self, record: Record, params: Mapping[str, str], values: Sequence[float] | None) -> None:
        """Queue a record, to be added once, at the next `flush`.

        Without values it becomes a failed trial with its reason; a value is never made up.
        """
        if (record.key, record.finished) not in self.told:
            self._waiting.append((record, params, values))

    @property
    def is_behind(self) -> bool:
        """True if records wait to be added to the storage."""
        return bool(self._waiting)

    def flush(self) -> None:
        """Add the queued records to the storage in a thread, so that a server that does not answer delays no job.

        Raises:
            StorageError: the storage cannot be used now, or does not answer; the queue is kept.
            StudyError: another driver has taken over the study.
        """
        now = time.monotonic()
        if self._teller is not None:
            self._teller.join(JOIN_S)
            if self._teller.is_alive():
                if now - self._heard > SILENCE_S:
                    raise StorageError(
                        f"storage {hide_password(self.url)}: has not answered for {now - self._heard:.0f} s"
                    )
                return
            self._teller = None
            if self._trouble is not None:
                trouble, self._trouble = self._trouble, None
                raise trouble
        if self._waiting or (self.lock.is_held and now - self._heard > CHECK_S):
            self._heard = now
            self._teller = threading.Thread(target=self._tell_waiting, name="teller", daemon=True)
            self._teller.start()

    def _tell_waiting(self) -> None:
        try:
            self.lock.keep()
            if self._is_stale:  # it may hold trials that it did not acknowledge, or be another file by now
                close_storage(self.storage)
                self._open()
                self._is_stale = False
            while self._waiting:
                record, params, values = self._waiting[0]
                if (record.key, record.finished) not in self.told:
                    self.study.add_trial(self._trial(record, params, values))
                    self.told.add((record.key, record.finished))
                self._waiting.popleft()
                self._heard = time.monotonic()
        except DATABASE_ERRORS as error:
            self._is_stale, self._trouble = True, trouble_of(self.url, error)
        except KeyError:
            self._is_stale = True
            self._trouble = StorageError(
                f"storage {hide_password(self.url)}: the study {self._name} no longer exists in it"
            )
        except StudyError as error:
            self._trouble = error

    def _trial(self, record: Record, params: Mapping[str, str], values: Sequence[float] | None) -> FrozenTrial:
        about = {"key": record.key, "variant": record.variant, "finished": record.finished}
        if record.failure is not None:
            about["failure"] = record.failure.reason
        return optuna.trial.create_trial(
            state=TrialState.FAIL if values is None else TrialState.COMPLETE,
            values=values,
            params=dict(params),
            distributions={axis: self.distributions[axis] for axis in params},
            user_attrs=about,
        )

    def close(self) -> None:
        """Release the study. Records that still wait are added on resume."""
        if self._teller is not None:
            self._teller.join(CLOSE_S)
            if self._teller.is_alive():
                return  # the thread waits for a server that does not answer; this process ends without it
        self.lock.release()
        close_storage(self.storage)


def distributions(choices: Mapping[str, Sequence[str]]) -> Distributions:
    """Optuna's distributions for axes with these choices."""
    return {axis: optuna.distributions.CategoricalDistribution(options) for axis, options in choices.items()}


def sweep_trials(
    folder: Path, name: str, variants: Mapping[str, Variant], address: str | None = None
) -> tuple[Trials, Callable[[Record], None]]:
    """A sweep's trials, and a function that adds a record to them; `variants` are given by their keys."""
    axes = dict.fromkeys(axis for variant in variants.values() for axis in variant.changes)
    params = {key: {axis: _as_choice(variant.changes, axis) for axis in axes} for key, variant in variants.items()}
    choices = {axis: sorted({chosen[axis] for chosen in params.values()}) for axis in axes}
    trials = Trials(folder, name, choices, {"val_miou": "maximize", "latency_s": "minimize"}, address)

    def tell(record: Record) -> None:
        profile = record.profile
        values = None
        val = record.counts_on("val")
        if record.failure is None and val and profile and profile.model_latency:
            values = [val.miou, profile.model_latency.median_s]
        trials.tell(record, params[record.key], values)

    return trials, tell


def _as_choice(changes: dict[str, Any], axis: str) -> str:
    return json.dumps(changes[axis]) if axis in changes else "(as the base)"
