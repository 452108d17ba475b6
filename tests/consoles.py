"""A console that writes to memory, and what it wrote with its line breaks taken out."""

import io

from rich.console import Console


def paper(width: int = 100) -> Console:
    """A console off any terminal."""
    return Console(file=io.StringIO(), width=width)


def text(console: Console) -> str:
    """All that was printed, on one line."""
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())
