"""profile: measure latency, memory and energy of networks on a device."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from jetbench.cli import completion, measuring
from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    RUNS,
    JsonOption,
    SetOption,
    check_folder,
    console,
    errors,
    read_changes,
    read_size,
    verb,
)
from jetbench.cli.bundle import networks_named
from jetbench.cli.data import read_dataset
from jetbench.cli.options import ModelOption, name_model
from jetbench.cli.progress_bar import measure_with_bar
from jetbench.errors import ProfilingError, SpecError
from jetbench.reporting.sheets.profile import FILES, describe_profile, print_estimates, print_profile, print_summary
from jetbench.spec.device import load_device

if TYPE_CHECKING:
    from jetbench.probe.power_mode import Held
    from jetbench.profiling.case import Case
    from jetbench.profiling.host import Site
    from jetbench.profiling.remote import Remote
    from jetbench.records.record import Record


@verb(RUNS)
def profile(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=completion.architectures,
            help="Architectures, .safetensors files that a sweep saved, or model files of others (.onnx, .pt); all: "
            "every bundled network, as one table; a report folder: its trained networks, whose rows join it. Default: "
            "the device's preset. Several are compared with the first.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            autocompletion=completion.devices,
            help="Device: a name from `jetbench devices`, a path to a .yaml file, or auto (this machine).",
        ),
    ] = "auto",
    size: measuring.SizeOption = None,
    classes: measuring.ClassesOption = None,
    changes: SetOption = None,
    batch: measuring.BatchOption = "1",
    dtype: measuring.DtypeOption = None,
    layout: measuring.LayoutOption = "contiguous",
    backend: measuring.BackendOption = None,
    threads: measuring.ThreadsOption = "1",
    cuda_graph: measuring.GraphOption = "off",
    reference: measuring.ReferenceOption = None,
    precision: measuring.PrecisionOption = "2%",
    limit: measuring.LimitOption = "60s",
    processes: measuring.ProcessesOption = None,
    quick: measuring.QuickOption = False,
    rate: measuring.RateOption = None,
    rate_time: measuring.RateTimeOption = "10s",
    soak: measuring.SoakOption = None,
    power: measuring.SensorOption = "auto",
    idle: measuring.IdleOption = "10s",
    window: measuring.WindowOption = "15s",
    windows: measuring.WindowsOption = 3,
    interval: measuring.IntervalOption = None,
    power_mode: measuring.PowerModeOption = None,
    jetson_clocks: measuring.JetsonClocksOption = False,
    keep_denormals: measuring.KeepDenormalsOption = False,
    system_malloc: measuring.SystemMallocOption = False,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:PATH",
            help="Calibrate int8 on its train split, and score the files that runtimes run on val.",
            rich_help_panel=measuring.OUTPUT,
        ),
    ] = None,
    require_measured: Annotated[
        bool,
        typer.Option(
            "--require-measured",
            help="Fail with exit code 2 if this machine is not the device.",
            rich_help_panel=measuring.OUTPUT,
        ),
    ] = False,
    on: measuring.OnOption = None,
    model_source: ModelOption = None,
    reports: measuring.ReportsOption = Path("reports"),
    study: measuring.FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Profile networks on a device: latency, memory, energy, and a verdict on the measurement.

    On the device itself everything is measured. Elsewhere costs are counted, and estimates are marked as such.

    An architecture gets random weights (seed 0). Raw samples are written to reports/profile-DEVICE.
    """
    name_model(model_source)
    effort = measuring.read_effort(
        precision=precision, limit=limit, processes=processes, quick=quick, rate=rate, rate_time=rate_time, soak=soak,
        power=power, idle=idle, window=window, windows=windows, interval=interval, keep_denormals=keep_denormals,
        system_malloc=system_malloc,
    )  # fmt: skip
    given = _report_folder([*(names or ()), reference or ""])
    if given is not None and study is not None:
        raise SpecError(f"--name: the rows of {given} are kept in it; leave --name out")
    if on is not None:
        # As for a bundle: each backend in each format that it has.
        forms = {"batch_size": measuring.read_option("--batch", batch, measuring.whole_number)}
        settings = measuring.list_forms(backend or "eager", dtype, cuda_graph, **effort, **forms)
    else:
        settings = measuring.list_settings(
            batch=batch, dtype=dtype, layout=layout, backend=backend, threads=threads, cuda_graph=cuda_graph, **effort
        )
    measuring.check_saved([*(names or ()), reference or ""], size, classes, changes)
    modes = measuring.read_modes(power_mode, jetson_clocks)
    load_device(device) if device != "auto" else None

    from jetbench.profiling.case import CLASSES, Case, list_cases
    from jetbench.profiling.files import default_backend, file_case, is_model_file
    from jetbench.profiling.host import find_site

    if on is not None:
        if rate or soak:
            raise SpecError("--rate and --soak: are not measured over --on; run jetbench on the board for them")
        site, remote = _site_of(on, device)
    else:
        site, remote = find_site(device), None
    if site.remark and require_measured:
        raise ProfilingError(f"--device {device} --require-measured: {site.remark}; run it on the device")
    folder = given or measuring.folder_of(reports, study, site.device)
    check_folder(folder, FILES)
    every = names == ["all"]
    if "all" in (names or ()) and not every:
        raise SpecError("all: stands for every bundled network; give it alone")
    if every and len(settings) > 1:
        raise SpecError("all: one table has one setting; give one value of --batch, --dtype, --layout and the like")
    cases: list[Case] = []
    chosen = measuring.with_dtype_of(settings, site.device, dtype)
    if remote is not None:
        from jetbench.profiling.bundle import settings_for

        # PyTorch runs the traced network there, so eager and traced are one row.
        chosen = settings_for(site.device, chosen)
    wanted = read_size(size) if size else None
    labels, data = networks_named(_in_order(_every_network() if every else names or [site.device.preset], reference))
    for name, label in labels.items():
        if is_model_file(name):
            own = chosen if backend is not None else measuring.with_backend(chosen, default_backend(name))
            cases += [file_case(name, config, wanted, classes, site.device.size) for config in own]
        else:
            own_cases = list_cases(
                [name], chosen, wanted or site.device.size, classes or CLASSES, read_changes(changes)
            )
            cases += [case.model_copy(update={"label": label or case.label}) for case in own_cases]
    config = data if dataset is None else read_dataset(dataset, None, None, cases[0].input_size)
    if config is not None:
        cases = [case.model_copy(update={"dataset": config}) for case in cases]
    _say_what_is_measured(site, as_json)
    if remote is None:
        records, written = _profile_here(site, cases, modes, jetson_clocks, folder)
    else:
        from jetbench.profiling.remote import profile_on

        records = measure_with_bar(
            lambda report: profile_on(remote, cases, site.device, config, modes, jetson_clocks, report)
        )
        written = measuring.keep_profiles(folder, records, site.device)
    if every and not as_json:
        print_estimates(console, records, site.device, written)
    else:
        _print(records, site, written, as_json)
    if not written:
        raise typer.Exit(EXIT_FAILED_ROWS)


