"""A table as Markdown."""

import re
from collections.abc import Sequence

from jetbench.reporting.tables.columns import Column
from jetbench.reporting.tables.footnotes import on_one_line
from jetbench.reporting.tables.table import KINDS, Cell, Table


def to_markdown(table: Table, above: Sequence[str] = ()) -> str:
    """A page: title, the items `above`, table with the class of each number in its heading, notes, sources."""
    headings = [table.heading, *(with_kind(column) for column in table.columns)]
    alignment = [":--", *("--:" if column.is_number else ":--" for column in table.columns)]
    lines = [f"# {_escape_tags(table.title)}", ""]
    lines += [*(f"- {_escape_tags(on_one_line(item))}" for item in above), ""] if above else []
    lines += [_pipe(headings), _pipe(alignment)]
    for section in table.sections:
        if section.label:
            lines.append(_pipe([f"*{_escape_markdown(section.label)}*", *[""] * len(table.columns)]))
        for row in section.rows:
            name = f"**{_escape_markdown(row.name)}**" if row.is_on_front else _escape_markdown(row.name)
            lines.append(_pipe([name, *(_markdown_cell(cell) for cell in row.cells)]))
    lines += ["", *(f"- {_escape_tags(note)}" for note in (*table.notes.all, *table.sources)), ""]
    return "\n".join(lines)


def _escape_tags(text: str) -> str:
    """Our own sentences with < escaped; they keep their `code`."""
    return text.replace("<", "\\<")


def with_kind(column: Column) -> str:
    """A heading with the class of its numbers."""
    kind = KINDS[column.kind]
    return column.heading if not kind or column.kind == "reported" else f"{column.heading}, {kind}"


def _markdown_cell(cell: Cell) -> str:
    text = _escape_markdown(cell.marked)
    return {"bold": f"**{text}**", "underlined": f"<ins>{text}</ins>"}.get(cell.weight, text)


def _escape_markdown(text: str) -> str:
    """A name or reason from any source, with everything escaped that Markdown would interpret."""
    return re.sub(r"([\\`*<|])", r"\\\1", on_one_line(text)).replace("](", "]\\(")


def _pipe(row: Sequence[str]) -> str:
    return "| " + " | ".join(on_one_line(cell) for cell in row) + " |"
