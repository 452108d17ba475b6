"""The comparison table: rows, columns by name, marks for best and second, and notes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jetbench.errors import SpecError
from jetbench.network.variants import BUDGET, SEED
from jetbench.reporting import units
from jetbench.reporting.tables.columns import (
    BETWEEN_SESSIONS,
    BY_NAME,
    CHANGES,
    COLUMNS,
    ENOUGH_PROCESSES,
    REPEATABILITY,
    REPEATABILITY_OF_FEW,
    SIGN_OF_CHANGE,
    Column,
    NumberClass,
    Value,
)
from jetbench.reporting.tables.footnotes import Notes, footnotes, on_one_line, sources
from jetbench.reporting.tables.protocol import Group, describe_differences, group_rows
from jetbench.reporting.tables.ranking import Mark, Ranking, front_of_significant, rank
from jetbench.reporting.tables.rows import Row
from jetbench.spec.architecture import Foreign
from jetbench.spec.published import Paper

TIE = "="
KINDS: dict[NumberClass, str] = {
    "described": "",
    "counted": "counted",
    "measured": "measured",
    "estimated": "ESTIMATED",
    "predicted": "PREDICTED",
    "reported": "reported by others",
}


@dataclass(frozen=True)
class Cell:
    """The text of one cell and its mark; `is_strong` makes it bold without a rank."""

    text: str
    mark: Mark | None = None
    is_strong: bool = False

    @property
    def weight(self) -> Literal["bold", "underlined", ""]:
        """The type in which the cell is set."""
        if self.is_strong or (self.mark and self.mark.place == "best"):
            return "bold"
        return "underlined" if self.mark else ""

    @property
    def marked(self) -> str:
        """The text, followed by a sign if its place is shared."""
        return self.text + (f" {TIE}" if self.mark and self.mark.is_tie else "")


@dataclass(frozen=True)
class TableRow:
    """A row's name and cells; `is_on_front` if it is Pareto-optimal in accuracy and latency.

    `paper` is where the network was published. `is_suspect` is True if its profile is.
    """

    name: str
    cells: tuple[Cell, ...]
    is_on_front: bool = False
    paper: Paper | None = None
    is_suspect: bool = False


@dataclass(frozen=True)
class Section:
    """Rows that share a protocol; only they are ranked against each other.

    `label` says in what they differ from other sections; `board` is a board with its power mode.
    """

    label: str
    rows: tuple[TableRow, ...]
    board: str = ""


@dataclass(frozen=True)
class Table:
    """A table, independent of its output format.

    Args:
        title: the caption.
        columns: all columns but the first, which holds the rows' names.
        sections: the rows, in groups.
        notes: what a reader must know.
        sources: the source of each published figure.
        heading: the heading of the rows' names.
    """

    title: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    notes: Notes
    sources: tuple[str, ...] = ()
    heading: str = "variant"

    @property
    def rows(self) -> tuple[TableRow, ...]:
        """All rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)

    def only(self, names: Sequence[str]) -> "Table":
        """The same table with only the columns of those names."""
        return self._with_columns([n for n, column in enumerate(self.columns) if column.name in names])

    def without(self, names: Sequence[str]) -> "Table":
        """The same table without the columns of those names."""
        return self._with_columns([n for n, column in enumerate(self.columns) if column.name not in names])

    def _with_columns(self, kept: Sequence[int]) -> "Table":
        sections = tuple(
            replace(s, rows=tuple(replace(row, cells=tuple(row.cells[n] for n in kept)) for row in s.rows))
            for s in self.sections
        )
        return replace(self, columns=tuple(self.columns[n] for n in kept), sections=sections)

    def condensed(self) -> "Table":
        """The same table without empty columns, which a note lists; columns that are equal in all rows become one."""
        kept = [n for n in range(len(self.columns)) if any(row.cells[n].text != units.MISSING for row in self.rows)]
        dropped = [column.heading for n, column in enumerate(self.columns) if n not in kept]
        notes = self.notes
        if dropped:
            note = f"No row has a value, so the column is left out: {', '.join(dropped)}."
            notes = replace(notes, details=(*notes.details, note))
        shown: list[int] = []
        columns = list(self.columns)
        for n in kept:
            twin = next((first for first in shown if self._are_equal(first, n)), None)
            if twin is None:
                shown.append(n)
            else:
                headings = (
                    f"{columns[twin].heading} = {columns[n].heading}",
                    f"{columns[twin].brief} = {columns[n].brief}",
                )
                columns[twin] = replace(columns[twin], heading=headings[0], short=headings[1])
        return replace(self, columns=tuple(columns), notes=notes)._with_columns(shown)

    def without_constants(self) -> "Table":
        """The same table without columns of words that are equal in all of several rows; a note lists them."""
        equal = [
            n
            for n, column in enumerate(self.columns)
            if not column.is_number and len(self.rows) > 1 and len({row.cells[n].text for row in self.rows}) == 1
        ]
        if not equal:
            return self
        constants = "; ".join(f"{self.columns[n].heading} {self.rows[0].cells[n].text}" for n in equal)
        notes = replace(self.notes, essential=(f"All rows: {constants}.", *self.notes.essential))
        return replace(self, notes=notes)._with_columns([n for n in range(len(self.columns)) if n not in equal])

    def _are_equal(self, first: int, second: int) -> bool:
        """True if two columns of one unit and class have the same numbers in all of several rows."""
        one, other = self.columns[first], self.columns[second]
        return (
            len(self.rows) > 1
            and (one.unit, one.kind, one.is_number, one.text) == (other.unit, other.kind, True, None)
            and all(row.cells[first].text == row.cells[second].text for row in self.rows)
        )


