"""Records to a comparison table: rows, columns by name, best and second with ties, notes to read it by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jetbench.errors import SpecError
from jetbench.front import front_of
from jetbench.reporting import units
from jetbench.reporting.columns import BY_NAME, ENOUGH_PROCESSES, REPEATABILITY, REPEATABILITY_OF_FEW, Column, Kind
from jetbench.reporting.footnotes import Notes, footnotes, on_one_line, sources
from jetbench.reporting.protocol import Needs, describe_differences, group_rows
from jetbench.reporting.ranking import Mark, rank
from jetbench.reporting.rows import Row

TIE = "="
KINDS: dict[Kind, str] = {
    "described": "",
    "counted": "counted",
    "measured": "measured",
    "estimated": "ESTIMATED",
    "reported": "reported by others",
}


@dataclass(frozen=True)
class Cell:
    """What stands in one place of the table, and its mark; `is_strong` makes it bold without a rank."""

    text: str
    mark: Mark | None = None
    is_strong: bool = False

    @property
    def weight(self) -> Literal["bold", "underlined", ""]:
        """How it is set."""
        if self.is_strong or (self.mark and self.mark.place == "best"):
            return "bold"
        return "underlined" if self.mark else ""

    @property
    def marked(self) -> str:
        """The text, with a sign where the place is shared."""
        return self.text + (f" {TIE}" if self.mark and self.mark.is_tie else "")


@dataclass(frozen=True)
class TableRow:
    """A row's name, whether nothing beats it in both accuracy and latency, and its cells."""

    name: str
    cells: tuple[Cell, ...]
    is_on_front: bool = False


@dataclass(frozen=True)
class Section:
    """Rows that share a protocol; only they are ranked against each other."""

    label: str
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class Table:
    """A table to read, before it has a format. `sources` say where each published figure was read."""

    title: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    notes: Notes
    sources: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[TableRow, ...]:
        """All rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)

    def without_empty_columns(self) -> "Table":
        """The same without columns in which nothing stands; a note says which."""
        kept = [n for n in range(len(self.columns)) if any(row.cells[n].text != units.MISSING for row in self.rows)]
        dropped = [column.heading for n, column in enumerate(self.columns) if n not in kept]
        if not dropped:
            return self
        sections = tuple(
            Section(s.label, tuple(replace(row, cells=tuple(row.cells[n] for n in kept)) for row in s.rows))
            for s in self.sections
        )
        note = f"Not measured, so without a column: {', '.join(dropped)}."
        notes = Notes(self.notes.essential, (*self.notes.details, note))
        return replace(self, columns=tuple(self.columns[n] for n in kept), sections=sections, notes=notes)


def believed(rows: Sequence[Row]) -> list[Row]:
    """Rows without what was measured in a profile that is invalid; what was trained and counted stays."""
    return [row.without_invalid() for row in rows]


def build_table(
    rows: Sequence[Row],
    columns: Sequence[Column],
    title: str,
    mixed: bool = False,
    show_invalid: bool = False,
) -> Table:
    """Rows and columns as a table, ranked within each protocol.

    Args:
        rows: in the order in which they are to stand.
        columns: see `columns.find_columns`.
        title: its caption.
        mixed: rows of different protocols stand in groups, each ranked by itself.
        show_invalid: rows whose profile is invalid stand in it too, marked.

    Raises:
        SpecError: rows differ in what the columns' numbers hang on, and `mixed` was not asked for.
    """
    shown = list(rows) if show_invalid else believed(rows)
    needs = list(dict.fromkeys(column.needs for column in columns if column.needs is not None))
    # Of a rival that is only quoted there is nothing to show in other columns.
    quoted = [row for row in shown if not row.records and any(column.kind == "reported" for column in columns)]
    groups = group_rows([row for row in shown if row.records], needs)
    notes = footnotes(rows, columns, show_invalid)
    warning: tuple[str, ...] = ()
    if len(groups) > 1:
        if not mixed:
            raise SpecError(
                f"these rows do not compare; --mixed shows them in {len(groups)} groups, each ranked by itself:\n"
                f"{describe_differences(groups)}"
            )
        warning = ("NOT COMPARABLE between the groups, each of which is ranked by itself.",)
    unranked: dict[str, None] = {}
    sections = [_section(group.label, group.rows, columns, needs, unranked) for group in groups if group.rows]
    if quoted:
        plain = tuple(TableRow(row.label, tuple(Cell(column.cell(row)) for column in columns)) for row in quoted)
        sections = [*sections[:-1], Section(sections[-1].label, (*sections[-1].rows, *plain))] if sections else []
        sections = sections or [Section("", plain)]
    marks = _describe_marks(sections, columns, list(unranked))
    notes = Notes((*warning, *marks, *notes.essential), notes.details)
    told = sources(rows) if any(column.kind == "reported" for column in columns) else []
    return Table(title, tuple(columns), tuple(sections), notes, tuple(told))


def _section(
    label: str, rows: Sequence[Row], columns: Sequence[Column], needs: Sequence[Needs], unranked: dict[str, None]
) -> Section:
    marks: list[list[Mark | None]] = []
    for column in columns:
        ranked: list[Mark | None] | None = [None] * len(rows)
        if column.better:
            # What may not be believed is shown with --all, and takes no place.
            values = [None if row.level == "invalid" else column.read(row) for row in rows]
            ranked = rank(values, column.better)
        if ranked is None:
            unranked[column.heading] = None
        marks.append(ranked if ranked is not None else [None] * len(rows))
    # Without a latency and an accuracy on show there is no front to see.
    best = front(rows) if {"trained", "measured"} <= set(needs) else set()
    return Section(
        label,
        tuple(
            TableRow(
                on_one_line(row.label),
                tuple(Cell(on_one_line(column.cell(row)), marks[at][number]) for at, column in enumerate(columns)),
                number in best,
            )
            for number, row in enumerate(rows)
        ),
    )


def front(rows: Sequence[Row]) -> set[int]:
    """Numbers of the rows that no other beats in both validation mIoU and latency, by their numbers alone."""
    known = []
    for number, row in enumerate(rows):
        latency, miou = BY_NAME["latency"].read(row), BY_NAME["val"].read(row)
        if latency and miou and row.level != "invalid" and not all(record.failure for record in row.records):
            known.append((number, latency.number, miou.number))
    return {known[at][0] for at in front_of([(latency, -miou) for _, latency, miou in known])}


def _describe_marks(sections: Sequence[Section], columns: Sequence[Column], unranked: Sequence[str]) -> list[str]:
    rows = [row for section in sections for row in section.rows]
    lines = []
    if any(row.is_on_front for row in rows):
        lines.append("A bold name: no other row has both a higher validation mIoU and a lower latency.")
    marks = [cell.mark for row in rows for cell in row.cells if cell.mark]
    if marks:
        line = "Bold: the best of its column; underlined: the second"
        if any(mark.is_tie for mark in marks):
            line += f"; {TIE} behind a number: shares its place, for their 95 % intervals overlap"
        lines.append(line + ".")
    if any(column.name in ("latency", "fps", "fps-e2e") for column in columns):
        lines.append(
            f"A latency is taken to repeat within {100 * REPEATABILITY:g} % to each side at best, of fewer than "
            f"{ENOUGH_PROCESSES} processes within {100 * REPEATABILITY_OF_FEW:g} %, as machines were seen to: nearer "
            "ones are ties."
        )
    if unranked:
        lines.append(
            f"Not ranked, since a single training or reading does not say how sure it is: {', '.join(unranked)}. "
            "Of trainings, seeds: [0, 1, 2] in the sweep does."
        )
    return lines
