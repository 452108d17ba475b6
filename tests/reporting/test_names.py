"""Names and reasons come from any source: in every file and on the terminal they are text, and only text."""

import csv
import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path
from xml.dom import minidom

import pytest
from rich.console import Console

from jetbench.cli.app import _PlainConsole
from jetbench.errors import visible
from jetbench.records.folder import append_records
from jetbench.reporting.report import print_study, write_files
from jetbench.reporting.sheets.page import write_page
from jetbench.reporting.studies import Study, read_study
from jetbench.reporting.tables.csv import no_formula
from tests.made_up import failed, record

NAMES = (
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "[/red]",
    "[bold]x",
    "$x^{$",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "a|b`<b>",
    "</script><script>alert(1)</script>",
    "../../etc",
    "\u202eevil",
    "x\r\ny",
    "%s{0}{x}",
    "\\textbf{",
    "\N{CJK UNIFIED IDEOGRAPH-8DEF}",
    "n" * 250,
)
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    records = [*(record(name) for name in NAMES), *(failed(f"failed {name}") for name in NAMES[:6])]
    append_records(tmp_path, *(each.model_copy(update={"fingerprint": str(n)}) for n, each in enumerate(records)))
    return read_study(tmp_path)


@pytest.mark.slow
def test_no_name_steers_a_file_a_picture_or_the_terminal(study: Study) -> None:
    paths = [*write_files(study), write_page(study.folder / "report.html", study)]
    for path in paths:
        if path.suffix != ".png":
            assert not HIDDEN.search(path.read_bytes().decode()), path.name
        if path.suffix == ".svg":
            minidom.parse(str(path))
    page = (study.folder / "report.html").read_text()
    assert page.count("</script>") == page.count("<script")
    shown = StringIO()
    print_study(_PlainConsole(file=shown, width=200), study)
    assert not HIDDEN.search(shown.getvalue())
    assert r"\x1b[31mred\x1b[0m" in shown.getvalue()
    assert "[/red]" in shown.getvalue()


def test_a_table_of_any_names_has_its_rows_in_csv_and_none_is_a_formula(study: Study) -> None:
    write_files(study)
    with (study.folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(study.records)
    assert not [row["variant"] for row in rows if row["variant"].startswith(("=", "+", "-", "@"))]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive)")
def test_latex_compiles_with_any_name(study: Study, tmp_path: Path) -> None:
    write_files(study)
    head = "\\documentclass[twocolumn]{article}\\usepackage{booktabs,array}\\begin{document}"
    (tmp_path / "page.tex").write_text(f"{head}\n\\input{{table}}\n\\end{{document}}")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=batchmode", "page.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, (tmp_path / "page.log").read_text()[-2000:]


@pytest.mark.parametrize(("text", "safe"), [("=1", "'=1"), ("-2+3", "'-2+3"), ("-2.5", "-2.5"), ("a", "a")])
def test_a_text_that_begins_as_a_formula_gets_a_quote(text: str, safe: str) -> None:
    assert no_formula(text) == safe


def test_visible_writes_out_what_a_terminal_would_obey_and_leaves_the_rest() -> None:
    assert (
        visible("a\x1b[2J\x07\x9b\u202e\t\n\N{GREEK SMALL LETTER TAU}")
        == "a\\x1b[2J\\x07\\x9b\\u202e\t\n\N{GREEK SMALL LETTER TAU}"
    )


def test_a_terminal_still_gets_its_own_colours() -> None:
    shown = StringIO()
    _PlainConsole(file=shown, force_terminal=True, color_system="standard").print("[red]a[/]")
    assert shown.getvalue().startswith("\x1b[31ma")
    assert isinstance(_PlainConsole(), Console)
