"""trtexec in six versions, on a stand-in that runs the file in ONNX Runtime: never on trtexec itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetbench.errors import SpecError
from jetbench.probe.build_engine import BuildError
from jetbench.probe.trtexec import read_log, read_times, run_trtexec, version_of
from jetbench.profiling.by_trtexec import dtype_of, read_trtexec, record_of
from jetbench.profiling.collect import collect
from jetbench.records.verdict import judge
from jetbench.spec.device import load_device
from tests.cli.test_verbs import jetbench
from tests.fuzz.samples import write_graph

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
FAKE = Path(__file__).parents[1] / "simulated" / "fake_trtexec" / "trtexec"
VERSIONS = ("8.2.1", "8.5.2", "8.6.2", "10.3.0", "10.16.2", "11.4.0")
# As NVIDIA's trtexec of JetPack 6 prints it.
LOG = """[05/13/2025-10:36:46] [I] Engine built in 41.9 sec.
[05/13/2025-10:36:46] [I] GPU Compute Time: min = 3.12671 ms, max = 3.15479 ms, mean = 3.14068 ms, median = 3.14062 ms
&&&& PASSED TensorRT.trtexec [TensorRT v100300] # /usr/src/tensorrt/bin/trtexec --onnx=x.onnx --fp16
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ONNX file; trtexec is the stand-in, run by this Python."""
    write_graph(tmp_path / "model.onnx", is_resized=False)
    program = tmp_path / "trtexec"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("JETBENCH_TRTEXEC", str(program))
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_gets_the_flags_that_it_has(version: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TENSORRT", version)
    found = run_trtexec({"fp32": str(file)}, "fp32")
    assert found["version"] == version
    assert found["build_s"] == 1.25
    assert len(found["compute_s"]) == 20
    assert {layer["precision"] for layer in found["layers"]} == {"fp32"}
    flags = found["command"].split()
    is_11, is_8_2 = version.startswith("11."), version.startswith("8.2")
    assert ("--noCudaGraph" in flags) == ("--noSpinWait" in flags) == is_11  # there they are on by default
    assert ("--workspace=1024" in flags) == is_8_2
    assert ("--memPoolSize=workspace:1024" in flags) != is_8_2
    assert "--noDataTransfers" in flags
    assert not {"--fp16", "--int8"} & set(flags)


def test_fp16_is_a_flag_to_10_and_another_file_from_11(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = file.with_name("model.fp16.onnx")
    half.write_bytes(file.read_bytes())
    files = {"fp32": str(file), "fp16": str(half)}
    monkeypatch.setenv("FAKE_TENSORRT", "10.3.0")
    found = run_trtexec(files, "fp16")
    assert (found["file"], "--fp16" in found["command"]) == (str(file), True)
    assert {layer["precision"] for layer in found["layers"]} == {"fp16"}
    monkeypatch.setenv("FAKE_TENSORRT", "11.4.0")
    found = run_trtexec(files, "fp16")
    assert (found["file"], "--fp16" in found["command"]) == (str(half), False)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("failed", "did not pass: .*Could not find any implementation for node Conv_0"),
        ("killed", "did not pass: it was ended by SIGKILL"),
        ("times", "is not JSON, as trtexec --exportTimes writes it"),
    ],
)
def test_what_did_not_pass_is_no_number(fault: str, said: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TRTEXEC_FAULT", fault)
    with pytest.raises(BuildError, match=said):
        run_trtexec({"fp32": str(file)}, "fp32")


def test_a_time_is_the_one_that_was_measured_and_no_difference_of_stamps(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = os.environ["JETBENCH_TRTEXEC"]
    times = tmp_path / "times.json"
    subprocess.run([program, f"--onnx={file}", f"--exportTimes={times}"], check=True, stdout=subprocess.DEVNULL)
    queries = json.loads(times.read_text())
    own = read_times(times.read_text())
    assert own == pytest.approx([query["computeMs"] / 1e3 for query in queries], rel=1e-6)
    # Six digits at 9 s are steps of 0.01 ms, so differences are those of the steps and not of the passes.
    stamps = [(query["endComputeMs"] - query["startComputeMs"]) / 1e3 for query in queries]
    assert max(abs(one - other) for one, other in zip(own, stamps, strict=True)) > 1e-6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "expected a list of queries"),
        ("[]", "expected a list of queries"),
        ("[1]", "query 0: expected computeMs"),
        ('[{"computeMs": 1}, {"computeMs": -1}]', "query 1: expected computeMs"),
        ('[{"computeMs": NaN}]', "query 0: expected computeMs"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_result_is_refused(text: str, said: str) -> None:
    with pytest.raises(BuildError, match=said):
        read_times(text)


def test_a_log_passes_only_with_its_last_word() -> None:
    assert read_log(LOG) == {"version": "10.3.0", "build_s": 41.9, "reason": ""}
    assert read_log(LOG.replace("PASSED", "FAILED"))["version"] is None
    assert [version_of(tag) for tag in ("8201", "8502", "100300", "101602")] == ["8.2.1", "8.5.2", "10.3.0", "10.16.2"]


@pytest.mark.slow
def test_a_board_without_tensorrts_python_gets_a_row_with_a_quantity_of_its_own(file: Path, tmp_path: Path) -> None:
    brief = ("--processes", "1", "--precision", "100%", "--limit", "5s", "--power", "none", "--size", "64x96")
    forms = ("--backend", "tensorrt", "--dtype", "fp32,fp16", "--device", "agx")
    jetbench("bundle", "jetseg-nano", *forms, *brief, "--out", "packed", cwd=tmp_path)
    command = [sys.executable, "-m", "probe", "."]
    done = subprocess.run(command, cwd=tmp_path / "packed", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {r.profiling_config.form: r.measured for r in collect(tmp_path / "packed" / "result.json")[0]}
    for form in ("tensorrt", "tensorrt fp16"):
        profile = found[form]
        assert profile.model_latency is None
        assert "GPU compute by trtexec is another quantity" in judge(profile).reasons[0]
        assert profile.deployment is not None
        assert profile.deployment.trtexec is not None
        assert profile.deployment.trtexec.median_s > 0
        assert profile.deployment.ran == (form.partition(" ")[2] or "fp32")
        assert "trtexec gives times, and no output to score" in profile.deployment.unscored
    text = jetbench("collect", "packed/result.json", cwd=tmp_path)
    assert "two in flight, launches hidden: no latency" in " ".join(text.split())


@pytest.mark.slow
def test_times_that_people_have_become_a_row_of_the_network_that_ran(file: Path, tmp_path: Path) -> None:
    """From the file that `trtexec --exportTimes` wrote, its log, and the ONNX file."""
    program = os.environ["JETBENCH_TRTEXEC"]
    times, log = tmp_path / "times.json", tmp_path / "log.txt"
    done = subprocess.run([program, f"--onnx={file}", f"--exportTimes={times}"], check=True, capture_output=True)
    log.write_bytes(done.stdout)
    timed = read_trtexec(times, log)
    assert dtype_of(timed, file) == "fp32"  # the log's command has no --fp16
    with pytest.raises(SpecError, match="the log is of a run in fp32"):
        dtype_of(timed, file, "fp16")
    with pytest.raises(SpecError, match=r"the log is of model\.onnx"):
        dtype_of(timed, file.with_name("other.onnx"))
    record = record_of(timed, file, load_device("orin-nano"), "fp16")
    profile = record.measured
    assert (profile.device, record.profiling_config.form) == ("orin-nano", "tensorrt fp16")
    assert profile.model_latency is None
    assert profile.deployment is not None
    assert profile.deployment.trtexec == timed.times
    assert profile.deployment.describe_precision() == "fp16 asked"
    said = jetbench("collect", "--trtexec", "times.json", cwd=tmp_path)
    assert "it is not known that trtexec passed" in said
    assert "Not kept" in said
    log.write_text("[E] Error[10]: Could not find any implementation\n&&&& FAILED TensorRT.trtexec [TensorRT v8201]")
    refused = jetbench("collect", "--trtexec", "times.json", "--log", "log.txt", cwd=tmp_path, code=2)
    assert "does not say that trtexec passed (Error[10]: Could not find any implementation)" in refused
    assert "give result.json files of probes" in jetbench("collect", cwd=tmp_path, code=2)
