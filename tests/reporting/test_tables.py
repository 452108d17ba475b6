import csv
import re
from pathlib import Path

import pytest

from jetbench.reporting.tables import footnotes, frame, front, latex, markdown, write_tables
from tests.made_up import DATASET, ENVIRONMENT, failed, profile, record


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_front_is_what_nothing_beats_in_both() -> None:
    made = [
        record("a", 0.5, 0.01),
        record("b", 0.6, 0.02),
        record("c", 0.55, 0.03),
        record("d", 0.4, 0.02),
        failed("e"),
    ]
    assert front(made) == {"a", "b"}


def test_equal_rows_are_both_on_the_front() -> None:
    assert front([record("a", 0.5, 0.01), record("b", 0.5, 0.01)]) == {"a", "b"}


def test_markdown_has_a_row_each_and_dashes_for_what_was_not_measured() -> None:
    table = rows(markdown([record("fast"), failed("broken")], "title"))
    heading, _, fast, broken = table
    assert fast[0] == "**fast**"
    assert broken[0] == "broken"
    cells = dict(zip(heading, broken, strict=True))
    assert cells["latency median (ms)"] == cells["test mIoU (%)"] == "\N{EM DASH}"
    assert cells["parameters"] == dict(zip(heading, fast, strict=True))["parameters"]  # counted, not measured
    assert dict(zip(heading, fast, strict=True))["power (W)"] == "\N{EM DASH}"


def test_units_are_those_of_the_headings() -> None:
    heading, _, row = rows(markdown([record("a", 0.5, 0.0123)], "title"))
    cells = dict(zip(heading, row, strict=True))
    assert cells["latency median (ms)"] == "12.3"
    assert cells["FPS model"] == "81.3"
    assert cells["FPS end to end"] == "40.7"
    assert cells["val mIoU best (%)"] == "50.0"
    assert cells["peak memory (MiB)"] == "3.0"


def test_footnotes_say_data_training_measurement_failures_and_reasons() -> None:
    text = "\n".join(footnotes([record("a", also_named=("b",)), failed("c")]))
    for part in (
        "made-up, 8 train / 4 val / 4 test images at 64x96 (HxW), 3 classes, void pixels ignored",
        "best constant prediction scores 20.0 % on val, 21.0 % on test",
        "jetloss (rare_share 0.0001), 300 steps, batch 8",
        "5 passes in 1 fresh process after a warm-up, batch 1",
        "1 MAC = 2 FLOPs",
        "Power: made up.",
        "processor made-up processor, 2 cores",
        "c failed (train, diverged): the loss was nan at step 3",
        "a is the same network and training as b: run once",
    ):
        assert part in text


def test_rows_of_different_machines_are_marked_as_not_comparable() -> None:
    other = ENVIRONMENT.model_copy(update={"cpu": "another"})
    mixed = footnotes([record("a"), record("b", profile=profile(0.01, environment=other))])
    assert mixed[0].startswith("NOT COMPARABLE")
    assert not any("NOT COMPARABLE" in line for line in footnotes([record("a"), record("b")]))


def test_the_frame_is_in_si_units_with_nothing_for_what_was_not_measured() -> None:
    table = frame([record("a", 0.5, 0.0123), failed("b")])
    assert table.loc[0, "latency_model_median_s"] == 0.0123
    assert table.loc[0, "val_miou_best"] == 0.5
    assert table.loc[0, "val_iou_car"] == 0.5
    assert table["power_w"].isna().all()
    assert table.loc[1, "reason"] == "the loss was nan at step 3"
    assert table.loc[1, ["test_miou", "latency_model_median_s"]].isna().all()


def test_latex_escapes_and_balances(tmp_path: Path) -> None:
    text = latex([record("a_b & 50%"), failed("c")], "title #1")
    assert r"a\_b \& 50\%" in text
    assert r"title \#1" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert all(line.count(" & ") == len(columns) - 1 for line in body)
    assert "power" not in text.split(r"\toprule")[1]


def test_all_three_files_are_written(tmp_path: Path) -> None:
    paths = write_tables(tmp_path, [record("a"), failed("b")], "title")
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv"]
    with (tmp_path / "table.csv").open() as file:
        assert [row["variant"] for row in csv.DictReader(file)] == ["a", "b"]


@pytest.mark.parametrize("name", ["a|b", "a\nb"])
def test_a_name_cannot_break_the_markdown_table(name: str) -> None:
    table = [line for line in markdown([record(name)], "title").splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert len({re.sub(r"\\\|", "", line).count("|") for line in table}) == 1
    assert table[2].startswith("| **a\\|b** |" if name == "a|b" else "| **a b** |")


def test_a_reason_of_many_lines_stays_one_footnote_and_one_latex_comment() -> None:
    made = [record("a"), failed("b", "RuntimeError: Error(s)\n\tsize mismatch for x_y & z")]
    assert "b failed (train, diverged): RuntimeError: Error(s) size mismatch for x_y & z" in footnotes(made)
    before = latex(made, "title").split(r"\begin{table}")[0]
    assert all(line.startswith("% ") for line in before.strip().splitlines())


def test_rows_of_different_data_or_versions_are_marked_as_not_comparable() -> None:
    other = DATASET.model_copy(update={"digest": "1" * 16})
    assert footnotes([record("a"), record("b", dataset=other)])[0].startswith("NOT COMPARABLE: rows differ in data;")
    newer = profile(0.01, environment=ENVIRONMENT.model_copy(update={"jetbench": "9.9"}))
    assert "version of jetbench" in footnotes([record("a"), record("b", profile=newer)])[0]


def test_a_busy_machine_is_said_first() -> None:
    busy = profile(0.01, environment=ENVIRONMENT.model_copy(update={"load_average": 7.5}))
    lines = footnotes([record("a"), record("b", profile=busy)])
    assert lines[0] == "BUSY MACHINE: load average 7.5 on 2 cores; latencies and FPS are not to be trusted."


def test_moving_clocks_do_not_make_a_machine_another_machine() -> None:
    slower = profile(0.01, environment=ENVIRONMENT.model_copy(update={"clock_mhz": (800.0,), "load_average": 2.0}))
    lines = footnotes([record("a"), record("b", profile=slower)])
    assert len([line for line in lines if line.startswith("Measured on")]) == 1
    assert "Processor clocks read after each profile: 800 to 1000 MHz." in lines
    assert not any("NOT COMPARABLE" in line for line in lines)
