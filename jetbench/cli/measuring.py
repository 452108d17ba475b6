"""The options of profile and bundle, and the profiling settings that they make."""

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape

from jetbench.cli.app import errors
from jetbench.errors import SpecError, StudyError
from jetbench.execution.executor import check_threads
from jetbench.records.deployment import FORMAT_OF
from jetbench.reporting.sheets.profile import write_profiles
from jetbench.spec.base import parse_spec
from jetbench.spec.bounds import MOST_CLASSES, MOST_PROCESSES
from jetbench.spec.device import Device
from jetbench.spec.profiling import DTYPES_OF, Backend, DType, ProfilingConfig, read_form
from jetbench.spec.values import check_folder_name, parse_seconds, parse_share

if TYPE_CHECKING:
    from jetbench.records.record import Record

PROCESSES, MAX_PROCESSES = 6, 12
# Headings of --help.
AXES, EFFORT = "Settings; values with commas are compared with the first", "Uncertainty and duration"
LOADS, POWER, CPU, OUTPUT = "Other loads", "Power", "Defaults of the C library and the processor", "Output"
LAYOUTS = {"contiguous": False, "channels-last": True}
GRAPHS = {"off": False, "on": True}
DTYPES: dict[str, DType] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "int8": "int8"}

Choice = TypeVar("Choice")

SizeOption = Annotated[
    str | None, typer.Option("--size", metavar="HxW", help="Image height and width. Default: the device's.")
]
ClassesOption = Annotated[
    int | None, typer.Option("--classes", min=1, max=MOST_CLASSES, help="Number of classes. Default: 11.")
]
BatchOption = Annotated[str, typer.Option(metavar="N,...", help="Images per pass.", rich_help_panel=AXES)]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE,...",
        help="Number format of weights and maps: fp32, fp16, bf16; int8 in a runtime. Default: the device's.",
        rich_help_panel=AXES,
    ),
]
LayoutOption = Annotated[
    str, typer.Option(metavar="LAYOUT,...", help="Memory layout: contiguous, channels-last.", rich_help_panel=AXES)
]
GraphOption = Annotated[
    str,
    typer.Option(
        "--cuda-graph",
        metavar="off,on",
        help="On an NVIDIA GPU: replay all kernels of a pass as one launch, of PyTorch and TensorRT alike.",
        rich_help_panel=AXES,
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="What runs it: eager, folded, compiled, traced (TorchScript), onnxruntime, openvino, or tensorrt on a "
        "GPU; openvino:bf16 with a number format. Default: eager; of a model file, its runtime.",
        rich_help_panel=AXES,
    ),
]
ThreadsOption = Annotated[
    str,
    typer.Option(
        metavar="N,...", help="CPU threads; each count is timed in processes of its own.", rich_help_panel=AXES
    ),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Compare with this network, timed in the same rounds.", rich_help_panel=AXES),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        metavar="SHARE",
        help="Stop when the 95 % interval of the median is within this share of it.",
        rich_help_panel=EFFORT,
    ),
]
LimitOption = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="Stop timing in each process after this time at the latest.", rich_help_panel=EFFORT
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_PROCESSES,
        help=f"Time in this many fresh processes. Default: {PROCESSES} to {MAX_PROCESSES}.",
        rich_help_panel=EFFORT,
    ),
]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="Take a first look: one process, no power.", rich_help_panel=EFFORT)
]
RateOption = Annotated[
    float | None,
    typer.Option(
        metavar="FPS", help="Also serve a camera of this rate, and count missed deadlines.", rich_help_panel=LOADS
    ),
]
RateTimeOption = Annotated[
    str, typer.Option(metavar="TIME", help="Serve that camera for this long.", rich_help_panel=LOADS)
]
SoakOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Also run for this long without a pause, and compare the first with the steady FPS.",
        rich_help_panel=LOADS,
    ),
]
SensorOption = Annotated[
    str,
    typer.Option(
        help="Power sensor: auto (the best available), none, jtop, ina3221, nvml, rapl.", rich_help_panel=POWER
    ),
]
IdleOption = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="Read idle power for this long before and after the load.", rich_help_panel=POWER
    ),
]
WindowOption = Annotated[
    str, typer.Option(metavar="TIME", help="Length of each power window under load.", rich_help_panel=POWER)
]
WindowsOption = Annotated[int, typer.Option(min=1, help="Number of power windows under load.", rich_help_panel=POWER)]
IntervalOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Time between power readings. Default: suits the sensor.", rich_help_panel=POWER),
]
PowerModeOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODE,...",
        help="On a Jetson: profile in each of these power modes, by the names that the board has for them, and restore "
        "the mode afterwards.",
        rich_help_panel=POWER,
    ),
]
JetsonClocksOption = Annotated[
    bool,
    typer.Option(
        "--jetson-clocks", help="With --power-mode: fix all clocks at the mode's highest.", rich_help_panel=POWER
    ),
]
KeepDenormalsOption = Annotated[
    bool,
    typer.Option(
        "--keep-denormals", help="Do not flush denormal numbers to 0; slow if there are many.", rich_help_panel=CPU
    ),
]
SystemMallocOption = Annotated[
    bool,
    typer.Option(
        "--system-malloc",
        help="Let the C library return freed memory to the system, which is its default.",
        rich_help_panel=CPU,
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="USER@HOST",
        help="Do it on the board that SSH reaches there: a bundle goes there, and its probe runs with the board's own "
        "Python and torch ($JETBENCH_GATEWAY_PYTHON, else python3).",
    ),
]
ReportsOption = Annotated[Path, typer.Option(help="Folder that holds the report folders.", rich_help_panel=OUTPUT)]
FolderOption = Annotated[
    str | None,
    typer.Option("--name", help="Name of the report folder. Default: profile-DEVICE.", rich_help_panel=OUTPUT),
]


