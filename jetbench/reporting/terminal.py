"""Tables and notes on a terminal of any width, without cutting text."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_whole(console: Console, table: Table) -> None:
    """Print a table without cutting a number or a name: lines wider than the terminal wrap."""
    needed = console.measure(table, options=console.options.update(width=10_000)).maximum
    if needed <= console.width:
        console.print(table)
        return
    wide = type(console)(file=console.file, width=needed, force_terminal=console.is_terminal, emoji=False)
    wide.print(table)


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """Print the notes below a table."""
    for note in notes:
        console.print(f"[dim]- {escape(note)}[/]", highlight=False, soft_wrap=not console.is_terminal)
