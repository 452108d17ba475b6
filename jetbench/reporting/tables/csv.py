"""A table as CSV, with the numbers as shown."""

import re
from csv import writer as csv_writer
from io import StringIO
from typing import TYPE_CHECKING

from jetbench.reporting import units
from jetbench.reporting.tables.footnotes import on_one_line
from jetbench.reporting.tables.markdown import with_kind
from jetbench.reporting.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd


def to_csv(table: Table) -> str:
    """One line per row, with the numbers as shown; table.csv in the report folder has them in SI units."""
    buffer = StringIO()
    writer = csv_writer(buffer, lineterminator="\n")
    writer.writerow(["group", table.heading, *(with_kind(column) for column in table.columns)])
    for section in table.sections:
        for row in section.rows:
            cells = [
                ""
                if cell.text == units.MISSING
                else cell.text.replace(",", "")
                if column.is_number
                else no_formula(cell.text)
                for column, cell in zip(table.columns, row.cells, strict=True)
            ]
            writer.writerow([no_formula(section.label), no_formula(row.name), *cells])
    return buffer.getvalue()


def _number(text: str) -> str:
    return "" if text == units.MISSING else text.replace(",", "")


def no_formula(text: str) -> str:
    """A text that no spreadsheet computes: one that begins as a formula gets a quote before it, as they write it."""
    text = "" if text == units.MISSING else text if text.isprintable() else on_one_line(text)
    is_formula = text.startswith(("=", "+", "-", "@")) and not re.fullmatch(r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?", text)
    return f"'{text}" if is_formula else text


def frame_to_csv(table: "pd.DataFrame") -> str:
    """A frame as CSV whose texts no spreadsheet computes."""
    safe = table.copy()
    for name in safe.columns:
        if safe[name].dtype.kind in "OUST":  # texts, as objects or as strings
            safe[name] = [no_formula(value) if isinstance(value, str) else value for value in safe[name]]
    return str(safe.to_csv(index=False))
