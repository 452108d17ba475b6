"""Tables: rows, columns, ranking and notes; one file per output format."""
