"""Case: a network with its profiling settings, and the record of its profile."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from jetbench.deploy.artefact import Artefact, engine_of_file, make_artefact
from jetbench.files import digest_of
from jetbench.models.build import build_model, without_training_heads
from jetbench.models.weights import GREY_MEAN, GREY_STD, SavedNetwork, load_weights
from jetbench.network.operations import Operation
from jetbench.network.plan import plan_network
from jetbench.network.undone import name_undone, undo_choices
from jetbench.profiling.file_counts import operations_of_file
from jetbench.profiling.findings import Network
from jetbench.profiling.listing import list_network
from jetbench.records.record import Profile, Record, profile_key
from jetbench.spec.architecture import AnyArchitecture, Architecture
from jetbench.spec.base import Spec
from jetbench.spec.bounds import IS_NUMBER, MOST_CLASSES
from jetbench.spec.catalog import read_architecture
from jetbench.spec.dataset import DatasetConfig
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.values import Size

CLASSES = 11
WEIGHTS, YAML = ".safetensors", (".yaml", ".yml")


class Case(Spec):
    """A network with its profiling settings: a weights file, or an architecture with seeded random weights.

    `weights` is the SHA-256 of the weights file. `artefact` is the file that a backend such as onnxruntime runs; an
    int8 one is calibrated on `dataset`. `file` is a model file that is profiled as it is.
    """

    label: str
    architecture: AnyArchitecture
    num_classes: Annotated[int, IS_NUMBER, Field(ge=1, le=MOST_CLASSES)]
    input_size: Size
    config: ProfilingConfig
    changes: dict[str, Any] = Field(default_factory=dict)
    weights_file: str | None = None
    weights: str | None = None
    mean: tuple[float, float, float] = GREY_MEAN
    std: tuple[float, float, float] = GREY_STD
    artefact: Artefact | None = None
    dataset: DatasetConfig | None = None
    file: str | None = None

    def with_artefact(self) -> "Case":
        """The same case with the file that its backend runs, if it runs one.

        Raises:
            SpecError: the file cannot be made, or its runtime cannot run it.
        """
        if self.artefact is not None and self.file is not None and self.config.backend == "tensorrt":
            return self.model_copy(update={"artefact": engine_of_file(self.artefact, self.config)})
        if not self.config.runs_file or self.artefact is not None:
            return self
        saved = SavedNetwork(
            architecture=self.architecture,
            num_classes=self.num_classes,
            input_size=self.input_size,
            mean=self.mean,
            std=self.std,
        )
        made = make_artefact(self.label, saved, self.config, self.weights_file, self._digest(), self.dataset)
        return self.model_copy(update={"artefact": made})

    def _digest(self) -> str | None:
        return digest_of(Path(self.weights_file)) if self.weights_file and self.weights is None else self.weights

    def network(self) -> Network:
        """The network to measure; it is built only when it is measured."""

        def build() -> torch.nn.Module:
            if self.file is not None:
                return torch.jit.load(self.file).eval()  # type: ignore[no-untyped-call,no-any-return]
            if self.weights_file is not None:
                return without_training_heads(load_weights(Path(self.weights_file))[0])
            torch.manual_seed(self.config.seed)
            return without_training_heads(build_model(self.architecture, self.num_classes, self.input_size))

        return Network(self.label, build, self.input_size, self.config, self.mean, self.std, self.artefact, self.file)

    def operations(self) -> tuple[Operation, ...]:
        """Every operation for one image."""
        if self.file is not None:
            return operations_of_file(self.file, self.input_size)
        return list_network(plan_network(self.architecture, self.num_classes, self.input_size))

    def to_record(self, profile: Profile, finished: datetime | None = None) -> Record:
        """The record of a stand-alone profile of this case, not of a sweep's variant; `finished` is now by default."""
        at = finished or datetime.now(timezone.utc)
        record = Record(
            kind="profile",
            key="",
            variant=self.label,
            changes=self.changes,
            architecture=self.architecture,
            fingerprint=plan_network(self.architecture, self.num_classes, self.input_size).fingerprint,
            profiling_config=self.config,
            is_trained=self.weights_file is not None or self.file is not None,
            weights=self.weights,
            profile=profile.model_copy(update={"num_classes": self.num_classes}),
            finished=at.isoformat(timespec="seconds"),
        )
        return record.model_copy(update={"key": profile_key(record)})


def cases_undone(base: Case) -> list[Case]:
    """The networks in which one choice of a JetSeg network is undone, with random weights; a baseline has none."""
    if not isinstance(base.architecture, Architecture):
        return []
    own = {"weights_file": None, "weights": None}
    return [
        base.model_copy(
            update={
                "label": name_undone(base.label, each.words),
                "architecture": each.architecture,
                "changes": {**base.changes, **each.changes},
                **own,
            }
        )
        for each in undo_choices(base.architecture, base.num_classes, base.input_size)
    ]


def list_cases(
    networks: Sequence[str],
    settings: Sequence[ProfilingConfig],
    size: tuple[int, int],
    num_classes: int = CLASSES,
    changes: Mapping[str, Any] | None = None,
) -> list[Case]:
    """Every network with every setting: all settings of the first network, then of the second, and so on.

    Args:
        networks: names of architectures, paths of YAML files, or weights files of jetbench, which state their own
            size, classes and fields.
        settings: how to run each network.
        size: (height, width) of the images of networks without a weights file.
        num_classes: classes of networks without a weights file.
        changes: fields of the architectures with other values.

    Raises:
        SpecError: a network does not exist or cannot be built.
    """
    cases = []
    for name in networks:
        for config in settings:
            cases.append(
                _saved(name, config) if name.endswith(WEIGHTS) else _random(name, config, size, num_classes, changes)
            )
    return cases


def _saved(name: str, config: ProfilingConfig) -> Case:
    _, saved = load_weights(Path(name))
    return Case(
        label=Path(name).stem,
        architecture=saved.architecture,
        num_classes=saved.num_classes,
        input_size=saved.input_size,
        config=config,
        weights_file=name,
        weights=digest_of(Path(name)),
        mean=saved.mean,
        std=saved.std,
    )


def _random(
    name: str,
    config: ProfilingConfig,
    size: tuple[int, int],
    num_classes: int,
    changes: Mapping[str, Any] | None,
) -> Case:
    given = dict(changes or {})
    architecture = read_architecture(name, given, f"{name} with {given}" if given else None)
    plan_network(architecture, num_classes, size)  # raises if it cannot be built, before anything is measured
    return Case(
        label=Path(name).stem if name.endswith(YAML) else name,
        architecture=architecture,
        num_classes=num_classes,
        input_size=size,
        config=config,
        changes=given,
    )
