"""reports/paper/ is what its records give: every file in it is written again, byte for byte."""

import shutil
from pathlib import Path

import pytest

from jetbench.errors import SpecError
from jetbench.paper import tables as paper
from jetbench.paper.tables import DEPLOYMENT, DEVICES, INT8, STUDIES, build_device_table, build_table1
from jetbench.reporting.studies import Study
from tests.made_up import failed, record

KEPT = Path(__file__).parents[2] / "reports" / "paper"


@pytest.mark.slow
def test_every_file_is_what_its_records_give(tmp_path: Path) -> None:
    for study in (*STUDIES, DEPLOYMENT, INT8):
        (tmp_path / study).mkdir()
        for kept in ("records.jsonl", "sweep.yaml"):
            shutil.copy(KEPT / study / kept, tmp_path / study)
    written = paper.write_paper(tmp_path)
    for path in written:
        name = path.relative_to(tmp_path)
        assert path.read_bytes() == (KEPT / name).read_bytes(), f"{name}: make tables writes it again"
    made = {path.relative_to(tmp_path) for path in written}
    there = {path.relative_to(KEPT) for path in KEPT.rglob("*") if path.suffix in (".md", ".tex", ".csv")}
    assert made == there


def test_a_folder_without_its_studies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"the studies realtime, .* are missing"):
        paper.write_paper(tmp_path)


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_table_shows_an_estimate_as_such_and_nothing_that_was_not_measured_there(name: str) -> None:
    here = Study(Path("here"), "here", "here", (record("jetseg-nano"),))
    table = build_device_table(name, [here])
    assert len(table.rows) == 6
    kinds = [column.kind for column in table.columns]
    for row in table.rows:
        told = {kind: [c.text for c, k in zip(row.cells, kinds, strict=True) if k == kind] for kind in set(kinds)}
        assert all(text == "\N{EM DASH}" for text in told["measured"])
        assert all(text != "\N{EM DASH}" for text in told["estimated"])
    assert any("No study was measured on" in note for note in table.notes.essential)
    assert [row.is_on_front for row in table.rows].count(True) == 2  # its preset in both forms


def test_table_1_sets_what_is_printed_beside_what_is_counted_and_measured() -> None:
    table = build_table1(Study(Path("x"), "x", "x", (record("linknet"), failed("cgnet"))))
    rows = {row.name.split(" (")[0]: [cell.text for cell in row.cells] for row in table.rows}
    assert list(rows)[:5] == ["LinkNet", "CGNet", "DSANet", "MFENet", "JetSeg"]
    assert rows["JetSeg"][:6] == ["512x512", "no", "no", "0.00003", "1.125", "158"]
    assert rows["LinkNet"][6] == "11.5"  # counted, in millions
    assert rows["MFENet"][6:10] == ["\N{EM DASH}"] * 4  # too little is published to count it
