"""table: show studies as a table."""

import re
from dataclasses import dataclass
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
    check_target,
    form_of,
    read_notes,
    show_table,
    show_text,
)
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.reporting.studies import Study
    from jetbench.reporting.tables.columns import Column
    from jetbench.reporting.tables.footnotes import NoteLevel
    from jetbench.reporting.tables.latex import LatexOptions
    from jetbench.reporting.tables.rows import Row
    from jetbench.reporting.tables.table import Table

LATEX = "For a paper"
QUESTIONS = ("axis", "device", "budget")
PER = ("network", "class", "evaluation", *QUESTIONS)


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
            help="Cite the baselines, and add their entries to this .bib, which keeps its own.",
            rich_help_panel=LATEX,
        ),
    ] = None,
    out: OutOption = None,
) -> None:
    """Show studies as a table. For one study without options, also write its folder's tables and plots again.

    Bold is the best of a column, underlined the second; = means not significantly different (95 %). Rows that were
    measured in different ways are refused, unless --mixed is given.
    """
    if columns == "help":
        _list_columns()
        return
    if not folders:
        raise SpecError("give a report folder, such as reports/nano")
    layout, form = _read_style(style, out)
    usual: NoteLevel = "short" if form in ("terminal", "latex") and per not in QUESTIONS else "full"
    asked = _Asked(
        style=style, layout=layout, form=form, columns=columns, per=per, sort=sort, each_seed=each_seed, mixed=mixed,
        show_invalid=show_invalid, notes=read_notes(notes, usual), caption=caption,
        label=label, digits=digits, cite=cite, out=out,
    )  # fmt: skip
    asked.check()

    from jetbench.reporting.studies import read_studies

    studies = read_studies(folders)
    if asked.is_plain and len(studies) == 1:
        _show_study(studies[0], asked)
    elif form == "csv" and columns is None and per == "network":
        show_text(_csv_of_all(studies), out)
    elif per in QUESTIONS:
        show_table(_answer(studies, asked), form, out, asked.notes, asked.latex)
    else:
        _show_rows(studies, asked)


@dataclass(frozen=True)
class _Asked:
    """The options of `table`, with the layout and format that follow from them."""

    style: str | None
    layout: str
    form: str
    columns: str | None
    per: str
    sort: str | None
    each_seed: bool
    mixed: bool
    show_invalid: bool
    notes: "NoteLevel"
    caption: str | None
    label: str | None
    digits: int | None
    cite: Path | None
    out: Path | None

    def check(self) -> None:
        """Raise if options contradict each other.

        Raises:
            SpecError: they do; the message says which.
        """
        if self.form != "latex" and any(each is not None for each in (self.caption, self.label, self.cite)):
            raise SpecError("--caption, --label and --cite: only a LaTeX table has them; add --style latex")
        if self.label is not None and not re.fullmatch(r"[A-Za-z0-9:._-]{1,80}", self.label):
            raise SpecError(f"--label {self.label}: takes only letters, digits, : . _ -")
        for path, option in ((self.out, "--out"), (self.cite, "--cite")):
            if path is not None:
                check_target(path, option)
        if self.cite is not None and self.out is not None and self.cite.resolve() == self.out.resolve():
            raise SpecError(f"--cite {self.cite}: is the file of --out, too; give another name")
        if self.per not in PER:
            raise SpecError(f"--per {self.per}: expected one of {', '.join(PER)}")
        given = {"--sort": self.sort, "--digits": self.digits, "--cite": self.cite}
        if self.per in QUESTIONS and (extra := [name for name, value in given.items() if value is not None]):
            raise SpecError(f"--per {self.per}: has rows and numbers of its own; leave out {' and '.join(extra)}")
        if self.per != "network" and (self.each_seed or (self.columns is not None and self.per != "device")):
            raise SpecError(f"--per {self.per}: sets its own columns and rows; leave out --columns and --each-seed")
        _ = self.sorted_by  # an unknown column is refused before anything is read

    @property
    def is_plain(self) -> bool:
        """True for a study as it is, whose files are then written again."""
        changed = (self.style, self.columns, self.out, self.digits)
        return self.per == "network" and not self.each_seed and all(each is None for each in changed)

    @property
    def sorted_by(self) -> "Column | None":
        """The column that the rows are sorted by."""
        from jetbench.reporting.tables.columns import find_columns

        return find_columns([self.sort])[0] if self.sort is not None else None

    @property
    def latex(self) -> "LatexOptions":
        """How LaTeX looks."""
        from jetbench.reporting.tables.latex import LatexOptions

        return LatexOptions(self.caption, self.label, self.notes, self.cite is not None)