def list_settings(
    *,
    batch: str = "1",
    dtype: str | None = None,
    layout: str = "contiguous",
    backend: str | None = None,
    threads: str = "1",
    cuda_graph: str = "off",
    **effort: Any,
) -> list[ProfilingConfig]:
    """Every combination of the axes, in this order; `effort` holds the fields that all of them share.

    Raises:
        SpecError: a value is not allowed, or exceeds the number of cores.
    """
    axes: dict[str, Sequence[Any]] = {
        "dtype": read_list("--dtype", dtype or "fp32", choice_of(DTYPES)),
        "batch_size": read_list("--batch", batch, whole_number),
        "channels_last": read_list("--layout", layout, choice_of(LAYOUTS)),
        "backend": read_list("--backend", backend or "eager", read_form),
        "threads": read_list("--threads", threads, whole_number),
        "cuda_graph": read_list("--cuda-graph", cuda_graph, choice_of(GRAPHS)),
    }
    if effort.get("rate") and axes["batch_size"] != [1]:
        raise SpecError("--rate: a camera gives one frame at a time; leave out --batch")
    for count in axes["threads"]:
        check_threads("--threads", count)
    settings = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        chosen["backend"], own = chosen["backend"]
        settings.append(parse_spec(ProfilingConfig, {**effort, **chosen, "dtype": own or chosen["dtype"]}, "profile"))
    return list(dict.fromkeys(settings))


def list_forms(backend: str, dtype: str | None, cuda_graph: str = "off", **effort: Any) -> list[ProfilingConfig]:
    """Each backend in each number format that it has, in this order; `effort` holds the fields that all share.

    Raises:
        SpecError: there is no such backend or format, or no backend has the format.
    """
    forms = read_list("--backend", backend, read_form)
    wanted = read_list("--dtype", dtype or "fp32", choice_of(DTYPES))
    settings = []
    for name, own in forms:
        for each in (own,) if own else wanted:
            if own or each in formats_of(name):
                own_form = {**effort, "backend": name, "dtype": each}
                settings += [
                    parse_spec(ProfilingConfig, {**own_form, "cuda_graph": graph}, "--backend")
                    for graph in read_list("--cuda-graph", cuda_graph, choice_of(GRAPHS))
                ]
    for each in wanted:
        if dtype is not None and all(config.dtype != each for config in settings):
            raise SpecError(f"--dtype {each}: none of {backend} has it")
    return list(dict.fromkeys(settings))


def formats_of(backend: Backend) -> tuple[DType, ...]:
    """The number formats of a backend."""
    return next((formats for name, formats in DTYPES_OF.items() if name == backend), ("fp32", "fp16", "bf16"))


def read_modes(text: str | None, fixes_clocks: bool) -> list[str]:
    """The power modes of --power-mode; empty without it.

    Raises:
        SpecError: --jetson-clocks without modes.
    """
    modes = [mode.strip() for mode in text.split(",")] if text is not None else []
    if fixes_clocks and not modes:
        raise SpecError("--jetson-clocks: fixes the clocks of the modes that --power-mode names; name one")
    return modes


