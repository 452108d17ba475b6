"""The cache of this machine, of datasets, counted networks and exported files: what lies where, and its removal."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from jetbench.data.cache import ARTEFACTS, BUILDING, COUNTS, MOST_META_BYTES, cache_folder
from jetbench.files import read_text
from jetbench.records.record import DatasetInfo

OURS = re.compile(rf"{COUNTS}|{ARTEFACTS}|[\w.-]+-[0-9a-f]{{16}}(\.lock|{re.escape(BUILDING)}.*)?")


@dataclass(frozen=True)
class Cached:
    """One cached dataset; `info` is None if the cache is damaged or unfinished, so that it is made anew."""

    folder: Path
    bytes: int
    info: DatasetInfo | None


def list_cached() -> list[Cached]:
    """The cached datasets, the largest first."""
    caches = [
        Cached(folder, _bytes_of(folder), _info_of(folder))
        for folder in _entries()
        if folder.is_dir() and folder.name not in (COUNTS, ARTEFACTS)
    ]
    return sorted(caches, key=lambda each: (-each.bytes, each.folder))


def count_counted() -> int:
    """How many counts of users' networks are cached."""
    return sum(1 for _ in (cache_folder() / COUNTS).glob("*.json"))


def clear_cached() -> int:
    """Remove all that is cached; processes that use a dataset keep it until they end. Returns the freed bytes.

    Raises:
        OSError: an entry cannot be removed.
    """
    freed = 0
    for entry in _entries():
        freed += _bytes_of(entry)
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return freed


def _entries() -> Iterator[Path]:
    """What jetbench has written to the cache folder, and nothing else that lies there; links are left alone."""
    root = cache_folder()
    if root.is_dir():
        yield from sorted(each for each in root.iterdir() if OURS.fullmatch(each.name) and not each.is_symlink())


def _bytes_of(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink())


def _info_of(folder: Path) -> DatasetInfo | None:
    try:
        meta = json.loads(read_text(folder / "meta.json", MOST_META_BYTES))["meta"]
        return DatasetInfo.model_validate(meta["info"])
    except (OSError, ValueError, ValidationError, KeyError, TypeError, RecursionError):
        return None
