"""A table on a terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table as RichTable

from jetbench.reporting.tables.columns import CHANGES
from jetbench.reporting.tables.footnotes import NoteLevel
from jetbench.reporting.tables.table import Cell, Section, Table
from jetbench.reporting.terminal import print_notes, print_whole

MOST_NOTES, LONGEST_HEADING = 4, 40
HINT = "--notes shows"
LEAST_NAME = 16  # letters of a name's column; longer names wrap where nothing else is left to leave out
KEPT = ("val", *CHANGES[:1], "latency", "estimate", "ratio", *CHANGES[1:], "test", "parameters", "macs")
"""The columns that a narrow terminal leaves out last, the last one first."""
PLAIN = {"bold": " *", "underlined": " +", "": ""}


def explain_signs(table: Table, is_plain: bool) -> list[str]:
    """A note on the signs that replace bold and underlined on a plain terminal; empty if no cell needs one."""
    weights = {cell.weight for row in table.rows for cell in row.cells}
    signs = [sign for weight, sign in (("bold", "* is bold"), ("underlined", "+ underlined")) if weight in weights]
    return [f"Without colours: {', '.join(signs)}."] if is_plain and signs else []


def show_on_terminal(
    console: Console, table: Table, folder: Path | None = None, notes: NoteLevel = "short", hint: str = HINT
) -> None:
    """Print a table with its notes. On a terminal it has the columns that fit; a pipe gets all of them.

    Args:
        console: where to print.
        table: what to print.
        folder: of the study, whose table.md has every column and note.
        notes: all, the four that matter most, or none.
        hint: how the reader sees the other notes.
    """
    is_plain = not console.is_terminal
    shown = table if is_plain else _fitted(console, table)
    print_whole(console, to_terminal(shown, is_plain))
    left_out = [column.heading for column in table.columns if column.name not in {c.name for c in shown.columns}]
    groups = [
        f"{heading_of(table, section)}: {section.label}."
        for section in table.sections
        if section.label and heading_of(table, section) != section.label
    ]
    page = f"{folder / 'table.md'} has them" if folder is not None else ""
    lines = [f"Left out at {console.width} columns: {', '.join(left_out)}{page and f'; {page}'}."] if left_out else []
    brief = table.notes.brief or table.notes.essential
    if notes == "full" or (len(brief) <= MOST_NOTES and set(table.notes.all) <= set(brief)):
        lines += table.notes.all
    else:
        lines += [
            *brief[: MOST_NOTES - len(lines)],
            f"{hint} all {len(table.notes.all)} notes{page and f', {page}'}.",
        ]
    if notes != "none":
        print_notes(console, [*groups, *explain_signs(shown, is_plain), *lines])


def heading_of(table: Table, section: Section) -> str:
    """The label of a section where it is short, else its number: a long label would push the numbers out of sight."""
    if len(section.label) <= LONGEST_HEADING:
        return section.label
    number = f"group {table.sections.index(section) + 1}"
    return f"{number}: {section.board}" if section.board else number


def _fitted(console: Console, table: Table) -> Table:
    """The table without the columns that matter least, until a line of it fits the terminal."""
    shown = table
    while len(shown.columns) > 1:
        needed = console.measure(to_terminal(shown), options=console.options.update(width=10_000)).maximum
        if needed <= console.width:
            break
        names = [column.name for column in shown.columns]
        least = max(names, key=lambda name: (KEPT.index(name) if name in KEPT else len(KEPT), names.index(name)))
        shown = shown.without((least,))
    return shown


def to_terminal(table: Table, is_plain: bool = False) -> RichTable:
    """The table for a terminal, with the class of each number dimmed under its heading.

    If `is_plain`, as in a pipe, signs replace bold and underlined.
    """
    shown = RichTable(title=f"\n[bold]{escape_markup(table.title)}", title_justify="left", box=None, pad_edge=False)
    shown.add_column(table.heading, overflow="fold", min_width=LEAST_NAME)
    for column in table.columns:
        kind = {
            "counted": "counted",
            "measured": "measured",
            "estimated": "ESTIMATE",
            "predicted": "PREDICTED",
            "reported": "reported",
        }
        under = f"\n[dim]{kind[column.kind]}[/]" if column.kind in kind else ""
        shown.add_column(
            column.brief + under, justify="right" if column.is_number else "left", no_wrap=column.is_number
        )
    for section in table.sections:
        if section.label:
            shown.add_row(f"[italic]{escape_markup(heading_of(table, section))}[/]")
        for row in section.rows:
            name = escape_markup(row.name)
            cells = [_terminal_cell(cell) + PLAIN[cell.weight] * is_plain for cell in row.cells]
            name += PLAIN["bold"] * (is_plain and row.is_on_front)
            shown.add_row(f"[bold green]{name}[/]" if row.is_on_front else name, *cells)
    return shown


def _terminal_cell(cell: Cell) -> str:
    text = escape_markup(cell.marked)
    return {"bold": f"[bold]{text}[/]", "underlined": f"[underline]{text}[/]"}.get(cell.weight, text)
