"""A network packed for a board, measured by the bundle's own probe, and collected."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jetbench.errors import SpecError
from jetbench.profiling.bundle import PROBE
from jetbench.profiling.collect import collect
from jetbench.records.verdict import judge
from tests.cli.test_verbs import jetbench
from tests.fuzz.samples import probe_result
from tests.simulated.boards import need_boards, run_on

SMALL = ("--size", "64x96", "--processes", "1", "--idle", "1s", "--window", "2s")


@pytest.mark.parametrize("path", sorted(PROBE.rglob("*.py")), ids=lambda path: str(path.relative_to(PROBE)))
def test_the_probe_is_python_of_jetpack_4(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 6))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level or not (node.module or "").startswith("jetbench"), "the probe stands alone"
            assert node.module != "__future__"  # annotations are of 3.7
        if isinstance(node, ast.Call):
            assert not {"text", "capture_output"} & {keyword.arg for keyword in node.keywords}  # of 3.7


@pytest.mark.slow
def test_a_bundle_measured_on_its_board_comes_back_as_a_record(tmp_path: Path) -> None:
    need_boards()
    rails = ("--power", "ina3221")
    jetbench("bundle", "jetseg-nano", "--device", "nano", *SMALL, *rails, "--out", "packed", cwd=tmp_path)
    # Alone on the board: no jetbench beside it, only this Python's torch.
    program = "import sys; sys.modules['jetbench'] = None; sys.argv = ['probe', '.']; import runpy; "
    program += "runpy.run_module('probe', run_name='__main__')"
    command = ["bash", "-c", f'cd {tmp_path}/packed && "$0" -c "$1"', sys.executable, program]
    ran = run_on("nano", tmp_path, command, "--service", "none")
    assert ran.code == 0, ran.err
    text = jetbench("collect", "packed/result.json", cwd=tmp_path)
    assert "traced" in text
    record, device = collect(tmp_path / "packed" / "result.json")
    profile = record.measured
    assert device.name == profile.device == "nano"
    assert profile.model_latency
    assert len(profile.model_latency.samples_s) >= 30
    assert profile.memory
    assert profile.memory.weights_bytes > 4 * profile.parameters
    assert profile.energy
    assert profile.energy.problem is None
    # Its processes are children of the probe, whose load the simulated rails do not see: idle all through.
    assert profile.energy.power_w == pytest.approx(2.0)
    assert "this torch finds no CUDA device" in profile.notes["processor"]
    assert (tmp_path / "reports" / "profile-nano" / "profiles.md").exists()


@pytest.mark.slow
def test_a_bundle_measured_elsewhere_is_not_taken_for_its_board(tmp_path: Path) -> None:
    jetbench("bundle", "--device", "agx", *SMALL, "--power", "none", "--out", "packed", cwd=tmp_path)
    folder = tmp_path / "packed"
    done = subprocess.run([sys.executable, "-m", "probe", "."], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record, _ = collect(folder / "result.json")
    verdict = judge(record.measured)
    assert verdict.level == "invalid"  # a processor's latency is not the board's
    assert any("made for Jetson AGX Xavier, but was measured on" in reason for reason in verdict.reasons)
    assert record.measured.notes["power_w"] == "not measured: --power none"
    told = json.loads((folder / "result.json").read_text())
    told["processes"][0]["difference"] = 0.5
    (folder / "result.json").write_text(json.dumps(told))
    wrong = judge(collect(folder / "result.json")[0].measured)
    assert wrong.level == "invalid"
    assert "differs from the reference by 0.5" in wrong.reasons[0]


@pytest.mark.slow
def test_bad_input_gets_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "result.json").write_text("{}")
    assert "already exists" in jetbench("bundle", "--out", "there", cwd=tmp_path, code=2)
    assert "not a result.json of this version's probe" in jetbench("collect", "result.json", cwd=tmp_path, code=2)
    assert "cannot be read" in jetbench("collect", "nowhere.json", cwd=tmp_path, code=2)
    with pytest.raises(SpecError):
        collect(tmp_path / "nowhere.json")
    done = subprocess.run(
        [sys.executable, "-m", "probe", str(tmp_path)],
        cwd=PROBE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no readable bundle" in done.stderr


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("bundle", "device", "name"), "x/../../escaped", "bundle.device.name: .* cannot name the report folder"),
        (("bundle", "case", "input_size"), [10**6, 10**6], "bundle.case.input_size"),
        (("processes",), [], "processes: Tuple should have at least 1 item"),
        (("processes", 0, "model", "samples_s"), [-1.0], "processes.0.model.samples_s.0: must be greater than 0"),
        (("processes", 0, "difference"), float("nan"), "processes.0.difference: expected a finite number"),
        (("processes", 0, "environment", "cores"), -2, "cores: must be at least 1"),
        (("finished_s",), 1e300, "finished_s: must be at most"),
        (("processes", 0, "identity"), None, "processes.0.identity"),
    ],
)
def test_a_result_that_is_none_is_refused_by_its_field(
    where: tuple[Any, ...], value: object, said: str, tmp_path: Path
) -> None:
    payload = json.loads(json.dumps(probe_result()))
    held = payload
    for key in where[:-1]:
        held = held[key]
    held[where[-1]] = value
    (tmp_path / "result.json").write_text(json.dumps(payload))
    with pytest.raises(SpecError, match=said):
        collect(tmp_path / "result.json")


@pytest.mark.slow
def test_a_result_is_read_whole_before_any_row_is_kept(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(probe_result()))
    (tmp_path / "bad.json").write_text("{")
    assert "bad.json: not a result.json" in jetbench("collect", "good.json", "bad.json", cwd=tmp_path, code=2)
    assert not (tmp_path / "reports").exists()
    assert "cannot name the report folder" in jetbench("collect", "good.json", "--name", "../x", cwd=tmp_path, code=2)
    assert "profile-nano" in jetbench("collect", "good.json", cwd=tmp_path)
