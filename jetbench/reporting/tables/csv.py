"""A table as CSV, with the numbers as shown."""

from csv import writer as csv_writer
from io import StringIO

from jetbench.reporting import units
from jetbench.reporting.tables.markdown import with_kind
from jetbench.reporting.tables.table import Table


def to_csv(table: Table) -> str:
    """One line per row, with the numbers as shown; table.csv in the report folder has them in SI units."""
    buffer = StringIO()
    writer = csv_writer(buffer, lineterminator="\n")
    writer.writerow(["group", table.heading, *(with_kind(column) for column in table.columns)])
    for section in table.sections:
        for row in section.rows:
            cells = [
                "" if cell.text == units.MISSING else cell.text.replace(",", "") if column.is_number else cell.text
                for column, cell in zip(table.columns, row.cells, strict=True)
            ]
            writer.writerow([section.label, row.name, *cells])
    return buffer.getvalue()
