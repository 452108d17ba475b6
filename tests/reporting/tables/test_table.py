import csv
import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jetbench.errors import SpecError
from jetbench.records.measurement import Watch
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.report import write_tables
from jetbench.reporting.studies import read_study, study_of
from jetbench.reporting.tables.columns import CHANGES, COLUMNS, LAYOUTS, TRAINING_TIMES, columns_of_layout, find_columns
from jetbench.reporting.tables.csv import to_csv
from jetbench.reporting.tables.footnotes import NOTE_LEVELS, NoteLevel, Notes
from jetbench.reporting.tables.frame import frame
from jetbench.reporting.tables.html import to_html
from jetbench.reporting.tables.latex import LatexOptions, to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.protocol import describe_machines
from jetbench.reporting.tables.rows import rows_of
from jetbench.reporting.tables.table import Section, Table, TableRow, build_table, front, sort_rows
from jetbench.reporting.tables.terminal import show_on_terminal, to_terminal
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.training import TrainingConfig
from tests.made_up import DATASET, ENVIRONMENT, failed, latency, profile, record, training


def wide(records: list[Record], **more: Any) -> Table:
    return build_table(rows_of(records), find_columns(LAYOUTS["wide"]), "title", **more)


def notes(records: list[Record]) -> list[str]:
    return list(wide(records, mixed=True).notes.all)


def markdown(records: list[Record]) -> str:
    return to_markdown(wide(records, mixed=True))


