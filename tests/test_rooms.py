import ast
import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "jetbench"

# The rule stands once, in the README of the package; its words are the rooms.
RULE = re.search(r"^    (errors .*)$", (PACKAGE / "README.md").read_text(), re.MULTILINE)
assert RULE
FLOORS = [set(floor.replace("|", " ").split()) for floor in RULE[1].split(" < ")]
# The package's own face exports from every room, and every room may read its version.
FACE = {"__init__", "__main__"}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports() -> list[tuple[str, str]]:
    found = []
    for path in PACKAGE.rglob("*.py"):
        own = room(".".join(("jetbench", *path.relative_to(PACKAGE).with_suffix("").parts)))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("jetbench"):
                found.append((own, room(node.module)))
            elif isinstance(node, ast.Import):
                found += [(own, room(alias.name)) for alias in node.names if alias.name.startswith("jetbench")]
    return found


def test_imports_point_down() -> None:
    level = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = [
        f"{own} imports {other}"
        for own, other in imports()
        if own not in FACE and other not in FACE and own != other and level[own] <= level[other]
    ]
    assert wrong == []


def test_every_room_has_its_place_in_the_rule() -> None:
    there = {
        path.stem if path.is_file() else path.name
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or path.is_dir()
    }
    # devices/ holds YAML and no code.
    assert there - {"__pycache__", "_bundled", "devices"} == set().union(*FLOORS, FACE)


def test_tables_listings_and_counts_need_no_torch() -> None:
    program = (
        "import sys, jetbench.cli, jetbench.network.variants, jetbench.reporting.tables.table;"
        "import jetbench.reporting.pictures.plots, jetbench.study.run;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
