"""TensorRT in six versions, on a stand-in that computes the file in ONNX Runtime: never on TensorRT itself.

The stand-in (tests/simulated/fake_tensorrt) has the attributes of one version only: a call that it lacks fails.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jetbench.deploy.artefact import list_artefacts
from jetbench.deploy.backends import check_backend
from jetbench.deploy.export import Deployed
from jetbench.errors import SpecError
from jetbench.probe.engines import tensor_rt
from jetbench.profiling import session
from jetbench.profiling.case import list_cases
from jetbench.profiling.files import file_case
from jetbench.spec.device import load_device
from jetbench.spec.profiling import DType, ProfilingConfig
from tests.deploy.test_export import MEAN, STD, parity_of, settled

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
FAKE = Path(__file__).parents[1] / "simulated" / "fake_tensorrt"
VERSIONS = ("8.2.1", "8.5.2", "8.6.2", "10.3.0", "10.16.2", "11.4.0")
QUICK = ("8.2.1", "11.4.0")
SIZE = (32, 48)
USE = """
import json, sys, torch
from jetbench.probe.engines import open_engine
path, dtype = sys.argv[1:]
engine = open_engine("tensorrt", path, dtype)
images = torch.load(path + ".images.pt")
output = engine(images).clone()
layers = engine.list_layers(images, 2)
kept = [each for each in layers if each.is_convolution]
print(json.dumps({
    "difference": float((output - torch.load(path + ".logits.pt")).abs().max()),
    "description": engine.describe(),
    "convolutions": sorted({each.precision for each in kept}),
    "layouts": sorted({each.layout for each in kept}),
    "passes": sorted({len(each.seconds) for each in layers}),
    "names": [each.name for each in kept],
}))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file with a batch and its logits."""
    folder = tmp_path_factory.mktemp("tensorrt")
    model = Deployed(settled("jetseg-nano", SIZE), MEAN, STD).eval()
    parity_of(model, torch.randn(1, 3, *SIZE), folder)
    path = folder / "model.onnx"
    images = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        torch.save(model(images), f"{path}.logits.pt")
    torch.save(images, f"{path}.images.pt")
    return path


def pretend(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Let processes that are started from here find the stand-in."""
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(dict.fromkeys(filter(None, [str(FAKE), *known]))))
    monkeypatch.setenv("FAKE_TENSORRT", version)


def run(
    monkeypatch: pytest.MonkeyPatch, version: str, *command: str, fault: str = ""
) -> "subprocess.CompletedProcess[str]":
    pretend(monkeypatch, version)
    monkeypatch.setenv("FAKE_TENSORRT_FAULT", fault)
    return subprocess.run([sys.executable, *command], capture_output=True, text=True)


def build(
    monkeypatch: pytest.MonkeyPatch, version: str, file: Path, *more: str, fault: str = ""
) -> "subprocess.CompletedProcess[str]":
    dtypes = [*more, "fp32"][:2]  # of the engine, and of the file
    command = ("-m", "jetbench.probe.build_engine", str(file), *dtypes, str(os.getpid()))
    return run(monkeypatch, version, *command, fault=fault)


