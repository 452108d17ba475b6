"""A table as HTML."""

from html import escape as escape_html
from itertools import groupby

from jetbench.reporting.tables.table import KINDS, Cell, Table


def to_html(table: Table) -> str:
    """A table element with its notes as a list, to paste into any page."""
    lines = ["<table>", f"  <caption>{escape_html(table.title)}</caption>", "  <thead>"]
    spans = [(KINDS[kind], len(list(members))) for kind, members in groupby(table.columns, key=lambda c: c.kind)]
    if any(label for label, _ in spans):
        cells = "".join(f'<th colspan="{count}">{escape_html(label)}</th>' for label, count in spans)
        lines.append(f"    <tr><td></td>{cells}</tr>")
    headings = "".join(f'<th scope="col">{escape_html(column.heading)}</th>' for column in table.columns)
    lines += [f'    <tr><th scope="col">{escape_html(table.heading)}</th>{headings}</tr>', "  </thead>"]
    for section in table.sections:
        lines.append("  <tbody>")
        if section.label:
            span = len(table.columns) + 1
            lines.append(f'    <tr><th colspan="{span}" scope="rowgroup">{escape_html(section.label)}</th></tr>')
        for row in section.rows:
            name = f"<b>{escape_html(row.name)}</b>" if row.is_on_front else escape_html(row.name)
            cells = "".join(f"<td>{_html_cell(cell)}</td>" for cell in row.cells)
            lines.append(f'    <tr><th scope="row">{name}</th>{cells}</tr>')
        lines.append("  </tbody>")
    lines += ["</table>", "<ul>", *(f"  <li>{escape_html(note)}</li>" for note in (*table.notes.all, *table.sources))]
    return "\n".join([*lines, "</ul>", ""])


def _html_cell(cell: Cell) -> str:
    text = escape_html(cell.marked)
    return {"bold": f"<b>{text}</b>", "underlined": f"<u>{text}</u>"}.get(cell.weight, text)
