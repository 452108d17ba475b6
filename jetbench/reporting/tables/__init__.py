"""One table machine: rows, columns, ranking, notes; one file per format."""
