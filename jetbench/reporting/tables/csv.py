"""A table as CSV, as it is read."""

from csv import writer as csv_writer
from io import StringIO

from jetbench.reporting import units
from jetbench.reporting.tables.markdown import with_kind
from jetbench.reporting.tables.table import Table


def to_csv(table: Table) -> str:
    """The table as it is read, a line each; numbers for computing are in a report folder's table.csv."""
    buffer = StringIO()
    writer = csv_writer(buffer, lineterminator="\n")
    writer.writerow(["group", "variant", *(with_kind(column) for column in table.columns)])
    for section in table.sections:
        for row in section.rows:
            cells = [
                "" if cell.text == units.MISSING else cell.text.replace(",", "") if column.is_number else cell.text
                for column, cell in zip(table.columns, row.cells, strict=True)
            ]
            writer.writerow([section.label, row.name, *cells])
    return buffer.getvalue()
