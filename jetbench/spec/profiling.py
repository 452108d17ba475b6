"""Spec of a profiling run: how the network runs, and how long it is measured."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from jetbench.spec.base import Spec
from jetbench.spec.values import Seed

DType = Literal["fp32", "fp16", "bf16"]
Backend = Literal["eager", "compiled", "traced"]


class ProfilingConfig(Spec):
    """One way to run a network, and how long to measure it.

    Passes are timed until the 95 % interval of the median is within `precision` of the median. At least
    `min_iterations` and `min_seconds` are run, and at most `max_seconds`. Each of `processes` fresh processes does so;
    while the interval over the processes is wider than `precision`, more are started, up to `max_processes`.
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

    def describe(self) -> str:
        """A short description of how the network runs: `batch 1, fp32, 1 thread, eager`."""
        parts = [f"batch {self.batch_size}", self.dtype, f"{self.threads} thread{'s' * (self.threads > 1)}"]
        parts += ["channels last"] * self.channels_last + [self.backend]
        return ", ".join(parts)
