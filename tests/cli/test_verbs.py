import contextlib
import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jetbench.cli.app import check_folder, main
from jetbench.errors import SpecError
from jetbench.records.folder import append_records, read_records
from tests.execution.made_up import wait_until
from tests.landed import count_landed
from tests.made_up import record

SWEEP = """
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 16, val: 6, test: 4}
training: {budget: 6 steps, batch_size: 4, evaluations: 2}
profiling: {warmup_iterations: 1, min_iterations: 3, min_seconds: 0, precision: 1}
variants:
  - grid: {groups: [1, gcd]}
"""


def jetbench(*arguments: str, cwd: Path | None = None, code: int = 0, **environment: str) -> str:
    """What the command prints; its exit code is checked, and that it shows no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "jetbench", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **environment},
        stdin=subprocess.DEVNULL,
    )
    text = done.stdout + done.stderr
    # Beside other tests on few cores every profile may be invalid, which a sweep tells by its exit code.
    is_busy = code == 0 and arguments[:1] == ("sweep",) and re.search(r"^0 of \d+ profiles? are valid", text, re.M)
    assert done.returncode == (3 if is_busy and done.returncode else code), text
    assert "Traceback" not in text
    return text


def test_list_names_what_is_bundled() -> None:
    text = jetbench("list")
    assert "jetseg-nano-released" in text
    assert "Sweeps" in text
    rows = json.loads(jetbench("list", "--json", "--classes", "32"))["architectures"]
    assert {"name": "jetseg-nano-released", "parameters": 32_140, "macs": 1_041_924_944}.items() <= next(
        row for row in rows if row["name"] == "jetseg-nano-released"
    ).items()


def test_show_prints_blocks_and_json_with_the_same_totals() -> None:
    text = jetbench("show", "jetseg-nano-released", "--size", "512x512", "--classes", "32", "--set", "combination=2")
    assert "34,361" in text
    shown = json.loads(jetbench("show", "jetseg-nano-released", "--classes", "32", "--set", "combination=2", "--json"))
    assert shown["parameters"] == 34_361
    assert shown["parameters"] == sum(b["parameters"] for b in shown["blocks"]) + shown["decoder"]["parameters"]
    assert shown["macs"] == sum(b["macs"] for b in shown["blocks"]) + shown["decoder"]["macs"]
    assert shown["blocks"][1]["stage"] == "s1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "jetseg-nona"), "did you mean jetseg-nano?"),
        (("show", "jetseg-nano", "--size", "512"), "write HEIGHTxWIDTH"),
        (("show", "jetseg-nano", "--size", "20x20"), "3 are needed"),
        (("show", "jetseg-nano", "--classes", "1"), "at least 2 classes"),
        (("show", "jetseg-nano", "--set", "groups"), "expected key=value"),
        (("show", "jetseg-nano", "--set", "groups=7"), "groups=7 at stages.s0"),
        (("show", "jetseg-nano", "--set", "stage.s2.repeats=1"), "stage: no such key"),
        (("sweep", "nano", "--dataset", "coco"), "expected streets, camvid:PATH, folder:PATH"),
        (("sweep", "nano", "--dataset", "camvid:/nowhere"), "/nowhere: no such folder"),
        (("sweep", "nano", "--budget", "soon"), "'soon' is not a budget"),
        (("sweep", "nano", "--budget", "2", "--dry-run"), "error: --budget: '2' is not a budget; write 300steps"),
        (
            ("sweep", "nano", "--set", "training.batch_size=yes"),
            "--set training.batch_size=yes: expected a number, found",
        ),
        (("sweep", "nano", "--set", "training.batch_size=1:30"), "expected a whole number (given: '1:30')"),
        (("sweep", "nano", "--device", "tpu", "--dry-run"), "tpu: no bundled device has that name"),
        (("sweep", "nano", "--set", "training.teacher=no.safetensors", "--dry-run"), "no.safetensors"),
        (("sweep", "nano", "--name", "a/b", "--dry-run"), "name"),
        (("sweep", "missing.yaml"), "missing.yaml: no such file; bundled: "),
        (("table", "nowhere"), "not a report folder"),
        (("profile", "weights.safetensors"), "no such weights file"),
        (("profile", "jetseg-nano", "--threads", "9999"), "--threads=9999 is more than the"),
        (("sweep", "nano", "--set", "training.batch_size=257"), "more than the 256 training images"),
        (("sweep", "nano", "--set", "training.threads=4096"), "training.threads=4096 is more than the"),
        (("sweep", "nano", "--set", "trainng.seed=1"), "trainng: no such key; did you mean training?"),
        (("sweep", "nano", "--set", "training.seed=99999999999999"), "training.seed"),
        (("show", "jetseg-nano", "--set", "base_channels=99"), "base_channels=99 is more than max_channels=64"),
        (("show", "."), "jetseg-agx, "),
        (("profile", "weights.safetensors", "--size", "64x64"), "a saved network has its own size"),
    ],
)
def test_bad_input_gets_one_clear_error(
    arguments: tuple[str, ...], message: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    text = refused(*arguments)
    assert text.startswith("error: ")
    assert message in text
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_its_own_ends_with_that_error_and_no_traceback(tmp_path: Path) -> None:
    assert jetbench("show", "jetseg-nona", cwd=tmp_path, code=2).startswith("error: ")
    assert "did you mean" in jetbench("sweep", "nano", "--set", "trainng.seed=1", cwd=tmp_path, code=2)


def test_a_dry_run_counts_and_runs_nothing(tmp_path: Path) -> None:
    text = jetbench("sweep", "sweeps/nano.yaml", "--dry-run", cwd=tmp_path)
    assert "75,164" in text
    assert "Nothing was run" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_another_dataset_keeps_the_sweeps_size_and_options_are_applied_in_order(real_camvid: Path) -> None:
    assert "at 144x288" in jetbench("sweep", "nano", "--dataset", f"camvid:{real_camvid}", "--dry-run")
    native = ("--set", "dataset.size=null")
    assert "at 360x480" in jetbench("sweep", "nano", "--dataset", f"camvid:{real_camvid}", *native, "--dry-run")
    small = ("--set", "dataset.size=90x120", "--dataset", f"camvid:{real_camvid}", "--size", "288x384")
    assert "at 288x384" in jetbench("sweep", "nano", *small, "--dry-run")


def test_a_dry_run_needs_no_data(tmp_path: Path) -> None:
    text = jetbench("sweep", "camvid", "--dry-run", cwd=tmp_path, JETBENCH_DATA=str(tmp_path))
    assert "CamVid was not found: counted for its 11-class form" in text
    assert "at 360x480, 11 classes" in text


def test_a_narrow_terminal_cuts_no_number_and_no_name() -> None:
    text = jetbench("show", "jetseg-nano", "--size", "512x512", COLUMNS="40")
    assert "75,164" in text
    assert "20,299" in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text


@pytest.mark.slow
def test_output_that_cannot_be_encoded_or_is_not_read_ends_nothing(tmp_path: Path) -> None:
    assert "75,164" in jetbench("show", "jetseg-nano", PYTHONIOENCODING="ascii", LC_ALL="C")
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace("[1, gcd]", "[1]"))
    command = f"{shlex.quote(sys.executable)} -m jetbench sweep tiny.yaml | head -1"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    assert len(read_records(tmp_path / "reports" / "tiny")) == 2


@pytest.mark.slow
def test_a_sweep_may_only_train_by_a_loss_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace("[1, gcd]", "[1]"))
    text = jetbench("sweep", "tiny.yaml", "--loss", "dice", "--set", "profile=false", cwd=tmp_path)
    assert "Profiled: no row, as requested" in text
    for made in read_records(tmp_path / "reports" / "tiny"):
        assert made.recipe.loss == "dice"
        assert made.training
        assert made.profile is None
        assert made.failure is None
    assert "--loss: expected 'jetloss'" in jetbench("sweep", "nano", "--loss", "hinge", "--dry-run", code=2)
    missing = jetbench("sweep", "nano", "--set", "training.teacher=nowhere.safetensors", cwd=tmp_path, code=2)
    assert "training.teacher: nowhere.safetensors: no such weights file" in missing


def test_help_of_every_command_reads_well() -> None:
    for command in ((), ("sweep",), ("show",), ("list",), ("table",), ("profile",), ("devices",), ("doctor",)):
        assert "Usage" in jetbench(*command, "--help")


@pytest.mark.quiet
def test_a_sweep_from_end_to_end_then_again_then_its_weights(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    text = jetbench("sweep", "tiny.yaml", cwd=tmp_path)
    folder = tmp_path / "reports" / "tiny"
    assert "[3/3]" in text
    for name in ("table.md", "table.csv", "table.tex", "sweep.yaml", "study.db", "accuracy-against-latency.svg"):
        assert (folder / name).stat().st_size > 0
    records = read_records(folder)
    assert {r.variant for r in records} == {"jetseg-nano", "groups=1", "groups=gcd"}
    assert len(records) == 3
    assert all(r.training and r.profile and r.training.steps == 6 for r in records)
    lines = (folder / "records.jsonl").read_bytes()

    again = jetbench("sweep", "tiny.yaml", cwd=tmp_path)
    assert "3 variants, 3 of them finished already" in again
    assert "begins" not in again
    assert (folder / "records.jsonl").read_bytes() == lines

    weights = sorted((folder / "weights").glob("*.safetensors"))
    assert len(weights) == 3
    found = json.loads(jetbench("profile", str(weights[0]), "--quick", "--json", cwd=tmp_path))
    assert found["profile"]["parameters"] in {r.profile.parameters for r in records if r.profile}
    assert found["is_trained"]

    (folder / "table.md").unlink()
    jetbench("table", str(folder))
    assert (folder / "table.md").exists()

    refused = jetbench("sweep", "tiny.yaml", "--budget", "7steps", cwd=tmp_path, code=2)
    assert "training.budget.amount: 6.0 in the folder, 7.0 requested" in refused


def start(tmp_path: Path, budget: str) -> "subprocess.Popen[str]":
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace("6 steps", budget))
    return subprocess.Popen(
        [sys.executable, "-m", "jetbench", "sweep", "tiny.yaml", "--jobs", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Tests that run in the background inherit an ignored SIGINT; a person's sweep does not.
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_records(tmp_path: Path, count: int, process: "subprocess.Popen[str]") -> None:
    path = tmp_path / "reports" / "tiny" / "records.jsonl"
    limit = time.monotonic() + 120
    while not (count_landed(path.parent) >= count):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_in_the_middle_goes_on_and_repeats_nothing(tmp_path: Path, how: signal.Signals) -> None:
    process = start(tmp_path, "10 steps")
    wait_for_records(tmp_path, 1, process)
    time.sleep(1.5)  # into the second variant
    process.send_signal(how)
    text, _ = process.communicate(timeout=60)
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "run the same command again to continue" in text
        assert "Traceback" not in text
    folder = tmp_path / "reports" / "tiny"
    before, landed = (folder / "records.jsonl").read_text(), count_landed(folder)
    assert landed < 3

    resumed = jetbench("sweep", "tiny.yaml", "--jobs", "1", cwd=tmp_path)
    assert f"3 variants, {landed} of them finished already" in resumed
    assert "train jetseg-nano begins" not in resumed
    after = (folder / "records.jsonl").read_text()
    assert after.startswith(before)
    assert [r.variant for r in read_records(tmp_path / "reports" / "tiny")] == ["jetseg-nano", "groups=1", "groups=gcd"]
    assert count_landed(folder) == 3


@pytest.mark.slow
def test_rows_that_failed_give_exit_code_3_and_their_reason(tmp_path: Path) -> None:
    explodes = "  - cases: {explodes: {training.learning_rate: 1e18}}\n"
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace("  - grid: {groups: [1, gcd]}\n", explodes))
    text = jetbench("sweep", "tiny.yaml", cwd=tmp_path, code=3)
    assert "explodes failed (train, diverged): the loss was" in text
    failures = {r.variant: r.failure for r in read_records(tmp_path / "reports" / "tiny")}
    assert failures["jetseg-nano"] is None
    assert failures["explodes"] is not None


def test_a_wheel_finds_what_it_bundles_from_any_folder(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(root),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel)],
        check=True,
    )
    text = jetbench("sweep", "nano", "--dry-run", cwd=elsewhere, PYTHONPATH=str(installed))
    assert "75,164" in text
    where = subprocess.run(
        [sys.executable, "-c", "import jetbench.spec.catalog as c; print(c.SHELF)"],
        capture_output=True, text=True, cwd=elsewhere, env={**os.environ, "PYTHONPATH": str(installed)}, check=True,
    ).stdout  # fmt: skip
    assert str(installed) in where


def test_count_gives_every_layer_and_the_totals_to_the_unit() -> None:
    text = jetbench("count", "jetseg-nano-released", "--classes", "32")
    assert "1,114,554,496" in text  # equation 2 as the authors' own tool has it
    assert "1,041,924,944" in text
    assert "jetconv mix" in text
    assert "jetconv mix" not in jetbench("count", "jetseg-nano-released", "--classes", "32", "--brief")


def test_count_as_json_has_the_agreed_keys() -> None:
    counted = json.loads(jetbench("count", "jetseg-nano-released", "--classes", "32", "--size", "512x512", "--json"))
    assert (counted["parameters"], counted["macs"]) == (32_140, 1_041_924_944)
    assert counted["eq2_flops"] == 1_114_554_496
    assert counted["weight_bytes"] == 4 * 32_140
    for key in ("flops", "activations", "peak_activation_bytes", "bytes_moved"):
        assert isinstance(counted[key], int)
    assert "cross_check" not in counted


@pytest.mark.slow
def test_count_sets_the_tools_beside_it() -> None:
    counted = json.loads(jetbench("count", "jetseg-nano", "--size", "64x96", "--cross-check", "--json"))
    check = counted["cross_check"]
    for tool in check["tools"]:
        for quantity, ours in (("MACs", counted["macs"]), ("FLOPs", counted["flops"])):
            differences = tool["differences"][quantity]
            assert sum(part["amount"] for part in differences) == tool["total"] - ours
            assert all(part["explained"] for part in differences)
    assert check["measured_peak_memory"]["bytes"] > counted["peak_activation_bytes"]
    assert "Counted by no tool" in jetbench("count", "jetseg-nano", "--size", "64x96", "--cross-check")


@pytest.mark.slow
def test_show_lints() -> None:
    assert "11,164 parameters" in jetbench("show", "jetseg-nano-released", "--lint")
    shown = json.loads(jetbench("show", "jetseg-nano-released", "--lint", "--json"))
    assert shown["findings"][0]["rule"] == "dead-layers"
    assert "findings" not in json.loads(jetbench("show", "jetseg-nano-released", "--json"))


SPACE = """
base: jetseg-nano
size: 64x96
axes: {groups: [1, gcd], jetconv.branches: ["3a", "3a 5a", "3a 5a 7a"]}
"""


@pytest.mark.slow
def test_screen_hands_its_survivors_to_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SPACE)
    text = jetbench("screen", "small.yaml", "--max-params", "60k", "--max-memory", "2MiB", "--top", "2", cwd=tmp_path)
    assert "All of them were counted" in text
    assert len((tmp_path / "reports/screen-small/survivors.csv").read_text().splitlines()) == 3
    planned = jetbench("sweep", "reports/screen-small/survivors.yaml", "--dry-run", cwd=tmp_path)
    assert "small-survivors: 2 variants at 64x96" in planned
    again = jetbench("screen", "small.yaml", "--max-params", "60k", "--max-memory", "2MiB", "--top", "2", cwd=tmp_path)
    assert again.splitlines()[-6:] == text.splitlines()[-6:]


def test_a_dry_run_lists_and_then_says_what_the_run_would_refuse_here(tmp_path: Path) -> None:
    text = jetbench("sweep", "nano", "--device", "agx", "--dry-run", cwd=tmp_path, code=2)
    assert "Nothing was run." in text
    assert "error: the run would be refused here: --device agx: this machine is not a Jetson AGX Xavier" in text


def test_a_screening_that_finds_nothing_ends_with_3(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SPACE)
    text = jetbench("screen", "small.yaml", "--max-params", "1k", cwd=tmp_path, code=3)
    assert "Nothing fits" in text
    assert not (tmp_path / "reports/screen-small/survivors.yaml").exists()


def test_a_command_that_is_ended_before_it_works_says_so(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "jetbench", "sweep", "nano"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    status = Path(f"/proc/{process.pid}/status")
    deadline = time.monotonic() + 30
    while not int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) & 1 << (signal.SIGTERM - 1):
        assert time.monotonic() < deadline, "the command does not handle SIGTERM"
        time.sleep(0.005)
    process.terminate()
    text, _ = process.communicate(timeout=60)
    assert (process.returncode, text.strip().splitlines()[-1][:7]) == (130, "Stopped"), text


def test_the_workers_of_a_screening_end_with_it_however_it_ends(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "jetbench", "screen", "nano", "--jobs", "2", "--samples", "1000000"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(lambda: len(of_session(process.pid)) >= 4, "two workers and their tracker", process=process)
    process.kill()
    process.wait()
    wait_until(lambda: not of_session(process.pid), "no process that goes on", seconds=20)
    assert of_session(process.pid) == []


def of_session(session: int) -> list[str]:
    """The processes of a session that are not zombies."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(folder.name)
    return found


