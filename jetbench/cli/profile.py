"""profile: latency, memory and energy of networks on this machine."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    EXIT_INTERRUPTED,
    JsonOption,
    SetOption,
    app,
    check_folder,
    check_threads,
    console,
    errors,
    read_changes,
    say_stopped,
    terminated_as_interrupted,
)
from jetbench.errors import ProfilingError, SpecError
from jetbench.reporting.sheets.profile import (
    FILES,
    describe_profile,
    print_profile,
    print_summary,
)
from jetbench.spec.device import Device, load_device
from jetbench.spec.profiling import Backend
from jetbench.spec.values import parse_seconds, parse_share

if TYPE_CHECKING:
    from jetbench.records.record import Profile, ProfileRecord
from jetbench.cli.measuring import (
    MAX_PROCESSES,
    PROCESSES,
    Wanted,
    choice_of,
    keep_profiles,
    make_cases,
    read_list,
    read_option,
    whole_number,
)

# Headings of --help.
AXES, EFFORT = "Settings: with commas, each is compared with the first", "How sure, how long"
LOADS, POWER, CPU, OUTPUT = "Other loads", "Power", "What programs do by default", "What comes out"
LAYOUTS = {"contiguous": False, "channels-last": True}
BACKENDS: dict[str, Backend] = {"eager": "eager", "compiled": "compiled", "traced": "traced"}


@app.command()
def profile(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Architectures, or .safetensors files that a sweep has saved. Default: the device's preset. "
            "Several are compared with the first.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="A name from `jetbench devices`, a path to a .yaml file, or auto: what this machine is.")
    ] = "auto",
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Image height and width. Default: the device's.")
    ] = None,
    classes: Annotated[int | None, typer.Option("--classes", help="Number of classes. Default: 11.")] = None,
    changes: SetOption = None,
    batch: Annotated[
        str, typer.Option(metavar="N,...", help="Images per pass; several are compared.", rich_help_panel=AXES)
    ] = "1",
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE,...", help="fp32, fp16, bf16; weights and maps. Default: the device's.", rich_help_panel=AXES
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="LAYOUT,...", help="contiguous, channels-last.", rich_help_panel=AXES)
    ] = "contiguous",
    backend: Annotated[
        str, typer.Option(metavar="NAME,...", help="eager, compiled, traced (TorchScript).", rich_help_panel=AXES)
    ] = "eager",
    threads: Annotated[
        str, typer.Option(metavar="N,...", help="CPU threads; each count is timed apart.", rich_help_panel=AXES)
    ] = "1",
    reference: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare with this network, timed in the same rounds.", rich_help_panel=AXES),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Stop when the median's 95 % interval is within this share of it.",
            rich_help_panel=EFFORT,
        ),
    ] = "2%",
    limit: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Stop each process's timing after this at the latest.", rich_help_panel=EFFORT
        ),
    ] = "60s",
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Fresh processes to time in. Default: {PROCESSES}, to {MAX_PROCESSES}.", rich_help_panel=EFFORT
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One process, no power: a first look.", rich_help_panel=EFFORT)
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(metavar="FPS", help="Also serve a camera of this rate: missed deadlines.", rich_help_panel=LOADS),
    ] = None,
    rate_time: Annotated[
        str, typer.Option(metavar="TIME", help="How long to serve that camera.", rich_help_panel=LOADS)
    ] = "10s",
    soak: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Also run so long without a pause: first against steady FPS.", rich_help_panel=LOADS
        ),
    ] = None,
    power: Annotated[
        str,
        typer.Option(
            help="Power sensor: auto (the best that is there), none, jtop, ina3221, nvml, rapl.", rich_help_panel=POWER
        ),
    ] = "auto",
    idle: Annotated[
        str, typer.Option(metavar="TIME", help="Idle power is read so long before and after.", rich_help_panel=POWER)
    ] = "10s",
    window: Annotated[
        str, typer.Option(metavar="TIME", help="Length of each power window under load.", rich_help_panel=POWER)
    ] = "15s",
    windows: Annotated[int, typer.Option(min=1, help="How many power windows under load.", rich_help_panel=POWER)] = 3,
    interval: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Read power so often. Default: what suits the sensor.", rich_help_panel=POWER
        ),
    ] = None,
    keep_denormals: Annotated[
        bool,
        typer.Option(
            "--keep-denormals",
            help="Leave denormal numbers as they are; slow where there are many.",
            rich_help_panel=CPU,
        ),
    ] = False,
    system_malloc: Annotated[
        bool,
        typer.Option(
            "--system-malloc",
            help="Let the C library give freed maps back, as programs do by default.",
            rich_help_panel=CPU,
        ),
    ] = False,
    require_measured: Annotated[
        bool,
        typer.Option(
            "--require-measured", help="Fail, exit 2, where this machine is not the device.", rich_help_panel=OUTPUT
        ),
    ] = False,
    reports: Annotated[Path, typer.Option(help="Where report folders are.", rich_help_panel=OUTPUT)] = Path("reports"),
    study: Annotated[
        str | None, typer.Option("--name", help="Report folder. Default: profile-DEVICE.", rich_help_panel=OUTPUT)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Profile networks on a device: latency, memory, energy, and whether to believe them.

    On the device itself everything is measured; elsewhere what can be counted is given, and an estimate that says so.

    An architecture has random weights (seed 0). Raw samples go to reports/profile-DEVICE.
    """
    base = {
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
    axes: dict[str, Sequence[Any]] = {
        "batch_size": read_list("--batch", batch, whole_number),
        "channels_last": read_list("--layout", layout, choice_of(LAYOUTS)),
        "backend": read_list("--backend", backend, choice_of(BACKENDS)),
        "threads": read_list("--threads", threads, whole_number),
    }
    if rate and axes["batch_size"] != [1]:
        raise SpecError("--rate: a camera gives one frame at a time; leave out --batch")
    for count in axes["threads"]:
        check_threads("--threads", count)
    asked = None if device == "auto" else load_device(device)
    wanted = Wanted(names or [], reference, size, classes, changes, dtype, base, axes)

    from jetbench.profiling.host import describe_host, host_device, is_here, read_identity, torch_device
    from jetbench.profiling.session import estimate_cases, profile_cases
    from jetbench.records.record import ProfileRecord

    identity = read_identity()
    target = asked or host_device(identity)
    folder = reports / (study or f"profile-{target.name}")
    check_folder(folder, FILES)
    cases = make_cases(wanted, target)
    here = is_here(target, identity)
    if not here:
        _, peaks = target.peaks_of(None)
        left = "counted figures and an estimate by its data sheet" if peaks else "counted figures only"
        why = f"this machine is no {target.title} (it is: {describe_host(identity)})"
        if require_measured:
            raise ProfilingError(f"--device {device} --require-measured: {why}; run it on the device")
        _say(as_json, f"[bold yellow]Not measured:[/] {escape(why)}. Below: {left}.")
        profiles = estimate_cases(cases, target, f"not measured: {why}")
    else:
        where = torch_device(target)
        if target.accelerator != where.type:
            if require_measured:
                raise ProfilingError(f"--require-measured: this torch finds no CUDA device on {target.title}")
            note = f"this torch finds no CUDA device: the processor of {target.title} is measured, not its GPU"
            _say(as_json, f"[bold yellow]Attention:[/] {escape(note)}.")
        profiles = _measure(lambda report: profile_cases(cases, where.type, target, report))
    finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
    records = [
        ProfileRecord(
            network=case.label,
            changes=read_changes(changes),
            architecture=case.architecture,
            num_classes=case.num_classes,
            trained=case.weights_file is not None,
            profiling_config=case.config,
            profile=found,
            finished=finished,
        )
        for case, found in zip(cases, profiles, strict=True)
    ]
    written = keep_profiles(folder, records, target)
    if as_json:
        described = [describe_profile(record, target) for record in records]
        typer.echo(json.dumps(described[0] if len(described) == 1 else described, indent=2))
    else:
        _print(records, target, written)
    if not written:
        raise typer.Exit(EXIT_FAILED_ROWS)


def _print(records: "Sequence[ProfileRecord]", target: Device, written: Sequence[Path]) -> None:
    for record in records:
        print_profile(console, record, target)
        console.print()
    if len(records) > 1:
        print_summary(console, records)
    if written:
        console.print(f"[dim]{', '.join(str(path) for path in written)}[/]", highlight=False, soft_wrap=True)


def _say(as_json: bool, text: str) -> None:
    """A line for a person; with --json it goes to where it does not disturb."""
    (errors if as_json else console).print(text, highlight=False, soft_wrap=True)


def _measure(run: "Callable[[Callable[[float, str], None]], list[Profile]]") -> "list[Profile]":
    """Run with a bar on a terminal; Ctrl-C and SIGTERM end it with nothing half-written."""
    with terminated_as_interrupted():
        try:
            with _bar() as report:
                return run(report)
        except KeyboardInterrupt:
            say_stopped("\nStopped. Nothing was kept of this profile.", errors)
            raise typer.Exit(EXIT_INTERRUPTED) from None


@contextmanager
def _bar() -> Iterator[Callable[[float, str], None]]:
    if not errors.is_terminal:
        yield lambda share, text: None
        return
    columns = (BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=escape(text))
