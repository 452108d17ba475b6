"""A study's Optuna side: landed records as finished trials in study.db, for Optuna's own tools to read."""

import json
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from jetbench.errors import StudyError
from jetbench.record import Record
from jetbench.sweep import Variant

RECORDS, DATABASE = "records.jsonl", "study.db"


class Trials:
    """The study's Optuna side: one finished trial per landed record, so that Optuna's tools can read a sweep too.

    Trials are added when they are finished and never left running: a killed driver leaves nothing to mend here.
    """

    def __init__(self, folder: Path, name: str, variants: dict[str, Variant]) -> None:
        axes = dict.fromkeys(axis for variant in variants.values() for axis in variant.changes)
        self.params = {
            key: {axis: _as_choice(variant.changes, axis) for axis in axes} for key, variant in variants.items()
        }
        choices = {axis: sorted({params[axis] for params in self.params.values()}) for axis in axes}
        self.distributions: dict[str, optuna.distributions.BaseDistribution] = {
            axis: optuna.distributions.CategoricalDistribution(options) for axis, options in choices.items()
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.study = self._open(f"sqlite:///{folder / DATABASE}", name, choices)
            trials = self.study.get_trials(deepcopy=False)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            reason = str(error).splitlines()[0]
            raise StudyError(
                f"{folder / DATABASE}: cannot be used ({reason}); delete it, it is made "
                f"anew from {RECORDS} and no row is lost"
            ) from None
        self.told = {(trial.user_attrs.get("key"), trial.user_attrs.get("finished")) for trial in trials}

    def _open(self, storage: str, name: str, choices: dict[str, list[str]]) -> optuna.Study:
        """The study in `storage`; made anew where the axes have changed, which Optuna does not allow within one."""
        if name in optuna.get_all_study_names(storage):
            study = optuna.load_study(study_name=name, storage=storage)
            if study.user_attrs.get("choices") == choices:
                return study
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, directions=["maximize", "minimize"])
        study.set_user_attr("choices", choices)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["val_miou", "latency_s"])
        return study

    def tell(self, record: Record) -> None:
        """Tell a landed record, once; a failure is a failed trial with its reason, never a value."""
        if (record.key, record.finished) in self.told:
            return
        about = {"key": record.key, "variant": record.variant, "finished": record.finished}
        values, state = None, TrialState.FAIL
        if record.failure is not None:
            about["failure"] = record.failure.reason
        elif record.training is not None and record.profile is not None and record.profile.model_latency is not None:
            values = [record.training.best.counts.miou, record.profile.model_latency.median_s]
            state = TrialState.COMPLETE
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=self.params[record.key],
                distributions=self.distributions,
                user_attrs=about,
            )
        )
        self.told.add((record.key, record.finished))


def _as_choice(changes: dict[str, Any], axis: str) -> str:
    return json.dumps(changes[axis]) if axis in changes else "(as the base)"
