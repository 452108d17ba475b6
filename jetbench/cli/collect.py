"""collect: read the results that a bundle's probe measured on a board."""

from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import EXIT_FAILED_ROWS, RUNS, check_folder, console, verb
from jetbench.cli.measuring import folder_of, keep_profiles
from jetbench.cli.options import ModelOption, name_model
from jetbench.reporting.sheets.profile import FILES, print_profile


@verb(RUNS)
def collect(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT.JSON...", help="Files that the probe wrote on boards.")
    ],
    model_source: ModelOption = None,
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
    study: Annotated[
        str | None, typer.Option("--name", help="Name of the report folder. Default: profile-DEVICE.")
    ] = None,
) -> None:
    """Read results from a bundle's probe; prints the same figures and verdict as `jetbench profile`, and keeps them."""
    name_model(model_source)

    from jetbench.profiling.bundle import collect as read_result

    read = [read_result(result) for result in results]  # all of them, so that an error comes before any row
    for record, device in read:
        folder = folder_of(reports, study, device)
        check_folder(folder, FILES)
        print_profile(console, record, device)
        written = keep_profiles(folder, [record], device)
        if not written:
            raise typer.Exit(EXIT_FAILED_ROWS)
        console.print(f"[dim]{', '.join(str(path) for path in written)}[/]", highlight=False, soft_wrap=True)
