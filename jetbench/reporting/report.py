"""The report of a sweep: writes its tables and plots to the folder, and prints the table and the paths."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from jetbench.files import write_whole
from jetbench.records.record import Record
from jetbench.records.verdict import judge, was_busy
from jetbench.reporting.pictures.plots import AT_THE_END, write_plots
from jetbench.reporting.questions.in_short import SIGNS, Line, answer_in_short, what_next
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import CHANGES, REPORTED, SIGN_OF_CHANGE, Column, columns_of_layout, find_columns
from jetbench.reporting.tables.csv import frame_to_csv
from jetbench.reporting.tables.footnotes import NoteLevel
from jetbench.reporting.tables.frame import frame
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.protocol import ALL, group_rows
from jetbench.reporting.tables.published import describe_published
from jetbench.reporting.tables.rows import Row, one_per_network
from jetbench.reporting.tables.table import Table, believed, build_table, sort_rows
from jetbench.reporting.tables.terminal import show_on_terminal
from jetbench.reporting.terminal import print_notes
from jetbench.reporting.units import MISSING, counted


def write_files(study: Study, show_invalid: bool = False) -> list[Path]:
    """Write the tables and plots of a study to its folder; returns their paths.

    Rows with an invalid profile are left out, unless `show_invalid`. Rows with different protocols form groups.
    """
    rows = study.labelled_rows()
    kept = rows if show_invalid else believed(rows)
    # A picture shows rows of one protocol only: the largest group. The forms of a network have a picture of their own.
    groups = group_rows([row for row in kept if row.records], ALL)
    drawn = max(groups, key=lambda group: len(group.rows))
    label = f"{study.title} ({drawn.label})" if drawn.label else study.title
    first = [row for row in drawn.rows if not row.records[0].is_form] or drawn.rows
    paths = write_tables(study, rows, show_invalid)
    paths += write_plots(study.folder, first, label, AT_THE_END, ("png", "svg"))
    return paths + write_plots(study.folder, drawn.rows, label, ("backends",), ("png", "svg"))


def write_tables(study: Study, rows: Sequence[Row], show_invalid: bool = False) -> list[Path]:
    """Write table.md, table.tex and table.csv; returns their paths. The CSV has one row for every record."""
    wide, brief = (_table_of(study, rows, layout, show_invalid) for layout in ("wide", "brief"))
    answer = [f"**{line.role}**: {line.text}" for line in answer_in_short(rows)]
    texts = {
        "table.md": to_markdown(wide.condensed(), answer),
        "table.tex": to_latex(brief.without(CHANGES).condensed()),
        "table.csv": frame_to_csv(frame(study.records, study.quoted)),
    }
    for name, text in texts.items():
        write_whole(study.folder / name, text)
    return [study.folder / name for name in texts]


def _table_of(study: Study, rows: Sequence[Row], layout: str, show_invalid: bool) -> Table:
    return build_table(rows, columns_of_layout(layout, rows), study.title, True, show_invalid)


def print_study(
    console: Console, study: Study, show_invalid: bool = False, notes: NoteLevel = "short", sort: Column | None = None
) -> None:
    """Print the study's answer in short, its table, the published figures of its rows, and the notes on both."""
    rows = study.labelled_rows() if sort is None else sort_rows(study.labelled_rows(), sort)
    print_in_short(console, study, rows)
    show_on_terminal(console, _table_of(study, rows, "brief", show_invalid).condensed(), study.folder, notes)
    published = [row for row in rows if row.architecture.reported]
    if published:
        _print_published(console, one_per_network(published))
    if published and notes != "none":
        print_notes(console, describe_published([(row.name, row.architecture) for row in rows]))
        console.print(
            f"[dim]- {study.folder / 'table.md'} lists the source of each published figure.[/]", highlight=False
        )


def print_in_short(console: Console, study: Study, rows: Sequence[Row]) -> None:
    """Print the answer in short, if the study has one."""
    lines = answer_in_short(rows)
    if lines:
        print_lines(console, lines)
        for number, command in enumerate(what_next(study, rows, lines)):
            # Not in the table: a command that is broken over lines cannot be copied.
            console.print(
                f"[bold]{'next' if number == 0 else '    '}[/]  {escape(command)}", highlight=False, soft_wrap=True
            )


def print_lines(console: Console, lines: Sequence[Line]) -> None:
    """Print the lines of an answer in short, and what its signs mean."""
    shown = RichTable(
        title="\n[bold]In short", title_justify="left", box=None, pad_edge=False, show_header=False, highlight=False
    )
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for line in lines:
        shown.add_row(f"[bold]{line.role}[/]", escape(line.text))
    console.print(shown)
    if any(sign in line.text for line in lines for sign in SIGN_OF_CHANGE.values() if sign):
        print_notes(console, [SIGNS])


def describe_verdicts(records: Sequence[Record]) -> tuple[str, bool]:
    """How many profiles are valid, with the reason that most of the others share, and True if all are invalid.

    The text is empty if all are valid, or if there is no profile.
    """
    profiles = [record.profile for record in records if record.profile is not None]
    verdicts = [(profile, verdict) for profile in profiles if (verdict := judge(profile)).level != "not measured"]
    doubtful = [(profile, verdict) for profile, verdict in verdicts if verdict.level != "valid"]
    if not doubtful:
        return "", False
    busy = sum(was_busy(profile) for profile, _ in doubtful)
    other = next((verdict.reasons[0] for profile, verdict in doubtful if not was_busy(profile)), "")
    of = f" for {busy}" if other else ""
    reason = "; ".join([*([f"the machine was busy{of}"] if busy else []), *([other] if other else [])])
    valid = len(verdicts) - len(doubtful)
    verb = "is" if valid == 1 else "are"
    levels = ",".join(level for level in ("invalid", "suspect") if any(v.level == level for _, v in doubtful))
    return (
        f"{valid} of {counted(len(verdicts), 'profile')} {verb} valid: {reason}. The same command with --remeasure "
        f"{levels} profiles {'them' if len(doubtful) == len(verdicts) else 'the others'} again, without training.",
        all(verdict.level == "invalid" for _, verdict in verdicts),
    )


def print_written(console: Console, folder: Path, paths: Sequence[Path]) -> None:
    """Print the folder and the names of the files that were written."""
    written = ", ".join(path.name for path in paths)
    console.print(f"\nWritten to {folder}: {written}", highlight=False, soft_wrap=True)


def _print_published(console: Console, rows: Sequence[Row]) -> None:
    columns = find_columns(REPORTED)
    table = RichTable(title="\nAs published, not measured here", title_justify="left", box=None, pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for column in columns:
        table.add_column(column.heading.removeprefix("reported "), overflow="fold")
    for row in rows:
        table.add_row(escape(row.label), *(escape(column.cell(row)) for column in columns))
    needed = console.measure(table, options=console.options.update(width=10_000)).maximum
    if not console.is_terminal or needed <= console.width:
        console.print(table)
        return
    console.print(table.title)
    for row in rows:  # columns of a few letters each could not be read
        figures = [(c.heading.removeprefix("reported "), cell) for c in columns if (cell := c.cell(row)) != MISSING]
        text = "; ".join(f"{name.removesuffix(' (%)')} {cell}" for name, cell in figures)
        console.print(f"{escape(row.label)}: {escape(text)}", highlight=False)
