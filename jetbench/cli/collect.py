"""collect: read the results that a bundle's probe measured on a board."""

from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    app,
    console,
)
from jetbench.cli.measuring import keep_profiles
from jetbench.reporting.sheets.profile import (
    print_profile,
)


@app.command()
def collect(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT.JSON...", help="Files that the probe wrote on boards.")
    ],
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
    study: Annotated[
        str | None, typer.Option("--name", help="Name of the report folder. Default: profile-DEVICE.")
    ] = None,
) -> None:
    """Read results from a bundle's probe; prints the same figures and verdict as `jetbench profile`, and keeps them."""
    from jetbench.profiling.bundle import collect as read_result

    for result in results:
        record, device = read_result(result)
        print_profile(console, record, device)
        written = keep_profiles(reports / (study or f"profile-{device.name}"), [record], device)
        if not written:
            raise typer.Exit(EXIT_FAILED_ROWS)
        console.print(f"[dim]{', '.join(str(path) for path in written)}[/]", highlight=False, soft_wrap=True)
