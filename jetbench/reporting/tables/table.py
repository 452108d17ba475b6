"""Records to a comparison table: rows, columns by name, best and second with ties, notes to read it by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jetbench.errors import SpecError
from jetbench.reporting import units
from jetbench.reporting.tables.columns import (
    BETWEEN_SESSIONS,
    BY_NAME,
    ENOUGH_PROCESSES,
    REPEATABILITY,
    REPEATABILITY_OF_FEW,
    Column,
    NumberClass,
    Value,
)
from jetbench.reporting.tables.footnotes import Notes, footnotes, on_one_line, sources
from jetbench.reporting.tables.protocol import describe_differences, group_rows
from jetbench.reporting.tables.ranking import Mark, Ranking, front_of_told, rank
from jetbench.reporting.tables.rows import Row

TIE = "="
KINDS: dict[NumberClass, str] = {
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

    def only(self, names: Sequence[str]) -> "Table":
        """The same with the columns of those names alone."""
        return self._with_columns([n for n, column in enumerate(self.columns) if column.name in names])

    def _with_columns(self, kept: Sequence[int]) -> "Table":
        sections = tuple(
            Section(s.label, tuple(replace(row, cells=tuple(row.cells[n] for n in kept)) for row in s.rows))
            for s in self.sections
        )
        return replace(self, columns=tuple(self.columns[n] for n in kept), sections=sections)

    def without_empty_columns(self) -> "Table":
        """The same without columns in which nothing stands; a note says which."""
        kept = [n for n in range(len(self.columns)) if any(row.cells[n].text != units.MISSING for row in self.rows)]
        dropped = [column.heading for n, column in enumerate(self.columns) if n not in kept]
        if not dropped:
            return self
        note = f"Not measured, so without a column: {', '.join(dropped)}."
        notes = Notes(self.notes.essential, (*self.notes.details, note))
        return replace(self._with_columns(kept), notes=notes)


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
    # Of a baseline that is only quoted there is nothing to show in other columns.
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
    problems: dict[str, str] = {}
    sections = [_section(group.label, group.rows, columns, problems) for group in groups if group.rows]
    if quoted:
        plain = tuple(TableRow(row.label, tuple(Cell(column.cell(row)) for column in columns)) for row in quoted)
        sections = [*sections[:-1], Section(sections[-1].label, (*sections[-1].rows, *plain))] if sections else []
        sections = sections or [Section("", plain)]
    marks = _describe_marks(sections, columns, problems, len({row.study for row in shown if row.profiles}))
    notes = Notes((*warning, *marks, *notes.essential), notes.details)
    told = sources(rows) if any(column.kind == "reported" for column in columns) else []
    return Table(title, tuple(columns), tuple(sections), notes, tuple(told))


def _section(label: str, rows: Sequence[Row], columns: Sequence[Column], problems: dict[str, str]) -> Section:
    rankings: list[Ranking] = []
    for column in columns:
        ranking = Ranking((None,) * len(rows))
        if column.better:
            ranking = rank([_rankable(row, column) for row in rows], column.better)
        if ranking.problem:
            problems[column.heading] = ranking.problem
        rankings.append(ranking)
    # A front of what does not stand beside it cannot be seen.
    best = front(rows) if {"val", "latency"} <= {column.name for column in columns} else set()
    return Section(
        label,
        tuple(
            TableRow(
                on_one_line(row.label),
                tuple(
                    Cell(on_one_line(column.cell(row)), ranking.marks[number])
                    for column, ranking in zip(columns, rankings, strict=True)
                ),
                number in best,
            )
            for number, row in enumerate(rows)
        ),
    )


def _rankable(row: Row, column: Column) -> Value | None:
    """What takes part in the places of a column: nothing that failed, may not be believed, or ended early."""
    if row.level == "invalid" or row.is_failed or (column.needs == "trained" and row.is_stopped):
        return None
    return column.read(row)


def front(rows: Sequence[Row]) -> set[int]:
    """Numbers of the rows that no other beats in latency and validation mIoU, see `ranking.front_of_told`."""
    known = []
    for number, row in enumerate(rows):
        latency, miou = (_rankable(row, BY_NAME[name]) for name in ("latency", "val"))
        if latency and miou:
            known.append((number, (latency, miou)))
    return {known[at][0] for at in front_of_told([values for _, values in known])}


def _describe_marks(
    sections: Sequence[Section], columns: Sequence[Column], problems: dict[str, str], profiled_studies: int
) -> list[str]:
    rows = [row for section in sections for row in section.rows]
    lines = []
    if any(row.is_on_front for row in rows):
        lines.append(
            "A bold name: no other row is told to be faster or to have a higher validation mIoU without being told to "
            "be worse in the other."
        )
    marks = [cell.mark for row in rows for cell in row.cells if cell.mark]
    if marks:
        line = "Bold: the best of its column; underlined: the second"
        if any(mark.is_tie for mark in marks):
            line += f"; {TIE} behind a number: shares its place, their difference cannot be told from 0 (95 %)"
        lines.append(line + ".")
    if profiled_studies and any(column.name in ("latency", "fps", "fps-e2e") for column in columns):
        line = (
            f"A latency is taken to repeat within {100 * REPEATABILITY:g} % to each side at best, of fewer than "
            f"{ENOUGH_PROCESSES} processes within {100 * REPEATABILITY_OF_FEW:g} %, as machines were seen to"
        )
        if profiled_studies > 1:
            line += f", and from one study to another within {100 * BETWEEN_SESSIONS:g} %"
        lines.append(line + ": nearer ones are ties.")
    unsure = [heading for heading, problem in problems.items() if problem == "unsure"]
    tied = [heading for heading, problem in problems.items() if problem == "tied"]
    if unsure:
        lines.append(
            f"Not ranked, since a single training or reading does not say how sure it is: {', '.join(unsure)}. "
            "Of trainings, seeds: [0, 1, 2] in the sweep does."
        )
    if tied:
        lines.append(f"Not ranked, since more than half of the rows cannot be told from the best: {', '.join(tied)}.")
    return lines
