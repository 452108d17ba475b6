"""report: write a study as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import RESULTS, console, verb
from jetbench.cli.completion import studies
from jetbench.cli.output import AllOption, check_target
from jetbench.errors import SpecError


@verb(RESULTS)
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="STUDY", autocompletion=studies, help="A report folder, for example reports/nano.")
    ],
    show_invalid: AllOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file. Default: STUDY/report.html.")
    ] = None,
) -> None:
    """Write a study as one HTML file that works offline: table, plots, and a page for each variant.

    Predictions come from the weights files, images and ground truth from the dataset, if they are on this machine.
    """
    from jetbench.reporting.sheets.page import write_page
    from jetbench.reporting.studies import read_study

    study, path = read_study(folder), out or folder / "report.html"
    check_target(path)
    try:
        size = write_page(path, study, show_invalid).stat().st_size
    except OSError as error:
        raise SpecError(f"{path}: cannot be written to ({error.strerror}); give another file with --out") from None
    console.print(f"Written to {path} ({size / 2**20:.1f} MiB).", highlight=False, soft_wrap=True, markup=False)