def pipes(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def seeds(name: str, mious: list[float], latency_s: float = 0.01, **more: Any) -> list[Record]:
    """One network trained with several seeds, as a sweep over training.seed names them."""
    return [
        record(
            f"{name}, seed={seed}" if name else f"seed={seed}",
            key=f"{name}{seed}",
            changes={"training.seed": seed},
            fingerprint=name,
            training=training(miou),
            training_config=TrainingConfig(seed=seed),
            profile=profile(latency_s),
            **more,
        )
        for seed, miou in enumerate(mious)
    ]


def test_recipes_that_differ_in_one_thing_are_told_once() -> None:
    def told(*configs: dict[str, Any]) -> str:
        records = [
            record(str(n), key=str(n), training_config=TrainingConfig.model_validate(config))
            for n, config in enumerate(configs)
        ]
        return next(line for line in notes(records) if line.startswith("Training: "))

    dice, steps = {"loss": "dice", "budget": "10 steps"}, {"loss": "cross-entropy", "budget": "10 steps"}
    assert "Training: dice or cross-entropy, 10 steps, batch" in told(dice, steps, dice)
    assert "Training: dice, 10 steps or 20 steps, batch" in told(dice, {**dice, "budget": "20 steps"})
    light = {**dice, "augmentation": {"light": 0.2}}
    assert "images as they are or images" in told(dice, light)
    several = told(dice, {**steps, "budget": "20 steps"})
    assert "; or cross-entropy, 20 steps" in several
    assert "as they are" not in told(dice)


def test_a_study_that_only_trains_says_nothing_of_latencies() -> None:
    assert not any("latency" in line for line in notes([record("a", profile=None)]))
    assert any("The uncertainty of a latency is" in line for line in notes([record("a", profile=None), record("b")]))


def test_where_the_seconds_of_trainings_go() -> None:
    def trained(number: int, whole_s: float, processor_s: float, device: str = "cpu") -> Record:
        phases = {"data": 0.1 * whole_s, "network": 0.7 * whole_s, "evaluation": 0.2 * whole_s}
        times = {"phase_seconds": phases, "processor_seconds": processor_s, "steps": 50, "seconds": 0.8 * whole_s}
        return record(
            f"seed={number}",
            key=str(number),
            changes={"training.seed": number},
            training=training(0.5).model_copy(update=times),
            training_config=TrainingConfig(seed=number, batch_size=8),
            training_environment=ENVIRONMENT.model_copy(update={"threads": 2, "device": device, "load_average": 1.5}),
        )

    columns = find_columns(LAYOUTS["training"])
    (row,) = rows_of([trained(0, 10.0, 15.0), trained(1, 20.0, 30.0)])
    told = {column.name: column.cell(row) for column in columns}
    assert told["whole-s"] == "15.0 ± 7.1"
    assert told["images-s"] == "37.5 ± 17.7"  # 400 images in 8 s and in 16 s
    assert told["network-share"] == "70.0"
    assert told["data-share"] == "10.0"
    assert told["busy"] == "75.0"
    assert any("load average after each: 1.5" in line for line in build_table([row], columns, "").notes.essential)
    elsewhere = trained(1, 1000.0, 500.0)
    environment = ENVIRONMENT.model_copy(update={"cpu": "a slower one"})
    (mixed,) = rows_of([trained(0, 10.0, 15.0), elsewhere.model_copy(update={"training_environment": environment})])
    assert {column.cell(mixed) for column in columns if column.name in TRAINING_TIMES} == {"—"}
    (on_a_gpu,) = rows_of([trained(0, 10.0, 15.0, "cuda (made up)")])
    (older,) = rows_of([record("older")])
    assert [next(c for c in columns if c.name == "busy").cell(each) for each in (on_a_gpu, older)] == ["—", "—"]


def test_the_front_is_what_nothing_is_told_to_beat() -> None:
    def network(name: str, miou: float, median_s: float) -> list[Record]:
        mious = [miou - 0.004, miou, miou + 0.004]
        return [each.model_copy(update={"profile": profile(median_s)}) for each in seeds(name, mious)]

    fast, right = network("fast", 0.50, 0.010), network("right", 0.60, 0.020)
    worse, slow = network("worse", 0.40, 0.020), network("slow", 0.50, 0.030)
    assert front(rows_of([*fast, *right, *worse, *slow, failed("e")])) == {0, 1}
    # Of rows whose accuracy cannot be told apart the faster one beats, and equal rows beat neither.
    near = network("near", 0.502, 0.013)
    assert front(rows_of([*near, *fast])) == {1}
    assert front(rows_of([*fast, *network("twin", 0.50, 0.0101)])) == {0, 1}


def test_one_training_each_makes_no_front() -> None:
    made = different(record("a", 0.5, 0.01), record("b", 0.6, 0.02))
    assert front(rows_of(made)) == set()
    assert not any("Bold name" in note for note in notes(made))


def different(*records: Record) -> list[Record]:
    """The same records as so many networks."""
    return [each.model_copy(update={"fingerprint": each.variant}) for each in records]


def test_markdown_has_a_row_each_and_dashes_for_what_was_not_measured() -> None:
    heading, _, fast, broken = pipes(markdown(different(record("fast"), failed("broken"))))
    assert fast[0] == "fast"
    assert broken[0] == "broken (failed)"
    told, cells = (dict(zip(heading, row, strict=True)) for row in (fast, broken))
    assert cells["latency median (ms), measured"] == cells["test mIoU (%), measured"] == "\N{EM DASH}"
    counted = "parameters, counted"
    assert cells[counted].strip("*") == told[counted].strip("*") != "\N{EM DASH}"  # it failed, and is counted
    assert told["power (W), measured"] == "\N{EM DASH}"


def test_units_are_those_of_the_headings() -> None:
    heading, _, row = pipes(markdown([record("a", 0.5, 0.0123)]))
    cells = dict(zip(heading, row, strict=True))
    assert cells["latency median (ms), measured"] == "12.3"
    assert cells["FPS model, measured"] == "81.3"
    assert cells["FPS end to end, measured"] == "40.7"
    assert cells["val mIoU best (%), measured"] == "50.0"
    assert cells["peak memory (MiB), measured"] == "3.0"


def test_seeds_are_one_row_with_mean_and_deviation_and_can_be_shown_each() -> None:
    made = seeds("", [0.5, 0.52, 0.54])
    (row,) = wide(made).rows
    cells = dict(zip(LAYOUTS["wide"], row.cells, strict=True))
    assert row.name == "jetseg-nano"
    assert cells["val"].text == "52.0 \N{PLUS-MINUS SIGN} 2.0"
    assert cells["seeds"].text == "3"
    assert any("Mean over 3 trainings" in note for note in notes(made))
    assert any("seeds 0, 1, 2." in note for note in notes(made))
    assert [each.name for each in rows_of(made, merge_seeds=False)] == ["seed=0", "seed=1", "seed=2"]


def test_a_seed_that_failed_is_said_and_the_rest_is_shown() -> None:
    made = [*seeds("net", [0.5, 0.6]), failed("net, seed=2").model_copy(update={"fingerprint": "net"})]
    made[2] = made[2].model_copy(
        update={"changes": {"training.seed": 2}, "training_config": TrainingConfig(seed=2), "key": "net2"}
    )
    table = wide(made)
    (row,) = table.rows
    assert dict(zip(LAYOUTS["wide"], row.cells, strict=True))["seeds"].text == "2 of 3"
    assert any("failed (train, diverged)" in note for note in table.notes.all)


def marks(records: list[Record], column: str) -> list[str]:
    table = build_table(rows_of(records), find_columns([column]), "title")
    return [
        "" if (mark := row.cells[0].mark) is None else mark.place + ("=" if mark.is_tie else "") for row in table.rows
    ]


def six(median_s: float, spread: float) -> Any:
    """A profile of six processes around a median."""
    return profile(median_s, model_latency=latency(*(median_s * (1 + spread * (n - 2.5)) for n in range(6))))


def test_latencies_whose_difference_cannot_be_told_share_their_place() -> None:
    made = different(
        record("a", profile=six(0.0100, 0.01)),
        record("b", profile=six(0.0102, 0.01)),
        record("c", profile=six(0.0120, 0.001)),
        record("d", profile=six(0.0300, 0.001)),
    )
    assert marks(made, "latency") == ["best=", "best=", "second", ""]
    assert marks(made, "fps") == ["best=", "best=", "second", ""]


def test_latencies_of_few_processes_are_told_apart_only_beyond_what_a_machine_repeats() -> None:
    # Within 6 % each, so their difference within 8.5 %.
    made = different(*(record(f"{ms}", latency_s=ms / 1e4) for ms in (100, 108, 111, 130, 150)))
    assert marks(made, "latency") == ["best=", "best=", "second", "", ""]
    assert any("at least 6 % for fewer than 6 processes" in note for note in notes(made))


def test_one_training_each_ranks_no_accuracy_and_says_so_and_several_do() -> None:
    one = different(record("a", 0.5), record("b", 0.6))
    assert marks(one, "val") == ["", ""]
    assert any(note.startswith("Not ranked") and "val mIoU best" in note for note in notes(one))
    apart = [*seeds("a", [0.50, 0.51, 0.50]), *seeds("b", [0.60, 0.61, 0.60]), *seeds("c", [0.30, 0.31, 0.30])]
    assert marks(apart, "val") == ["second", "best", ""]


def test_a_place_that_most_rows_share_is_no_place_and_neither_is_a_second_that_is_the_last() -> None:
    near = [*seeds("a", [0.50, 0.56, 0.53]), *seeds("b", [0.54, 0.58, 0.50]), *seeds("c", [0.1, 0.11, 0.12])]
    assert marks(near, "val") == ["", "", ""]
    assert any(
        "more than half of the rows are not significantly" in note and "val mIoU best" in note for note in notes(near)
    )
    assert marks(different(record("a", latency_s=0.01), record("b", latency_s=0.02)), "latency") == ["best", ""]
    assert marks(different(record("a"), record("b")), "parameters") == ["", ""]


def test_means_over_seeds_are_held_apart_by_welchs_test_and_not_by_whether_their_intervals_overlap() -> None:
    # The intervals, 0.477 to 0.523 and 0.517 to 0.563, overlap; the difference of 0.04 +- 0.021 leaves out 0.
    a, b, c = ([m - 0.0093, m, m + 0.0093] for m in (0.50, 0.54, 0.3))
    assert marks([*seeds("a", a), *seeds("b", b), *seeds("c", c)], "val") == ["second", "best", ""]


def test_what_failed_or_ended_early_is_marked_and_takes_no_place() -> None:
    short = training(0.9).model_copy(update={"stopped": "made up"})
    made = [
        *seeds("a", [0.50, 0.51, 0.50]),
        *seeds("b", [0.60, 0.61, 0.60]),
        *seeds("c", [0.30, 0.31, 0.30]),
        *(each.model_copy(update={"training": short}) for each in seeds("d", [0.9, 0.9])),
    ]
    assert marks(made, "val") == ["second", "best", "", ""]
    assert rows_of(made)[-1].label.endswith(" (ended early)")
    networks = different(record("a"), failed("b"), record("c"))
    assert marks(networks, "parameters") == ["", "", ""]


def test_from_one_study_to_another_a_latency_repeats_less_well() -> None:
    made = different(record("a", latency_s=0.0100), record("b", latency_s=0.0112), record("c", latency_s=0.03))
    one = rows_of(made, "first")
    other = [*rows_of(made[:1], "first"), *rows_of(made[1:], "second")]
    places = []
    for rows in (one, other):
        table = build_table(rows, find_columns(["latency"]), "title")
        places.append([row.cells[0].mark.place if row.cells[0].mark else "" for row in table.rows])
        told = any("from one study to another it is at least 15 %" in note for note in table.notes.all)
        assert told == (rows is other)
    assert places == [["best", "second", ""], ["", "", ""]]


def test_footnotes_say_data_training_measurement_failures_and_reasons() -> None:
    text = "\n".join(notes(different(record("a", also_named=("b",)), failed("c"))))
    for part in (
        "made-up, 8 train / 4 val / 4 test images at 64x96 (HxW), 3 classes, void pixels ignored",
        "best constant prediction scores 20.0 % on val and 21.0 % on test",
        "jetloss (rare_share 0.0001), 300 steps, batch 8",
        "5 passes in 1 fresh process after a warm-up, batch 1, fp32, 1 thread, eager",
        "1 MAC = 2 FLOPs",
        "Power: made up.",
        "processor made-up processor, 2 cores",
        "Rows finished on 2026-01-01 (UTC).",
        "c failed (train, diverged): the loss was nan at step 3",
        "a is the same network and training as b, so it ran once",
    ):
        assert part in text


OTHER_CPU = profile(0.01, environment=ENVIRONMENT.model_copy(update={"cpu": "another"}))
DIFFERENT = {
    "machine": (record("a", profile=OTHER_CPU), "another, 2 cores", "latency"),
    "data": (record("a", dataset=DATASET.model_copy(update={"digest": "1" * 16})), "digest 11111111", "val"),
    "recipe": (record("a", training_config=TrainingConfig(learning_rate=0.5)), "learning_rate 0.5", "val"),
    "precision": (record("a", profiling_config=ProfilingConfig(dtype="bf16")), "precision bf16", "latency"),
}


@pytest.mark.parametrize(("other", "said", "column"), DIFFERENT.values(), ids=DIFFERENT)
def test_rows_of_different_protocols_are_refused_or_grouped(other: Record, said: str, column: str) -> None:
    rows = rows_of(different(record("b"), record("c"), other))
    with pytest.raises(SpecError, match="do not compare") as refused:
        build_table(rows, find_columns([column]), "title")
    assert said in str(refused.value)
    table = build_table(rows, find_columns([column]), "title", mixed=True)
    assert [[row.name for row in section.rows] for section in table.sections] == [["b", "c"], ["a"]]
    assert said in table.sections[1].label
    assert table.notes.essential[0].startswith("NOT COMPARABLE")
    # What hangs on none of that stands in one column.
    assert len(build_table(rows, find_columns(["parameters"]), "title").sections) == 1


def test_what_a_sweep_varies_on_purpose_is_no_other_protocol() -> None:
    made = different(
        record("a"),
        record("b", changes={"training.loss": "cross-entropy"}, training_config=TrainingConfig(loss="cross-entropy")),
    )
    assert len(wide(made).sections) == 1


def test_a_row_that_failed_contradicts_no_protocol() -> None:
    assert len(wide(different(record("a"), failed("b"))).sections) == 1


def test_columns_are_chosen_by_name_and_a_wrong_name_lists_them_all() -> None:
    table = build_table(rows_of([record("a")]), find_columns(["fps", "parameters"]), "title")
    assert [column.heading for column in table.columns] == ["FPS model", "parameters"]
    with pytest.raises(SpecError, match="no column is called speed; choose from: kind, input,"):
        find_columns(["speed"])
    with pytest.raises(SpecError, match="named twice"):
        find_columns(["fps", "fps"])
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)


