"""search: search for the best networks of a space under limits."""

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
    say_stopped,
    verb,
)
from jetbench.cli.completion import searches
from jetbench.cli.dashboard import dashboard_of
from jetbench.cli.options import (
    WAIT,
    DeviceOption,
    JobsOption,
    LossOption,
    ModeOption,
    OnOption,
    QuietOption,
    RayOption,
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
    refused_here,
)
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.search.run import SearchResult, SearchRun

LIMITS = "Hard limits; a network over a limit is not trained"

ParamsOption = Annotated[
    str | None,
    typer.Option("--max-params", metavar="COUNT", help="Most parameters, such as 40k.", rich_help_panel=LIMITS),
]
MacsOption = Annotated[
    str | None,
    typer.Option("--max-macs", metavar="COUNT", help="Most MACs for one image, such as 1.2G.", rich_help_panel=LIMITS),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="BYTES",
        help="Most memory for weights and peak activations, counted, such as 64MiB.",
        rich_help_panel=LIMITS,
    ),
]
LatencyOption = Annotated[
    str | None,
    typer.Option(
        "--max-latency",
        metavar="TIME",
        help="Longest latency, such as 33ms: checked by an estimate from the data sheet, then measured untrained.",
        rich_help_panel=LIMITS,
    ),
]
LatencyModelOption = Annotated[
    Path | None,
    typer.Option(
        "--latency-model",
        metavar="FILE",
        help="Predict latencies with this file of `jetbench latency learn`: what is over the limit for sure is not "
        "measured; for a device that is elsewhere, latencies are predicted in place of measured.",
        rich_help_panel=LIMITS,
    ),
]
EnergyOption = Annotated[
    str | None,
    typer.Option(
        "--max-energy",
        metavar="ENERGY",
        help="Most gross energy for one image, measured, such as 50mJ.",
        rich_help_panel=LIMITS,
    ),
]
PowerOption = Annotated[
    str | None,
    typer.Option(
        "--max-power",
        metavar="POWER",
        help="Most gross power under load, measured, such as 15W; in the mode of --power-mode.",
        rich_help_panel=LIMITS,
    ),
]
ObjectivesOption = Annotated[
    str | None,
    typer.Option(metavar="NAME,...", help="Objectives: miou and some of latency, energy, macs, parameters, memory."),
]
WarmStartOption = Annotated[
    list[Path] | None,
    typer.Option("--warm-start", help="Take over the rows of this space from a report folder. Repeatable."),
]


