"""Rows of a table: the records of one network and recipe, all seeds together; and baselines only quoted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from jetbench.errors import visible
from jetbench.network.variants import SEED, describe_changes, label_of
from jetbench.records.measurement import Latency
from jetbench.records.record import Profile, Record, TrainingResult
from jetbench.records.verdict import Level, judge
from jetbench.reporting.tables.published import mark_of
from jetbench.spec.architecture import AnyArchitecture, Baseline

WORST: tuple[Level, ...] = ("valid", "not measured", "suspect", "invalid")


@dataclass(frozen=True)
class Row:
    """One network with one training recipe: a record for each seed; no records for a baseline that is only quoted.

    `base` is the row that a study's variants change. The base itself has it, too; None if the study has no base or one
    row alone. `known` holds the values that columns have read: a base is read for each other row.
    """

    name: str
    architecture: AnyArchitecture
    records: tuple[Record, ...] = ()
    study: str = ""
    base: "Row | None" = field(default=None, compare=False, repr=False)
    known: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def trainings(self) -> tuple[TrainingResult, ...]:
        """The trainings of the seeds that finished or that a stopping rule ended."""
        return tuple(record.training for record in self.records if record.training is not None)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The profiles of the seeds that were profiled."""
        return tuple(record.profile for record in self.records if record.profile is not None)

    @cached_property
    def level(self) -> Level:
        """The worst verdict of the row's profiles; valid if it has none."""
        return max((judge(profile).level for profile in self.profiles), key=WORST.index, default="valid")

    @property
    def is_base(self) -> bool:
        """True if the other rows of its study are changes of this one."""
        return self.base is not None and bool(self.records) and self.base.records[0].key == self.records[0].key

    @property
    def session(self) -> str:
        """The study in which it was measured: that of its origin, if it was taken over or merged."""
        return next((record.origin for record in self.records if record.origin), self.study)

    @property
    def is_failed(self) -> bool:
        """True if all of its jobs failed; it is not ranked then."""
        return bool(self.records) and all(record.failure for record in self.records)

    @property
    def is_stopped(self) -> bool:
        """True if one of its trainings ended before its budget; its accuracy is not ranked then."""
        return any(training.stopped for training in self.trainings)

    @property
    def _state(self) -> str:
        if not self.is_failed:
            return "ended early" if self.is_stopped else ""
        statuses = {record.failure.status for record in self.records if record.failure}
        names = {"stopped": "ended early", "over a limit": "over a limit"}
        return names.get(statuses.pop(), "failed") if len(statuses) == 1 else "failed"

    @property
    def label(self) -> str:
        """The name, marked if the network is approximate, quoted, failed, ended early or its profile is in doubt."""
        return self._marked("")

    @property
    def listed(self) -> str:
        """The label in a table, which also marks the base."""
        return self._marked(" (base)" if self.is_base else "")

    def _marked(self, base: str) -> str:
        quoted = " (quoted)" if isinstance(self.architecture, Baseline) and not self.records else ""
        state = f" ({self._state})" if self._state else ""
        doubt = {"suspect": " (?)", "invalid": " (INVALID)"}.get(self.level, "")
        return self.name + (quoted or mark_of(self.architecture)) + base + state + doubt

    def without_invalid(self) -> "Row":
        """The same row without its invalid profiles; trainings and counts stay."""
        records = tuple(
            record.model_copy(update={"profile": _without_measurements(record.profile)})
            if record.profile and judge(record.profile).level == "invalid"
            else record
            for record in self.records
        )
        return replace(self, records=records)

    def pooled(self, end_to_end: bool = False) -> Latency | None:
        """The latency over all processes of all seeds; None if nothing was timed."""
        latencies = [profile.end_to_end_latency if end_to_end else profile.model_latency for profile in self.profiles]
        timed = [latency for latency in latencies if latency is not None]
        if not timed:
            return None
        return Latency(batch_size=timed[0].batch_size, runs=tuple(run for latency in timed for run in latency.runs))


TIMED = ("model_latency", "end_to_end_latency", "comparison", "cold_start", "paced", "soak", "memory", "energy")


def _without_measurements(profile: Profile) -> Profile | None:
    """Nothing of an invalid profile, but for what the file that it ran scores."""
    if profile.deployment is None:
        return None
    return profile.model_copy(update={**dict.fromkeys(TIMED), "parts": (), "watches": ()})


def one_per_network(rows: Sequence[Row]) -> list[Row]:
    """The first row of each network: what is published of it holds for all of its rows."""
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        first.setdefault((row.architecture.name, row.records[0].fingerprint if row.records else ""), row)
    return list(first.values())


