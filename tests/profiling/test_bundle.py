"""A network packed for a board, measured by the bundle's own probe, and collected."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jetbench.errors import SpecError
from jetbench.profiling.bundle import PROBE
from jetbench.profiling.collect import collect
from jetbench.records.deployment import DeployedScore, Deployment, ModelFile
from jetbench.records.record import Record
from jetbench.records.scores import ClassCounts
from jetbench.records.verdict import judge
from jetbench.reporting.studies import read_study
from jetbench.spec.profiling import ProfilingConfig
from tests.cli.test_verbs import jetbench
from tests.fuzz.samples import first_probe_result, probe_result
from tests.made_up import DATASET, profile
from tests.made_up import record as made_up_record
from tests.simulated.boards import need_boards, run_on

FAKE = Path(__file__).parents[1] / "simulated" / "fake_tensorrt"
OLD = os.environ.get("JETBENCH_OLD_PYTHON")
TINY = """
name: tiny
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 24, val: 6, test: 6}
training: {budget: 20 steps}
profiling: {power: none, min_seconds: 0, min_iterations: 5, precision: 1}
variants:
  - grid: {base_channels: [4]}
"""
BRIEF = ("--precision", "100%", "--limit", "5s")
SMALL = (*BRIEF, "--size", "64x96", "--processes", "1", "--idle", "1s", "--window", "2s")


@pytest.mark.parametrize("path", sorted(PROBE.rglob("*.py")), ids=lambda path: str(path.relative_to(PROBE)))
def test_the_probe_is_python_of_jetpack_4(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 6))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level or not (node.module or "").startswith("jetbench"), "the probe stands alone"
            assert node.module != "__future__"  # annotations are of 3.7
        if isinstance(node, ast.Call):
            assert not {"text", "capture_output"} & {keyword.arg for keyword in node.keywords}  # of 3.7


def write(tmp_path: Path, *arguments: str) -> Path:
    """Write a small bundle; returns its folder."""
    jetbench("bundle", *arguments, *SMALL, "--out", "packed", cwd=tmp_path)
    return tmp_path / "packed"


def probe(
    folder: Path, *arguments: str, python: str = sys.executable, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a bundle's probe alone: no jetbench beside it, only a Python with torch."""
    command = [python, "-m", "probe", ".", *arguments]
    told = {**os.environ, "PYTHONPATH": environment.pop("PYTHONPATH", ""), **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=told)


def only(path: Path) -> Record:
    """The one record of a result."""
    (record,), _ = collect(path)
    return record


@pytest.mark.slow
def test_a_bundle_measured_on_its_board_comes_back_as_a_record(tmp_path: Path) -> None:
    need_boards()
    folder = write(tmp_path, "jetseg-nano", "--device", "nano", "--power", "ina3221")
    program = "import sys; sys.modules['jetbench'] = None; sys.argv = ['probe', '.']; import runpy; "
    program += "runpy.run_module('probe', run_name='__main__')"
    command = ["bash", "-c", f'cd {folder} && "$0" -c "$1"', sys.executable, program]
    ran = run_on("nano", tmp_path, command, "--service", "none")
    assert ran.code == 0, ran.err
    text = jetbench("collect", "packed/result.json", cwd=tmp_path)
    assert "traced" in text
    (record,), device = collect(folder / "result.json")
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
    folder = write(tmp_path, "--device", "agx", "--power", "none")
    done = probe(folder)
    assert done.returncode == 0, done.stderr
    record = only(folder / "result.json")
    verdict = judge(record.measured)
    assert verdict.level == "invalid"  # a processor's latency is not the board's
    assert any("made for Jetson AGX Xavier, but was measured on" in reason for reason in verdict.reasons)
    assert record.measured.notes["power_w"] == "not measured: --power none"
    told = json.loads((folder / "result.json").read_text())
    told["units"][0]["findings"][0]["parity"]["largest"] = 0.5 * told["units"][0]["findings"][0]["parity"]["scale"]
    (folder / "result.json").write_text(json.dumps(told))
    wrong = judge(only(folder / "result.json").measured)
    assert wrong.level == "invalid"
    assert "differs from the reference by 0.5" in wrong.reasons[0]


