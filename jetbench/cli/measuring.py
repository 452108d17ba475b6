"""Networks and settings of profile and bundle, read from the command line."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.markup import escape

from jetbench.cli.app import (
    errors,
    read_changes,
    read_size,
)
from jetbench.errors import SpecError
from jetbench.network.plan import plan_network
from jetbench.reporting.sheets.profile import (
    write_profiles,
)
from jetbench.spec.base import parse_spec
from jetbench.spec.catalog import read_architecture
from jetbench.spec.device import Device
from jetbench.spec.profiling import ProfilingConfig

if TYPE_CHECKING:
    from jetbench.profiling.session import Case
    from jetbench.records.record import ProfileRecord


PROCESSES, MAX_PROCESSES = 6, 12

Value = TypeVar("Value")


@dataclass(frozen=True)
class Wanted:
    """The command line, read."""

    names: Sequence[str]
    reference: str | None
    size: str | None
    classes: int | None
    changes: list[str] | None
    dtypes: str | None
    base: dict[str, Any]
    axes: dict[str, Sequence[Any]]


def make_cases(wanted: Wanted, device: Device) -> "list[Case]":
    """Every network in every setting, the reference first."""
    names = list(wanted.names) or [device.preset]
    if wanted.reference is not None:
        names = [wanted.reference, *(name for name in names if name != wanted.reference)]
    dtypes = read_list(
        "--dtype", wanted.dtypes or device.dtype, choice_of({name: name for name in ("fp32", "fp16", "bf16")})
    )
    settings = []
    for values in itertools.product(dtypes, *wanted.axes.values()):
        setting = {**wanted.base, **dict(zip(("dtype", *wanted.axes), values, strict=True))}
        settings.append(parse_spec(ProfilingConfig, setting, "jetbench profile"))
    return [case for name in names for case in _cases_of(name, wanted, device, settings)]


def _cases_of(name: str, wanted: Wanted, device: Device, settings: Sequence[ProfilingConfig]) -> "Iterator[Case]":
    if name.endswith(".safetensors"):
        if wanted.size or wanted.classes or wanted.changes:
            raise SpecError(f"{name}: a saved network has its own size, classes and fields; leave out the options")
        from jetbench.models.weights import load_network

        _, saved = load_network(Path(name))
        architecture, num_classes, size = saved.architecture, saved.num_classes, saved.input_size
        more: dict[str, Any] = {"weights_file": name, "mean": saved.mean, "std": saved.std}
    else:
        changes = read_changes(wanted.changes)
        architecture = read_architecture(name, changes, f"{name} with {wanted.changes}" if changes else None)
        num_classes = wanted.classes or 11
        size, more = read_size(wanted.size) if wanted.size else device.size, {}
        plan_network(architecture, num_classes, size)

    from jetbench.profiling.session import Case

    for config in settings:
        yield Case(
            label=Path(name).stem if name.endswith((".yaml", ".yml")) else name,
            architecture=architecture,
            num_classes=num_classes,
            input_size=size,
            config=config,
            **more,
        )


def read_option(option: str, text: str, parse: Callable[[str], Value]) -> Value:
    """The value of an option; what is wrong with it becomes an error that names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise SpecError(f"{option}: {error}") from None


def read_list(option: str, text: str, parse: Callable[[str], Value]) -> list[Value]:
    """Values with commas between them, each once."""
    return list(dict.fromkeys(read_option(option, part.strip(), parse) for part in text.split(",")))


def whole_number(text: str) -> int:
    """A count of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number above 0; write 1 or 1,8")
    return int(text)


def choice_of(choices: dict[str, Value]) -> Callable[[str], Value]:
    """A parser that takes these words alone."""

    def parse(text: str) -> Value:
        if text not in choices:
            raise ValueError(f"{text!r}: expected {', '.join(choices)}")
        return choices[text]

    return parse


def keep_profiles(folder: Path, records: "Sequence[ProfileRecord]", device: Device) -> list[Path]:
    """Write profiles to a report folder; where that fails, say so and return no path, since they took minutes."""
    try:
        return write_profiles(folder, records, device)
    except OSError as error:
        # What was measured is still printed: it took minutes.
        errors.print(f"[bold red]error:[/] {escape(str(folder))}: not written ({error.strerror})", highlight=False)
        return []
