"""Specs of a search for the best networks of a space under limits, and of a space to screen."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from jetbench.spec.base import Spec, later
from jetbench.spec.bounds import IS_NUMBER, MOST_AXES, MOST_VALUES, Classes, Count, Positive, Seconds, Seed, Text, Whole
from jetbench.spec.dataset import DatasetConfig, StreetsConfig
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.training import Budget, TrainingConfig
from jetbench.spec.values import (
    DeviceName,
    MemoryLimit,
    Size,
    check_folder_name,
    listed,
    parse_bytes,
    parse_count,
    parse_joules,
    parse_short_seconds,
    parse_watts,
    read_by,
    with_unit,
    written_in,
)

Values = Annotated[list[Any], BeforeValidator(listed), Field(max_length=MOST_VALUES)]


class Space(Spec):
    """A space to screen by cost: every combination of the values of some fields of an architecture.

    `axes` maps dotted fields of the architecture to their values: `stages.s2.repeats: [0, 1, 2]`.
    """

    name: str
    description: Text = ""
    base: str
    """The architecture that variants change: a name or a path."""
    size: Size = (512, 512)
    """Input size at which variants are counted."""
    classes: Classes = 11
    """Classes at which variants are counted."""
    axes: Annotated[dict[str, Values], Field(min_length=1, max_length=MOST_AXES)]
    """Fields of the architecture and their values."""

    _names_a_folder = field_validator("name")(check_folder_name)


Objective = Literal["miou", "latency", "energy", "macs", "parameters", "memory", "power"]
"""What a search knows of a network; `power` is a limit only."""
SamplerName = Literal["tpe", "nsga2", "random", "gp", "additive"]


class Limits(Spec):
    """Hard limits of a search, in the order in which they are checked: the cheapest to compute comes first.

    `memory` is weights plus peak activations (bytes). `latency` (seconds), `energy` (joules per image) and `power`
    (watts under load) are measured on the untrained network. YAML values look like 40k, 1.2G, 64MiB, 33ms, 50mJ, 15W.
    """

    parameters: Annotated[Whole | None, read_by(parse_count)] = None
    """Most parameters, such as `40k`."""
    macs: Annotated[Whole | None, read_by(parse_count)] = None
    """Most MACs, such as `1.2G`."""
    memory: Annotated[Whole | None, with_unit(parse_bytes, "64MiB"), written_in("B")] = None
    """Most weights and peak activations, such as `64MiB`."""
    latency: Annotated[Positive | None, with_unit(parse_short_seconds, "33ms"), written_in("s")] = None
    """Longest median latency of one image, such as `33ms`."""
    energy: Annotated[Positive | None, with_unit(parse_joules, "50mJ"), written_in("J")] = None
    """Most energy of one image, such as `50mJ`."""
    power: Annotated[Positive | None, with_unit(parse_watts, "15W"), written_in("W")] = later(None)
    """Most gross power under load, such as `15W`."""

    @property
    def given(self) -> dict[Objective, float]:
        """The limits that are set, the cheapest to check first."""
        names: tuple[Objective, ...] = ("parameters", "macs", "memory", "latency", "energy", "power")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Axis(Spec):
    """The values that one field may take. With `when`, it varies only where other axes have the listed values."""

    values: Values
    when: dict[str, Values] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return {"values": value} if isinstance(value, list) else value


class FinalConfig(Spec):
    """How the front is retrained: longer and with several seeds, which should differ from the seed of the search."""

    budget: Budget = Budget(amount=600, unit="steps")
    """Length of the final trainings."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=100)] = (1, 2, 3)
    """Seeds of the final trainings; use others than the search."""
    most: Annotated[int, IS_NUMBER, Field(ge=1, le=50)] = 6
    """Most networks of the front that are trained again."""


class Search(Spec):
    """A search for the best networks of a conditional space under limits.

    `trainings` networks are trained, each by `training`; a network that breaks a limit does not count towards them.
    `early_stop` ends a training that can no longer reach the front. `board` is the device to search for
    (`jetbench devices`); None is this machine. For another device nothing is measured, and a latency limit is checked
    against an estimate from its data sheet.
    """

    name: str
    description: Text = ""
    base: str
    """The architecture that proposals change: a name or a path."""
    axes: Annotated[dict[str, Axis], Field(min_length=1, max_length=MOST_AXES)]
    """Fields and their values; with `when`, only where other axes have the values listed."""
    objectives: tuple[Objective, ...] = ("miou", "latency")
    """What to optimise: miou, and latency, macs, parameters, memory or energy."""
    limits: Limits = Limits()
    sampler: SamplerName = "tpe"
    """What proposes (below)."""
    seed: Seed = 0
    """Seed of the sampler."""
    trainings: Count = 40
    """Number of networks to train."""
    early_stop: bool = True
    """Ends a training that can no longer reach the front."""
    dataset: DatasetConfig = StreetsConfig()
    training: TrainingConfig = TrainingConfig()
    profiling: ProfilingConfig = ProfilingConfig()
    final: FinalConfig = FinalConfig()
    board: str | None = None
    """Device to search for (`jetbench devices`)."""
    power_mode: str | None = later(None)
    """Power mode of a Jetson in which variants are profiled, by the board's name for it; `--power-mode`."""
    latency_model: str | None = later(None)
    """A file of `jetbench latency learn`: latencies are predicted before, or in place of, measuring."""
    device: DeviceName = "auto"
    """Where torch trains."""
    timeout_s: Seconds = 6 * 3600.0
    """Longest time of one job, in seconds."""
    memory_limit: MemoryLimit = None
    """A job that uses more memory is ended."""

    _names_a_folder = field_validator("name")(check_folder_name)

    @field_validator("objectives")
    @classmethod
    def _gain_and_cost(cls, value: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if "power" in value:
            raise ValueError("power is a limit (limits.power), and no objective; take energy, of one image")
        if "miou" not in value or len(value) < 2 or len(set(value)) < len(value):
            raise ValueError("expected miou and at least one of latency, energy, macs, parameters, memory, each once")
        return value

    @model_validator(mode="after")
    def _known_conditions(self) -> "Search":
        seen: dict[str, Axis] = {}
        for name, axis in self.axes.items():
            for other, values in axis.when.items():
                if other not in seen:
                    raise ValueError(f"axes.{name}.when.{other}: no axis of that name comes before this one")
                unknown = [value for value in values if value not in seen[other].values]
                if unknown:
                    raise ValueError(f"axes.{name}.when.{other}: {unknown[0]!r} is not a value of that axis")
            seen[name] = axis
        return self
