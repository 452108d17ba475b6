"""explain: say why a network takes its time, and what its latency would be with one choice undone."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli import completion, measuring
from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    RUNS,
    JsonOption,
    SetOption,
    check_folder,
    console,
    read_changes,
    read_size,
    verb,
)
from jetbench.cli.options import ModelOption, name_model
from jetbench.cli.progress_bar import STOPPED, measure_with_bar
from jetbench.errors import SpecError
from jetbench.reporting.sheets.profile import FILES
from jetbench.reporting.sheets.why import describe_why, group_explained, print_why
from jetbench.spec.device import load_device

if TYPE_CHECKING:
    from jetbench.records.record import Record


@verb(RUNS)
def explain(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.architectures,
            help="An architecture, a .safetensors file that a sweep saved, or a report folder, whose profiles are "
            "explained as they are, such as those of a board.",
        ),
    ],
    device: Annotated[
        str,
        typer.Option(
            autocompletion=completion.devices, help="This machine; profiles of another are explained from their folder."
        ),
    ] = "auto",
    backend: measuring.BackendOption = None,
    dtype: measuring.DtypeOption = None,
    threads: measuring.ThreadsOption = "1",
    size: measuring.SizeOption = None,
    classes: measuring.ClassesOption = None,
    changes: SetOption = None,
    only: Annotated[
        bool, typer.Option("--no-changes", help="Leave out the networks in which one choice is undone.")
    ] = False,
    processes: measuring.ProcessesOption = None,
    quick: measuring.QuickOption = False,
    limit: measuring.LimitOption = "60s",
    model_source: ModelOption = None,
    reports: measuring.ReportsOption = Path("reports"),
    study: measuring.FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a latency: time, MACs and bytes by part and by kernel, against this machine's measured peaks.

    Then what each choice costs: one branch less, no dilation, one group, a narrower decoder, another activation, no
    attention. Each is another network with random weights, timed in turn with the first.
    """
    if Path(name).is_dir():
        _explain_folder(Path(name), as_json)
        return
    name_model(model_source)
    effort = measuring.read_effort(
        precision="2%", limit=limit, processes=processes or (None if quick else measuring.PROCESSES), quick=quick,
        rate=None, rate_time="10s", soak=None, power="none", idle="10s", window="15s", windows=3, interval=None,
        keep_denormals=False, system_malloc=False,
    )  # fmt: skip
    settings = measuring.list_settings(dtype=dtype, backend=backend, threads=threads, **effort)
    measuring.check_saved([name], size, classes, changes)
    load_device(device) if device != "auto" else None

    from jetbench.profiling.case import CLASSES, cases_undone, list_cases
    from jetbench.profiling.host import find_site
    from jetbench.profiling.session import profile_cases_at

    site = find_site(device)
    if site.torch_device is None:
        raise SpecError(
            f"--device {device}: {site.remark}; explain measures where it runs. Profile there with a bundle or --on, "
            "and give the report folder"
        )
    folder = measuring.folder_of(reports, study or f"explain-{site.device.name}", site.device)
    check_folder(folder, FILES)
    shown: list[tuple[Record, list[Record]]] = []
    kept, is_lost = list[Path](), False
    for config in measuring.with_dtype_of(settings, site.device, dtype):
        (base,) = list_cases(
            [name], [config], read_size(size) if size else site.device.size, classes or CLASSES, read_changes(changes)
        )
        cases = [base] if only else [base, *cases_undone(base)]
        stopped = f"\nStopped. The forms before it are kept in {folder}." if kept else STOPPED
        records = measure_with_bar(partial(profile_cases_at, site, cases, rest="kernels"), stopped)
        kept = measuring.keep_profiles(folder, records, site.device)
        is_lost |= not kept
        shown.append((records[0], records[1:]))
    _print(shown, as_json)
    if is_lost:
        raise typer.Exit(EXIT_FAILED_ROWS)


def _explain_folder(folder: Path, as_json: bool) -> None:
    """Explain the profiles of a report folder that have the times of their kernels."""
    from jetbench.reporting.studies import read_study

    shown = group_explained(read_study(folder).records)
    if not shown:
        raise SpecError(f"{folder}: no profile has the times of its kernels; `jetbench explain NAME` measures them")
    _print(shown, as_json)


def _print(shown: "Sequence[tuple[Record, list[Record]]]", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([describe_why(record, others) for record, others in shown], indent=2))
        return
    for number, (record, others) in enumerate(shown):
        if number:
            console.print()
        print_why(console, record, others)
