"""A study's Optuna side: landed records as finished trials in study.db, for Optuna's own tools to read."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from jetbench.errors import StudyError
from jetbench.record import Record
from jetbench.sweep import Variant

Goal = Literal["maximize", "minimize"]
Distributions = dict[str, optuna.distributions.BaseDistribution]

RECORDS, DATABASE = "records.jsonl", "study.db"


class Trials:
    """A study's Optuna side: one finished trial per landed record, so that Optuna's tools can read it too.

    Trials are added when they are finished and never left running: a killed driver leaves nothing to mend here.
    """

    def __init__(
        self, folder: Path, name: str, choices: Mapping[str, Sequence[str]], goals: Mapping[str, Goal]
    ) -> None:
        """Open or make the study `name`.

        Args:
            folder: study.db is there.
            name: of the study.
            choices: the values that each axis may have, as text.
            goals: each metric's name with maximize or minimize.
        """
        held = {axis: list(options) for axis, options in choices.items()}
        self.distributions = distributions(held)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.study = self._open(f"sqlite:///{folder / DATABASE}", name, held, goals)
            trials = self.study.get_trials(deepcopy=False)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            reason = str(error).splitlines()[0]
            raise StudyError(
                f"{folder / DATABASE}: cannot be used ({reason}); delete it, it is made "
                f"anew from {RECORDS} and no row is lost"
            ) from None
        self.told = {(trial.user_attrs.get("key"), trial.user_attrs.get("finished")) for trial in trials}

    def _open(self, storage: str, name: str, choices: dict[str, list[str]], goals: Mapping[str, Goal]) -> optuna.Study:
        """The study in `storage`; made anew where the axes have changed, which Optuna does not allow within one."""
        if name in optuna.get_all_study_names(storage):
            study = optuna.load_study(study_name=name, storage=storage)
            if study.user_attrs.get("choices") == choices:
                return study
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, directions=list(goals.values()))
        study.set_user_attr("choices", choices)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(goals))
        return study

    def tell(self, record: Record, params: Mapping[str, str], values: Sequence[float] | None) -> None:
        """Tell a landed record, once; without values it is a failed trial with its reason, never a made-up value."""
        if (record.key, record.finished) in self.told:
            return
        about = {"key": record.key, "variant": record.variant, "finished": record.finished}
        if record.failure is not None:
            about["failure"] = record.failure.reason
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if values is None else TrialState.COMPLETE,
                values=values,
                params=dict(params),
                distributions={axis: self.distributions[axis] for axis in params},
                user_attrs=about,
            )
        )
        self.told.add((record.key, record.finished))


def distributions(choices: Mapping[str, Sequence[str]]) -> Distributions:
    """Optuna's distributions of axes with these choices."""
    return {axis: optuna.distributions.CategoricalDistribution(options) for axis, options in choices.items()}


def sweep_trials(folder: Path, name: str, variants: Mapping[str, Variant]) -> Callable[[Record], None]:
    """What tells a sweep's records to its study; `variants` by their keys."""
    axes = dict.fromkeys(axis for variant in variants.values() for axis in variant.changes)
    params = {key: {axis: _as_choice(variant.changes, axis) for axis in axes} for key, variant in variants.items()}
    choices = {axis: sorted({chosen[axis] for chosen in params.values()}) for axis in axes}
    trials = Trials(folder, name, choices, {"val_miou": "maximize", "latency_s": "minimize"})

    def tell(record: Record) -> None:
        training, profile = record.training, record.profile
        values = None
        if record.failure is None and training and profile and profile.model_latency:
            values = [training.best.counts.miou, profile.model_latency.median_s]
        trials.tell(record, params[record.key], values)

    return tell


def _as_choice(changes: dict[str, Any], axis: str) -> str:
    return json.dumps(changes[axis]) if axis in changes else "(as the base)"
