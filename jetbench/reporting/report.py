"""The end of a sweep: tables and plots written to its folder, the table on the terminal, and where the files are."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from jetbench.records.record import Record
from jetbench.reporting.pictures.plots import AT_THE_END, write_plots
from jetbench.reporting.tables.columns import LAYOUTS, REPORTED, find_columns
from jetbench.reporting.tables.frame import frame
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.protocol import ALL, group_rows
from jetbench.reporting.tables.published import describe_published
from jetbench.reporting.tables.rows import Row, quoted_rows, rows_of
from jetbench.reporting.tables.table import believed, build_table
from jetbench.reporting.tables.terminal import explain_signs, to_terminal
from jetbench.reporting.terminal import print_notes, print_whole
from jetbench.spec.architecture import Baseline


def write_tables(
    folder: Path,
    records: Sequence[Record],
    title: str,
    show_invalid: bool = False,
    quoted: Sequence[Baseline] = (),
) -> list[Path]:
    """Write table.md, table.tex and table.csv; returns their paths. The CSV has a row for each record, all of them.

    Rows whose protocols differ stand in groups. `quoted` are rivals of which there are only published figures.
    """
    rows = [*rows_of(records), *quoted_rows(quoted)]
    wide = build_table(rows, find_columns(_told(LAYOUTS["wide"], rows)), title, True, show_invalid)
    if not any(row.profiles for row in rows):  # a study that only trains
        wide = wide.without_empty_columns()
    brief = build_table(rows, find_columns(LAYOUTS["brief"]), title, True, show_invalid)
    texts = {
        "table.md": to_markdown(wide),
        "table.tex": to_latex(brief.without_empty_columns()),
        "table.csv": frame(records, quoted).to_csv(index=False),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _told(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Those columns, without the published ones where nothing is published of any row."""
    if any(row.architecture.reported for row in rows):
        return list(names)
    return [name for name in names if name not in REPORTED]


def write_report(
    console: Console,
    folder: Path,
    records: Sequence[Record],
    title: str,
    show_invalid: bool = False,
    quoted: Sequence[Baseline] = (),
) -> None:
    """Write the tables and plots of `records` to `folder` and print the table and where the files are.

    Rows whose profile is invalid are left out, and named below, unless `show_invalid`. `quoted` are rivals of which
    there are only published figures.
    """
    if not records:
        console.print(f"No row has landed in {folder} yet.")
        return
    rows = [*rows_of(records), *quoted_rows(quoted)]
    kept = rows if show_invalid else believed(rows)
    # One picture holds rows of one protocol: of several, those with the most rows.
    groups = group_rows([row for row in kept if row.records], ALL)
    drawn = max(groups, key=lambda group: len(group.rows))
    label = f"{title} ({drawn.label})" if drawn.label else title
    paths = write_tables(folder, records, title, show_invalid, quoted)
    paths += write_plots(folder, drawn.rows, label, AT_THE_END, ("png", "svg"))
    table = build_table(rows, find_columns(LAYOUTS["brief"]), title, True, show_invalid)
    if not any(row.profiles for row in rows):
        table = table.without_empty_columns()
    is_plain = not console.is_terminal
    print_whole(console, to_terminal(table, is_plain))
    published = [row for row in rows if row.architecture.reported]
    if published:
        _print_published(console, published)
    print_notes(console, [*explain_signs(table, is_plain), *table.notes.all])
    if published:
        print_notes(console, describe_published([(row.name, row.architecture) for row in rows]))
        console.print(
            f"[dim]- Where each published figure was read stands in {folder / 'table.md'}.[/]", highlight=False
        )
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
