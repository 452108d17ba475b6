import ast
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.test_verbs import jetbench

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
# These need data, a cluster, a long time, or a file that an earlier command makes; tests of their own run them smaller.
NOT_RUN = (
    "sweep nano --budget",
    "sweep camvid",
    "sweep realtime",
    "sweep nano --ray",
    "study copy",
    "search ",
    "table reports/",
    "compare reports/",
    "claims reports/",
    "plot reports/",
    "report reports/",
    "predict ",
    "profile jetseg-nano",
    "profile reports/nano",
    "collect",
)


def module_map() -> str:
    """The README's map as the modules' docstrings give it."""
    lines = ["| module | what it is |", "| --- | --- |"]
    for path in sorted((ROOT / "jetbench").rglob("*.py")):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        lines.append(f"| `{path.relative_to(ROOT / 'jetbench')}` | {first} |")
    return "\n".join(lines)


def test_the_map_is_what_the_modules_say_of_themselves() -> None:
    assert module_map() in README


def test_the_first_commands_are_the_two_that_set_everything_up() -> None:
    commands = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
    assert commands[0].startswith("make sweep")
    assert commands[1].startswith("make test")


@pytest.mark.parametrize(
    "command",
    [
        line.split("#")[0].strip()
        for line in re.findall(r"^    jetbench (.*)$", README, re.MULTILINE)
        if not line.startswith(NOT_RUN)
    ],
)
def test_a_command_of_the_readme_runs(command: str, tmp_path: Path) -> None:
    assert jetbench(*shlex.split(command), cwd=tmp_path, code=0)  # its output


def test_the_files_the_readme_points_to_are_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
