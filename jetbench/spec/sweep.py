"""Spec of a sweep: a base architecture, its variants, the data, and how each variant is trained and profiled."""

import math
from collections import Counter
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from jetbench.spec.base import Spec, later
from jetbench.spec.bounds import MOST_AXES, MOST_VALUES, MOST_VARIANTS, Name, Seconds, Seed, Text
from jetbench.spec.dataset import DatasetConfig, StreetsConfig
from jetbench.spec.profiling import Form, ProfilingConfig, settings_of, split_backends
from jetbench.spec.training import Budget, TrainingConfig
from jetbench.spec.values import DeviceName, MemoryLimit, check_folder_name, listed

Changes = dict[str, Any]
Values = Annotated[list[Any], BeforeValidator(listed), Field(max_length=MOST_VALUES)]


def _distinct(labels: dict[str, str]) -> dict[str, str]:
    """The labels without white space around them; a ValueError if one is blank or two are equal."""
    shown = {key: " ".join(label.split()) for key, label in labels.items()}
    counts = Counter(shown.values())
    for key, label in shown.items():
        if not label:
            raise ValueError(f"{key}: a label has at least one letter")
        if counts[label] > 1:
            raise ValueError(f"several are called {label!r}; give each a label of its own")
    return shown


class VariantGroup(Spec):
    """Variants of the base: every combination of a `grid`, or named `cases`.

    Keys are dotted fields of the architecture (`stages.s2.repeats`), of the training (`training.loss`), or `base`.
    """

    grid: Annotated[dict[str, Values], Field(max_length=MOST_AXES)] | None = None
    cases: dict[Name, Changes] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "VariantGroup":
        if (self.grid is None) == (self.cases is None) or not (self.grid or self.cases):
            raise ValueError("a group of variants needs exactly one of grid: and cases:, with at least one entry")
        return self


class Sweep(Spec):
    """One experiment: a base architecture, its variants, the data, and how long to train.

    `quoted` names baselines whose published figures the tables show without running them. `board` is the device that
    profiles (`jetbench devices`); None is this machine or, with --ray, the machine that holds the token `profiler`. A
    job that uses more memory than `memory_limit` is ended. `seeds` trains every variant once with each seed, `budgets`
    once with each budget. With `profile: false` variants are only trained.
    """

    name: str
    description: Text = ""
    base: str
    """The architecture that variants change: a name or a path."""
    include_base: bool = True
    """Whether the base itself is a variant."""
    variants: tuple[VariantGroup, ...] = ()
    """Groups of variants: a `grid` of every combination, or named `cases`."""
    quoted: tuple[str, ...] = ()
    """Baselines whose published figures the tables show; they are not run."""
    seeds: tuple[Seed, ...] = ()
    """Each variant is trained once with each seed."""
    budgets: tuple[Budget, ...] = ()
    """Each variant is trained once with each budget."""
    labels: Annotated[dict[Text, Name], AfterValidator(_distinct), Field(max_length=MOST_VALUES)] = later({})
    """What tables and pictures call an axis, a value (`groups=gcd`) or a variant."""
    dataset: DatasetConfig = StreetsConfig()
    training: TrainingConfig = TrainingConfig()
    profiling: ProfilingConfig = ProfilingConfig()
    forms: tuple[Form, ...] = later(())
    """Other backends that profile each variant, in turn with `profiling.backend`: `onnxruntime`, `openvino:bf16`. A
    list in `profiling.backend` is the same."""
    profile: bool = True
    """Whether variants are profiled; `false` only trains."""
    board: str | None = None
    """Device that is profiled on (`jetbench devices`); `--device`."""
    power_mode: str | None = later(None)
    """Power mode of a Jetson in which variants are profiled, by the board's name for it; `--power-mode`."""
    device: DeviceName = "auto"
    """Where torch trains; `--torch-device`."""
    timeout_s: Seconds = 6 * 3600.0
    """Longest time of one job, in seconds."""
    memory_limit: MemoryLimit = None
    """A job that uses more memory is ended, such as `8GiB`."""

    _names_a_folder = field_validator("name")(check_folder_name)

    @model_validator(mode="before")
    @classmethod
    def _with_forms(cls, raw: Any) -> Any:
        return split_backends(raw)

    @model_validator(mode="after")
    def _forms_run(self) -> "Sweep":
        settings_of(self.profiling, self.forms)
        return self

    @model_validator(mode="after")
    def _few_enough(self) -> "Sweep":
        members = [
            len(group.cases) if group.cases is not None else math.prod(map(len, (group.grid or {}).values()))
            for group in self.variants
        ]
        total = (self.include_base + sum(members)) * max(1, len(self.seeds)) * max(1, len(self.budgets))
        if total > MOST_VARIANTS:
            raise ValueError(f"has {total:,} variants, with seeds and budgets; at most {MOST_VARIANTS:,}")
        return self
