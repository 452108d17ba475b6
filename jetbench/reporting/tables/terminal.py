"""A table on a terminal."""

from rich.markup import escape as escape_markup
from rich.table import Table as RichTable

from jetbench.reporting.tables.table import Cell, Table

PLAIN = {"bold": " *", "underlined": " +", "": ""}


def explain_signs(table: Table, is_plain: bool) -> list[str]:
    """A note on the signs that replace bold and underlined on a plain terminal; empty if no cell needs one."""
    weights = {cell.weight for row in table.rows for cell in row.cells}
    signs = [sign for weight, sign in (("bold", "* is bold"), ("underlined", "+ underlined")) if weight in weights]
    return [f"Without colours: {', '.join(signs)}."] if is_plain and signs else []


def to_terminal(table: Table, is_plain: bool = False) -> RichTable:
    """The table for a terminal, with the class of each number dimmed under its heading.

    If `is_plain`, as in a pipe, signs replace bold and underlined.
    """
    shown = RichTable(title=f"\n[bold]{escape_markup(table.title)}", title_justify="left", box=None, pad_edge=False)
    shown.add_column(table.heading, overflow="fold", min_width=16)
    for column in table.columns:
        kind = {"counted": "counted", "measured": "measured", "estimated": "ESTIMATE", "reported": "reported"}
        under = f"\n[dim]{kind[column.kind]}[/]" if column.kind in kind else ""
        shown.add_column(
            column.brief + under, justify="right" if column.is_number else "left", no_wrap=column.is_number
        )
    for section in table.sections:
        if section.label:
            shown.add_row(f"[italic]{escape_markup(section.label)}[/]")
        for row in section.rows:
            name = escape_markup(row.name)
            cells = [_terminal_cell(cell) + PLAIN[cell.weight] * is_plain for cell in row.cells]
            name += PLAIN["bold"] * (is_plain and row.is_on_front)
            shown.add_row(f"[bold green]{name}[/]" if row.is_on_front else name, *cells)
    return shown


def _terminal_cell(cell: Cell) -> str:
    text = escape_markup(cell.marked)
    return {"bold": f"[bold]{text}[/]", "underlined": f"[underline]{text}[/]"}.get(cell.weight, text)
