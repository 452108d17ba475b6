"""What numbers must share to be compared in one column: the images, the recipe and the machine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.network.rules import format_size
from jetbench.records.record import Environment, Profile, Record
from jetbench.reporting import units
from jetbench.reporting.tables.rows import Row

Needs = Literal["counted", "trained", "measured"]
"""What a number depends on: the network and its input; the data and recipe; the machine and the timing."""
ALL: tuple[Needs, ...] = ("counted", "trained", "measured")


PLACE = ("board", "power mode")
"""The facts that say where a row was measured."""


@dataclass(frozen=True)
class Group:
    """Rows that share a protocol, and in what they differ from the other groups of a table (`label`).

    `board` is where they were measured, if that is a board, with its power mode: `nano, MAXN`.
    """

    rows: tuple[Row, ...]
    label: str = ""
    board: str = ""


def facts_of(record: Record, needs: Iterable[Needs], with_varied: bool = False) -> dict[str, str]:
    """The facts, by name, on which the record's numbers depend; only those of numbers that it has.

    The training fields that the variant changes, and its backend, are what the study compares, not its protocol: they
    are left out, unless `with_varied`.
    """
    wanted, facts = set(needs), {}
    dataset, profile = record.dataset, record.profile
    if "counted" in wanted:
        facts["input"] = format_size(record.input_size)
        facts["classes"] = str(record.num_classes)
    if "trained" in wanted and record.training is not None and dataset is not None:
        facts["data"] = f"{dataset.describe()} (digest {dataset.digest[:8]})"
        facts |= _recipe_of(record, frozenset() if with_varied else frozenset(record.changes))
    if "measured" in wanted and profile is not None:
        facts |= _board_of(profile)
    if "measured" in wanted and profile is not None and profile.model_latency is not None:
        facts |= _machine_of(profile.environment)
        config = record.profiling_config
        facts |= {
            "input": format_size(profile.input_size),
            # What a runtime made of a file, and in which number formats, is in the column of the backend.
            **({} if config.runs_file else {"precision": config.dtype}),
            "batch": str(config.batch_size),
            **({"power sensor": f"{e.sensor}: {e.scope}"} if (e := profile.energy) else {}),
            **({} if config.runs_file else {"layout": "channels last" if config.channels_last else "contiguous"}),
            # Rows of one table show their backend in a column; two studies are paired by name, and must have the same.
            **({"backend": config.form} if with_varied else {}),
            "profiling": ", ".join(
                f"{name} {value:g}"
                for name, value in (
                    ("processes", config.processes),
                    ("precision", config.precision),
                    ("passes at least", config.min_iterations),
                )
            ),
        }
    return facts


def _recipe_of(record: Record, varied: frozenset[str]) -> dict[str, str]:
    """Each field of the recipe except the seed; with a budget in seconds also the machine that trains."""
    config, training, environment = record.recipe, record.training, record.training_environment
    fields: dict[str, object] = config.model_dump(
        mode="json", exclude={"seed", "threads", "mixed_precision", "deterministic", "proxies"}
    )
    fields["budget"] = str(config.budget)
    fields["loss"] = config.model_copy(update={"loss_arguments": {}}).describe_loss(whole=True)
    fields.pop("loss_source", None)  # in the words of the loss, without the path of its file
    if config.teacher is None:
        fields.pop("distillation")
    elif training is not None:
        fields["teacher"] = training.teacher  # identified by its weights, not by their path
    if training is not None and training.init is not None:
        fields["init"] = training.init.digest
    fields["augmentation"] = config.augmentation.describe() or "none"
    if config.loss != "jetloss" or "training.loss" in varied:
        fields.pop("jetloss")
    facts = {name: str(value) for name, value in fields.items() if not _is_varied(f"training.{name}", varied)}
    facts["mixed precision"] = str(training.mixed_precision) if training else "False"
    if config.budget.unit == "seconds" and environment is not None:
        facts["trained on"] = f"{environment.device}, {environment.cpu}, {config.threads} threads"
    return facts


def _is_varied(key: str, varied: frozenset[str]) -> bool:
    return any(each == key or each.startswith(f"{key}.") for each in varied)


def _board_of(profile: Profile) -> dict[str, str]:
    """The board and its power mode, also of a form that could not be measured there; empty of other machines."""
    mode = profile.environment.power_mode
    return {"board": profile.device, "power mode": mode} if mode else {}


def _machine_of(environment: Environment) -> dict[str, str]:
    facts = {
        "device": environment.device,
        "processor": f"{environment.cpu}, {environment.cores} cores",
        "threads": str(environment.threads),
        "power mode": environment.power_mode,
        "jetson_clocks": environment.jetson_clocks,
        "driver": environment.driver,
        "freed memory": environment.keeps_freed_memory,
        "denormals flushed": environment.flush_denormals,
        "TF32": environment.tf32,
        "torch": environment.torch,
        "jetbench": environment.jetbench,
    }
    return {name: str(value) for name, value in facts.items()}


def group_rows(rows: Sequence[Row], needs: Iterable[Needs]) -> list[Group]:
    """Rows grouped by the facts on which their numbers depend. A row without numbers joins the first group it fits.

    If all rows agree, they form one group without a label. Otherwise each label gives the facts that differ.
    """
    wanted = tuple(needs)
    groups: list[tuple[dict[str, str], list[Row]]] = []
    for row in rows:
        own = _merged([facts_of(record, wanted) for record in row.records])
        for facts, members in groups:
            if all(facts.get(name, value) == value for name, value in own.items()):
                facts.update(own)
                members.append(row)
                break
        else:
            groups.append((own, [row]))
    if len(groups) == 1:
        return [Group(tuple(rows))]
    names = differing(facts for facts, _ in groups)
    names.sort(key=lambda name: name not in PLACE)  # the board and its mode first
    return [
        Group(
            tuple(members),
            "; ".join(f"{name} {facts[name]}" for name in names if name in facts),
            ", ".join(facts[name] for name in PLACE if name in facts) if "board" in facts else "",
        )
        for facts, members in groups
    ]


def _merged(sets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for facts in sets:
        merged |= facts
    return merged


def differing(told: Iterable[Mapping[str, str]]) -> list[str]:
    """Names of the facts that have more than one value."""
    seen: dict[str, set[str]] = {}
    for facts in told:
        for name, value in facts.items():
            seen.setdefault(name, set()).add(value)
    return [name for name, values in seen.items() if len(values) > 1]


def describe_differences(groups: Sequence[Group]) -> str:
    """One line per group: its first rows, and in what they differ from the other groups."""
    lines = []
    for group in groups:
        names = ", ".join(row.name for row in group.rows[:3]) + (", ..." if len(group.rows) > 3 else "")
        lines.append(f"- {names}: {group.label or 'nothing measured'}")
    return "\n".join(lines)


def describe_machines(environments: Iterable[Environment]) -> list[str]:
    """One line about each machine; commits of jetbench on one machine stand in one line."""
    commits: dict[str, dict[str, None]] = {}
    for environment in environments:
        text = describe_machine(environment.model_copy(update={"commit": None}))
        commits.setdefault(text, {}).update({environment.commit: None} if environment.commit else {})
    return [text + (f" ({', '.join(known)})" if known else "") for text, known in commits.items()]


def describe_machine(environment: Environment) -> str:
    """One line about the machine of a measurement, without what changes from minute to minute."""
    memory = f", {environment.memory_bytes / 2**30:.0f} GiB" if environment.memory_bytes else ""
    denormals = "denormals flushed" if environment.flush_denormals else "denormals kept"
    if environment.keeps_freed_memory is not None:
        denormals += ", freed memory kept" if environment.keeps_freed_memory else ", freed memory given back"
    denormals += f", power mode {environment.power_mode}" if environment.power_mode else ""
    if environment.jetson_clocks is not None:
        denormals += f", jetson_clocks {'on' if environment.jetson_clocks else 'off'}"
    commit = f" ({environment.commit})" if environment.commit else ""
    return (
        f"{environment.device}; processor {environment.cpu}, {environment.cores} cores{memory}, "
        f"{units.counted(environment.threads, 'thread')}, {denormals}, {environment.system}, "
        f"torch {environment.torch}, Python {environment.python}, jetbench {environment.jetbench}{commit}"
    )
