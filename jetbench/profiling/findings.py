"""The measurements of one process for each network, and the description of a network to measure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import nn

from jetbench.deploy.artefact import Artefact
from jetbench.models.weights import GREY_MEAN, GREY_STD
from jetbench.records.deployment import Deployment
from jetbench.records.energy import Energy
from jetbench.records.measurement import (
    ColdStart,
    KernelTime,
    LatencyRun,
    Memory,
    NetworkPart,
    Paced,
    Peaks,
    Soak,
    Watch,
)
from jetbench.records.record import CounterResult, Environment
from jetbench.spec.base import Spec
from jetbench.spec.profiling import ProfilingConfig

Part = Literal["latency", "rest", "kernels"]
"""What a process measures: latencies in turn; all else of one network; or, of all else, its kernels and counts only."""


@dataclass(frozen=True)
class Network:
    """A network to measure: how to build it (on the CPU, float32, in either mode), and the form of its input.

    `artefact` is the file that runs in its place, if its backend runs one. `file` is a model file that is profiled as
    it is: ONNX, which cannot be built, or TorchScript.
    """

    label: str
    build: Callable[[], nn.Module]
    input_size: tuple[int, int]
    config: ProfilingConfig
    mean: tuple[float, float, float] = GREY_MEAN
    std: tuple[float, float, float] = GREY_STD
    artefact: Artefact | None = None
    file: str | None = None


class Findings(Spec):
    """What one process measured of one network."""

    cold_start: ColdStart
    model: LatencyRun | None = None
    end_to_end: LatencyRun | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    paced: Paced | None = None
    soak: Soak | None = None
    denormals: tuple[int, int] | None = None
    finite: bool | None = None
    parameters: int | None = None
    macs: int | None = None
    flops: int | None = None
    eq2_flops: float | None = None
    peak_activation_bytes: int | None = None
    bytes_moved: int | None = None
    counters: tuple[CounterResult, ...] = ()
    parts: tuple[NetworkPart, ...] = ()
    kernels: tuple[KernelTime, ...] = ()
    peaks: Peaks | None = None
    deployment: Deployment | None = None
    notes: dict[str, str] = Field(default_factory=dict)


class ProcessFindings(Spec):
    """What one process measured of each network.

    `control` is the latency of a second copy of the first one, `standard` that of the standard network.
    """

    networks: tuple[Findings, ...]
    control: LatencyRun | None = None
    standard: LatencyRun | None = None
    watch: Watch
    environment: Environment