def rows_of(records: Sequence[Record], study: str = "", merge_seeds: bool = True) -> list[Row]:
    """Rows in the order of their first records; records that differ only in the seed form one row.

    Seeds that were measured on different machines, or by different versions, form separate rows.
    """
    groups: dict[Any, list[list[Record]]] = {}
    for record in records:
        alike = groups.setdefault(_identity(record) if merge_seeds else record.key, [])
        machine_of_record = _machine(record)
        for group in alike:
            machine_of_group = next((machine for each in group if (machine := _machine(each))), None)
            if machine_of_record is None or machine_of_group in (None, machine_of_record):
                group.append(record)
                break
        else:
            alike.append([record])
    return _with_base(_tell_settings([_row(group, study) for alike in groups.values() for group in alike]))


def _with_base(rows: Sequence[Row]) -> list[Row]:
    """The same rows with the one that the others change first; as they are if there is not exactly one."""
    unchanged = [row for row in rows if all(r.kind == "training" and not set(r.changes) - {SEED} for r in row.records)]
    if len(unchanged) != 1 or len(rows) < 2:
        return list(rows)
    (base,) = unchanged
    return [replace(row, base=base) for row in (base, *(row for row in rows if row is not base))]


def _tell_settings(rows: Sequence[Row]) -> list[Row]:
    """Rows with unique names: a network that was profiled several times is followed by its setting."""
    names = Counter(row.name for row in rows)
    alike: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if names[row.name] > 1:
            alike.setdefault(row.name, []).append(_settings(row.records[0]))
    return [
        replace(row, name=f"{row.name} [{_setting(row.records[0], alike[row.name])}]")
        if names[row.name] > 1 and row.records[0].kind == "profile"
        else row
        for row in rows
    ]


def _settings(record: Record) -> dict[str, str]:
    """How a record was profiled, by what."""
    config, profile = record.profiling_config, record.profile
    return {
        "device": profile.device if profile else "",
        "batch": f"batch {config.batch_size}",
        "threads": f"{config.threads} thread{'s' * (config.threads > 1)}",
        "layout": "channels last" if config.channels_last else "contiguous",
        "form": config.form,
        "mode": _mode_of(profile) if profile else "",
    }


def _mode_of(profile: Profile) -> str:
    """The power mode of a board, and if its clocks were fixed."""
    state = profile.environment
    return " ".join(filter(None, (state.power_mode, "jetson_clocks" if state.jetson_clocks else "")))


def _setting(record: Record, alike: Sequence[Mapping[str, str]]) -> str:
    """In what the profile of a record differs from others of the same network; all of it if they do not differ."""
    own = _settings(record)
    differing = [text for what, text in own.items() if text and len({each[what] for each in alike}) > 1]
    return ", ".join(differing) or f"{record.measured.device}, {record.profiling_config.describe()}"


def label_rows(rows: Sequence[Row], labels: Mapping[str, str]) -> list[Row]:
    """The same rows by the names that `labels:` of their sweep gives them."""
    named = [replace(row, name=visible(" ".join(_label(row, labels).split()))) for row in rows]
    base = next((row for row in named if row.is_base), None)
    return [row if row.base is None else replace(row, base=base) for row in named]


def _label(row: Row, labels: Mapping[str, str]) -> str:
    if not row.records:
        return labels.get(row.name, row.name)
    changes = {key: value for key, value in row.records[0].changes.items() if key != SEED or len(row.records) == 1}
    return label_of(row.name, changes, labels)


def quoted_rows(baselines: Sequence[Baseline]) -> list[Row]:
    """A row for each baseline with only published figures."""
    return [Row(each.name, each) for each in baselines]


def _identity(record: Record) -> tuple[str, ...]:
    """Equal for two records that differ only in the seed."""
    recipe = record.training_config and record.training_config.model_copy(update={"seed": 0}).identity
    return (
        record.fingerprint,
        record.architecture.model_dump_json(),
        recipe or record.key,
        record.dataset.model_dump_json() if record.dataset else "",
        record.profiling_config.model_dump_json(),
    )


def _machine(record: Record) -> tuple[Any, ...] | None:
    """The machine on which a record was measured; None if it was not measured, which fits any machine."""
    if record.profile is None:
        return None
    e = record.profile.environment
    state = (e.power_mode, e.jetson_clocks)
    return (record.profile.device, e.device, e.cpu, e.cores, e.threads, *state, e.driver, e.torch, e.jetbench)


def _row(group: Sequence[Record], study: str) -> Row:
    first = group[0]
    name = first.variant if len(group) == 1 else name_without_seed(first)
    return Row(visible(" ".join(name.split())), first.architecture, tuple(group), study)


def name_without_seed(record: Record) -> str:
    """The variant's name without its seed."""
    if SEED in record.changes and record.variant.endswith(ending := f", seed={record.changes[SEED]}"):
        return record.variant.removesuffix(ending)
    rest = {key: value for key, value in record.changes.items() if key != SEED}
    if record.variant == describe_changes(record.changes):
        return describe_changes(rest) or record.architecture.name
    return record.variant