@pytest.mark.slow
def test_several_forms_are_timed_in_turn_and_scored_and_join_the_study_that_trained_them(
    study: Path, tmp_path: Path
) -> None:
    forms = ("--backend", "eager,onnxruntime", "--processes", "2")
    folder = write_study(tmp_path, *forms)
    done = probe(folder)
    assert done.returncode == 0, done.stderr
    records, _ = collect(folder / "result.json")
    names = ["jetseg-nano", "base_channels=4"]
    forms_of = ["traced", "onnxruntime"]
    assert [(r.variant, r.profiling_config.form) for r in records] == [(n, f) for n in sorted(names) for f in forms_of]
    for record in records:
        profile = record.measured
        assert profile.model_latency is not None
        assert len(profile.model_latency.runs) == 2
        if record.profiling_config.form == "traced":
            assert profile.comparison is None
            assert profile.output_difference is not None
            continue
        assert profile.comparison is not None
        assert profile.comparison.reference == f"{record.variant}, traced"
        deployed = profile.deployment
        assert deployed is not None
        assert deployed.asked == record.profiling_config.dtype
        score = deployed.score_on("val")
        assert score is not None
        assert score.images == 6
        assert score.deployed.miou == pytest.approx(score.torch.miou, abs=0.05)
        assert {part.name for part in profile.parts} >= {"block 0", "decoder"}
    text = jetbench("collect", "packed/result.json", "--into", "reports/tiny", cwd=tmp_path)
    assert "4 profiles added" in text
    assert "4 were there" in jetbench("collect", "packed/result.json", "--into", "reports/tiny", cwd=tmp_path)
    joined = {(r.variant, r.profiling_config.form): r for r in read_study(study).records}
    own = joined["base_channels=4", "onnxruntime"]
    counts, trained = own.counts_on("val"), joined["base_channels=4", "eager"].counts_on("val")
    assert counts is not None
    assert trained is not None
    assert counts.miou == pytest.approx(trained.miou, abs=0.01)  # of the file, beside PyTorch's
    # Weights of another study are not joined, and nothing is written.
    before = (tmp_path / "reports" / "tiny" / "records.jsonl").read_bytes()
    told = json.loads((folder / "result.json").read_text())
    told["bundle"]["networks"][0]["cases"][1]["case"]["weights"] = "0" * 64
    (folder / "other.json").write_text(json.dumps(told))
    refused = jetbench("collect", "packed/other.json", "--into", "reports/tiny", cwd=tmp_path, code=2)
    assert "did not train base_channels=4" in refused
    assert (tmp_path / "reports" / "tiny" / "records.jsonl").read_bytes() == before


def write_study(tmp_path: Path, *arguments: str) -> Path:
    """Write a bundle of the study reports/tiny for this machine."""
    brief = (*BRIEF, "--power", "none", "--out", "packed")
    jetbench("bundle", "reports/tiny", "--device", "cpu", *brief, *arguments, cwd=tmp_path)
    return tmp_path / "packed"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study `tiny`, trained and profiled once."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY)
    jetbench("sweep", "tiny.yaml", cwd=folder)
    return folder / "reports"


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, in the folder of a test."""
    shutil.copytree(trained, tmp_path / "reports")
    return tmp_path / "reports" / "tiny"


def test_a_score_of_some_images_or_other_data_is_not_the_score_of_the_split() -> None:
    """Beside the mIoU of all images of the study's data it would be another number."""
    counts = ClassCounts(true_positives=(9, 9, 9), false_positives=(1, 1, 1), false_negatives=(1, 1, 1))
    config = ProfilingConfig(backend="onnxruntime")
    for images, digest, is_own in ((4, DATASET.digest, True), (3, DATASET.digest, False), (4, "other", False)):
        score = DeployedScore(
            split="val",
            dataset="made-up",
            digest=digest,
            images=images,
            deployed=counts,
            torch=counts,
            changed=0,
            pixels=9,
        )
        file = ModelFile(format="onnx", name="m", bytes=1, sha256="0", exporter="x", seconds=None)
        deployment = Deployment(
            runtime="x",
            executes="x",
            options={},
            file=file,
            parities=(),
            asked="fp32",
            convolutions={},
            scores=(score,),
        )
        own = made_up_record("v", profiling_config=config, profile=profile(0.01, deployment=deployment))
        assert (own.counts_on("val") is not None) == is_own


