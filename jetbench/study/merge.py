"""merge_studies: the rows of two report folders of one sweep, as two machines make them, in a new folder."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jetbench.errors import SpecError
from jetbench.files import write_whole
from jetbench.records.folder import SWEEP, append_records, lock_folder, read_landed, read_profiles, sweep_differences
from jetbench.records.record import Record
from jetbench.spec.base import read_yaml


@dataclass(frozen=True)
class Merged:
    """What a merge wrote: rows of either folder, and the names of rows that both had, of which the first is kept."""

    first: int
    second: int
    repeated: tuple[str, ...]


def merge_studies(first: Path, second: Path, into: Path) -> Merged:
    """Write the rows and weights of two folders of one sweep to a new folder, in which the sweep can be continued.

    Raises:
        SpecError: a folder has no row, the sweeps differ in more than their variants, or the new folder exists.
        StudyError: a record cannot be read.
    """
    if first.resolve() == second.resolve():
        raise SpecError(f"{first} and {second} are the same folder; give two")
    records = {folder: [*read_landed(folder), *read_profiles(folder)] for folder in (first, second) if folder.is_dir()}
    for folder in (first, second):
        if not records.get(folder):
            raise SpecError(f"{folder}: not a report folder with a finished row")
    if into.exists():
        raise SpecError(f"{into}: exists already; give --into a new folder")
    sweep = {**_merged_sweep(first, second), "name": into.name}
    known = {record.key for record in records[first]}
    # Each row says where it is from: a latency repeats less well from one machine or session to another.
    added = [
        record if record.origin else record.model_copy(update={"origin": str(second)})
        for record in records[second]
        if record.key not in known
    ]
    repeated = tuple(record.variant for record in records[second] if record.key in known)
    with lock_folder(into):
        write_whole(into / SWEEP, yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True))
        (into / "weights").mkdir(exist_ok=True)
        for folder, kept in ((first, records[first]), (second, added)):
            for record in kept:
                _copy_weights(folder, into, record)
        append_records(into, *records[first], *added)
    return Merged(len(records[first]), len(added), repeated)


def _merged_sweep(first: Path, second: Path) -> dict[str, Any]:
    """The sweep of the first folder with the variants, seeds and budgets of both."""
    one, other = ({**read_yaml(folder / SWEEP), "name": ""} for folder in (first, second))
    if "axes" in one or "axes" in other:
        raise SpecError("a search cannot be merged: its sampler has seen the rows of its own folder only")
    if differences := sweep_differences(one, other):
        raise SpecError(
            "\n".join([f"{first} and {second} hold different sweeps; their rows do not compare:", *differences[:8]])
        )
    return {**one, **{key: _union(one, other, key) for key in ("variants", "seeds", "budgets", "quoted")}}


def _union(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> list[Any]:
    values = list(one.get(key) or ())
    return values + [value for value in other.get(key) or () if value not in values]


def _copy_weights(folder: Path, into: Path, record: Record) -> None:
    for path in (folder / "weights").glob(f"*-{record.key}.safetensors") if record.key.isalnum() else ():
        shutil.copy2(path, into / "weights" / path.name)
