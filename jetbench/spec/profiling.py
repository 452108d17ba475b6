"""Spec of a profiling run: how the network runs, and how long it is measured."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from jetbench.spec.base import Spec, later, parse_spec
from jetbench.spec.bounds import IS_NUMBER, BatchSize, Count, NonNegative, Positive, Seconds, Seed, Threads

DType = Literal["fp32", "fp16", "bf16", "int8"]
FileBackend = Literal["onnxruntime", "openvino", "tensorrt"]
"""Backends that run a file, exported from the network, in a runtime of their own."""
TorchBackend = Literal["eager", "folded", "compiled", "traced"]
Backend = TorchBackend | FileBackend
FILE_BACKENDS: tuple[FileBackend, ...] = get_args(FileBackend)
TORCH_BACKENDS: tuple[TorchBackend, ...] = get_args(TorchBackend)
BACKENDS: tuple[Backend, ...] = (*TORCH_BACKENDS, *FILE_BACKENDS)
DTYPES_OF: dict[FileBackend, tuple[DType, ...]] = {
    "onnxruntime": ("fp32", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
}
"""Number formats in which a runtime runs files; PyTorch runs all of them."""


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
    """What runs the network: PyTorch (`eager`, `folded`, `compiled`, `traced`), or a runtime (`onnxruntime` and
    `openvino` on a processor, `tensorrt` on a GPU)."""
    cuda_graph: bool = later(False)
    """All kernels of a pass in one launch, on an NVIDIA GPU: of PyTorch's forms and of `tensorrt`."""
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
    reference: Literal["standard", "none"] = later("standard")
    """What is timed in the same rounds, so that times compare from one day to another: the standard network or
    nothing."""

    @model_validator(mode="after")
    def _can_run(self) -> "ProfilingConfig":
        if self.runs_file:
            formats = DTYPES_OF[self.file_backend]
            if self.dtype not in formats:
                raise ValueError(f"{self.backend} runs {', '.join(formats)}, not {self.dtype}")
            if self.channels_last:
                raise ValueError(f"{self.backend} chooses its memory layout itself; leave out channels_last (--layout)")
        if self.cuda_graph and self.backend in ("onnxruntime", "openvino", "compiled"):
            raise ValueError(f"{self.backend} has no CUDA graph here; leave out cuda_graph (--cuda-graph)")
        if not self.runs_file and self.dtype == "int8":
            raise ValueError(f"{self.backend} runs fp32, fp16 and bf16; int8 needs {' or '.join(FILE_BACKENDS)}")
        return self

    @property
    def runs_file(self) -> bool:
        """True if the backend runs a file that is exported from the network."""
        return self.backend in FILE_BACKENDS

    @property
    def file_backend(self) -> FileBackend:
        """The backend that runs a file; StopIteration if PyTorch runs the network."""
        return next(name for name in FILE_BACKENDS if name == self.backend)

    @property
    def torch_backend(self) -> TorchBackend:
        """The form in which PyTorch runs the network; StopIteration if a runtime runs a file."""
        return next(name for name in TORCH_BACKENDS if name == self.backend)

    @property
    def form(self) -> str:
        """The backend, with another number format than fp32, and `graph`: `eager`, `tensorrt fp16 graph`."""
        return describe_form(self.backend, self.dtype) + " graph" * self.cuda_graph

    def describe(self) -> str:
        """A short description of how the network runs: `batch 1, fp32, 1 thread, eager`."""
        parts = [f"batch {self.batch_size}", self.dtype, f"{self.threads} thread{'s' * (self.threads > 1)}"]
        parts += ["channels last"] * self.channels_last + ["CUDA graph"] * self.cuda_graph + [self.backend]
        return ", ".join(parts)


def read_form(text: str) -> tuple[Backend, DType | None]:
    """The backend and the number format of `onnxruntime` or `openvino:bf16`.

    Raises:
        ValueError: there is no such backend or format.
    """
    name, colon, dtype = text.partition(":")
    backend = next((each for each in BACKENDS if each == name), None)
    chosen = next((each for each in get_args(DType) if each == dtype), None)
    if backend is None or (colon and chosen is None):
        raise ValueError(
            f"{text!r}: expected one of {', '.join(BACKENDS)}, with a number format behind a colon if it is another "
            "(openvino:bf16)"
        )
    return backend, chosen


def describe_form(backend: Backend, dtype: DType | None) -> str:
    """The name of a form: `eager`, `openvino bf16`."""
    return backend if dtype in (None, "fp32") else f"{backend} {dtype}"


def _checked_form(text: str) -> str:
    read_form(text)
    return text


Form = Annotated[str, AfterValidator(_checked_form)]
"""A backend, with its number format behind a colon if that is another: `onnxruntime`, `openvino:bf16`."""


def describe_settings(settings: Sequence[ProfilingConfig]) -> str:
    """How networks run, of several forms what they share once: `batch 1, 1 thread, eager or onnxruntime`."""
    shared: dict[str, list[str]] = {}
    for config in dict.fromkeys(settings):
        parts = [f"batch {config.batch_size}", f"{config.threads} thread{'s' * (config.threads > 1)}"]
        shared.setdefault(", ".join(parts + ["channels last"] * config.channels_last), []).append(config.form)
    if sum(map(len, shared.values())) == 1:
        return settings[0].describe()
    return " or ".join(f"{how}, {' or '.join(dict.fromkeys(forms))}" for how, forms in shared.items())


def settings_of(profiling: ProfilingConfig, forms: Sequence[Form]) -> tuple[ProfilingConfig, ...]:
    """The settings in which a network is profiled: the first as given, then one for each other form.

    Raises:
        SpecError: a form cannot run in such a setting.
        ValueError: a form is named twice.
    """
    settings = [profiling]
    for form in forms:
        backend, dtype = read_form(form)
        changed: dict[str, Any] = {"backend": backend, "dtype": dtype or profiling.dtype}
        if backend in FILE_BACKENDS:
            changed["channels_last"] = False
        settings.append(parse_spec(ProfilingConfig, {**profiling.model_dump(), **changed}, f"forms: {form}"))
    if len(set(settings)) < len(settings):
        raise ValueError(f"forms: {', '.join(forms)}: a form is named twice, or is that of profiling.backend")
    return tuple(settings)


def split_backends(raw: Any) -> Any:
    """A sweep whose `profiling.backend` is a list, with the first there and the others in `forms`."""
    profiling = raw.get("profiling") if isinstance(raw, dict) else None
    backends = profiling.get("backend") if isinstance(profiling, dict) else None
    if not isinstance(backends, list) or not backends or not all(isinstance(each, str) for each in backends):
        return raw
    assert isinstance(profiling, dict)
    first, colon, dtype = backends[0].partition(":")
    others = backends[1:]
    if colon:  # the number format of the first is its own, and not that of the others
        usual = profiling.get("dtype", "fp32")
        others = [each if ":" in each else f"{each}:{usual}" for each in others]
        profiling = {**profiling, "dtype": dtype}
    return {**raw, "profiling": {**profiling, "backend": first}, "forms": [*(raw.get("forms") or ()), *others]}
