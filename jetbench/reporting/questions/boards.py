"""The boards of one study, each as a study of its own, so that their rankings can be compared."""

from collections.abc import Sequence
from dataclasses import replace

from jetbench.errors import SpecError
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.studies import Study


def boards_of(study: Study, form: str | None = None) -> list[Study]:
    """The boards on which the networks of a study were profiled, each with one profile of each network.

    Args:
        study: with profiles of several boards, as `collect --into` adds them.
        form: backend and number format, as `ProfilingConfig.form` names it; by default the first that all boards have.

    Raises:
        SpecError: fewer than two boards were measured in one form.
    """
    on: dict[str, list[Record]] = {}
    for record in study.records:
        profile = record.profile
        if profile is not None and profile.model_latency is not None and record.training is not None:
            on.setdefault(profile.device, []).append(record)
    boards = [name for name in on if on[name][0].measured.environment.power_mode] or list(on)
    if len(boards) < 2:
        boards = list(on)
    common = [each for each in _forms(on[boards[0]]) if all(each in _forms(on[name]) for name in boards)] if on else []
    if form is not None:
        common = [each for each in common if each == form]
    if len(boards) < 2 or not common:
        what = f" in {form}" if form is not None else " in one form"
        raise SpecError(
            f"{study.folder}: {units.counted(len(boards), 'device')} measured its networks{what}; two are needed"
        )
    return [_board(study, name, on[name], common[0]) for name in boards]


def _forms(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record.profiling_config.form for record in records))


def _board(study: Study, name: str, records: Sequence[Record], form: str) -> Study:
    """One profile of each network: in that form, in the first power mode in which the board was measured."""
    mode = next(r.measured.environment.power_mode for r in records if r.profiling_config.form == form)
    chosen: dict[str, Record] = {}
    for record in records:
        if record.profiling_config.form == form and record.measured.environment.power_mode == mode:
            chosen.setdefault(record.variant, record)
    title = f"{name} {mode}" if mode else name
    return replace(study, name=f"{title}, {form}", records=tuple(chosen.values()), quoted=())