def believed(rows: Sequence[Row]) -> list[Row]:
    """Rows without the measurements of invalid profiles; trainings and counts stay."""
    bases = {id(row.base): _without_invalid(row.base) for row in rows if row.base is not None}
    lean = [_without_invalid(row) for row in rows]
    based = [replace(each, base=bases.get(id(row.base))) for row, each in zip(rows, lean, strict=True)]
    for row, each in zip(based, lean, strict=True):
        row.known.update(each.known)
    return based


def _without_invalid(row: Row) -> Row:
    """The row without invalid profiles, and with their counts, which a user's network has nowhere else."""
    lean = row.without_invalid()
    if isinstance(row.architecture, Foreign):
        lean.known.update({column.name: column.value(row) for column in COLUMNS if column.kind == "counted"})
    return lean


def build_table(
    rows: Sequence[Row],
    columns: Sequence[Column],
    title: str,
    mixed: bool = False,
    show_invalid: bool = False,
    digits: int | None = None,
) -> Table:
    """Rows and columns as a table, ranked within each protocol.

    Args:
        rows: in the order of the table.
        columns: see `columns.find_columns`.
        title: the caption.
        mixed: show rows of different protocols in groups, each ranked separately.
        show_invalid: include the measurements of invalid profiles, marked.
        digits: write numbers with so many significant digits, instead of as many as suit the unit.

    Raises:
        SpecError: rows differ in facts on which the columns' numbers depend, and `mixed` is False.
    """
    shown = list(rows) if show_invalid else believed(rows)
    columns = _with_backend(shown, columns)
    columns = columns if digits is None else [column.with_digits(digits) for column in columns]
    needs = list(dict.fromkeys(column.needs for column in columns if column.needs is not None))
    # A baseline that is only quoted has values in reported columns only.
    quoted = [row for row in shown if not row.records and any(column.kind == "reported" for column in columns)]
    groups = [_with_own_base(group) for group in group_rows([row for row in shown if row.records], needs)]
    notes = footnotes(rows, columns, show_invalid)
    warning: tuple[str, ...] = ()
    if len(groups) > 1:
        if not mixed:
            raise SpecError(
                f"these rows do not compare; --mixed shows them in {len(groups)} groups, each ranked separately:\n"
                f"{describe_differences(groups)}"
            )
        warning = ("NOT COMPARABLE between the groups; each group is ranked separately.",)
    problems: dict[str, str] = {}
    sections = [
        replace(_section(group.label, group.rows, columns, problems), board=group.board)
        for group in groups
        if group.rows
    ]
    if quoted:
        plain = tuple(
            TableRow(row.label, tuple(Cell(column.cell(row)) for column in columns), paper=row.architecture.paper)
            for row in quoted
        )
        sections = [*sections[:-1], Section(sections[-1].label, (*sections[-1].rows, *plain))] if sections else []
        sections = sections or [Section("", plain)]
    bases = len({id(row.base) for row in shown if row.base is not None})
    marks = _describe_marks(sections, columns, problems, len({row.study for row in shown if row.profiles}), bases)
    brief = (*warning, *_marks_in_brief(sections, columns), *notes.brief)
    notes = Notes((*warning, *marks, *notes.essential), notes.details, brief)
    cited = sources(rows) if any(column.kind == "reported" for column in columns) else []
    return Table(title, tuple(columns), tuple(sections), notes, tuple(cited))