def test_the_frame_is_in_si_units_with_nothing_for_what_was_not_measured() -> None:
    table = frame([record("a", 0.5, 0.0123), failed("b")])
    assert table.loc[0, "latency_model_median_s"] == 0.0123
    assert table.loc[0, "val_miou_best"] == 0.5
    assert table.loc[0, "val_iou_car"] == 0.5
    assert table["power_w"].isna().all()
    assert table.loc[1, "reason"] == "the loss was nan at step 3"
    assert table.loc[1, ["test_miou", "latency_model_median_s"]].isna().all()


def latex(records: list[Record], title: str = "title", names: tuple[str, ...] = LAYOUTS["brief"]) -> str:
    return to_latex(build_table(rows_of(records), find_columns(names), title, True).without(CHANGES).condensed())


def compile_latex(folder: Path) -> str:
    """What pdflatex prints about the paper.tex of a folder, which compiles."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="latin-1")
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


NASTY = 'a_b & 50% $x$ #1 {c} ~d ^e \\f <g> |h| "i" \N{EM DASH} \N{GREEK SMALL LETTER TAU} \N{SNOWMAN}'


def test_latex_escapes_and_balances() -> None:
    text = latex(different(record("a_b & 50%"), failed("c")), "title #1")
    assert r"a\_b \& 50\%" in text
    assert r"title \#1" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert all(line.count(" & ") == len(columns) - 1 for line in body)
    left_out = re.search(r"No row has a value, so the column is left out: (.*)", text.split(r"\begin{table")[0])
    assert left_out
    assert "power (W)" in left_out[1]
    assert " W " not in text.split(r"\toprule")[1]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive-latex-base)")
@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
def test_latex_compiles_and_is_as_wide_as_it_says(names: tuple[str, ...], tmp_path: Path) -> None:
    made = [*seeds(NASTY, [0.5, 0.6, 0.55]), *different(record("jetseg-nano", 0.6), failed("c", NASTY))]
    text = latex(made, NASTY, names)
    (tmp_path / "table.tex").write_text(text)
    told = re.search(r"some (\d+) pt wide", text)
    assert told
    size = re.search(r"\\(footnotesize|scriptsize)", text)
    assert size
    body = re.search(r"(\\begin{tabular}.*\\end{tabular})", text, re.DOTALL)
    assert body
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[10pt,twocolumn]{article}\\usepackage{booktabs}\\newsavebox{\\measured}\n\\begin{document}\n"
        "\\input{table.tex}\n"
        f"\\sbox{{\\measured}}{{\\{size[1]}\\setlength{{\\tabcolsep}}{{3pt}}{body[1]}}}\n"
        "\\typeout{WIDTH \\the\\wd\\measured}\n\\end{document}\n"
    )
    width = re.search(r"WIDTH ([\d.]+)pt", compile_latex(tmp_path))
    assert width
    assert 0.8 * float(told[1]) <= float(width[1]) <= 1.02 * float(told[1])


PREAMBLE = (
    r"\documentclass[10pt,twocolumn]{article}\textwidth=516pt\columnsep=12pt\usepackage{booktabs}"
    r"\begin{document}Table~\ref{tab:x}."
)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive-latex-base)")
@pytest.mark.parametrize("level", NOTE_LEVELS)
@pytest.mark.parametrize("layout", ["paper", "brief"])
def test_a_table_for_a_paper_compiles_without_an_overfull_box(layout: str, level: NoteLevel, tmp_path: Path) -> None:
    study = read_study(Path(__file__).parents[3] / "reports" / "paper" / "realtime")
    rows = study.rows()
    made = build_table(rows, columns_of_layout(layout, rows), "title", True, digits=3).without(CHANGES)
    made = made.condensed().without_constants()
    text = to_latex(made, LatexOptions("A caption with 50 %", "tab:x", level, cites=True))
    assert r"\caption{A caption with 50 \%}" in text
    assert r"\label{tab:x}" in text
    assert r"{linknet}~\cite{chaurasia2017linknet}" in text
    assert ("\\parbox" in text) == (level != "none")
    (tmp_path / "table.tex").write_text(text)
    (tmp_path / "paper.tex").write_text(PREAMBLE + "\\input{table.tex}\\end{document}\n")
    compile_latex(tmp_path)
    printed = compile_latex(tmp_path)  # the second run knows the label
    assert "Overfull" not in printed
    assert "Reference `tab:x'" not in printed


def test_headings_for_papers_have_their_unit_and_constant_words_become_a_note() -> None:
    made = different(record("a", 0.5, 0.01), record("b", 0.6, 0.02))
    table = build_table(rows_of(made), find_columns(("input", "val", "latency", "verdict")), "t").without_constants()
    text = to_latex(table)
    assert r"\shortstack[r]{Latency\\(ms)}" in text
    assert r"\shortstack[r]{Val.\\mIoU (\%)}" in text
    assert "Verdict" not in text.split(r"\midrule")[0].split(r"\toprule")[1]
    assert table.notes.essential[0] == "All rows: input (HxW) 64x96; verdict valid."


@pytest.mark.parametrize(("digits", "shown"), [(2, "0.012"), (3, "0.0123"), (5, "0.012346")])
def test_digits_are_significant_ones(digits: int, shown: str) -> None:
    assert units.with_digits(0.0123456, digits) == shown
    assert units.with_digits(1234.56, digits) == {2: "1,200", 3: "1,230", 5: "1,234.6"}[digits]
    assert units.with_digits(0.0, digits) == "0"


@pytest.mark.parametrize(("digits", "shown"), [(2, "31 \N{PLUS-MINUS SIGN} 1"), (3, "31.0 \N{PLUS-MINUS SIGN} 1.0")])
def test_a_deviation_has_the_decimals_of_its_mean_and_counts_stay_whole(digits: int, shown: str) -> None:
    table = build_table(
        rows_of(seeds("net", [0.30, 0.31, 0.32])), find_columns(["val", "parameters"]), "title", digits=digits
    )
    (row,) = table.rows
    assert row.cells[0].text == shown
    assert (
        row.cells[1].text
        == build_table(rows_of([record("net")]), find_columns(["parameters"]), "").rows[0].cells[0].text
    )


def test_html_is_escaped_and_whole() -> None:
    from html.parser import HTMLParser

    text = to_html(wide(different(record("a<script>"), failed("b", "<&>"))))
    open_tags: list[str] = []

    class Strict(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Strict().feed(text)
    assert open_tags == []
    assert "<script>" not in text


def test_csv_of_a_table_has_its_rows_and_reads_back() -> None:
    text = to_csv(wide(different(record("a, b"), failed("c"))))
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["variant"] for row in rows] == ["a, b", "c (failed)"]
    assert rows[1]["latency median (ms), measured"] == ""


def test_all_three_files_are_written_the_same_each_time(tmp_path: Path) -> None:
    study = study_of(tmp_path, different(record("a"), failed("b")), {"name": "title"})
    paths = write_tables(study, study.rows())
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv"]
    with (tmp_path / "table.csv").open() as file:
        assert [row["variant"] for row in csv.DictReader(file)] == ["a", "b"]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_tables(study, study.rows())] == before


@pytest.mark.parametrize("name", ["a|b", "a\nb"])
def test_a_name_cannot_break_the_markdown_table(name: str) -> None:
    table = [line for line in markdown([record(name)]).splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert len({re.sub(r"\\\|", "", line).count("|") for line in table}) == 1
    assert table[2].startswith("| a\\|b |" if name == "a|b" else "| a b |")


def test_a_reason_of_many_lines_stays_one_footnote_and_one_line_of_latex() -> None:
    made = different(record("a"), failed("b", "RuntimeError: Error(s)\n\tsize mismatch for x_y & z"))
    assert "b failed (train, diverged): RuntimeError: Error(s) size mismatch for x_y & z" in notes(made)
    before = latex(made).split(r"\begin{table")[0]
    assert all(line.startswith("% ") for line in before.strip().splitlines())


def test_a_busy_machine_is_said() -> None:
    busy = profile(0.01, environment=ENVIRONMENT.model_copy(update={"load_average": 7.5}))
    said = "BUSY MACHINE: load average 7.5 on 2 cores. Do not trust the latencies and FPS."
    assert said in wide(different(record("a"), record("b", profile=busy))).notes.essential


def test_moving_clocks_do_not_make_a_machine_another_machine() -> None:
    slower = profile(0.01, environment=ENVIRONMENT.model_copy(update={"clock_mhz": (800.0,), "load_average": 2.0}))
    lines = notes(different(record("a"), record("b", profile=slower)))
    assert len([line for line in lines if line.startswith("Measured on")]) == 1
    assert "Processor clocks after each profile: 800 to 1000 MHz." in lines
    assert not any("NOT COMPARABLE" in line for line in lines)


def test_seeds_of_different_machines_are_rows_of_their_own() -> None:
    one, two, three = seeds("net", [0.50, 0.52, 0.54])
    other = three.model_copy(update={"profile": OTHER_CPU})
    assert [len(row.records) for row in rows_of([one, two, other])] == [2, 1]
    with pytest.raises(SpecError, match="do not compare"):
        build_table(rows_of([one, two, other]), find_columns(["latency"]), "title")


SLOW_SWAP = {"before": {"at_s": 0.0, "swapped_pages": 0}, "after": {"at_s": 1.0, "swapped_pages": 10**6}}


def test_what_an_invalid_profile_measured_is_left_out_and_what_was_trained_stays() -> None:
    invalid = profile(0.001, watches=(Watch.model_validate(SLOW_SWAP),))
    made = different(record("a", 0.5, 0.01), record("b", 0.6, profile=invalid))
    table = wide(made)
    cells = dict(zip(LAYOUTS["wide"], table.rows[1].cells, strict=True))
    assert table.rows[1].name == "b"
    assert (cells["val"].text, cells["latency"].text) == ("60.0", "\N{EM DASH}")
    assert any("b is invalid" in note and "left out" in note for note in table.notes.essential)
    shown = wide(made, show_invalid=True)
    cells = dict(zip(LAYOUTS["wide"], shown.rows[1].cells, strict=True))
    assert shown.rows[1].name == "b (INVALID)"
    assert cells["latency"].text == "1.00"
    assert cells["latency"].mark is None
    assert not any("left out" in note for note in shown.notes.essential if note.startswith("b is invalid"))


def test_rows_that_share_a_reason_of_doubt_share_a_note() -> None:
    wrong = profile(0.01, finite=False)
    table = wide(different(record("a", profile=wrong), record("b", profile=wrong), record("c")))
    (line,) = (note for note in table.notes.essential if "infinities" in note)
    assert line.startswith("a and b are suspect: the output contains infinities")


def test_commits_of_one_machine_stand_in_one_line() -> None:
    environments = [ENVIRONMENT.model_copy(update={"commit": commit}) for commit in ("1a2b", "3c4d", "1a2b", None)]
    (line,) = describe_machines(environments)
    assert line.endswith("(1a2b, 3c4d)")


def test_one_reading_of_power_is_not_exact() -> None:
    from jetbench.reporting.tables.columns import BY_NAME

    (row,) = rows_of([record("a")])
    assert BY_NAME["power"].read(row) is None
    memory = BY_NAME["memory"].read(row)
    assert memory
    assert memory.is_exact


def test_each_format_heads_the_names_of_the_rows_with_what_they_name() -> None:
    table = Table("claims", (), (Section("", (TableRow("flops", ()),)),), Notes(()), heading="claim & more")
    shown = StringIO()
    Console(file=shown, width=80).print(to_terminal(table))
    assert "claim & more" in shown.getvalue()
    assert "| claim & more |" in to_markdown(table)
    assert '<th scope="col">claim &amp; more</th>' in to_html(table)
    assert r"Claim \& more \\" in to_latex(table)
    assert to_csv(table).startswith("group,claim & more\n")


def test_the_base_stands_first_and_the_others_say_how_they_differ_from_it() -> None:
    def changed(name: str, miou: float, latency_s: float) -> Record:
        return record(name, miou, latency_s, changes={"groups": name}, fingerprint=name)

    rows = rows_of([changed("fast", 0.4, 0.005), record("base", 0.5, 0.01), changed("same", 0.5, 0.0101)])
    names = ("val", "val-change", "latency", "latency-change")
    table = build_table(rows, find_columns(names), "title")
    assert [row.name for row in table.rows] == ["base (base)", "fast", "same"]
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["50.0", "\N{EM DASH}", "10.0", "\N{EM DASH}"],
        ["40.0", "-10.0 ?", "5.00", "-50 %"],
        ["50.0", "0 ?", "10.1", "+1 % ="],
    ]
    assert any(note.startswith("Against the base: ") for note in table.notes.essential)
    alone = rows_of([changed("fast", 0.4, 0.005), changed("same", 0.5, 0.01)])
    assert not {"val-change", "latency-change"} & {column.name for column in columns_of_layout("brief", alone)}


def test_a_row_does_not_compare_with_a_base_of_another_machine() -> None:
    elsewhere = profile(0.005, environment=ENVIRONMENT.model_copy(update={"cpu": "another processor"}))
    rows = rows_of([record("base"), record("there", changes={"groups": 1}, fingerprint="there", profile=elsewhere)])
    table = build_table(rows, find_columns(("latency", "latency-change")), "title", mixed=True)
    assert [row.cells[1].text for row in table.rows] == ["\N{EM DASH}", "\N{EM DASH}"]


def test_empty_columns_go_and_equal_ones_become_one() -> None:
    made = different(record("a", 0.5), record("b", 0.6))
    table = build_table(rows_of(made), find_columns(("val", "val-last", "power", "test")), "title").condensed()
    assert [column.heading for column in table.columns] == ["val mIoU best (%) = val mIoU last (%) = test mIoU (%)"]
    assert "power (W)" in table.notes.details[-1]
    apart = build_table(rows_of(made[:1]), find_columns(("val", "val-last")), "title").condensed()
    assert len(apart.columns) == 2


def test_rows_are_sorted_by_a_column_the_best_first() -> None:
    rows = rows_of(different(record("slow", 0.6, 0.02), record("fast", 0.5, 0.01), failed("neither")))
    names = [[row.name for row in sort_rows(rows, find_columns([name])[0])] for name in ("latency", "val")]
    assert names == [["fast", "slow", "neither"], ["slow", "fast", "neither"]]
    based = rows_of(
        [
            record("base", 0.5, 0.02),
            *(
                record(n, m, s, changes={"groups": n}, fingerprint=n)
                for n, m, s in (("a", 0.4, 0.01), ("b", 0.6, 0.03))
            ),
        ]
    )
    for name, order in (("val-change", ["b", "a", "base"]), ("latency-change", ["a", "b", "base"])):
        assert [row.name for row in sort_rows(based, find_columns([name])[0])] == order


def test_the_legend_explains_only_signs_that_the_table_has() -> None:
    made = different(record("why (?)", 0.5, 0.01), record("x =", 0.6, 0.05))
    brief = build_table(rows_of(made), find_columns(("input", "latency")), "title").notes.brief
    assert not any("(?)" in note or "not significantly" in note for note in brief)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_terminal_gets_the_columns_that_fit_and_no_broken_row(width: int) -> None:
    made = different(
        *(record(f"groups={n}", 0.5, 0.01 * n, changes={"groups": n}) for n in range(1, 4)), record("base")
    )
    rows = rows_of(made)
    table = build_table(rows, columns_of_layout("brief", rows), "title").condensed()
    screen = StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    show_on_terminal(console, table)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("groups=") for line in lines) == 3
    assert all("10.0" in line or "20.0" in line or "30.0" in line for line in lines if line.startswith("groups="))
    said = [line for line in lines if line.startswith("- ")]
    assert len(said) <= 5
    assert said[-1].startswith("- --notes shows all")
    assert any("Left out at" in line for line in said) == (width < 200)


@pytest.mark.parametrize(("swapped", "mark"), [(0, ""), (10, " (?)"), (10**6, " (INVALID)")])
def test_the_mark_of_a_doubtful_profile_stands_behind_that_of_the_base(swapped: int, mark: str) -> None:
    watch = {"before": {"at_s": 0.0, "swapped_pages": 0}, "after": {"at_s": 1.0, "swapped_pages": swapped}}
    made = record("base", profile=profile(0.01, watches=(Watch.model_validate(watch),)))
    study = study_of(Path("x"), [made, record("b", changes={"groups": 1}, fingerprint="b")], {"labels": {"base": "us"}})
    row = study.labelled_rows()[0]
    assert (row.listed, row.label) == (f"us (base){mark}", f"us{mark}")


def test_labels_are_what_tables_call_axes_values_and_variants() -> None:
    labels = {
        "base": "ours",
        "groups=gcd": "shared",
        "jetconv.branches": "kernels",
        "branches=3": "unused",
        "case": "C",
    }
    records = [
        record("base"),
        record("groups=gcd", changes={"groups": "gcd"}, fingerprint="a"),
        record("branches=3a 5a, groups=1", changes={"jetconv.branches": ["3a", "5a"], "groups": 1}, fingerprint="b"),
        record("case", changes={"groups": 2}, fingerprint="c"),
    ]
    study = study_of(Path("x"), records, {"labels": labels})
    assert [row.listed for row in study.labelled_rows()] == ["ours (base)", "shared", "kernels=3a 5a, groups=1", "C"]
    assert [row.name for row in study.rows()] == [record.variant for record in records]  # as comparisons pair them
