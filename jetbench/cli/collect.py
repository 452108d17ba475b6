"""collect: read the results that a bundle's probe measured on a board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli import completion
from jetbench.cli.app import EXIT_FAILED_ROWS, RUNS, check_folder, console, verb
from jetbench.cli.measuring import folder_of, keep_profiles
from jetbench.cli.options import ModelOption, name_model
from jetbench.errors import SpecError
from jetbench.reporting.sheets.profile import FILES, print_profile, print_summary

if TYPE_CHECKING:
    from jetbench.records.record import Record
    from jetbench.spec.device import Device


@verb(RUNS)
def collect(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT.JSON...", help="Files that the probe wrote on boards.")
    ],
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="STUDY",
            autocompletion=completion.studies,
            help="Join the profiles with the trainings of this report folder, by the digest of their weights.",
        ),
    ] = None,
    model_source: ModelOption = None,
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
    study: Annotated[
        str | None, typer.Option("--name", help="Name of the report folder. Default: profile-DEVICE.")
    ] = None,
) -> None:
    """Read results from a bundle's probe; prints the same figures and verdict as `jetbench profile`, and keeps them.

    With --into, one table then has the mIoU of a study beside the latency, memory and joules of its boards.
    """
    name_model(model_source)
    if into is not None and study is not None:
        raise SpecError("--into and --name: a profile is kept in one folder; leave one of them out")

    from jetbench.profiling.collect import collect as read_result

    read = [read_result(result) for result in results]  # all of them, so that an error comes before any row
    if into is not None:
        _join(into, read)
        return
    for records, device in read:
        folder = folder_of(reports, study, device)
        check_folder(folder, FILES)
        for record in records:
            print_profile(console, record, device)
            console.print()
        if len(records) > 1:
            print_summary(console, records)
        written = keep_profiles(folder, records, device)
        if not written:
            raise typer.Exit(EXIT_FAILED_ROWS)
        console.print(f"[dim]{', '.join(str(path) for path in written)}[/]", highlight=False, soft_wrap=True)


def _join(folder: Path, read: "list[tuple[list[Record], Device]]") -> None:
    """Append profiles to a study, and write and print its tables.

    Raises:
        SpecError: a profile is of weights that the study did not train; nothing is written then.
    """
    from jetbench.records.folder import add_profiles, read_landed
    from jetbench.reporting.report import print_study, print_written, write_files
    from jetbench.reporting.studies import read_study

    trained = {record.weights for record in read_landed(folder) if record.weights is not None}
    records = [record for each, _ in read for record in each]
    strange = dict.fromkeys(record.variant for record in records if record.weights not in trained)
    if strange:
        raise SpecError(
            f"{folder}: did not train {', '.join(strange)} (no training has the digest of these weights); "
            "collect without --into"
        )
    try:
        added = add_profiles(folder, records)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written ({error.strerror})") from None
    study = read_study(folder)
    paths = write_files(study, show_invalid=False)
    print_study(console, study, False, "short", None)
    there = f"; {len(records) - added} were there" if added < len(records) else ""
    console.print(f"\n{added} profiles added{there}.", highlight=False)
    print_written(console, folder, paths)