def _with_backend(rows: Sequence[Row], columns: Sequence[Column]) -> Sequence[Column]:
    """The columns, with that of the backend before them if what was measured is of several."""
    backends = {BY_NAME["backend"].cell(row) for row in rows} - {units.MISSING}
    if len(backends) < 2 or not any(c.needs == "measured" and c.text is None for c in columns):
        return columns
    return columns if any(column.name == "backend" for column in columns) else (BY_NAME["backend"], *columns)


def _has_value(rows: Sequence[Row], name: str) -> bool:
    return any(BY_NAME[name].value(row) is not None for row in rows)


def sort_rows(rows: Sequence[Row], column: Column) -> list[Row]:
    """Rows by a column, the best first, words by the alphabet; those without a value come last in their order.

    Raises:
        SpecError: no row has a value.
    """
    if column.text is not None and not column.holds_numbers:
        return sorted(rows, key=lambda row: (column.cell(row) == units.MISSING, column.cell(row)))
    sign = -1 if column.better == "high" else 1
    values = {id(row): column.value(row) for row in rows}
    if all(value is None for value in values.values()):
        others = [name for name in ("latency", "estimate", "macs", "parameters", "val") if _has_value(rows, name)]
        raise SpecError(f"--sort {column.name}: no row has a value; some have one in {', '.join(others)}")

    def place(row: Row) -> tuple[bool, float]:
        value = values[id(row)]
        return (value is None, sign * value.number if value is not None else 0.0)

    return sorted(rows, key=place)


def _with_own_base(group: Group) -> Group:
    """The same group; rows whose base is in another group, measured otherwise, do not compare with it."""
    bases = {id(row.base) for row in group.rows if row.is_base}
    return replace(group, rows=tuple(row if id(row.base) in bases else replace(row, base=None) for row in group.rows))


def _section(label: str, rows: Sequence[Row], columns: Sequence[Column], problems: dict[str, str]) -> Section:
    rankings: list[Ranking] = []
    for column in columns:
        ranking = Ranking((None,) * len(rows))
        if column.better and column.is_ranked:
            ranking = rank([rankable(row, column) for row in rows], column.better)
        if ranking.problem:
            problems[column.heading] = ranking.problem
        rankings.append(ranking)
    # A front means nothing to a reader who does not see both of its columns.
    best = front(rows) if {"val", "latency"} <= {column.name for column in columns} else set()
    return Section(
        label,
        tuple(
            TableRow(
                on_one_line(row.listed),
                tuple(
                    Cell(on_one_line(column.cell(row)), ranking.marks[number])
                    for column, ranking in zip(columns, rankings, strict=True)
                ),
                number in best,
                _paper_of(row),
                row.level == "suspect",
            )
            for number, row in enumerate(rows)
        ),
    )


def _paper_of(row: Row) -> Paper | None:
    """Where a network was published; None for a variant that no paper has."""
    changed = {key for record in row.records for key in record.changes} - {SEED, BUDGET, "base"}
    return None if changed else row.architecture.paper


def rankable(row: Row, column: Column) -> Value | None:
    """The value to rank in a column; None for a row that failed, is invalid, or (for accuracies) ended early."""
    if row.level == "invalid" or row.is_failed or (column.needs == "trained" and row.is_stopped):
        return None
    return column.value(row)