@pytest.mark.slow
def test_a_probe_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = write(tmp_path, "jetseg-nano", "--device", "cpu", "--power", "none", "--backend", "eager,onnxruntime")
    command = [sys.executable, "-m", "probe", "."]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr
        assert any("onnxruntime: alone" in line for line in first.stderr)
        first.kill()
    kept = sorted(path.name for path in folder.glob("measured/*/*/*.json"))
    assert kept == ["01-jetseg-nano-alone-0-0.json"]
    before = (next(folder.glob("measured/*/*/*alone-0-0.json"))).stat().st_mtime_ns
    done = probe(folder)
    assert done.returncode == 0, done.stderr
    assert next(folder.glob("measured/*/*/*alone-0-0.json")).stat().st_mtime_ns == before
    assert len(collect(folder / "result.json")[0]) == 2
    (folder / "01-jetseg-nano" / "model.onnx").write_bytes(b"cut")
    damaged = probe(folder)
    assert damaged.returncode == 5
    assert "model.onnx: is not as it was packed; copy the bundle again" in damaged.stderr


@pytest.mark.slow
def test_a_form_that_cannot_run_is_a_row_with_the_reason_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, "jetseg-nano", "--device", "nano", "--power", "none", "--backend", "eager,tensorrt")
    done = probe(folder)
    assert done.returncode == 0, done.stderr
    assert (
        "not measured: jetseg-nano, tensorrt: building the engine: TensorRT's Python package is not here" in done.stderr
    )
    traced, engine = collect(folder / "result.json")[0]
    assert traced.measured.model_latency is not None
    assert judge(engine.measured).level == "not measured"
    assert "TensorRT's Python package is not here" in engine.measured.notes["latency"]