@verb(RUNS, "search")
def search_space(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SEARCH", autocompletion=searches, help="A search from `jetbench list`, or a path to a .yaml file."
        ),
    ],
    max_params: ParamsOption = None,
    max_macs: MacsOption = None,
    max_memory: MemoryOption = None,
    max_latency: LatencyOption = None,
    max_energy: EnergyOption = None,
    max_power: PowerOption = None,
    latency_model: LatencyModelOption = None,
    objectives: ObjectivesOption = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler: tpe, nsga2, random, gp or additive.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the proposals.")] = None,
    trainings: Annotated[int | None, typer.Option(min=1, help="Number of networks to train.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Train each network for this long: 300steps, 20epochs, 60s or 2min.")
    ] = None,
    loss: LossOption = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME[:PATH]", help="Dataset: streets, camvid or camvid:PATH.")
    ] = None,
    device: DeviceOption = None,
    power_mode: ModeOption = None,
    torch_device: TorchDeviceOption = None,
    warm_start: WarmStartOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try networks again that failed earlier.")
    ] = False,
    no_final: Annotated[bool, typer.Option("--no-final", help="Skip the final trainings of the front.")] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Run optuna-dashboard on the study, at 127.0.0.1, during the search.")
    ] = False,
    study: Annotated[str | None, typer.Option("--name", help="Name of the report folder.")] = None,
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
    jobs: JobsOption = None,
    ray: RayOption = None,
    on: OnOption = None,
    storage: StorageOption = None,
    wait: WaitOption = WAIT,
    settings: SweepSetOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Describe the space and its limits; run nothing.")] = False,
) -> None:
    """Search for the best networks of a space under limits, and train the front again with more seeds.

    Limits are checked before any training, the cheapest check first. Run the same command again to continue a search.
    """
    check_quiet(quiet, verbose)
    place = read_place(reports, jobs, ray, storage, wait, on)
    if dashboard and storage is not None:
        raise SpecError("--dashboard shows study.db only; for --storage, run `optuna-dashboard ADDRESS` yourself")
    limits = {"parameters": max_params, "macs": max_macs, "memory": max_memory, "latency": max_latency}
    plain: dict[str, Any] = {f"limits.{limit}": most for limit, most in (limits | {"energy": max_energy}).items()}
    plain |= {"latency_model": None if latency_model is None else str(latency_model)}
    plain |= {"sampler": sampler, "seed": seed, "trainings": trainings, "name": study}
    plain |= {"limits.power": max_power, "training.budget": budget, "training.loss": loss, "power_mode": power_mode}
    changes = _dataset_of(name, dataset) | read_changes(settings) | device_changes(board_on(on, device), torch_device)
    if objectives is not None:
        changes["objectives"] = [part.strip() for part in objectives.split(",")]
    changes |= {key: value for key, value in plain.items() if value is not None}

    from jetbench.search.run import look_at_space, prepare_search

    if dry_run:
        with blaming_options(changes, settings):
            for line in look_at_space(name, changes):
                console.print(escape(line), highlight=False, soft_wrap=not console.is_terminal)
            refused_here(lambda: prepare_search(name, place, changes))
        return
    with blaming_options(changes, settings):
        prepared = prepare_search(name, place, changes)
    if prepared.remark:
        console.print(f"[bold yellow]Attention:[/] {escape(prepared.remark)}", highlight=False, soft_wrap=True)
    with dashboard_of(prepared.folder, dashboard) as address:
        if address:
            console.print(f"optuna-dashboard, while this search runs: {address}", highlight=False)
        try:
            result = _run(prepared, warm_start or (), retry_failed, not no_final, quiet, verbose)
        except KeyboardInterrupt:
            say_stopped(
                f"\nStopped. Finished rows are kept in {prepared.folder}; run the same command again to continue."
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    _print(result, quiet)
    if any(record.failure for row in result.answer for record in row.records):
        raise typer.Exit(EXIT_FAILED_ROWS)


def _dataset_of(name: str, dataset: str | None) -> dict[str, Any]:
    if dataset is None:
        return {}
    from jetbench.search.space import read_search

    return dataset_changes(dataset, read_search(name).dataset)


def _run(
    prepared: "SearchRun",
    others: "list[Path] | tuple[()]",
    retry_failed: bool,
    final: bool,
    quiet: bool,
    verbose: bool,
) -> "SearchResult":
    """Run the search, then the final trainings, each with its own view."""
    from jetbench.search.run import SilentSearchView
    from jetbench.study.progress import BarView, LineView, SearchBarView, SearchLineView

    if quiet:
        result = prepared.search(SilentSearchView(), others, retry_failed)
        return prepared.finish(result, SilentSearchView(), retry_failed) if final else result
    has_bars = console.is_terminal and not verbose
    view = SearchBarView(console) if has_bars else SearchLineView(console)
    with view:
        result = prepared.search(view, others, retry_failed)
    console.print(result.ledger.describe(), highlight=False)
    if result.ended_by:
        trainings = prepared.asked.trainings
        console.print(f"Ended after {result.ledger.finished} of {trainings} trainings: {result.ended_by}.")
    if not final:
        return result
    final_view = BarView(console) if has_bars else LineView(console)
    with final_view:
        return prepared.finish(result, final_view, retry_failed)


def _print(result: "SearchResult", quiet: bool) -> None:
    from jetbench.reporting.report import print_lines
    from jetbench.reporting.units import counted
    from jetbench.search.answer import print_answer, shorten_answer

    ledger = result.ledger
    if result.answer:
        print_lines(console, shorten_answer(result.answer, result.asked.name))
        if not quiet:
            print_answer(console, result.table)
    else:
        console.print(
            f"The front of {counted(ledger.finished, 'training')}, one seed each (leave out --no-final to train it "
            "again):"
        )
        for record in ledger.front():
            point = ledger.describe_point(record)
            console.print(f"  [bold]{escape(record.variant)}[/]  {escape(point)}", highlight=False)
    written = ", ".join(str(path.relative_to(result.folder)) for path in result.written)
    console.print(f"\nWritten to {result.folder}: {written}", highlight=False, soft_wrap=True)