def front(rows: Sequence[Row]) -> set[int]:
    """Numbers of the rows Pareto-optimal in latency and validation mIoU, see `ranking.front_of_significant`."""
    points = []
    for number, row in enumerate(rows):
        latency, miou = (rankable(row, BY_NAME[name]) for name in ("latency", "val"))
        if latency and miou:
            points.append((number, (latency, miou)))
    return {points[at][0] for at in front_of_significant([values for _, values in points])}


def _marks_in_brief(sections: Sequence[Section], columns: Sequence[Column]) -> list[str]:
    """The signs that a table has, in one line for a terminal."""
    rows = [row for section in sections for row in section.rows]
    changes = [row.cells[at].text for row in rows for at, column in enumerate(columns) if column.name in CHANGES]
    has_ties = any(cell.mark is not None and cell.mark.is_tie for row in rows for cell in row.cells)
    has_ties = has_ties or any(text.endswith(SIGN_OF_CHANGE["not significant"]) for text in changes)
    weights = {cell.weight for row in rows for cell in row.cells}
    parts = ["Bold: best"] * ("bold" in weights) + ["underlined: second"] * ("underlined" in weights)
    parts += [f"{TIE}: not significantly different (95 %)"] * has_ties
    parts += ["?: undecided, from one training"] * any(text.endswith(SIGN_OF_CHANGE["undecided"]) for text in changes)
    parts += ["bold name: Pareto-optimal in latency and val mIoU"] * any(row.is_on_front for row in rows)
    parts += ["(?): suspect profile"] * any(row.is_suspect for row in rows)
    return [f"{'; '.join(parts)}."] if parts else []


def _describe_marks(
    sections: Sequence[Section], columns: Sequence[Column], problems: dict[str, str], profiled_studies: int, bases: int
) -> list[str]:
    rows = [row for section in sections for row in section.rows]
    lines = []
    if any(row.is_on_front for row in rows):
        lines.append(
            "Bold name: Pareto-optimal. No other row is significantly better in one of latency and validation mIoU "
            "without being significantly worse in the other."
        )
    marks = [cell.mark for row in rows for cell in row.cells if cell.mark]
    if marks:
        line = "Bold: best of the column; underlined: second"
        if any(mark.is_tie for mark in marks):
            line += f"; {TIE}: not significantly different from the other rows of that place (95 %)"
        lines.append(line + ".")
    changes = [at for at, column in enumerate(columns) if column.name in CHANGES]
    signs = {row.cells[at].text[-2:] for row in rows for at in changes}
    if changes:
        line = f"Against the base{' of its own study' if bases > 1 else ''}: the change of a row; of mIoU in points"
        line += f"; {TIE}: not significant (95 %)" if SIGN_OF_CHANGE["not significant"] in signs else ""
        line += "; ?: undecided, because a row was trained once" if SIGN_OF_CHANGE["undecided"] in signs else ""
        lines.append(line + ".")
    if any(row.is_suspect for row in rows):
        lines.append("(?): the profile of the row is suspect, for the reason given below.")
    if profiled_studies and any(column.name in ("latency", "fps", "fps-e2e") for column in columns):
        line = (
            f"The uncertainty of a latency is at least {100 * REPEATABILITY:g} % to each side, and at least "
            f"{100 * REPEATABILITY_OF_FEW:g} % for fewer than {ENOUGH_PROCESSES} processes, from repeated measurements"
        )
        if profiled_studies > 1:
            line += f"; from one study to another it is at least {100 * BETWEEN_SESSIONS:g} %"
        lines.append(line + ". Smaller differences are not significant.")
    unsure = [heading for heading, problem in problems.items() if problem == "unsure"]
    tied = [heading for heading, problem in problems.items() if problem == "tied"]
    if unsure:
        lines.append(
            f"Not ranked, because some values are single measurements: {', '.join(unsure)}. "
            "Several `seeds:` in the sweep give intervals."
        )
    if tied:
        lines.append(
            "Not ranked, because more than half of the rows are not significantly different from the best: "
            f"{', '.join(tied)}."
        )
    return lines
