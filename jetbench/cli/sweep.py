"""sweep: train and profile every variant of a sweep."""

from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    EXIT_INTERRUPTED,
    RUNS,
    SweepSetOption,
    console,
    read_changes,
    read_size,
    say_stopped,
    verb,
)
from jetbench.cli.completion import sweeps
from jetbench.cli.options import (
    WAIT,
    DeviceOption,
    JobsOption,
    LogOption,
    LossOption,
    ModeOption,
    OnOption,
    QuietOption,
    RayOption,
    SeedsOption,
    StorageOption,
    TorchDeviceOption,
    VerboseOption,
    WaitOption,
    blaming_options,
    board_on,
    check_quiet,
    dataset_changes,
    device_changes,
    read_place,
    read_seeds,
    refused_here,
)
from jetbench.errors import DataError, SpecError, StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetbench.records.verdict import Level
    from jetbench.reporting.studies import Study
    from jetbench.reporting.tables.footnotes import NoteLevel
    from jetbench.study.chooser import View
    from jetbench.study.place import Place
    from jetbench.study.run import SweepRun
    from jetbench.study.trackers import Tracker


@verb(RUNS)
def sweep(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP", autocompletion=sweeps, help="A sweep from `jetbench list`, or a path to a .yaml file."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PATH]",
            help="Dataset, at the sweep's image size: streets, camvid, camvid:PATH, folder:PATH, cityscapes:PATH, ...",
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Resize images to this height and width.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Train each variant for this long: 300steps, 20epochs, 60s or 2min.")
    ] = None,
    loss: LossOption = None,
    seeds: SeedsOption = None,
    study: Annotated[str | None, typer.Option("--name", help="Name of the report folder.")] = None,
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
    device: DeviceOption = None,
    power_mode: ModeOption = None,
    torch_device: TorchDeviceOption = None,
    jobs: JobsOption = None,
    ray: RayOption = None,
    on: OnOption = None,
    storage: StorageOption = None,
    wait: WaitOption = WAIT,
    settings: SweepSetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the variants with their counts; run nothing.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed rows again.")] = False,
    remeasure: Annotated[
        str | None,
        typer.Option(
            metavar="VERDICTS",
            help="Profile rows again whose profile is invalid, or invalid,suspect; nothing is trained.",
        ),
    ] = None,
    log: LogOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train and profile every variant of a sweep, then write tables and plots to reports/NAME.

    Run the same command again to continue a stopped sweep; finished rows are not repeated.
    """
    place = read_place(reports, jobs, ray, storage, wait, on)
    levels = _read_verdicts(remeasure)
    check_quiet(quiet, verbose)
    changes = _dataset_of(name, dataset) | read_changes(settings) | device_changes(board_on(on, device), torch_device)
    plain = {"training.budget": budget, "training.loss": loss, "name": study, "power_mode": power_mode}
    changes |= {key: value for key, value in plain.items() if value is not None}
    if seeds is not None:
        changes["seeds"] = read_seeds(seeds)
    if size is not None:
        changes["dataset.size"] = read_size(size)
    if dry_run:
        with blaming_options(changes, settings):
            _list_variants(name, place, changes)
        return

    from jetbench.study.run import prepare_sweep
    from jetbench.study.trackers import open_trackers

    with blaming_options(changes, settings):
        prepared = prepare_sweep(name, place, changes)
    trackers = open_trackers(log or (), prepared.folder)
    follow(prepared, quiet, verbose, trackers, retry_failed, levels)


def follow(
    prepared: "SweepRun",
    quiet: bool = False,
    verbose: bool = False,
    trackers: "Sequence[Tracker]" = (),
    retry_failed: bool = False,
    levels: "Sequence[Level]" = (),
) -> "Study":
    """Run a sweep with its progress on the terminal, and print what it found.

    Returns:
        The finished study.

    Raises:
        typer.Exit: it was stopped, some row failed, or every profile is invalid.
    """
    from jetbench.study.chooser import SilentView
    from jetbench.study.progress import BarView, LineView
    from jetbench.study.trackers import TrackedView

    view: View = SilentView() if quiet else LineView(console)
    if console.is_terminal and not (quiet or verbose):
        view = BarView(console)
    notes: NoteLevel = "full" if verbose else "short"
    try:
        with view if isinstance(view, AbstractContextManager) else nullcontext():
            finished = prepared.run(TrackedView(view, trackers) if trackers else view, retry_failed, levels)
    except (KeyboardInterrupt, StudyError) as error:
        _print_unfinished(prepared, quiet, notes, is_stopped=isinstance(error, KeyboardInterrupt))
        if isinstance(error, StudyError):
            raise
        say_stopped(f"\nStopped. {prepared.folder} keeps what is done; run the same command again to continue.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _print_finished(finished, quiet, notes)
    return finished


def _print_unfinished(prepared: "SweepRun", quiet: bool, notes: "NoteLevel", is_stopped: bool) -> None:
    """Print the finished rows, and how many variants are trained and kept."""
    from jetbench.reporting.report import print_study

    with suppress(KeyboardInterrupt, StudyError, DataError, OSError):  # Ctrl-C again, or unreadable records
        if (partial := prepared.landed()) is not None:
            if not quiet:
                print_study(console, partial, notes=notes)
        elif is_stopped:
            console.print(f"No variant has finished in {prepared.folder} yet.")
        console.print(f"\n{prepared.tally()}.", highlight=False, soft_wrap=True)


def _print_finished(finished: "Study", quiet: bool, notes: "NoteLevel") -> None:
    """Print the study and what its profiles are worth.

    Raises:
        typer.Exit: some row failed, or every profile is invalid.
    """
    from jetbench.reporting.report import describe_verdicts, print_in_short, print_study

    if quiet:
        print_in_short(console, finished, finished.labelled_rows())
    else:
        print_study(console, finished, notes=notes)
    written = "table.md, table.tex, table.csv, records.jsonl and plots"
    console.print(f"\nWritten to {finished.folder}: {written}", highlight=False, soft_wrap=True)
    doubt, all_are_invalid = describe_verdicts(finished.records)
    if doubt:
        console.print(f"[bold yellow]{escape(doubt)}[/]", highlight=False, soft_wrap=True)
    if all_are_invalid or any(record.failure for record in finished.records):
        raise typer.Exit(EXIT_FAILED_ROWS)


def _read_verdicts(text: str | None) -> tuple["Level", ...]:
    """The verdicts of --remeasure."""
    known: dict[str, Level] = {"invalid": "invalid", "suspect": "suspect"}
    words = [word.strip() for word in text.split(",")] if text is not None else []
    if any(word not in known for word in words):
        raise SpecError(f"--remeasure {text}: expected invalid, suspect, or both: invalid,suspect")
    return tuple(known[word] for word in words)


def _dataset_of(name: str, dataset: str | None) -> dict[str, Any]:
    if dataset is None:
        return {}
    from jetbench.network.variants import read_sweep

    return dataset_changes(dataset, read_sweep(name).dataset)


def _list_variants(name: str, place: "Place", changes: dict[str, Any]) -> None:
    """List the variants, then say what would keep this machine from running them."""
    from jetbench.reporting.sheets.network import print_variants
    from jetbench.study.run import list_variants, prepare_sweep

    request, variants, is_assumed = list_variants(name, changes)
    if is_assumed:
        console.print("[dim]CamVid was not found: counted for its 11-class form.[/]")
    print_variants(console, request, variants)
    if not is_assumed:
        from jetbench.data.cache import open_source

        prepared = refused_here(lambda: prepare_sweep(name, place, changes))
        console.print(prepared.estimate(open_source(request.dataset).counts), highlight=False, soft_wrap=True)
