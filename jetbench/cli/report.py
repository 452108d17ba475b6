"""report: a study as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import app, console
from jetbench.cli.output import AllOption
from jetbench.errors import SpecError


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="A report folder, for example reports/nano.")],
    show_invalid: AllOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it; STUDY/report.html by default.")
    ] = None,
) -> None:
    """Write a study as one HTML file that needs no network: table, plots, and a page for each variant.

    What the networks see comes from their weights files, the images and the truth from the dataset where it is here.
    """
    from jetbench.reporting.sheets.page import write_page
    from jetbench.reporting.studies import read_study

    study, path = read_study(folder), out or folder / "report.html"
    if path.is_dir() or not path.parent.is_dir():
        raise SpecError(f"--out {path}: is a folder, or in one that is not there; give a file")
    try:
        size = write_page(path, study, show_invalid).stat().st_size
    except OSError as error:
        raise SpecError(f"{path}: cannot be written to ({error.strerror}); say where with --out") from None
    console.print(f"Written to {path} ({size / 2**20:.1f} MiB).", highlight=False, soft_wrap=True, markup=False)
