"""The report of a sweep: writes its tables and plots to the folder, and prints the table and the paths."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from jetbench.files import write_whole
from jetbench.reporting.pictures.plots import AT_THE_END, write_plots
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import LAYOUTS, REPORTED, find_columns
from jetbench.reporting.tables.csv import frame_to_csv
from jetbench.reporting.tables.frame import frame
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.protocol import ALL, group_rows
from jetbench.reporting.tables.published import describe_published
from jetbench.reporting.tables.rows import Row
from jetbench.reporting.tables.table import Table, believed, build_table
from jetbench.reporting.tables.terminal import explain_signs, to_terminal
from jetbench.reporting.terminal import print_notes, print_whole


def write_files(study: Study, show_invalid: bool = False) -> list[Path]:
    """Write the tables and plots of a study to its folder; returns their paths.

    Rows with an invalid profile are left out, unless `show_invalid`. Rows with different protocols form groups.
    """
    rows = study.rows()
    kept = rows if show_invalid else believed(rows)
    # A picture shows rows of one protocol only: the largest group.
    groups = group_rows([row for row in kept if row.records], ALL)
    drawn = max(groups, key=lambda group: len(group.rows))
    label = f"{study.title} ({drawn.label})" if drawn.label else study.title
    paths = write_tables(study, rows, show_invalid)
    return paths + write_plots(study.folder, drawn.rows, label, AT_THE_END, ("png", "svg"))


def write_tables(study: Study, rows: Sequence[Row], show_invalid: bool = False) -> list[Path]:
    """Write table.md, table.tex and table.csv; returns their paths. The CSV has one row for every record."""
    wide = build_table(rows, find_columns(_published_or_not(LAYOUTS["wide"], rows)), study.title, True, show_invalid)
    texts = {
        "table.md": to_markdown(_without_unused_columns(wide, rows)),
        "table.tex": to_latex(brief_table(study, rows, show_invalid).without_empty_columns()),
        "table.csv": frame_to_csv(frame(study.records, study.quoted)),
    }
    for name, text in texts.items():
        write_whole(study.folder / name, text)
    return [study.folder / name for name in texts]


def brief_table(study: Study, rows: Sequence[Row], show_invalid: bool = False) -> Table:
    """The study's rows with the columns of the brief layout."""
    return build_table(rows, find_columns(LAYOUTS["brief"]), study.title, True, show_invalid)


def _without_unused_columns(table: Table, rows: Sequence[Row]) -> Table:
    """The table without its empty columns, if the study only trains or only profiles."""
    is_half = not any(row.profiles for row in rows) or not any(row.trainings for row in rows)
    return table.without_empty_columns() if is_half else table


def _published_or_not(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Those columns, without the published ones if no row has a published figure."""
    if any(row.architecture.reported for row in rows):
        return list(names)
    return [name for name in names if name not in REPORTED]


def print_study(console: Console, study: Study, show_invalid: bool = False) -> None:
    """Print the study's table, the published figures of its rows, and the notes on both."""
    rows = study.rows()
    table = _without_unused_columns(brief_table(study, rows, show_invalid), rows)
    is_plain = not console.is_terminal
    print_whole(console, to_terminal(table, is_plain))
    published = [row for row in rows if row.architecture.reported]
    if published:
        _print_published(console, published)
    print_notes(console, [*explain_signs(table, is_plain), *table.notes.all])
    if published:
        print_notes(console, describe_published([(row.name, row.architecture) for row in rows]))
        console.print(
            f"[dim]- {study.folder / 'table.md'} lists the source of each published figure.[/]", highlight=False
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
    console.print(table)