def _report_folder(names: Sequence[str]) -> Path | None:
    """The report folder among the names, whose networks are profiled; None without one.

    Raises:
        SpecError: several are given, or others beside it.
    """
    folders = [name for name in names if name and Path(name).is_dir()]
    if not folders:
        return None
    if len([name for name in names if name]) > 1:
        raise SpecError(f"{folders[0]}: is a report folder, whose networks are profiled; give it alone")
    return Path(folders[0])


def _site_of(on: str, device: str) -> "tuple[Site, Remote]":
    """The board that SSH reaches, and what it is."""
    from jetbench.profiling.host import Site
    from jetbench.profiling.remote import open_remote

    remote = open_remote(on)
    return Site(remote.find_device(device), None), remote


def _profile_here(
    site: "Site", cases: "Sequence[Case]", modes: Sequence[str], fixes_clocks: bool, folder: Path
) -> "tuple[list[Record], list[Path]]":
    """Profile on this machine, in each power mode if some are named, and keep the rows of each.

    If this machine is not the device, the estimates take the clocks of each mode.
    """
    from jetbench.profiling.session import profile_cases_at

    _restore_mode()
    if modes and not site.device.is_board:
        raise SpecError(f"--power-mode: {site.device.title} has none; power modes are those of a Jetson")
    records: list[Record] = []
    written: list[Path] = []
    with _power_modes(modes, fixes_clocks) if modes and site.torch_device else nullcontext() as held:
        for mode in modes or (None,):
            if held is not None and mode is not None:
                _set_mode(held, mode)
            measured = measure_with_bar(partial(profile_cases_at, site, cases, mode=mode))
            records += measured
            written = measuring.keep_profiles(folder, measured, site.device)  # a later mode may fail
    return records, written


def _restore_mode() -> None:
    """Restore a power mode that a killed command left behind, and say so."""
    from jetbench.probe import power_mode

    try:
        text = power_mode.left_over()
    except power_mode.PowerModeError as error:
        text = f"a command that was killed left another power mode behind, and it cannot be restored: {error}"
    if text:
        errors.print(f"Attention: {text}.", markup=False, highlight=False)


@contextmanager
def _power_modes(modes: Sequence[str], fixes_clocks: bool) -> "Iterator[Held]":
    """Hold the board's power mode, which is restored at the end."""
    from jetbench.probe.power_mode import Held, PowerModeError

    try:
        with Held(fixes_clocks) as held:
            held.check(modes)
            yield held
    except PowerModeError as error:
        raise ProfilingError(f"--power-mode: {error}") from None


def _set_mode(held: "Held", mode: str) -> None:
    errors.print(f"power mode {mode}", highlight=False, markup=False)
    held.set(mode)


def _every_network() -> list[str]:
    """The bundled architectures and baselines that can be built."""
    from jetbench.spec.architecture import Baseline
    from jetbench.spec.catalog import names, read_architecture

    networks = [(name, read_architecture(name, {})) for name in names("architecture")]
    return [name for name, each in networks if not isinstance(each, Baseline) or each.network is not None]


def _in_order(names: Sequence[str], reference: str | None) -> list[str]:
    """The names with the reference first."""
    return list(names) if reference is None else [reference, *(name for name in names if name != reference)]


def _say_what_is_measured(site: "Site", as_json: bool) -> None:
    if not site.remark:
        return
    if site.torch_device is not None:
        text = f"[bold yellow]Attention:[/] {escape(site.remark)}."
    else:
        _, peaks = site.device.peaks_of(None)
        left = "counted figures and an estimate from its data sheet" if peaks else "counted figures only"
        text = f"[bold yellow]Not measured:[/] {escape(site.remark)}. Below: {left}."
    # With --json, stdout holds JSON only.
    (errors if as_json else console).print(text, highlight=False, soft_wrap=True)


def _print(records: "Sequence[Record]", site: "Site", written: Sequence[Path], as_json: bool) -> None:
    if as_json:
        described = [describe_profile(record, site.device) for record in records]
        typer.echo(json.dumps(described[0] if len(described) == 1 else described, indent=2))
        return
    for record in records:
        print_profile(console, record, site.device)
        console.print()
    if len(records) > 1:
        print_summary(console, records)
    if written:
        console.print(f"[dim]{', '.join(str(path) for path in written)}[/]", highlight=False, soft_wrap=True)
