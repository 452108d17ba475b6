"""Spec of a profiling run: how the network runs, and how long it is measured."""

from typing import Annotated, Literal

from pydantic import Field

from jetbench.spec.base import Spec
from jetbench.spec.bounds import IS_NUMBER, BatchSize, Count, NonNegative, Positive, Seconds, Seed, Threads

DType = Literal["fp32", "fp16", "bf16"]
Backend = Literal["eager", "compiled", "traced"]


class ProfilingConfig(Spec):
    """One way to run a network, and how long to measure it.

    Passes are timed until the 95 % interval of the median is within `precision` of the median. At least
    `min_iterations` and `min_seconds` are run, and at most `max_seconds`. Each of `processes` fresh processes does so;
    while the interval over the processes is wider than `precision`, more are started, up to `max_processes`.
    """

    batch_size: BatchSize = 1
    """Images per pass."""
    threads: Threads = 1
    """Threads of torch on a CPU."""
    dtype: DType = "fp32"
    """Number format of weights and images."""
    channels_last: bool = False
    """Memory layout NHWC."""
    backend: Backend = "eager"
    """How PyTorch runs the network."""
    flush_denormals: bool = True
    """Numbers too small for full precision count as 0 (CPU)."""
    keep_freed_memory: bool = True
    """The allocator keeps freed memory between passes (CPU)."""
    precision: Annotated[float, IS_NUMBER, Field(gt=0, le=1)] = 0.02
    """Passes are timed until the 95 % interval of the median is within this share of it."""
    warmup_iterations: Count = 5
    """Fewest passes before timing."""
    max_warmup_seconds: Seconds = 10.0
    """Longest warm-up."""
    min_iterations: Count = 30
    """Fewest timed passes."""
    min_seconds: NonNegative = 1.0
    """Shortest timing."""
    max_seconds: Seconds = 60.0
    """Longest timing."""
    processes: Count = 1
    """Fresh processes; the interval of latency is over them."""
    max_processes: Count | None = None
    """More processes, up to this many, until `precision` is met."""
    rate: Positive | None = None
    """Frames per second of a simulated camera; counts late and dropped frames."""
    paced_seconds: Seconds = 10.0
    """How long that camera runs."""
    soak_seconds: Seconds | None = None
    """How long passes run without pause, for throttling."""
    power: Literal["auto", "none", "jtop", "ina3221", "nvml", "rapl"] = "auto"
    """Sensor of power; `auto` takes what there is."""
    power_interval: Seconds | None = None
    """Seconds between samples of power."""
    idle_seconds: Seconds = 10.0
    """Idle time before and after load, for energy above idle."""
    window_seconds: Seconds = 15.0
    """Length of a load window, for energy."""
    windows: Count = 3
    """Number of load windows."""
    seed: Seed = 0
    """Seed of weights and images."""

    def describe(self) -> str:
        """A short description of how the network runs: `batch 1, fp32, 1 thread, eager`."""
        parts = [f"batch {self.batch_size}", self.dtype, f"{self.threads} thread{'s' * (self.threads > 1)}"]
        parts += ["channels last"] * self.channels_last + [self.backend]
        return ", ".join(parts)
