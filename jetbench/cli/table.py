"""table: show studies as a table."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli import completion
from jetbench.cli.app import RESULTS, console, verb
from jetbench.cli.output import (
    FORMATS,
    AllOption,
    MixedOption,
    NotesOption,
    OutOption,
    form_of,
    read_notes,
    show_table,
    show_text,
)
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.reporting.studies import Study
    from jetbench.reporting.tables.rows import Row
    from jetbench.reporting.tables.table import Table

LATEX = "For a paper"
PER = ("network", "class", "evaluation", "axis", "device", "budget")


@verb(RESULTS)
def table(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="STUDY", autocompletion=completion.studies, help="Report folders, for example reports/nano."
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help="A layout (brief, paper, wide; training: its time by phase), a format (terminal, markdown, latex, "
            "html, csv), or both: paper,latex."
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            autocompletion=completion.columns,
            help="Show these columns in this order; 'help' lists them.",
        ),
    ] = None,
    per: Annotated[
        str,
        typer.Option(
            help="One row per network; or class (IoU of each class), evaluation (convergence), axis (effect of each "
            "value), device (rankings on two devices), budget (how well brief trainings and proxies predict the "
            "ranking by the first study's longest budget)."
        ),
    ] = "network",
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", autocompletion=completion.columns, help="Sort the rows by this column, the best first."
        ),
    ] = None,
    each_seed: Annotated[
        bool, typer.Option("--each-seed", help="Show a row for each seed instead of their mean.")
    ] = False,
    mixed: MixedOption = False,
    show_invalid: AllOption = False,
    notes: NotesOption = None,
    caption: Annotated[str | None, typer.Option(help="Caption of a LaTeX table.", rich_help_panel=LATEX)] = None,
    label: Annotated[
        str | None, typer.Option(help="Label of a LaTeX table, such as tab:nano.", rich_help_panel=LATEX)
    ] = None,
    digits: Annotated[
        int | None, typer.Option(min=1, max=9, help="Significant digits of numbers.", rich_help_panel=LATEX)
    ] = None,
    cite: Annotated[
        Path | None,
        typer.Option(
            "--cite",
            metavar="BIB",
            help="Cite the baselines, and write their entries to this .bib.",
            rich_help_panel=LATEX,
        ),
    ] = None,
    out: OutOption = None,
) -> None:
    """Show studies as a table. For one study without options, also write its folder's tables and plots again.

    Bold is the best of a column, underlined the second; = means not significantly different (95 %). Rows that were
    measured in different ways are refused, unless --mixed is given.
    """
    # Each branch imports what it needs: the plain form draws, which loads matplotlib.
    from jetbench.reporting.studies import read_studies, rows_of_studies
    from jetbench.reporting.tables.citations import to_bibtex
    from jetbench.reporting.tables.columns import CHANGES, COLUMNS, find_columns
    from jetbench.reporting.tables.latex import LatexOptions
    from jetbench.reporting.tables.table import sort_rows

    if columns == "help":
        for column in COLUMNS:
            console.print(f"{column.name:20} {column.heading}, {column.kind}", highlight=False)
        return
    if not folders:
        raise SpecError("give a report folder, such as reports/nano")
    layout, form = _read_style(style, out)
    level = read_notes(notes, "full" if form != "terminal" else "short")
    if form != "latex" and any(each is not None for each in (caption, label, cite)):
        raise SpecError("--caption, --label and --cite: only a LaTeX table has them; add --style latex")
    if label is not None and not re.fullmatch(r"[A-Za-z0-9:._-]{1,80}", label):
        raise SpecError(f"--label {label}: takes only letters, digits, : . _ -")
    if sort is not None and per not in ("network", "class", "evaluation"):
        raise SpecError(f"--sort: the rows of --per {per} have an order of their own; leave out --sort")
    by = find_columns([sort])[0] if sort is not None else None
    if per not in PER:
        raise SpecError(f"--per {per}: expected one of {', '.join(PER)}")
    studies = read_studies(folders)
    plain = style is None and columns is None and per == "network" and out is None and not (each_seed or digits)
    if plain and len(studies) == 1:
        from jetbench.reporting.report import print_study, print_written, write_files

        paths, reason = [], ""
        try:
            paths = write_files(studies[0], show_invalid)
        except OSError as error:  # a colleague's folder can be read all the same
            reason = error.strerror or str(error)
        print_study(console, studies[0], show_invalid, level, by)
        if reason:
            console.print(f"Not written to {studies[0].folder}: {reason}.", highlight=False, soft_wrap=True)
        else:
            print_written(console, studies[0].folder, paths)
        return
    if form == "csv" and columns is None and per == "network":
        show_text(_csv_of_all(studies), out)
        return
    if per != "network" and (each_seed or (columns is not None and per != "device")):
        raise SpecError(f"--per {per}: sets its own columns and rows; leave out --columns and --each-seed")
    if per == "axis":
        if len(studies) > 1:
            raise SpecError("--per axis: effects are computed within one study; give one study")
        from jetbench.reporting.questions.effects import build_effects

        show_table(build_effects(studies[0]), form, out)
    elif per == "budget":
        from jetbench.reporting.questions.budgets import build_budgets

        show_table(build_budgets(studies), form, out)
    elif per == "device":
        if len(studies) != 2:
            raise SpecError("--per device: give two studies, of the same networks on two devices")
        from jetbench.reporting.questions.transfer import build_transfer

        show_table(build_transfer(studies[0], studies[1], columns or "latency"), form, out)
    else:
        rows = rows_of_studies(studies, not each_seed)
        rows = rows if by is None else sort_rows(rows, by)
        title = studies[0].title if len(studies) == 1 else " and ".join(study.name for study in studies)
        table = _build(rows, title, layout, columns, per, mixed, show_invalid, digits)
        if form == "latex" and columns is None:
            table = table.without(CHANGES).without_constants()
        show_table(table, form, out, level, LatexOptions(caption, label, level, cite is not None))
        if cite is not None:
            show_text(to_bibtex([row.paper for row in table.rows if row.paper is not None]), cite)


def _read_style(style: str | None, out: Path | None) -> tuple[str, str]:
    """Layout and format. The format defaults to that of `out`; the layout to paper for LaTeX, else to brief."""
    from jetbench.reporting.tables.columns import LAYOUTS

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
    form = form_of(form, out)
    return layout or ("paper" if form == "latex" else "brief"), form


def _build(
    rows: "list[Row]",
    title: str,
    layout: str,
    columns: str | None,
    per: str,
    mixed: bool,
    show_invalid: bool,
    digits: int | None,
) -> "Table":
    from jetbench.reporting.tables.columns import class_columns, columns_of_layout, evaluation_columns, find_columns
    from jetbench.reporting.tables.table import build_table

    if per == "class":
        chosen = class_columns(rows)
        title += ", IoU of each class on test (%)"
    elif per == "evaluation":
        chosen = evaluation_columns([row for row in rows if row.records])
        title += ", as the trainings went on"
    elif columns is None:
        return build_table(rows, columns_of_layout(layout, rows), title, mixed, show_invalid, digits).condensed()
    else:
        chosen = find_columns([name.strip() for name in columns.split(",")])
    return build_table(rows, chosen, title, mixed, show_invalid, digits)


def _csv_of_all(studies: "list[Study]") -> str:
    """Every record of every study, in SI units."""
    import pandas as pd

    from jetbench.reporting.tables.csv import frame_to_csv
    from jetbench.reporting.tables.frame import frame

    frames = [frame(study.records, study.quoted).assign(study=study.name) for study in studies]
    return frame_to_csv(pd.concat(frames, ignore_index=True))
