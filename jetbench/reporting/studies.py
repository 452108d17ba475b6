"""A report folder as a study: its name, its sweep.yaml, and the newest record of each variant."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbench.errors import SpecError
from jetbench.network.variants import read_quoted, variant_names
from jetbench.records.folder import RECORDS, SWEEP, read_records
from jetbench.records.record import Record, with_form
from jetbench.reporting.tables.rows import Row, label_rows, quoted_rows, rows_of
from jetbench.spec.architecture import Baseline
from jetbench.spec.base import parse_spec, read_yaml
from jetbench.spec.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Study:
    """The records of a report folder, in the order of its sweep.

    A variant may have run on several datasets or devices: only its newest record is kept.
    """

    folder: Path
    name: str
    title: str
    records: tuple[Record, ...]
    quoted: tuple[Baseline, ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas table: one row per record in SI units, and one per baseline with only published figures."""
        from jetbench.reporting.tables.frame import frame

        return frame(self.records, self.quoted)

    @property
    def labels(self) -> dict[str, str]:
        """What tables and pictures call axes, values and variants, from `labels:` of the sweep."""
        labels = self.asked.get("labels")
        return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}

    def rows(self, merge_seeds: bool = True) -> list[Row]:
        """The study's rows by their own names, then those of baselines with only published figures."""
        return [*rows_of(self.records, self.name, merge_seeds), *quoted_rows(self.quoted)]

    def labelled_rows(self, merge_seeds: bool = True) -> list[Row]:
        """The rows by the names that tables and pictures show."""
        labels = self.labels
        return label_rows(self.rows(merge_seeds), labels) if labels else self.rows(merge_seeds)


def read_study(folder: Path | str) -> Study:
    """The study in a report folder.

    Raises:
        SpecError: the folder holds no finished row.
        StudyError: a record is of another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SpecError(f"{folder}: not a report folder; give one such as reports/nano")
    records = read_records(folder)
    if not records:
        raise SpecError(f"{folder}: has no {RECORDS} with a finished row; run a sweep first")
    request = read_yaml(folder / SWEEP) if (folder / SWEEP).exists() else {}
    landed = {record.variant: record for record in records if record.kind == "training"}
    order = _order_of(request)
    # Variants that the sweep does not name come last, in the order of their records.
    trained = sorted(landed.values(), key=lambda record: order.get(record.variant, len(order)))
    forms = {with_form(record, form).key for record in records for form in record.forms}
    alone = [record for record in records if record.kind == "profile" and record.key not in forms]
    return study_of(folder, [*trained, *alone], request, read_quoted(request.get("quoted") or ()))


def study_of(folder: Path, records: Sequence[Record], asked: dict[str, Any], quoted: Sequence[Baseline] = ()) -> Study:
    """The study of a folder, from its records and the content of its sweep.yaml (`asked`).

    The other forms of a training follow it.
    """
    formed = {
        each.key: each for record in records for each in (record, *(with_form(record, form) for form in record.forms))
    }
    name, description = str(asked.get("name", folder.name)), asked.get("description")
    title = f"{name}: {description}" if description else name
    return Study(folder, folder.resolve().name, title, tuple(formed.values()), tuple(quoted), asked)


def _order_of(request: dict[str, Any]) -> dict[str, int]:
    """The position of each variant in a sweep; empty for a search, which keeps the order of its records."""
    try:
        names = variant_names(parse_spec(Sweep, request, SWEEP))
    except SpecError:
        return {}
    return {name: number for number, name in enumerate(names)}


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """Several studies. Where folders share a name, it is extended by as many parent folders as make it unique.

    Raises:
        SpecError: a folder holds no study, or is given twice.
    """
    studies = [read_study(folder) for folder in folders]
    paths = [study.folder.resolve() for study in studies]
    if len(set(paths)) < len(paths):
        raise SpecError(f"{', '.join(map(str, folders))}: a folder is given twice; give each once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return [replace(study, name="/".join(path.parts[-depth:])) for study, path in zip(studies, paths, strict=True)]


def rows_of_studies(studies: Sequence[Study], merge_seeds: bool = True) -> list[Row]:
    """All rows of several studies; a name that occurs in more than one is followed by its study."""
    rows = [row for study in studies for row in study.labelled_rows(merge_seeds)]
    if len(studies) == 1:
        return rows
    quoted = {row.name: row for row in rows if not row.records}
    names = [row.name for row in rows if row.records]
    measured = [
        replace(row, name=f"{row.name} [{row.study}]") if names.count(row.name) > 1 else row
        for row in rows
        if row.records
    ]
    return [*measured, *(row for name, row in quoted.items() if name not in names)]