def read_effort(
    *,
    precision: str,
    limit: str,
    processes: int | None,
    quick: bool,
    rate: float | None,
    rate_time: str,
    soak: str | None,
    power: str,
    idle: str,
    window: str,
    windows: int,
    interval: str | None,
    keep_denormals: bool,
    system_malloc: bool,
) -> dict[str, Any]:
    """The options on duration, loads and power, as fields of a ProfilingConfig.

    Raises:
        SpecError: a value is not valid, or --quick and --processes contradict each other.
    """
    if quick and processes not in (None, 1):
        raise SpecError(f"--quick takes one process, and --processes asks for {processes}; leave one of them out")
    return {
        "precision": read_option("--precision", precision, parse_share),
        "max_seconds": read_option("--limit", limit, parse_seconds),
        "processes": 1 if quick else processes or PROCESSES,
        "max_processes": None if quick or processes else MAX_PROCESSES,
        "rate": rate,
        "paced_seconds": read_option("--rate-time", rate_time, parse_seconds),
        "soak_seconds": read_option("--soak", soak, parse_seconds) if soak else None,
        "power": "none" if quick and power == "auto" else power,
        "idle_seconds": read_option("--idle", idle, parse_seconds),
        "window_seconds": read_option("--window", window, parse_seconds),
        "windows": windows,
        "power_interval": read_option("--interval", interval, parse_seconds) if interval else None,
        "flush_denormals": not keep_denormals,
        "keep_freed_memory": not system_malloc,
    }


def with_backend(settings: Sequence[ProfilingConfig], backend: Backend) -> list[ProfilingConfig]:
    """The settings with another backend."""
    made = [parse_spec(ProfilingConfig, {**each.model_dump(), "backend": backend}, "profile") for each in settings]
    return list(dict.fromkeys(made))


def with_dtype_of(settings: Sequence[ProfilingConfig], device: Device, dtype: str | None) -> list[ProfilingConfig]:
    """The settings, in the device's number format if --dtype (`dtype`) was not given, where the backend has it."""
    if dtype is not None or device.dtype == "fp32":
        return list(settings)
    return [
        config if config.runs_file or config.dtype != "fp32" else config.model_copy(update={"dtype": device.dtype})
        for config in settings
    ]


def check_saved(names: Sequence[str], size: str | None, classes: int | None, changes: list[str] | None) -> None:
    """Refuse options that would contradict a weights file."""
    for name in names:
        if name.endswith(tuple(FORMAT_OF)) and changes:
            raise SpecError(f"{name}: a model file has no fields to change; leave out --set")
        if name.endswith(".safetensors") and (size or classes or changes):
            raise SpecError(
                f"{name}: a saved network has its own size, classes and fields; leave out --size, --classes and --set"
            )


def read_option(option: str, text: str, parse: Callable[[str], Choice]) -> Choice:
    """The parsed value of an option; a wrong value raises an error that names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise SpecError(f"{option}: {error}") from None


def read_list(option: str, text: str, parse: Callable[[str], Choice]) -> list[Choice]:
    """The distinct values of a list with commas."""
    return list(dict.fromkeys(read_option(option, part.strip(), parse) for part in text.split(",")))


def whole_number(text: str) -> int:
    """A count of at least 1."""
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number above 0; write 1 or 1,8")
    return int(text)


def choice_of(choices: dict[str, Choice]) -> Callable[[str], Choice]:
    """A parser that accepts only these words."""

    def parse(text: str) -> Choice:
        if text not in choices:
            raise ValueError(f"{text!r}: expected {', '.join(choices)}")
        return choices[text]

    return parse


def folder_of(reports: Path, study: str | None, device: Device) -> Path:
    """The report folder: --reports and --name, by default `profile-DEVICE`.

    Raises:
        SpecError: --name cannot name a folder.
    """
    return reports / (f"profile-{device.name}" if study is None else read_option("--name", study, check_folder_name))


def keep_profiles(folder: Path, records: "Sequence[Record]", device: Device) -> list[Path]:
    """Write profiles to a report folder; returns the paths.

    If that fails, it prints the error and returns no path: the profiles took minutes and are still to be printed.
    """
    try:
        return write_profiles(folder, records, device)
    except OSError as error:
        errors.print(f"[bold red]error:[/] {escape(str(folder))}: not written ({error.strerror})", highlight=False)
        return []
    except StudyError as error:  # a damaged line in the folder
        errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        return []