@pytest.mark.slow
def test_engines_are_built_and_scored_on_the_board_with_a_stand_in_of_tensorrt(study: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    version = "11.4.0"  # which takes fp16 from a file of its own
    brief = (*BRIEF, "--processes", "1", "--power", "none", "--out", "packed")
    forms = ("--backend", "tensorrt:fp16,tensorrt:int8")
    (weights, *_) = sorted((study / "weights").glob("jetseg-nano*.safetensors"))
    data = ("--dataset", "streets", "--images", "4")
    jetbench("bundle", str(weights), "--device", "agx", *forms, *data, *brief, cwd=tmp_path)
    folder = tmp_path / "packed"
    done = probe(folder, PYTHONPATH=str(FAKE), FAKE_TENSORRT=version)
    assert done.returncode == 0, done.stderr
    found = {record.profiling_config.form: record.measured for record in collect(folder / "result.json")[0]}
    assert list(found) == ["tensorrt fp16", "tensorrt int8"]
    for form in found:
        deployed = found[form].deployment
        assert deployed is not None
        assert deployed.engine is not None
        assert deployed.engine.tensorrt == version
        assert deployed.ran == form.partition(" ")[2]
        score = deployed.score_on("val")
        assert score is not None
        assert score.deployed.miou == pytest.approx(score.torch.miou, abs=0.05)
    assert not list(folder.glob("*/*.plan.part"))


@pytest.mark.slow
def test_a_board_without_int8_gets_no_int8(tmp_path: Path) -> None:
    said = jetbench("bundle", "--device", "nano", "--backend", "tensorrt", "--dtype", "int8", cwd=tmp_path, code=2)
    assert "TensorRT builds fp32, fp16 on Jetson Nano 4GB" in said
    said = jetbench("bundle", "--device", "nano", "--backend", "openvino", cwd=tmp_path, code=2)
    assert "runs eager (traced there) and tensorrt" in said
    said = jetbench("bundle", "reports/nowhere", cwd=tmp_path, code=2)
    assert "no such report folder" in said
    said = jetbench("bundle", "--images", "5", cwd=tmp_path, code=2)
    assert "name one" in said


@pytest.mark.slow
def test_a_bundle_runs_under_the_python_and_torch_of_jetpack_4(tmp_path: Path) -> None:
    if OLD is None:
        pytest.skip("needs $JETBENCH_OLD_PYTHON: a Python 3.6 with torch 1.10 and onnxruntime 1.10")
    forms = ("--backend", "eager,onnxruntime:int8")
    folder = write(tmp_path, "jetseg-nano", "--device", "cpu", "--power", "none", *forms)
    done = probe(folder, python=OLD)
    assert done.returncode == 0, done.stderr
    records, _ = collect(folder / "result.json")
    assert [record.profiling_config.form for record in records] == ["traced", "onnxruntime int8"]
    for record in records:
        assert record.measured.environment.python.startswith("3.6")
        assert record.measured.model_latency is not None, record.measured.notes["latency"]
        parity = record.measured.output_difference
        assert parity is None or parity < 1e-5


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
        (("bundle", "networks", 0, "cases", 0, "case", "input_size"), [10**6, 10**6], "case.input_size"),
        (("version",), 3, "version: expected 2, found 3; write the bundle again"),
        (("units",), [], "units: nothing was measured"),
        (("units", 0, "findings", 0, "model", "samples_s"), [-1.0], "findings.0.model.samples_s.0: must be greater"),
        (("units", 0, "findings", 0, "parity", "largest"), float("nan"), "parity.largest: expected a finite number"),
        (("units", 0, "environment", "cores"), -2, "cores: must be at least 1"),
        (("finished_s",), 1e300, "finished_s: must be at most"),
        (("units", 0, "identity"), None, "units.0.identity"),
        (("units", 0, "network"), 7, "network 7: the bundle has 1"),
        (("units", 2, "cases"), [0, 5], "cases: network 0 of the bundle has 2"),
        (("units", 2, "cases"), [0], "findings: expected 1, one for each case, found 2"),
        (("units", 1, "findings", 0, "file"), "../../etc/passwd", "file: passwd: the bundle has no such file"),
        (("units", 1, "findings", 0, "score", "counts"), [], "score.counts: expected 2, one for each image, found 0"),
        (("units", 1, "findings", 0, "score", "changed"), 10**9, "score.changed: more pixels than the images have"),
        (("units", 1, "findings", 0, "layers", 0, "seconds"), [-1.0], "layers.0.seconds.0: must be at least 0"),
        (("units", 1, "mode"), "x" * 1000, "units.1.mode"),
        (("units", 2, "kind"), "alone", "cases: a unit alone has one"),
        (("units", 2, "control", "samples_s"), [0.01], "samples_s: forms that are timed in turn have equally many"),
        (
            ("bundle", "networks", 0, "cases", 0, "case", "file"),
            "/etc/passwd",
            "a bundle holds no path of this machine",
        ),
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


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"version": ' + "1" * 5000 + "}", "[]", "3"])
def test_a_file_that_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(SpecError, match=r"not a result\.json of this version's probe"):
        collect(tmp_path / "result.json")


def test_a_result_gives_a_record_of_each_form_and_mode(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(probe_result()))
    records, device = collect(tmp_path / "result.json")
    described = [(r.profiling_config.form, r.measured.environment.power_mode) for r in records]
    assert described == [("eager", "MAXN"), ("tensorrt fp16", "MAXN"), ("eager", "5W"), ("tensorrt fp16", "5W")]
    assert device.name == "nano"
    eager, engine, *absent = [record.measured for record in records]
    assert eager.comparison is None
    assert engine.comparison is not None
    assert engine.deployment is not None
    score = engine.deployment.score_on("val")
    assert score is not None
    assert score.change == 0.0  # the made-up counts are those of PyTorch
    assert score.image_change == (0.0, 0.0)
    # Closed form: IoU of each class is right / (right + taken + missed), and the mean is over both.
    assert score.deployed.miou == pytest.approx((6000 / 6044 + 100 / 144) / 2)
    assert [judge(profile).level for profile in absent] == ["not measured"] * 2
    assert absent[1].notes["latency"] == "not measured: no engine"
    assert absent[0].notes["latency"] == "not measured: the probe was ended before"


def test_a_result_of_the_first_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(first_probe_result()))
    record = only(tmp_path / "result.json")
    assert record.measured.output_difference == 1e-6
    assert record.measured.model_latency is not None
    assert len(record.measured.model_latency.runs) == 3


@pytest.mark.slow
def test_a_result_is_read_whole_before_any_row_is_kept(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(probe_result()))
    (tmp_path / "bad.json").write_text("{")
    assert "bad.json: not a result.json" in jetbench("collect", "good.json", "bad.json", cwd=tmp_path, code=2)
    assert not (tmp_path / "reports").exists()
    assert "cannot name the report folder" in jetbench("collect", "good.json", "--name", "../x", cwd=tmp_path, code=2)
    assert "profile-nano" in jetbench("collect", "good.json", cwd=tmp_path)
