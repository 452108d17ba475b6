"""search: the best networks of a space under limits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    EXIT_INTERRUPTED,
    TORCH_DEVICES,
    SweepSetOption,
    app,
    check_threads,
    console,
    read_changes,
    say_stopped,
    terminated_as_interrupted,
)
from jetbench.cli.options import (
    WAIT,
    JobsOption,
    LossOption,
    RayOption,
    StorageOption,
    WaitOption,
    check_storage,
    dataset_changes,
    open_place,
    read_wait,
)
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.spec.device import Device
    from jetbench.spec.search import Search
from jetbench.cli.dashboard import dashboard_of

LIMITS = "Hard limits; what is over one is never trained"


@app.command("search")
def search_space(
    name: Annotated[str, typer.Argument(metavar="SEARCH", help="A search from `jetbench list`, or a .yaml file.")],
    max_params: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Parameters, such as 40k.", rich_help_panel=LIMITS)
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="COUNT", help="MACs of one image: 1.2G.", rich_help_panel=LIMITS)
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Weights and peak activations, counted: 64MiB.", rich_help_panel=LIMITS),
    ] = None,
    max_latency: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Estimated at best by the data sheet, then measured on the untrained network: 33ms.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_energy: Annotated[
        str | None,
        typer.Option(metavar="ENERGY", help="Measured, of one image, gross: 50mJ.", rich_help_panel=LIMITS),
    ] = None,
    objectives: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="miou and some of latency, energy, macs, parameters, memory.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="tpe, nsga2, random, gp or additive.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the proposals.")] = None,
    trainings: Annotated[int | None, typer.Option(min=1, help="How many networks are trained.")] = None,
    budget: Annotated[str | None, typer.Option(help="Train each so long: 300steps, 20epochs, 60s or 2min.")] = None,
    loss: LossOption = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME[:PATH]", help="streets, camvid or camvid:PATH.")] = None,
    device: Annotated[
        str | None, typer.Option(help="A name from `jetbench devices`, or cpu or cuda. Default: this machine.")
    ] = None,
    warm_start: Annotated[
        list[Path] | None,
        typer.Option("--warm-start", help="A report folder whose rows of this space are taken over. Repeatable."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Let what failed earlier be tried again.")
    ] = False,
    no_final: Annotated[bool, typer.Option("--no-final", help="Leave out the final trainings of the front.")] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Open optuna-dashboard on the study, at 127.0.0.1, and search on.")
    ] = False,
    study: Annotated[str | None, typer.Option("--name", help="Name of the report folder.")] = None,
    reports: Annotated[Path, typer.Option(help="Where report folders are.")] = Path("reports"),
    jobs: JobsOption = None,
    ray: RayOption = None,
    storage: StorageOption = None,
    wait: WaitOption = WAIT,
    settings: SweepSetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the space and its limits are.")] = False,
) -> None:
    """Search for the best networks of a space under limits, and train the front again to be sure of it.

    Limits are checked in the order of their cost, before any training. The same command again goes on.
    """
    from jetbench.data.cache import load_data, open_source
    from jetbench.search.pictures import write_answer_picture, write_pictures
    from jetbench.search.run import describe_final, finalists, run_final, run_search
    from jetbench.search.space import SearchSpace, read_search

    wait_s = read_wait(wait)
    check_storage(storage)
    if dashboard and storage is not None:
        raise SpecError("--dashboard: shows study.db; for a database of yours, start optuna-dashboard ADDRESS yourself")
    limits = {
        "limits.parameters": max_params,
        "limits.macs": max_macs,
        "limits.memory": max_memory,
        "limits.latency": max_latency,
        "limits.energy": max_energy,
    }
    plain = {
        **limits,
        "sampler": sampler,
        "seed": seed,
        "trainings": trainings,
        "training.budget": budget,
        "training.loss": loss,
        "name": study,
        ("device" if device in TORCH_DEVICES else "board"): device,
    }
    changes: dict[str, Any] = {}
    if dataset is not None:
        changes |= dataset_changes(dataset, read_search(name).dataset)
    if objectives is not None:
        changes["objectives"] = [part.strip() for part in objectives.split(",")]
    changes |= read_changes(settings)
    asked = read_search(name, changes | {key: value for key, value in plain.items() if value is not None})
    source = open_source(asked.dataset)
    board: Device | None = None
    is_here = True
    if ray is None:
        check_threads("training.threads", asked.training.threads)
        board, is_here = _device(asked)
        _check_sensor(asked, board)
    elif asked.board is not None:
        from jetbench.spec.device import load_device

        board = load_device(asked.board)  # whoever holds its token measures, and is asked whether it is that board
    if dry_run:
        space = SearchSpace(asked, len(source.class_names), source.size)
        look = space.look(asked.seed)
        for line in (*space.describe(), look.describe(asked.limits)):
            console.print(escape(line), highlight=False, soft_wrap=not console.is_terminal)
        look.check()
        return
    chosen, make_executor = open_place(asked, asked.training.threads, jobs, ray, wait_s)
    folder = reports / asked.name

    from jetbench.reporting.units import counted
    from jetbench.search.answer import gather, print_answer, write_answer, write_proposals
    from jetbench.study.progress import BarView, LineView, SearchBarView, SearchLineView

    executor = make_executor()
    stopped = f"\nStopped. Finished rows are kept in {folder}; the same command goes on from there."
    view = SearchBarView(console) if console.is_terminal else SearchLineView(console)
    with terminated_as_interrupted(), dashboard_of(folder, dashboard) as address:
        if address:
            console.print(f"optuna-dashboard, as long as this runs: {address}", highlight=False)
        try:
            with view:
                info = load_data(asked.dataset, view.prepare).info
                found = run_search(
                    *(folder, asked, info, chosen, executor, view),
                    board=board,
                    is_here=is_here,
                    is_local=ray is None,
                    others=warm_start or (),
                    retry_failed=retry_failed,
                    storage=storage,
                    storage_wait_s=wait_s,
                )
            write_proposals(folder, found.fates(), list(asked.axes))
            write_pictures(folder, found)
            console.print(found.describe(), highlight=False)
            if found.ended_by:
                console.print(f"Ended after {found.finished} of {asked.trainings} trainings: {found.ended_by}.")
            if not found.front():
                raise SpecError(f"{asked.name}: no network was trained: {found.ended_by or found.describe()}")
            networks = finalists(found)
            final_view = BarView(console) if console.is_terminal else LineView(console)
            records = []
            if not no_final:
                executor = make_executor()
                console.print(describe_final(asked, networks, executor.width), highlight=False)
                with final_view:
                    records = run_final(
                        *(folder, asked, networks, info, chosen, executor, final_view, retry_failed),
                        storage_wait_s=wait_s,
                    )
        except KeyboardInterrupt:
            say_stopped(stopped)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if no_final:
        console.print(
            f"The front of {counted(found.finished, 'training')}, one seed each (without --no-final trained again):"
        )
        for record in found.front():
            told = found.describe_point(record)
            console.print(f"  [bold]{escape(record.variant)}[/]  {escape(told)}", highlight=False)
        console.print(f"\nWritten to {folder}: proposals.csv and pictures", highlight=False, soft_wrap=True)
        return
    rows = gather([(each.name, each.variant.architecture, each.variant.changes) for each in networks], records)
    paths = [*write_answer(folder, rows, asked, found.describe()), *write_answer_picture(folder, rows, asked)]
    print_answer(console, rows, asked, found.describe())
    written = ", ".join(str(path.relative_to(folder)) for path in paths)
    console.print(f"\nWritten to {folder}: {written}, proposals.csv", highlight=False, soft_wrap=True)
    if any(record.failure for record in records):
        raise typer.Exit(EXIT_FAILED_ROWS)


def _device(asked: "Search") -> "tuple[Device, bool]":
    """The device that is searched for, and whether this machine is it; else latency and energy cannot be measured."""
    from jetbench.network.list_operations import list_operations
    from jetbench.network.plan import plan_architecture
    from jetbench.profiling.host import describe_host, host_device, is_here, read_identity, with_card
    from jetbench.profiling.roofline import estimate
    from jetbench.spec.catalog import load_architecture
    from jetbench.spec.device import load_device

    identity = read_identity()
    if asked.board is None:
        return (load_device("cpu") if asked.device == "cpu" else with_card(host_device(identity))), True
    board = load_device(asked.board)
    if is_here(board, identity):
        return with_card(board), True
    why = f"this machine is no {board.title} (it is: {describe_host(identity)})"
    wanted = [goal for goal in asked.objectives if goal in ("latency", "energy")]
    if wanted:
        raise SpecError(f"objective {wanted[0]}: {why}; search there, or give --objectives miou,macs")
    if asked.limits.energy is not None:
        raise SpecError(f"--max-energy: {why}; search there, or leave it out")
    if asked.limits.latency is not None:
        config = asked.profiling
        operations = list_operations(plan_architecture(load_architecture(asked.base), 11, (512, 512)))
        told = estimate(operations, board, config.dtype, config.batch_size)
        if isinstance(told, str):
            raise SpecError(f"--max-latency: {why}, and there is {told}; search there, or leave it out")
    console.print(
        f"[bold yellow]Attention:[/] {why}. Nothing is measured. A latency limit is held against an estimate by "
        f"the data sheet of {board.name}: each of PyTorch's kernels at its peak, nothing fused. What is within it may "
        "still be too slow, and what is over it may pass in a runtime that fuses kernels.",
        highlight=False,
        soft_wrap=True,
    )
    return board, False


def _check_sensor(asked: "Search", board: "Device") -> None:
    """Refuse a limit or objective of energy where nothing can measure it."""
    if asked.limits.energy is None and "energy" not in asked.objectives:
        return
    from jetbench.probe.sensors import SENSORS

    reasons = [f"{name}: {reason}" for name in board.sensors if (reason := SENSORS[name].missing()) is not None]
    if len(reasons) == len(board.sensors):
        raise SpecError(f"energy cannot be measured here: {'; '.join(reasons) or 'no sensor'}; leave it out")
