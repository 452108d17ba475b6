"""plot: draw studies as pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli.app import RESULTS, check_folder, console, verb
from jetbench.cli.output import AllOption, StudiesArgument
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.reporting.pictures.drawing import Look


@verb(RESULTS)
def plot(
    folders: StudiesArgument,
    pictures: Annotated[
        str | None, typer.Option("--picture", metavar="NAME,...", help="Draw only these; 'help' lists them.")
    ] = None,
    each_seed: Annotated[
        bool, typer.Option("--each-seed", help="Draw a point for each seed instead of their mean.")
    ] = False,
    show_invalid: AllOption = False,
    columns: Annotated[int, typer.Option(min=1, max=2, help="Width, in columns of a paper.")] = 1,
    with_title: Annotated[bool, typer.Option("--title", help="Keep the title in SVG and PDF, too.")] = False,
    with_notes: Annotated[bool, typer.Option("--notes", help="Write data and machine below each picture.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write to this folder. Default: the study's.")
    ] = None,
) -> None:
    """Draw studies as PNG, SVG and PDF, one paper column wide: accuracy against cost, latencies, learning curves.

    Rows of one study must be measured in the same way. Each of several studies, such as two devices, has a shape.
    """
    from jetbench.reporting.pictures.drawing import Look
    from jetbench.reporting.pictures.plots import PICTURES, write_plots
    from jetbench.reporting.studies import read_studies, rows_of_studies
    from jetbench.reporting.tables.columns import find_columns
    from jetbench.reporting.tables.table import believed, build_table

    names = PICTURES if pictures is None else tuple(name.strip() for name in pictures.split(","))
    if names == ("help",):
        console.print("\n".join((*PICTURES, "boards")), highlight=False)
        return
    if names == ("boards",):
        _draw_boards(folders, out, Look(with_title, with_notes, 2 if columns == 2 else 1), show_invalid)
        return
    if unknown := [name for name in names if name not in PICTURES]:
        raise SpecError(f"--picture {', '.join(unknown)}: choose from {', '.join(PICTURES)}")
    studies = read_studies(folders)
    if out is None and len(studies) > 1:
        raise SpecError("several studies are given; name the folder of the pictures with --out")
    rows = rows_of_studies(studies, not each_seed)
    kept = rows if show_invalid else believed(rows)
    title = " and ".join(study.name for study in studies)
    for study in studies if names != ("power-modes",) else ():  # refuses rows that differ
        own = [row for row in kept if row.study == study.name]
        build_table(own, find_columns(["val", "latency", "macs"]), title, show_invalid=True)
    build_table(kept, find_columns(["val", "macs"]), title, show_invalid=True)
    folder = out or studies[0].folder
    check_folder(folder, [], option="--out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = write_plots(folder, kept, title, names, look=Look(with_title, with_notes, 2 if columns == 2 else 1))
    except OSError as error:
        raise SpecError(f"--out {folder}: cannot be written to ({error.strerror})") from None
    if not written:
        raise SpecError(f"{', '.join(map(str, folders))}: no row has the data for these pictures; choose others")
    console.print(f"Written to {folder}: {', '.join(path.name for path in written)}", highlight=False, soft_wrap=True)


def _draw_boards(folders: list[Path], out: Path | None, look: "Look", show_invalid: bool) -> None:
    """Draw two boards against each other: two studies, or one that both measured."""
    from jetbench.reporting.pictures.boards import draw_boards
    from jetbench.reporting.questions.boards import boards_of
    from jetbench.reporting.studies import read_studies

    studies = read_studies(folders)
    pair = boards_of(studies[0]) if len(studies) == 1 else studies
    if len(pair) != 2:
        raise SpecError("--picture boards: give two studies of the same networks, or one that two boards measured")
    folder = out or studies[0].folder
    check_folder(folder, [], option="--out")
    folder.mkdir(parents=True, exist_ok=True)
    written = draw_boards(folder, pair[0], pair[1], look, show_invalid)
    console.print(f"Written to {folder}: {', '.join(path.name for path in written)}", highlight=False, soft_wrap=True)
