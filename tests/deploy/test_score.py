"""What a file scores is what the file gives, whatever it includes, and never PyTorch's score."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jetbench.data.cache import load_data
from jetbench.deploy.pack import export_network, request_export
from jetbench.deploy.score import read_exported, score_file
from jetbench.errors import SpecError
from jetbench.spec.dataset import StreetsConfig
from jetbench.spec.sources import NAMED
from tests.cli.test_verbs import jetbench
from tests.deploy.test_export import OWN

onnx = pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

SIZE = (64, 96)
DATA = StreetsConfig(size=SIZE, train=4, val=3, test=3)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("include", "batch"),
    [
        pytest.param((), 1, marks=SLOW),
        pytest.param(("normalise",), 2, marks=SLOW),
        pytest.param(("normalise", "argmax"), 4, marks=SLOW),
    ],
)
def test_a_file_scores_as_its_network_whatever_it_includes(
    include: tuple[str, ...], batch: int, tmp_path: Path
) -> None:
    request = request_export("jetseg-nano", include=include, batch_size=batch, size=SIZE)  # type: ignore[arg-type]
    export_network(request, tmp_path / "out")
    score, _ = score_file(tmp_path / "out" / "model.onnx", load_data(DATA), "val")
    assert score.torch is not None
    assert (score.changed, score.pixels) == (0, 3 * 64 * 96)
    assert score.deployed.confusion == score.torch.confusion
    assert score.change == 0
    assert score.image_change is not None
    assert (score.image_change.mean, score.image_change.half) == (0, 0)
    assert score.runtime.startswith("onnxruntime")


@SLOW
def test_a_file_that_computes_something_else_has_its_own_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMED, "")
    (tmp_path / "net.py").write_text(OWN)
    (tmp_path / "mine.yaml").write_text("model: net.py:build\narguments: {fault: wrong}\n")
    exported = export_network(request_export(str(tmp_path / "mine.yaml"), size=SIZE), tmp_path / "out")
    assert not exported.passes
    score, _ = score_file(tmp_path / "out" / "model.onnx", load_data(DATA), "val")
    assert score.torch is not None
    assert score.changed
    assert score.deployed.confusion != score.torch.confusion
    assert score.change == pytest.approx(score.deployed.miou - score.torch.miou)


@SLOW
def test_what_cannot_be_scored_is_said(tmp_path: Path) -> None:
    path = tmp_path / "out" / "model.onnx"
    with pytest.raises(SpecError, match="no such file"):
        read_exported(path)
    export_network(request_export("jetseg-nano", size=SIZE), tmp_path / "out")
    manifest = path.parent / "manifest.json"
    whole = manifest.read_text()
    raw = json.loads(whole)
    for changed, message in (
        ("[]", "has no manifest.json beside it, which says how to feed it"),
        (json.dumps({**raw, "request": 3}), "is no manifest of this version"),
        (json.dumps({**raw, "files": 3}), "is no manifest of this version"),
        (json.dumps({**raw, "files": []}), "does not name it"),
    ):
        manifest.write_text(changed)
        with pytest.raises(SpecError, match=message):
            read_exported(path)
    manifest.write_text(whole)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SpecError, match="is not the file that was exported"):
        read_exported(path)
    path.write_bytes(content)
    assert read_exported(path)[1].label == "jetseg-nano"


@SLOW
def test_weights_that_are_gone_leave_the_score_and_the_reason(tmp_path: Path) -> None:
    raw = ["train", "jetseg-nano", "--dataset", "streets", "--budget", "1step", "--size", "64x96"]
    raw += ["--set", "dataset.train=8", "--set", "dataset.val=2", "--set", "dataset.test=2", "--name", "t"]
    jetbench(*raw, cwd=tmp_path)
    (weights,) = (tmp_path / "reports" / "t" / "weights").glob("*.safetensors")
    jetbench("export", str(weights), "--images", "2", "--out", "out", cwd=tmp_path)
    scored = [
        "evaluate",
        "out/model.onnx",
        "--dataset",
        "streets",
        "--set",
        "train=4",
        "--set",
        "val=3",
        "--set",
        "test=3",
    ]
    text = jetbench(*scored, cwd=tmp_path)
    assert "PyTorch on the same images: mIoU" in text
    of_weights = json.loads(jetbench("evaluate", str(weights), *scored[2:], "--json", cwd=tmp_path))
    weights.unlink()
    of_file = json.loads(jetbench(*scored, "--json", cwd=tmp_path))
    assert np.allclose(of_file["miou"], of_weights["miou"], atol=2e-3)
    assert of_file["torch_miou"] is None
    assert "the weights are not at" in of_file["not_compared"]
    assert torch.tensor(of_file["confusion"]).sum() == torch.tensor(of_weights["confusion"]).sum()
