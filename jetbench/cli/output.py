"""The output of tables: on the terminal, or in a format to a file."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from jetbench.cli.app import console, errors
from jetbench.cli.completion import studies
from jetbench.errors import SpecError
from jetbench.files import write_whole
from jetbench.records.folder import IDENTITY, LOCK, RECORDS, SWEEP

if TYPE_CHECKING:
    from jetbench.reporting.tables.footnotes import NoteLevel
    from jetbench.reporting.tables.latex import LatexOptions
    from jetbench.reporting.tables.table import Table

FORMATS = ("terminal", "markdown", "latex", "html", "csv")
ENDINGS = {".md": "markdown", ".tex": "latex", ".html": "html", ".htm": "html", ".csv": "csv", ".txt": "markdown"}
StudiesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="STUDY", autocompletion=studies, help="Report folders, for example reports/nano."),
]
MixedOption = Annotated[
    bool, typer.Option("--mixed", help="Show rows of different protocols in groups, each ranked separately.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Also show the measurements of invalid profiles.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--style",
        metavar="FORMAT",
        help="Format: terminal, markdown, latex, html or csv. Default: by the ending of --out, else terminal.",
    ),
]
NotesOption = Annotated[
    str | None,
    typer.Option(
        "--notes",
        metavar="[LEVEL]",
        help="Notes under the table: none, short or full; --notes alone means full. Default: short on a terminal.",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write to this file instead of printing.")
]


def read_notes(text: str | None, default: "NoteLevel") -> "NoteLevel":
    """The value of --notes.

    Raises:
        SpecError: it is no level.
    """
    from jetbench.reporting.tables.footnotes import NOTE_LEVELS

    for level in NOTE_LEVELS:
        if text == level:
            return level
    if text is not None:
        raise SpecError(f"--notes {text}: expected {', '.join(NOTE_LEVELS)}")
    return default


def read_format(style: str | None, out: Path | None) -> str:
    """The format of an option --style that has no layout."""
    if style is not None and style not in FORMATS:
        raise SpecError(f"--style {style}: expected one of {', '.join(FORMATS)}")
    return form_of(style, out)


def form_of(form: str | None, out: Path | None) -> str:
    """The given format, or else that of the file's ending; terminal without either.

    Raises:
        SpecError: no format is given, and the ending is not that of one.
    """
    if form is not None or out is None:
        return form or "terminal"
    if out.suffix.lower() not in ENDINGS:
        raise SpecError(f"--out {out}: unknown format; end the name in one of {', '.join(ENDINGS)}, or give --style")
    return ENDINGS[out.suffix.lower()]


def show_table(
    table: "Table", form: str, out: Path | None, notes: "NoteLevel" = "full", options: "LatexOptions | None" = None
) -> None:
    """Print a table in a format, or write it to a file.

    Args:
        table: what to show.
        form: one of `FORMATS`.
        out: the file to write; None prints.
        notes: how many notes a terminal shows.
        options: how LaTeX looks.
    """
    from jetbench.reporting.tables.csv import to_csv
    from jetbench.reporting.tables.html import to_html
    from jetbench.reporting.tables.latex import LatexOptions, to_latex, what_does_not_fit
    from jetbench.reporting.tables.markdown import to_markdown
    from jetbench.reporting.tables.terminal import show_on_terminal

    if form == "terminal" and out is None:
        show_on_terminal(console, table, notes=notes)
        return
    if form == "latex" and (trouble := what_does_not_fit(table)):
        errors.print(f"[yellow]note:[/] {escape(trouble)}", highlight=False, soft_wrap=True)
    make: dict[str, Callable[[Table], str]] = {
        "terminal": to_markdown,  # a file has no colours
        "markdown": to_markdown,
        "latex": lambda table: to_latex(table, options or LatexOptions()),
        "html": to_html,
        "csv": to_csv,
    }
    show_text(make[form](table), out)


KEPT_FILES = (RECORDS, SWEEP, LOCK, IDENTITY, "study.db", "under-way.json")


def check_target(out: Path, option: str = "--out") -> None:
    """Raise if a file is not one to write to.

    Raises:
        SpecError: it is a folder or in none, or a report folder's own file, which no other command can make again.
    """
    if out.is_dir():
        raise SpecError(f"{option} {out}: is a folder; give a file")
    if not out.parent.is_dir():
        raise SpecError(f"{option} {out}: the folder {out.parent} does not exist; give a file in an existing folder")
    names = {out.name, out.resolve().name}  # also what a link points to
    if names & set(KEPT_FILES) or any(name.endswith(".safetensors") for name in names):
        raise SpecError(f"{option} {out}: a report folder keeps its rows in a file of that name; give another name")


def show_text(text: str, out: Path | None, option: str = "--out") -> None:
    """Print a text unchanged, or write it to a file."""
    if out is None:
        typer.echo(text, nl=False)
        return
    check_target(out, option)
    try:
        write_whole(out, text)
    except OSError as error:
        raise SpecError(f"{option} {out}: cannot be written to ({error.strerror})") from None
    console.print(f"Written to {out}.", highlight=False, soft_wrap=True, markup=False)