@pytest.mark.parametrize("delay", [2.5, pytest.param(6.0, marks=pytest.mark.slow)])  # while workers start, and work
def test_a_screening_stops_at_ctrl_c_with_a_word(tmp_path: Path, delay: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "jetbench", "screen", "nano", "--jobs", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where tests run in the background SIGINT is ignored, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
    )
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers too
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "Stopped. Nothing was written." in text
    assert "Traceback" not in text
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("count", "jetseg-nano", "--size", "16x16"), "3 are needed, one for each third"),
        (("count", "jetseg-nano", "--classes", "1"), "segmentation needs at least 2 classes"),
        (("count", "jetseg-nono"), "did you mean jetseg-nano"),
        (("count", "jetseg-nano", "--size", "512"), "--size: '512' is not a size"),
        (("screen", "nono"), "nono: no bundled space has that name; bundled: nano"),
        (("screen", "nano", "--max-params", "lots"), "--max-params: 'lots' is not a count; write 40000"),
        (("screen", "nano", "--max-memory", "64"), "--max-memory: '64' is not a size in bytes; write 64MiB"),
        (("screen", "nano", "--reports", "/dev/null", "--samples", "3"), "/dev/null is a file or not writable"),
        (("screen", "nano", "--by", "speed"), "--by speed: expected one of parameters, macs, eq2, memory"),
        (("screen", "nano", "--all", "--samples", "3"), "contradict each other"),
        (("screen", "nano", "--size", "8x8", "--samples", "3"), "none of its variants can be built"),
        (("screen", str(Path("sweeps/nano.yaml").resolve())), "is a sweep, not a space with axes:"),
    ],
)
def test_a_wrong_request_of_counting_says_what_and_how_to_fix_it(
    arguments: tuple[str, ...], message: str, refused: Callable[..., str]
) -> None:
    text = refused(*arguments)
    assert message in " ".join(text.split())


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "survivors.csv").mkdir(parents=True)
    check_folder(tmp_path / "new" / "deeper", ("survivors.csv",))
    for folder in (tmp_path / "file", tmp_path / "file" / "inside", tmp_path / "taken"):
        with pytest.raises(SpecError, match="cannot be written to: "):
            check_folder(folder, ("survivors.csv",))
    assert not (tmp_path / "new").exists()


def test_a_table_of_a_folder_that_may_only_be_read_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A read-only file system, made up: whoever runs the tests may be root, whom no permission stops."""
    append_records(tmp_path, record("a"))

    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("jetbench.reporting.report.write_whole", refuse)
    monkeypatch.setattr("sys.argv", ["jetbench", "table", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "50.0" in shown
    assert f"Not written to {tmp_path}: Read-only file system." in shown
