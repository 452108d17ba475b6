"""`--on`: a real SSH server on simulated boards, and the commands of a person who has such a board."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetbench.errors import ProfilingError, SpecError
from jetbench.probe.packed import REQUEST
from jetbench.profiling.bundle import write_bundle
from jetbench.profiling.case import list_cases
from jetbench.profiling.remote import Remote, open_remote
from jetbench.records.folder import read_records
from jetbench.records.scores import ClassCounts
from jetbench.spec.device import load_device
from jetbench.spec.profiling import ProfilingConfig
from tests.cli.test_verbs import jetbench
from tests.execution.made_up import wait_until
from tests.profiling.test_bundle import FAKE, TINY
from tests.simulated.board_ssh import Reached, reached

BRIEF = ("--processes", "1", "--precision", "100%", "--limit", "5s", "--idle", "1s", "--window", "1s", "--windows", "1")
SEARCH = """
name: tiny
base: jetseg-nano
axes: {base_channels: [4, 8]}
sampler: random
trainings: 1
dataset: {name: streets, size: 64x96, train: 24, val: 6, test: 6}
training: {budget: 10 steps}
profiling:
  {min_seconds: 0, min_iterations: 5, precision: 1, power: ina3221, idle_seconds: 1, window_seconds: 1, windows: 1}
