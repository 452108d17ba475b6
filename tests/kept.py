"""The report folders kept in the repository, in paper/ and examples/; sweeps of a user write their own beside them."""

from pathlib import Path

from jetbench.records.folder import RECORDS

REPORTS = Path(__file__).parents[1] / "reports"
FOLDERS = sorted(path.parent for name in ("paper", "examples") for path in (REPORTS / name).rglob(RECORDS))
