"""sweep: train and profile every variant of a sweep."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    EXIT_INTERRUPTED,
    TORCH_DEVICES,
    SweepSetOption,
    app,
    check_threads,
    console,
    read_changes,
    read_size,
    say_stopped,
    terminated_as_interrupted,
)
from jetbench.cli.options import (
    WAIT,
    JobsOption,
    RayOption,
    StorageOption,
    WaitOption,
    check_storage,
    open_place,
    read_wait,
)
from jetbench.errors import DataError, SpecError, StudyError
from jetbench.reporting.sheets.network import print_variants

if TYPE_CHECKING:
    from jetbench.data.cache import Source
    from jetbench.network.variants import Variant
    from jetbench.records.record import Record
    from jetbench.spec.sweep import Sweep
from jetbench.cli.options import LossOption, dataset_changes


@app.command()
def sweep(
    name: Annotated[
        str, typer.Argument(metavar="SWEEP", help="A sweep from `jetbench list`, or a path to a .yaml file.")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="streets, camvid or camvid:PATH, at the sweep's image size."),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Resize images to this height and width.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Train each variant so long: 300steps, 20epochs, 60s or 2min.")
    ] = None,
    loss: LossOption = None,
    study: Annotated[str | None, typer.Option("--name", help="Name of the report folder.")] = None,
    reports: Annotated[Path, typer.Option(help="Where report folders are.")] = Path("reports"),
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda; or the device to profile on, from `jetbench devices`.")
    ] = None,
    jobs: JobsOption = None,
    ray: RayOption = None,
    storage: StorageOption = None,
    wait: WaitOption = WAIT,
    settings: SweepSetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the variants with their counts, run nothing.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run rows again that failed.")] = False,
) -> None:
    """Train and profile every variant of a sweep, then write tables and plots to reports/NAME.

    The same command again goes on where it stopped, and repeats nothing that is done.
    """
    from jetbench.data.cache import load_data
    from jetbench.network.variants import expand_sweep, read_quoted, read_sweep

    wait_s = read_wait(wait)
    check_storage(storage)
    asked = read_sweep(name, _sweep_changes(name, dataset, size, budget, loss, study, device, settings))
    quoted = read_quoted(asked.quoted)
    source = _open_source(asked, dry_run)
    variants = expand_sweep(asked, len(source.class_names), source.size)
    if dry_run:
        print_variants(console, asked, variants)
        return
    _check_teachers(variants)
    few, batch = source.counts["train"], max(variant.training.batch_size for variant in variants)
    if batch > few:
        raise SpecError(f"training.batch_size={batch} is more than the {few} training images")
    if ray is None:
        check_threads("profiling.threads", asked.profiling.threads)
        if asked.board is not None:
            _check_board(asked.board)
    chosen, make_executor = open_place(asked, max(variant.training.threads for variant in variants), jobs, ray, wait_s)
    executor = make_executor()
    folder = reports / asked.name

    from jetbench.reporting.report import write_report
    from jetbench.study.progress import BarView, LineView
    from jetbench.study.run import landed_records, run_study

    view = BarView(console) if console.is_terminal else LineView(console)
    title = f"{asked.name}: {asked.description}" if asked.description else asked.name
    records: list[Record] = []
    with terminated_as_interrupted():
        info = None
        try:
            with view:
                info = load_data(asked.dataset, view.prepare).info
                records = run_study(
                    *(folder, asked, variants, info, chosen, executor, view, retry_failed),
                    storage=storage,
                    storage_wait_s=wait_s,
                )
        except (KeyboardInterrupt, StudyError) as error:
            with suppress(KeyboardInterrupt, StudyError, OSError):  # pressed again, or nothing can be written: no table
                there = landed_records(folder, asked, variants, info, chosen) if info is not None else []
                if there or isinstance(error, KeyboardInterrupt):
                    write_report(console, folder, there, title, quoted=quoted)
            if isinstance(error, StudyError):
                raise
            say_stopped(f"\nStopped. Finished rows are kept in {folder}; the same command goes on from there.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
    write_report(console, folder, records, title, quoted=quoted)
    if any(record.failure for record in records):
        raise typer.Exit(EXIT_FAILED_ROWS)


def _check_board(name: str) -> None:
    """Refuse a board that this machine is not."""
    from jetbench.profiling.host import describe_host, is_here, read_identity
    from jetbench.spec.device import load_device

    board, identity = load_device(name), read_identity()
    if not is_here(board, identity):
        raise SpecError(
            f"--device {name}: this machine is no {board.title} (it is: {describe_host(identity)}); run the sweep "
            "there, or with --ray on a cluster in which a machine holds its token"
        )


def _open_source(asked: "Sweep", dry_run: bool) -> "Source":
    """The sweep's data; a dry run without it counts as for CamVid's usual form and says so."""
    from jetbench.data.cache import open_source
    from jetbench.data.camvid import assumed_camvid

    try:
        return open_source(asked.dataset)
    except DataError:
        if not dry_run or asked.dataset.name != "camvid" or asked.dataset.path is not None:
            raise
    console.print("[dim]No CamVid is there: counted for its 11-class form.[/]")
    return assumed_camvid(asked.dataset)


def _check_teachers(variants: "Sequence[Variant]") -> None:
    """Refuse, before anything is trained, teachers that are not there."""
    for variant in variants:
        if variant.training.teacher is not None and not Path(variant.training.teacher).is_file():
            raise SpecError(
                f"{variant.name}: training.teacher: {variant.training.teacher}: no such weights file; give one that a "
                "sweep has kept, such as reports/NAME/weights/....safetensors"
            )


def _sweep_changes(
    name: str,
    dataset: str | None,
    size: str | None,
    budget: str | None,
    loss: str | None,
    study: str | None,
    device: str | None,
    settings: list[str] | None,
) -> dict[str, Any]:
    """The options as changes of the sweep: the dataset first, what --set says of it next, then the plain options."""
    from jetbench.network.variants import read_sweep

    changes: dict[str, Any] = dataset_changes(dataset, read_sweep(name).dataset) if dataset is not None else {}
    changes |= read_changes(settings)
    plain = {"training.budget": budget, "training.loss": loss, "name": study}
    plain["device" if device in TORCH_DEVICES else "board"] = device
    changes |= {key: value for key, value in plain.items() if value is not None}
    if size is not None:
        changes["dataset.size"] = read_size(size)
    return changes