def _list_columns() -> None:
    from jetbench.reporting.tables.columns import COLUMNS

    for column in COLUMNS:
        console.print(f"{column.name:20} {column.heading}, {column.kind}", highlight=False)


def _show_study(study: "Study", asked: _Asked) -> None:
    """Print a study, and write its tables and pictures again where they can be written."""
    from jetbench.reporting.report import print_study, print_written, write_files  # draws, which loads matplotlib

    paths, reason = [], ""
    try:
        paths = write_files(study, asked.show_invalid)
    except OSError as error:  # a colleague's folder can be read all the same
        reason = error.strerror or str(error)
    print_study(console, study, asked.show_invalid, asked.notes, asked.sorted_by)
    if reason:
        console.print(f"Not written to {study.folder}: {reason}.", highlight=False, soft_wrap=True)
    else:
        print_written(console, study.folder, paths)


def _answer(studies: "list[Study]", asked: _Asked) -> "Table":
    """The table of --per axis, budget or device."""
    if asked.per == "axis":
        if len(studies) > 1:
            raise SpecError("--per axis: effects are computed within one study; give one study")
        from jetbench.reporting.questions.effects import build_effects

        return build_effects(studies[0])
    if asked.per == "budget":
        from jetbench.reporting.questions.budgets import build_budgets

        return build_budgets(studies)
    from jetbench.reporting.questions.boards import boards_of
    from jetbench.reporting.questions.transfer import build_transfer

    pair = boards_of(studies[0]) if len(studies) == 1 else studies
    if len(pair) != 2:
        raise SpecError("--per device: give two studies of the same networks, or one that two boards measured")
    return build_transfer(pair[0], pair[1], asked.columns or "latency", asked.show_invalid)


def _show_rows(studies: "list[Study]", asked: _Asked) -> None:
    """Show the rows of studies with the columns of a layout, of --columns, or of --per class or evaluation."""
    from jetbench.reporting.studies import rows_of_studies
    from jetbench.reporting.tables.citations import to_bibtex
    from jetbench.reporting.tables.columns import CHANGES
    from jetbench.reporting.tables.table import sort_rows

    rows = rows_of_studies(studies, not asked.each_seed)
    by = asked.sorted_by
    title = studies[0].title if len(studies) == 1 else " and ".join(study.name for study in studies)
    table = _build(rows if by is None else sort_rows(rows, by), title, asked)
    if asked.form == "latex" and asked.columns is None:
        table = table.without(CHANGES).without_constants()
    try:
        before = asked.cite.read_text() if asked.cite is not None and asked.cite.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--cite {asked.cite}: cannot be read ({error})") from None
    show_table(table, asked.form, asked.out, asked.notes, asked.latex)
    if asked.cite is not None:
        papers = [row.paper for row in table.rows if row.paper is not None]
        show_text(to_bibtex(papers, before), asked.cite, option="--cite")


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


def _build(rows: "list[Row]", title: str, asked: _Asked) -> "Table":
    from jetbench.reporting.tables.columns import (
        class_columns,
        columns_of_layout,
        evaluation_columns,
        find_columns,
        split_of_classes,
    )
    from jetbench.reporting.tables.table import build_table

    if asked.per == "class":
        chosen = class_columns(rows)
        title += f", IoU of each class on {split_of_classes(rows)} (%)"
    elif asked.per == "evaluation":
        chosen = evaluation_columns([row for row in rows if row.records])
        title += ", as the trainings went on"
    elif asked.columns is None:
        chosen = columns_of_layout(asked.layout, rows)
    else:
        chosen = find_columns([name.strip() for name in asked.columns.split(",")])
    table = build_table(rows, chosen, title, asked.mixed, asked.show_invalid, asked.digits)
    return table.condensed() if asked.per == "network" and asked.columns is None else table


def _csv_of_all(studies: "list[Study]") -> str:
    """Every record of every study, in SI units."""
    import pandas as pd

    from jetbench.reporting.tables.csv import frame_to_csv
    from jetbench.reporting.tables.frame import frame

    frames = [frame(study.records, study.quoted).assign(study=study.name) for study in studies]
    return frame_to_csv(pd.concat(frames, ignore_index=True))
