"""Spec of a profiling run: how the network runs, and how long it is measured."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from jetbench.spec.base import Spec
from jetbench.spec.bounds import IS_NUMBER, BatchSize, Count, NonNegative, Positive, Seconds, Seed, Threads

DType = Literal["fp32", "fp16", "bf16", "int8"]
FileBackend = Literal["onnxruntime", "openvino"]
"""Backends that run a file, exported from the network, in a runtime of their own."""
TorchBackend = Literal["eager", "folded", "compiled", "traced"]
Backend = TorchBackend | FileBackend
FILE_BACKENDS: tuple[FileBackend, ...] = get_args(FileBackend)
BACKENDS: tuple[Backend, ...] = (*get_args(TorchBackend), *FILE_BACKENDS)
DTYPES_OF: dict[FileBackend, tuple[DType, ...]] = {
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "fp16", "bf16"),
}
"""Number formats in which a runtime runs files on a processor; PyTorch runs all of them."""


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
    """What runs the network: PyTorch (`eager`, `folded`, `compiled`, `traced`), or a runtime (`onnxruntime`,
    `openvino`)."""
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

    @model_validator(mode="after")
    def _can_run(self) -> "ProfilingConfig":
        if self.runs_file:
            formats = DTYPES_OF[self.file_backend]
            if self.dtype not in formats:
                raise ValueError(f"{self.backend} runs {', '.join(formats)} on a processor, not {self.dtype}")
            if self.channels_last:
                raise ValueError(f"{self.backend} chooses its memory layout itself; leave out channels_last (--layout)")
        elif self.dtype == "int8":
            raise ValueError(f"{self.backend} runs fp32, fp16 and bf16; int8 needs {' or '.join(FILE_BACKENDS)}")
        return self

    @property
    def runs_file(self) -> bool:
        """True if the backend runs a file that is exported from the network."""
        return self.backend in FILE_BACKENDS

    @property
    def file_backend(self) -> FileBackend:
        """The backend that runs a file; an AssertionError if PyTorch runs the network."""
        assert self.backend == "onnxruntime" or self.backend == "openvino", self.backend
        return self.backend

    @property
    def torch_backend(self) -> TorchBackend:
        """The form in which PyTorch runs the network; an AssertionError if a runtime runs a file."""
        assert self.backend != "onnxruntime", self.backend
        assert self.backend != "openvino", self.backend
        return self.backend

    def describe(self) -> str:
        """A short description of how the network runs: `batch 1, fp32, 1 thread, eager`."""
        parts = [f"batch {self.batch_size}", self.dtype, f"{self.threads} thread{'s' * (self.threads > 1)}"]
        parts += ["channels last"] * self.channels_last + [self.backend]
        return ", ".join(parts)
