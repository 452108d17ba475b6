"""jetbench table over several studies, without a training: records that are made up."""

from pathlib import Path

import pytest

from jetbench.records.folder import append_records
from jetbench.records.record import Record
from tests.cli.test_verbs import jetbench
from tests.made_up import ENVIRONMENT, failed, profile, record


def keep(folder: Path, *records: Record) -> Path:
    """A report folder with those rows, each of a network of its own."""
    folder.mkdir()
    for each in records:
        append_records(folder, each.model_copy(update={"fingerprint": each.variant}))
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return keep(tmp_path / "one", record("fast", 0.4, 0.01), record("good", 0.6, 0.02), failed("broken"))


def test_layouts_and_formats(study: Path) -> None:
    assert "Written" not in jetbench("table", str(study), "--style", "brief", code=0)
    assert not (study / "table.md").exists()  # asked for in a style, it is only shown
    assert jetbench("table", str(study), "--style", "paper,latex", code=0).startswith("% Needs \\usepackage{booktabs}")
    assert jetbench("table", str(study), "--style", "markdown", code=0).startswith("# one\n")
    assert jetbench("table", str(study), "--style", "html", code=0).startswith("<table>")
    csv = jetbench("table", str(study), "--style", "csv", code=0).splitlines()
    assert csv[0].startswith("variant,")
    assert len(csv) == 4
    assert "wide, training, or one of terminal" in jetbench("table", str(study), "--style", "pretty", code=2)


