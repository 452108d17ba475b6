"""table: a study's records, or several studies', as a table in a layout and format of one's choice."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli.app import app, console
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.reporting.studies import Study
    from jetbench.reporting.tables import Table

FORMATS = ("terminal", "markdown", "latex", "html", "csv")
StudiesArgument = Annotated[
    list[Path], typer.Argument(metavar="STUDY...", help="Report folders, for example reports/nano.")
]
MixedOption = Annotated[
    bool, typer.Option("--mixed", help="Show rows of different protocols in groups, each ranked by itself.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Show rows whose profile is invalid too.")]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of printing it.")]


@app.command()
def table(
    folders: StudiesArgument,
    style: Annotated[
        str | None,
        typer.Option(
            help="A layout (brief, paper, wide), a format (terminal, markdown, latex, html, csv), or both: paper,latex."
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="These columns in this order; 'help' lists them.")
    ] = None,
    per: Annotated[str, typer.Option(help="What a row is of: network; class, for the IoU of each class.")] = "network",
    each_seed: Annotated[bool, typer.Option("--each-seed", help="A row for each seed, not their mean.")] = False,
    mixed: MixedOption = False,
    show_invalid: AllOption = False,
    out: OutOption = None,
) -> None:
    """Show studies as a table; of one study without options, write its folder's tables and plots again.

    Bold is the best of a column and underlined the second; = marks what cannot be told apart. Rows that were measured
    in different ways are refused, unless --mixed.
    """
    from jetbench.reporting.columns import COLUMNS
    from jetbench.reporting.report import write_report
    from jetbench.reporting.studies import read_study

    if columns == "help":
        for column in COLUMNS:
            console.print(f"{column.name:20} {column.heading}, {column.kind}", highlight=False)
        return
    layout, form = _read_style(style)
    if per not in ("network", "class"):
        raise SpecError(f"--per {per}: expected network or class")
    studies = [read_study(folder) for folder in folders]
    plain = style is None and columns is None and per == "network" and out is None and not each_seed
    if plain and len(studies) == 1:
        only = studies[0]
        write_report(console, only.folder, only.records, only.title, show_invalid, only.quoted)
        return
    if form == "csv" and columns is None and per == "network":
        show_text(_csv_of_all(studies), out)
        return
    show_table(_build(studies, layout, columns, per, each_seed, mixed, show_invalid), form, out)


def _read_style(style: str | None) -> tuple[str, str]:
    """Layout and format; `latex` alone is the paper's layout, any other format the brief one."""
    from jetbench.reporting.columns import LAYOUTS

    layout = form = None
    for part in (style or "").split(",") if style is not None else ():
        word = part.strip()
        if word in LAYOUTS and layout is None:
            layout = word
        elif word in FORMATS and form is None:
            form = word
        else:
            raise SpecError(
                f"--style {style}: expected one of {', '.join(LAYOUTS)}, or one of {', '.join(FORMATS)}, or both: "
                "paper,latex"
            )
    return layout or ("paper" if form == "latex" else "brief"), form or "terminal"


def _build(
    studies: "list[Study]",
    layout: str,
    columns: str | None,
    per: str,
    each_seed: bool,
    mixed: bool,
    show_invalid: bool,
) -> "Table":
    from jetbench.reporting.columns import LAYOUTS, class_columns, find_columns
    from jetbench.reporting.studies import rows_of_studies
    from jetbench.reporting.tables import build_table

    rows = rows_of_studies(studies, not each_seed)
    title = studies[0].title if len(studies) == 1 else " and ".join(study.name for study in studies)
    if per == "class":
        chosen = class_columns(rows)
        title += ", IoU of each class on test (%)"
    else:
        names = LAYOUTS[layout] if columns is None else tuple(name.strip() for name in columns.split(","))
        chosen = find_columns(names)
    return build_table(rows, chosen, title, mixed, show_invalid)


def _csv_of_all(studies: "list[Study]") -> str:
    """Every record of every study, in SI units."""
    import pandas as pd

    from jetbench.reporting.frame import frame

    frames = [frame(study.records, study.quoted).assign(study=study.name) for study in studies]
    return str(pd.concat(frames, ignore_index=True).to_csv(index=False))


def show_table(table: "Table", form: str, out: Path | None) -> None:
    """Print a table in a format, or write it to a file."""
    from jetbench.reporting import formats
    from jetbench.reporting.report import print_notes
    from jetbench.reporting.sheets import print_whole

    if form == "terminal" and out is None:
        print_whole(console, formats.terminal(table))
        print_notes(console, table.notes.all)
        return
    make = {
        "terminal": formats.markdown,  # a file has no colours
        "markdown": formats.markdown,
        "latex": formats.latex,
        "html": formats.html,
        "csv": formats.csv,
    }
    show_text(make[form](table), out)


def show_text(text: str, out: Path | None) -> None:
    """Print it as it is, or write it to a file."""
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.is_dir() or not out.parent.is_dir():
        raise SpecError(f"--out {out}: is a folder, or in one that is not there; give a file")
    out.write_text(text)
    console.print(f"Written to {out}.", highlight=False, soft_wrap=True, markup=False)
