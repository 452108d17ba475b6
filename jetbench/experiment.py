"""What experiment is asked for: the data, the training, the profiling, and a Sweep of variants over them."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from jetbench.spec import Size, Spec, parse_bytes, parse_count, parse_joules, parse_short_seconds

LossName = Literal["jetloss", "cross-entropy", "weighted-cross-entropy", "focal", "dice", "lovasz", "jetloss-released"]
BudgetUnit = Literal["steps", "epochs", "seconds"]
DeviceName = Literal["auto", "cpu", "cuda"]
DType = Literal["fp32", "fp16", "bf16"]
Backend = Literal["eager", "compiled", "traced"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
ImageCount = Annotated[int, Field(ge=1, le=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=80)]


class StreetsConfig(Spec):
    """Generated street scenes with CamVid's 11 classes and void; nothing to download."""

    name: Literal["streets"] = "streets"
    size: Size = (160, 320)
    train: ImageCount = 256
    val: ImageCount = 48
    test: ImageCount = 48
    seed: Seed = 0


class CamvidConfig(Spec):
    """CamVid in its 11-class or its 32-class layout; `path` None looks at $JETBENCH_DATA/camvid."""

    name: Literal["camvid"] = "camvid"
    path: str | None = None
    size: Size | None = None


DatasetConfig = Annotated[StreetsConfig | CamvidConfig, Field(discriminator="name")]


class Budget(Spec):
    """How long a training lasts: `300 steps`, `20 epochs` or `60 seconds` in YAML."""

    amount: PositiveFloat
    unit: BudgetUnit

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError(f"{value!r} has no unit; write 300steps, 20epochs, 60s or 2min")
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9.]+)\s*(steps?|epochs?|seconds?|s|min)", value.strip())
            if not match:
                raise ValueError(f"{value!r} is not a budget; write 300steps, 20epochs, 60s or 2min")
            unit = match[2].rstrip("s")
            if unit in ("", "second", "min"):
                return {"amount": float(match[1]) * (60 if unit == "min" else 1), "unit": "seconds"}
            return {"amount": float(match[1]), "unit": unit + "s"}
        return value

    @model_validator(mode="after")
    def _whole_steps(self) -> "Budget":
        if self.unit == "steps" and self.amount != int(self.amount):
            raise ValueError(f"{self.amount} steps: expected a whole number of steps")
        return self

    def __str__(self) -> str:
        amount = int(self.amount) if self.amount == int(self.amount) else self.amount
        return f"{amount} {self.unit}"


class JetLossConfig(Spec):
    """JetLoss (section 2.4): strengths of its three terms, and the class weights by effective numbers (Cui et al.).

    `rare_share` is the share of pixels below which a class begins to weigh more; small is uniform, 1 is close to
    inverse frequency, which stalls. `beta` gives Cui's parameter itself instead (0: uniform).
    """

    rare_share: Annotated[float, Field(gt=0, le=1)] = 0.0001
    beta: Annotated[float, Field(ge=0, lt=1)] | None = None
    recall: NonNegativeFloat = 1.0
    precision: NonNegativeFloat = 1.0
    batch_iou: NonNegativeFloat = 1.0


class AugmentationConfig(Spec):
    """What may happen to training images: by default nothing, as in the paper.

    `flip`: mirrored, one in two. `scale` [a, b]: enlarged by a factor between a and b, and shifted. `light`: the
    normalised pixels times 1 +- light, plus +- light.
    """

    flip: bool = False
    scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    light: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @field_validator("scale")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"expected the smaller factor first: [{value[1]:g}, {value[0]:g}]")
        return value

    @property
    def moves(self) -> bool:
        """Do pixels change their place?"""
        return self.flip or self.scale != (1.0, 1.0)

    @property
    def is_on(self) -> bool:
        """Does anything happen at all?"""
        return self.moves or self.light > 0

    def describe(self) -> str:
        """In a few words; empty if nothing happens."""
        parts = ["mirrored"] if self.flip else []
        if self.scale != (1.0, 1.0):
            parts.append(f"scaled by {self.scale[0]:g} to {self.scale[1]:g}")
        if self.light:
            parts.append(f"light +-{self.light:g}")
        return ", ".join(parts)


class DistillationConfig(Spec):
    """How much a teacher's soft answers count beside the labels (1), and at which temperature they are taken."""

    weight: NonNegativeFloat = 1.0
    temperature: PositiveFloat = 2.0


