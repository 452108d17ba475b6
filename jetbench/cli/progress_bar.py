"""The progress bar of a measurement, and what Ctrl-C does to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jetbench.cli.app import EXIT_INTERRUPTED, errors, say_stopped

Result = TypeVar("Result")
STOPPED = "\nStopped. Nothing of this profile was kept."


def measure_with_bar(run: Callable[[Callable[[float, str], None]], Result], stopped: str = STOPPED) -> Result:
    """Run with a progress bar on a terminal; Ctrl-C or SIGTERM stops it, with the words `stopped`."""
    try:
        with _bar() as report:
            return run(report)
    except KeyboardInterrupt:
        say_stopped(stopped, errors)
        raise typer.Exit(EXIT_INTERRUPTED) from None


@contextmanager
def _bar() -> Iterator[Callable[[float, str], None]]:
    if not errors.is_terminal:
        yield lambda share, text: None
        return
    columns = (BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=escape(text))
