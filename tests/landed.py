"""How many variants have landed in a report folder, read as a watcher would: while a driver writes."""

from pathlib import Path


def count_landed(folder: Path) -> int:
    """A variant's row of a training is its last, so each has exactly one."""
    path = folder / "records.jsonl"
    return path.read_text().count('{"kind":"training"') if path.exists() else 0