class TrainingConfig(Spec):
    """A brief training from scratch with AdamW.

    `deterministic` has torch refuse operations that do not give the same result each time; on a CPU all of them do.
    With `proxies` the untrained network's zero-cost proxies are kept beside the result. `teacher` is a weights file of
    ours, whose network's answers the training is to follow too.
    """

    budget: Budget = Budget(amount=300, unit="steps")
    loss: LossName = "jetloss"
    jetloss: JetLossConfig = JetLossConfig()
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    learning_rate: PositiveFloat = 0.01
    weight_decay: NonNegativeFloat = 1e-4
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    evaluations: PositiveInt = 5
    augmentation: AugmentationConfig = AugmentationConfig()
    seed: Seed = 0
    threads: PositiveInt = 1
    mixed_precision: bool = True
    deterministic: bool = False
    proxies: bool = False
    teacher: str | None = None
    distillation: DistillationConfig = DistillationConfig()

    @property
    def identity(self) -> str:
        """Text that two configs share only if they train alike: JetLoss's settings count only where it is the loss."""
        return self.model_dump_json(exclude=None if self.loss == "jetloss" else {"jetloss"})


class Floor(Spec):
    """The best validation mIoU that a training must have at its k-th evaluation to go on, and why."""

    evaluation: PositiveInt
    of: PositiveInt
    miou: float
    why: str


class ProfilingConfig(Spec):
    """One way to run a network, and how long to look at it.

    Passes are sampled until the 95 % interval of the median is within `precision` of it, not before `min_iterations`
    and `min_seconds`, and not beyond `max_seconds`; in each of `processes` fresh processes, and in up to
    `max_processes` while the interval over the processes is wider than that.
    """

    batch_size: PositiveInt = 1
    threads: PositiveInt = 1
    dtype: DType = "fp32"
    channels_last: bool = False
    backend: Backend = "eager"
    flush_denormals: bool = True
    keep_freed_memory: bool = True
    precision: Annotated[float, Field(gt=0, le=1)] = 0.02
    warmup_iterations: PositiveInt = 5
    max_warmup_seconds: PositiveFloat = 10.0
    min_iterations: PositiveInt = 30
    min_seconds: NonNegativeFloat = 1.0
    max_seconds: PositiveFloat = 60.0
    processes: PositiveInt = 1
    max_processes: PositiveInt | None = None
    rate: PositiveFloat | None = None
    paced_seconds: PositiveFloat = 10.0
    soak_seconds: PositiveFloat | None = None
    power: Literal["auto", "none", "jtop", "ina3221", "nvml", "rapl"] = "auto"
    power_interval: PositiveFloat | None = None
    idle_seconds: PositiveFloat = 10.0
    window_seconds: PositiveFloat = 15.0
    windows: PositiveInt = 3
    seed: Seed = 0