def test_columns_by_name_to_a_file(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.md"
    jetbench("table", str(study), "--columns", "latency,test", "--style", "markdown", "--out", str(out), code=0)
    assert out.read_text().splitlines()[2] == "| variant | latency median (ms), measured | test mIoU (%), measured |"
    assert "no column is called speed" in jetbench("table", str(study), "--columns", "speed", code=2)
    assert "latency median (ms), measured" in jetbench("table", str(study), "--columns", "help", code=0)
    assert "is a folder" in jetbench("table", str(study), "--style", "html", "--out", str(tmp_path), code=2)


@pytest.mark.parametrize(
    ("name", "begins"), [("t.tex", "% Needs"), ("t.html", "<table>"), ("t.csv", "variant,"), ("t.md", "# one")]
)
def test_a_file_has_the_format_of_its_ending(study: Path, tmp_path: Path, name: str, begins: str) -> None:
    jetbench("table", str(study), "--out", str(tmp_path / name), code=0)
    assert (tmp_path / name).read_text().startswith(begins)
    assert "unknown format" in jetbench("table", str(study), "--out", str(tmp_path / "t.pdf"), code=2)


def test_what_cannot_be_written_to_is_an_error_and_what_was_there_stays(study: Path, tmp_path: Path) -> None:
    (tmp_path / "keep.md").write_text("mine")
    for out in ("/proc/x.md", "/dev/full"):
        said = jetbench("table", str(study), "--style", "markdown", "--out", out, code=2)
        assert f"--out {out}: cannot be written to" in said
    assert "cannot be written to" in jetbench("plot", str(study), "--out", "/proc/x", code=2)
    # A dash in a locale without one.
    jetbench(
        *("table", str(study), "--style", "markdown", "--out", str(tmp_path / "keep.md")),
        code=0, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert "\N{EM DASH}" in (tmp_path / "keep.md").read_text()


def test_a_pipe_has_signs_for_what_a_terminal_has_in_bold(tmp_path: Path) -> None:
    made = keep(tmp_path / "one", *(record(f"n{n}", latency_s=n / 100) for n in (1, 2, 3)))
    text = jetbench("table", str(made), "--style", "brief", "--columns", "latency", code=0)
    assert "10.0 *" in text
    assert "20.0 +" in text
    assert "Without colours: * is bold, + underlined." in text


def test_latex_that_is_too_wide_says_so_aloud(study: Path) -> None:
    columns = "parameters,macs,flops,eq2,val,val-last,test,latency,p90,p99,worst,fps,fps-e2e,memory,training-s,whole-s"
    assert "note: some" in jetbench("table", str(study), "--columns", columns, "--style", "latex", code=0)


def test_two_studies_of_two_machines_are_refused_or_grouped(study: Path, tmp_path: Path) -> None:
    elsewhere = profile(0.03, environment=ENVIRONMENT.model_copy(update={"cpu": "another"}))
    other = keep(tmp_path / "two", record("fast", 0.4, profile=elsewhere))
    both = ("table", str(study), str(other), "--style", "markdown")
    refused = jetbench(*both, code=2)
    assert "these rows do not compare" in refused
    assert "processor another, 2 cores" in refused
    grouped = jetbench(*both, "--mixed", code=0)
    assert "| *processor another, 2 cores* |" in grouped
    assert "fast [one]" in grouped
    assert "fast [two]" in grouped
    # Counts do not hang on a machine.
    assert "fast [two]" in jetbench(*both, "--columns", "parameters,macs", code=0)


def test_the_iou_of_each_class(study: Path) -> None:
    text = jetbench("table", str(study), "--per", "class", "--style", "markdown", code=0)
    assert "| variant | test mIoU (%), measured | road, measured | sky, measured | car, measured |" in text
    assert "expected one of network, class, evaluation, axis, device, budget" in jetbench(
        "table", str(study), "--per", "pixel", code=2
    )


def test_compare_has_an_exit_code_for_ci(study: Path, tmp_path: Path) -> None:
    slower = keep(tmp_path / "slower", record("fast", 0.4, 0.02), record("good", 0.6, 0.02))
    text = jetbench("compare", str(study), str(slower), code=0)
    assert "+100.0" in text
    assert "Only in one: broken" in text
    refused = jetbench("compare", str(study), str(slower), "--fail-on", "latency:3%", code=4)
    assert "worse: fast: latency +100.0" in refused
    assert "better" in jetbench("compare", str(slower), str(study), "--fail-on", "latency:3%", code=0)


def test_compare_says_what_does_not_compare(study: Path, tmp_path: Path) -> None:
    elsewhere = profile(0.03, environment=ENVIRONMENT.model_copy(update={"cpu": "another"}))
    other = keep(tmp_path / "other", record("fast", 0.4, profile=elsewhere))
    text = jetbench("compare", str(study), str(other), code=0)
    assert "does not compare: processor: made-up processor, 2 cores against another, 2 cores" in " ".join(text.split())
    refused = jetbench("compare", str(study), str(other), "--fail-on", "latency:3%", code=2)
    assert "not comparable: processor" in refused
    apart = keep(tmp_path / "apart", record("nobody"))
    assert "no variant of the same name" in jetbench("compare", str(study), str(apart), code=2)


@pytest.mark.slow
def test_plot_draws_what_is_asked_for(study: Path, tmp_path: Path) -> None:
    text = jetbench("plot", str(study), "--picture", "latencies", "--out", str(tmp_path / "new" / "pictures"), code=0)
    assert "latencies.png, latencies.svg, latencies.pdf" in text
    assert len(list((tmp_path / "new" / "pictures").iterdir())) == 3
    assert "roofline" in jetbench("plot", str(study), "--picture", "help", code=0)
    assert "choose from accuracy-against-latency" in jetbench("plot", str(study), "--picture", "pie", code=2)
    assert "no row has the data" in jetbench("plot", str(study), "--picture", "accuracy-against-energy", code=2)


def test_how_trainings_converge(study: Path) -> None:
    text = jetbench("table", str(study), "--per", "evaluation", "--style", "markdown", code=0)
    assert "| variant | val mIoU after 50% (%), measured | val mIoU after 100% (%), measured | test mIoU" in text
    assert "| good | 60.0 | 60.0 | 60.0 |" in text


@pytest.mark.parametrize("option", ["--out", "--cite"])
@pytest.mark.parametrize("name", ["records.jsonl", "sweep.yaml", "link.tex"])
def test_the_rows_of_a_study_are_not_written_over(study: Path, option: str, name: str) -> None:
    (study / "link.tex").symlink_to(study / "records.jsonl")
    before = (study / "records.jsonl").read_bytes()
    text = jetbench("table", str(study), "--style", "paper,latex", option, str(study / name), code=2)
    assert f"{option} {study / name}: a report folder keeps its rows in a file of that name" in " ".join(text.split())
    assert (study / "records.jsonl").read_bytes() == before


def test_two_outputs_need_two_names(study: Path, tmp_path: Path) -> None:
    same = str(tmp_path / "same.tex")
    text = jetbench("table", str(study), "--style", "paper,latex", "--out", same, "--cite", same, code=2)
    assert "is the file of --out, too" in text
    assert not Path(same).exists()


def test_rows_are_sorted_by_what_they_have(study: Path) -> None:
    assert "no row has a value" in jetbench("table", str(study), "--sort", "energy", code=2)