@pytest.mark.parametrize(
    "version", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in VERSIONS]
)
def test_an_engine_of_each_version_computes_the_file(version: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(build(monkeypatch, version, file, "fp32").stdout)
    assert (facts["tensorrt"], facts["dtype"], facts["skipped_tactics"]) == (version, "fp32", 0)
    assert facts["peak_bytes"] > 0
    used = run(monkeypatch, version, "-c", USE, str(file), "fp32")
    assert used.returncode == 0, used.stderr
    said = json.loads(used.stdout)
    assert said["difference"] < 1e-4
    assert said["description"]["runtime"] == f"tensorrt {version}"
    assert said["description"]["engine"]["sha256"] == facts["sha256"]
    assert said["convolutions"] == ["fp32"]
    assert said["layouts"] == (["unknown"] if version.startswith("10.") else ["channels first"])
    assert any("/network/" in name for name in said["names"])  # also where TensorRT names its layers itself
    assert said["passes"] == [2]


@pytest.mark.slow
def test_fp16_is_a_flag_to_10_and_in_the_file_from_11(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(monkeypatch, "10.3.0", file, "fp16").returncode == 0
    said = json.loads(run(monkeypatch, "10.3.0", "-c", USE, str(file), "fp16").stdout)
    assert said["convolutions"] == ["fp16"]
    assert 0 < said["difference"] < 0.1
    refused = build(monkeypatch, "11.4.0", file, "fp16")
    assert "takes the number format from the file, and this file is in fp32" in refused.stderr
    assert refused.returncode == 1
    assert build(monkeypatch, "11.4.0", file, "fp16", "fp16").returncode == 0


@pytest.mark.parametrize(
    ("fault", "dtype", "message"),
    [
        ("no engine", "fp32", "built no engine: error: 10: Could not find any implementation"),
        ("no int8", "int8", "this GPU has no int8 units: take fp16"),
    ],
)
def test_a_build_that_fails_says_why(
    fault: str, dtype: str, message: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = build(monkeypatch, "8.2.1", file, dtype, fault=fault)
    assert (failed.returncode, message in failed.stderr) == (1, True)
    assert "Traceback" not in failed.stderr


def test_tactics_that_lack_memory_are_counted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(build(monkeypatch, "8.6.2", file, "fp32", fault="memory").stdout)
    assert facts["skipped_tactics"] == 1
    assert "2168MB" in facts["warnings"][-1]


def test_an_opset_that_a_version_cannot_read_is_named(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    model = onnx.load(str(file))
    model.opset_import[0].version = 17
    onnx.save(model, str(tmp_path / "newer.onnx"))
    refused = build(monkeypatch, "8.2.1", tmp_path / "newer.onnx", "fp32")
    assert "opset 17 is newer than 13" in refused.stderr


@pytest.mark.slow
def test_an_engine_of_another_version_is_not_read_and_one_that_is_refused_is_no_number(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no engine for this GPU and TensorRT" in run(monkeypatch, "8.5.2", "-c", USE, str(file), "int8").stderr
    build(monkeypatch, "8.5.2", file, "fp32")
    build(monkeypatch, "10.3.0", file, "fp32")
    plans = {path.name.split("-")[0].removeprefix("model."): path for path in file.parent.glob("*-fp32.plan")}
    plans["10.3.0"].write_bytes(plans["8.5.2"].read_bytes())
    assert "Version tag does not match" in run(monkeypatch, "10.3.0", "-c", USE, str(file), "fp32").stderr
    build(monkeypatch, "10.3.0", file, "fp32")
    assert "refused to run" in run(monkeypatch, "10.3.0", "-c", USE, str(file), "fp32", fault="refused").stderr


def test_a_build_that_the_kernel_ends_is_a_message(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jetbench.deploy.backends.tensor_rt import build_engine

    pretend(monkeypatch, "8.2.1")
    monkeypatch.setenv("FAKE_TENSORRT_FAULT", "killed")
    with pytest.raises(SpecError, match="ended by SIGKILL: the kernel does so when memory runs out"):
        build_engine(file, "fp32")


@pytest.mark.parametrize(
    ("words", "precision", "layout"),
    [
        ("Row major linear FP32", "fp32", "channels first"),
        ("Row major linear FP16 format", "fp16", "channels first"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8", "blocked"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16", "channels last"),
        ("Row major Int8 format", "int8", "channels first"),
        ("Half", "fp16", "unknown"),
        ("Half Linear", "fp16", "channels first"),
        ("BFloat16", "bf16", "unknown"),
        ("Int8", "int8", "unknown"),
    ],
)
def test_both_dialects_of_the_inspector_are_read(words: str, precision: str, layout: str) -> None:
    assert (tensor_rt.precision_of(words), tensor_rt.layout_of(words)) == (precision, layout)


def test_a_processor_has_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetbench.deploy.backends.base.find_spec", lambda name: object())
    with pytest.raises(SpecError, match="runs on an NVIDIA GPU only"):
        check_backend(ProfilingConfig(backend="tensorrt"), "cpu")
    check_backend(ProfilingConfig(backend="tensorrt"), "cuda")


@pytest.mark.slow
@pytest.mark.parametrize(("version", "dtype", "ran"), [("8.2.1", "int8", "int8"), ("11.4.0", "fp16", "fp16")])
def test_a_profile_of_an_engine_is_timed_beside_eager_and_says_how_it_was_built(
    version: str, dtype: DType, ran: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, version)
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setenv("JETBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(session, "check_backend", lambda config, device: None)  # the stand-in runs on a processor
    brief = {"power": "none", "warmup_iterations": 1, "min_iterations": 2, "min_seconds": 0, "precision": 1}
    settings = [ProfilingConfig.model_validate({"backend": "eager", **brief})]
    settings += [ProfilingConfig.model_validate({"backend": "tensorrt", "dtype": dtype, **brief})]
    eager, engine = session.profile_cases(
        list_cases(["jetseg-nano"], settings, (64, 96), 11, None), "cpu", load_device("cpu")
    )
    assert eager.deployment is None
    assert engine.comparison is not None
    assert engine.comparison.reference == "jetseg-nano, eager"
    deployed = engine.deployment
    assert deployed is not None
    assert deployed.engine is not None
    assert (deployed.runtime, deployed.engine.tensorrt, deployed.engine.dtype) == (
        f"tensorrt {version}",
        version,
        dtype,
    )
    assert deployed.ran == ran
    assert sum(deployed.convolutions.values()) == sum(deployed.layouts.values()) > 50
    assert "built in" in deployed.engine.describe()
    assert {part.name for part in engine.parts} >= {"block 0", "decoder"}
    (kept,) = (tmp_path / "artefacts").glob("[!.]*")
    assert not next(each for each in list_artefacts() if each.folder == kept).is_retired
    assert list(kept.glob("*.plan"))


@pytest.mark.slow
def test_a_file_of_another_exporter_is_built_in_the_cache_and_not_beside_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "10.3.0")
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setenv("JETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(session, "check_backend", lambda config, device: None)  # the stand-in runs on a processor
    own = tmp_path / "own.onnx"
    own.write_bytes(file.read_bytes())
    brief = {"power": "none", "warmup_iterations": 1, "min_iterations": 2, "min_seconds": 0, "precision": 1}
    config = ProfilingConfig.model_validate({"backend": "tensorrt", **brief})
    (profile,) = session.profile_cases([file_case(str(own), config)], "cpu", load_device("cpu"))
    assert profile.deployment is not None
    assert profile.deployment.engine is not None
    assert profile.deployment.runtime == "tensorrt 10.3.0"
    assert not list(tmp_path.glob("*.plan*"))
    assert len(list((tmp_path / "cache").rglob("*.plan"))) == 1
    monkeypatch.setenv("FAKE_TENSORRT_FAULT", "killed")  # what is built is not built again
    session.profile_cases([file_case(str(own), config)], "cpu", load_device("cpu"))