def _listed(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list with at least one value")
    return value


Changes = dict[str, Any]


class VariantGroup(Spec):
    """Variants of the base: every combination of a `grid`, or named `cases`.

    Keys are dotted fields of the architecture (`stages.s2.repeats`), of the training (`training.loss`), or `base`.
    """

    grid: dict[str, Annotated[list[Any], BeforeValidator(_listed)]] | None = None
    cases: dict[Name, Changes] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "VariantGroup":
        if (self.grid is None) == (self.cases is None) or not (self.grid or self.cases):
            raise ValueError("a group of variants has either grid: or cases:, with at least one entry")
        return self


def _check_folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", value):
        raise ValueError(f"{value!r} names the report folder: letters, digits, . _ - only; give name: or --name")
    return value


def _read_by(parse: Callable[[str], float]) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _with_unit(parse: Callable[[str], float], example: str) -> BeforeValidator:
    def read(value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"{value!r} has no unit; write for example {example}")
        return parse(value) if isinstance(value, str) else value

    return BeforeValidator(read)


def _written_in(unit: str) -> PlainSerializer:
    """As it is read again: with its unit, and without an exponent."""
    return PlainSerializer(
        lambda value: None if value is None else f"{Decimal(f'{value:.12g}'):f}{unit}", when_used="json"
    )


MemoryLimit = Annotated[PositiveInt | None, _with_unit(parse_bytes, "8GiB"), _written_in("B")]


class Sweep(Spec):
    """One experiment: a base architecture, what varies, the data, and how long to train.

    `quoted` are rivals of which the tables show what is published, without running them. `board` is the device that
    profiles (`jetbench devices`); None is this machine, or, with --ray, whichever holds the token `profiler`. A job
    that holds more than `memory_limit` is ended. With `seeds` every variant is trained once with each of them, with
    `budgets` once as long as each. Without `profile` it is trained only.
    """

    name: str
    description: str = ""
    base: str
    include_base: bool = True
    variants: tuple[VariantGroup, ...] = ()
    quoted: tuple[str, ...] = ()
    seeds: tuple[Seed, ...] = ()
    budgets: tuple[Budget, ...] = ()
    dataset: DatasetConfig = StreetsConfig()
    training: TrainingConfig = TrainingConfig()
    profiling: ProfilingConfig = ProfilingConfig()
    profile: bool = True
    board: str | None = None
    device: DeviceName = "auto"
    timeout_s: PositiveFloat = 6 * 3600.0
    memory_limit: MemoryLimit = None

    _names_a_folder = field_validator("name")(_check_folder_name)


class Space(Spec):
    """Every combination of the values of some fields of an architecture, to be screened by what it costs.

    `axes` are dotted fields of the architecture with their values: `stages.s2.repeats: [0, 1, 2]`.
    """

    name: str
    description: str = ""
    base: str
    size: Size = (512, 512)
    classes: Annotated[int, Field(ge=2)] = 11
    axes: Annotated[dict[str, Annotated[list[Any], BeforeValidator(_listed)]], Field(min_length=1)]

    _names_a_folder = field_validator("name")(_check_folder_name)


Objective = Literal["miou", "latency", "energy", "macs", "parameters", "memory"]
SamplerName = Literal["tpe", "nsga2", "random", "gp", "additive"]


class Limits(Spec):
    """Hard limits of a search, in the order in which they are checked: what costs least to know comes first.

    `memory` is weights and peak activations (bytes); `latency` (seconds) and `energy` (joules an image) are measured on
    the untrained network. YAML writes 40k, 1.2G, 64MiB, 33ms, 50mJ.
    """

    parameters: Annotated[PositiveInt | None, _read_by(parse_count)] = None
    macs: Annotated[PositiveInt | None, _read_by(parse_count)] = None
    memory: Annotated[PositiveInt | None, _with_unit(parse_bytes, "64MiB"), _written_in("B")] = None
    latency: Annotated[PositiveFloat | None, _with_unit(parse_short_seconds, "33ms"), _written_in("s")] = None
    energy: Annotated[PositiveFloat | None, _with_unit(parse_joules, "50mJ"), _written_in("J")] = None

    @property
    def given(self) -> dict[Objective, float]:
        """The limits that there are, in the order of their cost."""
        names: tuple[Objective, ...] = ("parameters", "macs", "memory", "latency", "energy")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Axis(Spec):
    """The values that one field may take. With `when`, it is chosen only where the other axes have such values."""

    values: Annotated[list[Any], BeforeValidator(_listed)]
    when: dict[str, Annotated[list[Any], BeforeValidator(_listed)]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return {"values": value} if isinstance(value, list) else value


class FinalConfig(Spec):
    """How the front is trained again: longer, and with several seeds, best others than the search's own."""

    budget: Budget = Budget(amount=600, unit="steps")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    most: Annotated[int, Field(ge=1, le=50)] = 6


class Search(Spec):
    """A search for the best networks of a conditional space under limits.

    `trainings` networks are trained, each by `training`; what a limit stops costs none of them. `early_stop` ends a
    training that cannot reach the front any more. `board` is the device that is searched for (`jetbench devices`);
    None is this machine. Where it is another, nothing is measured and a latency limit goes by its data sheet.
    """

    name: str
    description: str = ""
    base: str
    axes: Annotated[dict[str, Axis], Field(min_length=1)]
    objectives: tuple[Objective, ...] = ("miou", "latency")
    limits: Limits = Limits()
    sampler: SamplerName = "tpe"
    seed: Seed = 0
    trainings: PositiveInt = 40
    early_stop: bool = True
    dataset: DatasetConfig = StreetsConfig()
    training: TrainingConfig = TrainingConfig()
    profiling: ProfilingConfig = ProfilingConfig()
    final: FinalConfig = FinalConfig()
    board: str | None = None
    device: DeviceName = "auto"
    timeout_s: PositiveFloat = 6 * 3600.0
    memory_limit: MemoryLimit = None

    _names_a_folder = field_validator("name")(_check_folder_name)

    @field_validator("objectives")
    @classmethod
    def _gain_and_cost(cls, value: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if "miou" not in value or len(value) < 2 or len(set(value)) < len(value):
            raise ValueError("expected miou and at least one of latency, energy, macs, parameters, memory, each once")
        return value

    @model_validator(mode="after")
    def _known_conditions(self) -> "Search":
        seen: dict[str, Axis] = {}
        for name, axis in self.axes.items():
            for other, values in axis.when.items():
                if other not in seen:
                    raise ValueError(f"axes.{name}.when.{other}: no axis of that name stands before this one")
                strange = [value for value in values if value not in seen[other].values]
                if strange:
                    raise ValueError(f"axes.{name}.when.{other}: {strange[0]!r} is none of that axis's values")
            seen[name] = axis
        return self
