"""The end of a sweep: tables and plots written to its folder, the table on the terminal, and where the files are."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetbench.architecture import Baseline
from jetbench.record import Record
from jetbench.reporting.plots import write_plots
from jetbench.reporting.published import HEADINGS
from jetbench.reporting.sheets import print_whole
from jetbench.reporting.tables import (
    COLUMNS,
    believed,
    cells,
    footnotes,
    front,
    has_published,
    published_cells,
    write_tables,
)


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

    kept = records if show_invalid else believed(records)
    paths = [*write_tables(folder, records, title, show_invalid, quoted), *write_plots(folder, kept, title)]
    best = front(kept)
    shown = [column for column in COLUMNS if column.short]
    table = Table(title=f"\n[bold]{escape(title)}", title_justify="left", box=None, pad_edge=False)
    table.add_column("variant", overflow="fold", min_width=16)
    for column in shown:
        table.add_column(column.short or column.heading, justify="right", no_wrap=True)
    for record, row in zip(kept, cells(kept, shown), strict=True):
        name = escape(row[0])
        table.add_row(f"[bold green]{name}[/]" if record.key in best else name, *row[1:])
    print_whole(console, table)
    console.print("[dim]Green: no other row has both a higher val mIoU and a lower latency.[/]")
    if has_published(records, quoted):
        _print_published(console, kept, quoted)
    for note in footnotes(records, quoted):
        console.print(f"[dim]- {escape(note)}[/]", highlight=False, soft_wrap=not console.is_terminal)
    if has_published(records, quoted):
        console.print(
            f"[dim]- Where each published figure was read stands in {folder / 'table.md'}.[/]", highlight=False
        )
    written = ", ".join(path.name for path in paths)
    console.print(f"\nWritten to {folder}: {written}", highlight=False, soft_wrap=True)


def _print_published(console: Console, records: Sequence[Record], quoted: Sequence[Baseline]) -> None:
    """What is published of the rows, below what was measured of them."""
    table = Table(title="\nAs published, not measured here", title_justify="left", box=None, pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading.removeprefix("reported "), overflow="fold")
    rows = [(record.variant, record.architecture) for record in records if record.architecture.reported]
    for name, architecture in (*rows, *((each.name, each) for each in quoted)):
        table.add_row(escape(name), *map(escape, published_cells(architecture)))
    console.print(table)