"""
SMALL = ("--size", "64x96", *BRIEF)


@pytest.fixture
def agx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reached]:
    """A simulated AGX Xavier with a stand-in of TensorRT, as a person reaches it."""
    with reached("agx", tmp_path, PYTHONPATH=f"{tmp_path}/agx/py:{FAKE}", FAKE_TENSORRT="8.5.2") as board:
        monkeypatch.setenv("JETBENCH_SSH", " ".join(board.ssh))
        monkeypatch.setenv("JETBENCH_GATEWAY_PYTHON", sys.executable)
        yield board


@pytest.mark.server
def test_a_profile_on_a_board_has_its_modes_and_forms_and_leaves_nothing_there(agx: Reached, tmp_path: Path) -> None:
    forms = ("--backend", "eager,traced,tensorrt:fp16")  # PyTorch runs the traced network there: one row of the two
    power = ("--power", "ina3221", "--power-mode", "MODE_15W,MODE_10W")
    said = jetbench("profile", "jetseg-nano", "--on", agx.target, *SMALL, *forms, *power, cwd=tmp_path)
    assert "MODE_10W: this mode wants a reboot, which jetbench never does" in " ".join(said.split())
    records = read_records(tmp_path / "reports" / "profile-agx")
    assert [(r.profiling_config.form, r.measured.environment.power_mode) for r in records] == [
        ("traced", "MODE_15W"), ("tensorrt fp16", "MODE_15W"), ("traced", "MODE_10W"), ("tensorrt fp16", "MODE_10W"),
    ]  # fmt: skip
    for record in records:
        assert record.measured.device == "agx"
    for record in records[:2]:
        assert record.measured.energy is not None
        assert record.measured.model_latency is not None
    assert "MAXN" in agx.run("nvpmodel -q")
    assert agx.run("ls $XDG_CACHE_HOME/jetbench/bundles; ls $TMPDIR") == ""
    # Another board is not taken for it.
    said = jetbench("profile", "jetseg-nano", "--on", agx.target, "--device", "nano", *SMALL, cwd=tmp_path, code=2)
    assert "is Jetson-AGX, not a Jetson Nano 4GB" in said


@pytest.mark.server
def test_a_sweep_trains_here_and_profiles_on_the_board(agx: Reached, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY + "include_base: false\n")
    jetbench("sweep", "tiny.yaml", "--on", agx.target, cwd=tmp_path)
    records = read_records(tmp_path / "reports" / "tiny")
    assert len(records) == 1
    for record in records:
        assert record.training is not None
        assert record.measured.device == "agx"
        assert record.profiling_config.backend == "traced"  # so the row says what ran
        assert record.measured.model_latency is not None
    # One command more: the study's networks in another form, beside the rows of the study.
    jetbench("profile", "reports/tiny", "--on", agx.target, "--backend", "tensorrt:fp16", *BRIEF, cwd=tmp_path)
    joined = [r for r in read_records(tmp_path / "reports" / "tiny") if r.profiling_config.form == "tensorrt fp16"]
    assert [record.variant for record in joined] == ["base_channels=4"]
    assert all(record.counts_on("val") is not None for record in joined)  # of the engine, on the study's own val
    # And the board scores an engine on other data.
    (weights, *_) = sorted((tmp_path / "reports" / "tiny" / "weights").glob("*.safetensors"))
    data = ("--dataset", "streets", "--split", "test", "--on", agx.target, "--backend", "tensorrt:fp16", "--json")
    said = json.loads(jetbench("evaluate", str(weights), *data, cwd=tmp_path))
    assert (said["split"], said["images"]) == ("test", 48)
    in_torch = ClassCounts.model_validate(said["torch"]).miou
    assert said["miou"] == pytest.approx(in_torch, abs=0.02)
    assert 0 < said["changed"] < 0.05 * said["pixels"]  # fp16 is another form, of the same network
    refused = jetbench("evaluate", str(weights), *data[:-2], "eager", cwd=tmp_path, code=2)
    assert "PyTorch's forms compute what PyTorch computes" in refused


@pytest.mark.server
def test_a_link_that_dies_ends_the_probe_restores_the_mode_and_the_same_command_goes_on(
    agx: Reached, tmp_path: Path
) -> None:
    program = [sys.executable, "-m", "jetbench", "profile", "jetseg-nano", "--on", agx.target, *SMALL]
    program += ["--power", "none", "--backend", "eager,tensorrt", "--power-mode", "MODE_15W"]
    process = subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    where = "$XDG_CACHE_HOME/jetbench/bundles/*/measured/*/*/*alone-0-0.json"
    wait_until(lambda: agx.run(f"ls {where}"), "the first measurement", 60)
    assert "MODE_15W" in agx.run("nvpmodel -q")
    agx.cut()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the connection ended" in said
    assert "the same command goes on" in said
    wait_until(lambda: "-m probe" not in agx.run("ps -e -o args"), "the end of the probe", 20)
    wait_until(lambda: "MAXN" in agx.run("nvpmodel -q"), "the mode to be restored", 20)
    before = agx.run(f"stat -c %Y {where}")
    assert before
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(read_records(tmp_path / "reports" / "profile-agx")) == 2
    assert agx.run("ls $XDG_CACHE_HOME/jetbench/bundles") == ""


@pytest.mark.server
def test_ctrl_c_here_ends_the_probe_there(agx: Reached, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "jetbench", "profile", "jetseg-nano", "--on", agx.target, "--size", "64x96"]
    program += ["--power", "none", "--limit", "60s", "--precision", "0.01%"]
    process = subprocess.Popen(
        program, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_until(lambda: "--one alone" in agx.run("ps -e -o args"), "the probe", 60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopped" in said
    wait_until(lambda: "--one" not in agx.run("ps -e -o args"), "the end of the probe", 20)


@pytest.mark.parametrize(
    ("target", "said"),
    [("-oProxyCommand=touch x", "expected user@host"), ("a b", "expected user@host"), ("", "expected user@host")],
)
def test_a_target_is_a_host_and_no_option_of_ssh(target: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        open_remote(target)


def test_what_cannot_be_reached_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETBENCH_SSH", "bash -c 'echo Permission denied >&2; exit 255'")
    with pytest.raises(ProfilingError, match="Permission denied; log in once by hand"):
        open_remote("x@y").identify()
    monkeypatch.setenv("JETBENCH_SSH", str(tmp_path / "nowhere"))
    with pytest.raises(ProfilingError, match="No such file"):
        open_remote("x@y").identify()
    said = jetbench("profile", "--on", "x@y", "--rate", "30", cwd=tmp_path, code=2)
    assert "are not measured over --on" in said


@pytest.mark.slow
def test_a_bundle_of_the_same_has_the_same_identity(tmp_path: Path) -> None:
    """So that the same command finds on the board what it left there."""
    cases = list_cases(["jetseg-nano"], [ProfilingConfig(backend="traced")], (64, 96))
    others = list_cases(["jetseg-nano"], [ProfilingConfig(backend="traced", min_iterations=7)], (64, 96))
    found = []
    for name, packed in (("one", cases), ("same", cases), ("other", others)):
        write_bundle(tmp_path / name, packed, load_device("nano"))
        found.append(json.loads((tmp_path / name / REQUEST).read_text())["identity"])
    assert found[0] == found[1] != found[2]


def test_a_board_that_answers_nonsense_is_an_error() -> None:
    for answer in ("", "[]", "null", "{"):
        remote = Remote("x", ("bash", "-c", f"printf %s {json.dumps(answer)!r}; true", "x"))
        with pytest.raises(ProfilingError, match="does not say which board it is"):
            remote.identify()
    assert os.environ.get("JETBENCH_SSH") is None


@pytest.mark.server
def test_a_search_is_limited_by_the_power_of_a_mode(agx: Reached, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SEARCH)
    mode = ("--on", agx.target, "--power-mode", "MODE_15W", "--no-final")
    said = jetbench("search", "tiny.yaml", *mode, "--max-power", "100W", cwd=tmp_path)
    assert "1 trained" in said
    records = read_records(tmp_path / "reports" / "tiny")
    assert {record.measured.environment.power_mode for record in records} == {"MODE_15W"}
    assert all(record.measured.power_w is not None for record in records)
    assert "MAXN" in agx.run("nvpmodel -q")
