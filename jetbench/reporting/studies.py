"""A report folder as tables and pages see it: its name, what it asked, its newest record of each variant."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbench.errors import SpecError
from jetbench.network.variants import read_quoted, variant_names
from jetbench.records.folder import RECORDS, SWEEP, read_records
from jetbench.records.record import Record
from jetbench.reporting.tables.rows import Row, quoted_rows, rows_of
from jetbench.spec.architecture import Baseline
from jetbench.spec.base import parse_spec, read_yaml
from jetbench.spec.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Study:
    """What a report folder holds, in its sweep's order.

    Of a variant that was run on other data or another device too, the newest counts.
    """

    folder: Path
    name: str
    title: str
    records: tuple[Record, ...]
    quoted: tuple[Baseline, ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas table: one row per record in SI units, and one per baseline that is only quoted."""
        from jetbench.reporting.tables.frame import frame

        return frame(self.records, self.quoted)

    def rows(self, merge_seeds: bool = True) -> list[Row]:
        """Its rows, then those of baselines that are only quoted."""
        return [*rows_of(self.records, self.name, merge_seeds), *quoted_rows(self.quoted)]


def read_study(folder: Path | str) -> Study:
    """The study in a report folder.

    Raises:
        SpecError: there is no finished row in it.
        StudyError: a record is of another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SpecError(f"{folder}: is no report folder; give one such as reports/nano")
    records = read_records(folder)
    if not records:
        raise SpecError(f"{folder}: holds no {RECORDS} with a finished row; run a sweep first")
    asked = read_yaml(folder / SWEEP) if (folder / SWEEP).exists() else {}
    landed = {record.variant: record for record in records if record.kind == "training"}
    order = _order_of(asked)
    # What is not in the sweep keeps its place, after what is.
    trained = sorted(landed.values(), key=lambda record: order.get(record.variant, len(order)))
    alone = [record for record in records if record.kind == "profile"]
    return study_of(folder, [*trained, *alone], asked, read_quoted(asked.get("quoted") or ()))


def study_of(folder: Path, records: Sequence[Record], asked: dict[str, Any], quoted: Sequence[Baseline] = ()) -> Study:
    """The study that a folder holds, given its records and its sweep.yaml."""
    name, description = str(asked.get("name", folder.name)), asked.get("description")
    title = f"{name}: {description}" if description else name
    return Study(folder, folder.resolve().name, title, tuple(records), tuple(quoted), asked)


def _order_of(asked: dict[str, Any]) -> dict[str, int]:
    """Where each variant stands in a sweep; nothing of a search, whose networks stand as they landed."""
    try:
        names = variant_names(parse_spec(Sweep, asked, SWEEP))
    except SpecError:
        return {}
    return {name: number for number, name in enumerate(names)}


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """Several studies; of those whose folders are called alike, as many folders above as tell them apart.

    Raises:
        SpecError: one of them holds no study, or one is given twice.
    """
    studies = [read_study(folder) for folder in folders]
    paths = [study.folder.resolve() for study in studies]
    if len(set(paths)) < len(paths):
        raise SpecError(f"{', '.join(map(str, folders))}: one folder is given twice")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return [replace(study, name="/".join(path.parts[-depth:])) for study, path in zip(studies, paths, strict=True)]


def rows_of_studies(studies: Sequence[Study], merge_seeds: bool = True) -> list[Row]:
    """All rows of several studies; a name that stands in more than one says which it is of."""
    rows = [row for study in studies for row in study.rows(merge_seeds)]
    if len(studies) == 1:
        return rows
    quoted = {row.name: row for row in rows if not row.records}
    names = [row.name for row in rows if row.records]
    measured = [
        Row(f"{row.name} [{row.study}]", row.architecture, row.records, row.study) if names.count(row.name) > 1 else row
        for row in rows
        if row.records
    ]
    return [*measured, *(row for name, row in quoted.items() if name not in names)]
