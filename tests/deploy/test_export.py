"""Networks become files that compute the same, and files that do not are found out, by real runtimes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.deploy.export import Deployed, export, exportable, pool_into_bins
from jetbench.deploy.parity import Comparison, first_difference, open_file
from jetbench.errors import SpecError
from jetbench.models.baselines.layers import first_maxima, halve, halve_with_indices, unpool, unpool_by_places
from jetbench.models.build import build_model, without_training_heads
from jetbench.records.deployment import Parity
from jetbench.spec.catalog import baseline_names, jetseg_names, load_architecture
from tests.cli.test_verbs import jetbench

onnx = pytest.importorskip("onnx", reason="needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

MEAN, STD = (127.5, 127.5, 127.5), (64.0, 64.0, 64.0)
NETWORKS = [
    *jetseg_names(),
    *(name for name in baseline_names() if getattr(load_architecture(name), "network", None) is not None),
]
QUICK = ("jetseg-nano", "enet")


def settled(name: str, size: tuple[int, int]) -> nn.Module:
    """A network whose batch norms have seen two batches, as after a training, so that no channel is dead."""
    torch.manual_seed(0)
    model = build_model(name, 5, size).train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(2, 3, *size))
    return without_training_heads(model)


def parity_of(model: Deployed, images: Tensor, folder: Path, opset: int = 13) -> Parity:
    file = export(model, images, folder, "onnx", opset)
    assert (file.opset, file.bytes) == (opset, (folder / file.name).stat().st_size)
    run, runtime = open_file(folder / file.name, "onnx")
    assert runtime == f"onnxruntime {onnxruntime.__version__}"
    comparison = Comparison("a test")
    with torch.no_grad():
        comparison.add(model(images), run(images))
    return comparison.parity()


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_every_network_is_exported_at_opset_13_and_computes_the_same(name: str, tmp_path: Path) -> None:
    size = (160, 322) if "released" in name else (94, 122)  # sides that halve to odd ones
    model = Deployed(settled(name, size), MEAN, STD).eval()
    parity = parity_of(model, torch.randn(1, 3, *size), tmp_path)
    assert parity.passes, parity.describe()
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    assert all(len(node.output) == 1 for node in graph.node if node.op_type == "MaxPool")  # TensorRT has no indices
    assert {node.op_type for node in graph.node}.isdisjoint({"Mod", "ScatterElements", "ScatterND", "GridSample"})
    assert first_difference(model, tmp_path / "model.onnx", torch.randn(1, 3, *size)) is None


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 6), (5, 7), (12, 13), (33, 8)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6, (3, 5), (None, 2)])
def test_pooling_into_bins_is_two_multiplications(height: int, width: int, bins: object) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    expected = F.adaptive_avg_pool2d(x, bins)  # type: ignore[arg-type]
    assert torch.allclose(pool_into_bins(x, bins), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 7), (8, 3), (1, 1)])
def test_unpooling_by_places_equals_unpooling_by_indices_to_the_bit(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        x = torch.randint(-2, 3, (2, 3, *size), generator=generator).float()  # with many ties
        pooled, indices = halve_with_indices(x)
        assert torch.equal(halve(x), pooled)
        values = torch.randn(pooled.shape, generator=generator)
        assert torch.equal(unpool_by_places(values, first_maxima(x), size), unpool(values, indices, size))


def test_the_network_itself_is_as_before_while_nothing_is_exported() -> None:
    own = F.adaptive_avg_pool2d
    with exportable():
        assert F.adaptive_avg_pool2d is not own
    assert F.adaptive_avg_pool2d is own


@pytest.mark.parametrize("include", [("normalise",), ("argmax",), ("normalise", "argmax")])
def test_what_is_included_takes_pixels_and_gives_classes(include: tuple[str, ...], tmp_path: Path) -> None:
    network = settled("jetseg-nano", (64, 96))
    model = Deployed(network, MEAN, STD, include).eval()  # type: ignore[arg-type]
    pixels = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    images = model.feed(pixels)
    assert float(images.max()) > 10 if "normalise" in include else float(images.max()) < 3
    assert parity_of(model, images, tmp_path, 17).passes
    run, _ = open_file(tmp_path / "model.onnx", "onnx")
    plain = Deployed(network, MEAN, STD).eval()
    with torch.no_grad():
        logits = plain(plain.feed(pixels))
    output = run(images)
    if "argmax" in include:
        assert output.dtype == torch.int32
        assert float((output != logits.argmax(1)).float().mean()) < 1e-3
    else:
        assert torch.allclose(output, logits, atol=1e-4)


def test_parity_by_hand() -> None:
    """Two pixels with two classes: one changes its class; differences 0, 0, 0.5 and 0 of an output of at most 2."""
    expected = torch.tensor([[[[2.0, 0.0]], [[1.0, 0.25]]]])
    comparison = Comparison("a test")
    comparison.add(expected, expected + torch.tensor([[[[0.0, 0.5]], [[0.0, 0.0]]]]))
    parity = comparison.parity()
    assert (parity.images, parity.pixels, parity.changed) == (1, 2, 1)
    assert (parity.largest, parity.rms, parity.scale) == (0.5, 0.25, 2.0)
    assert not parity.passes
    limits = {"on": "x", "images": 1, "pixels": 10_000, "scale": 2.0, "largest": 1.0}
    assert Parity.model_validate({**limits, "changed": 10, "rms": 0.002}).passes
    assert not Parity.model_validate({**limits, "changed": 11, "rms": 0.002}).passes
    assert not Parity.model_validate({**limits, "changed": 10, "rms": 0.0021}).passes
    broken = Comparison("a test")
    broken.add(expected, expected * torch.nan)
    assert not broken.parity().passes


OWN = """
import os
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, fault):
        super().__init__()
        self.fault = fault
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.third = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        x = self.second(self.first(x) + self.offset())
        if self.fault == "operator":
            x = torch.special.i0(x)
        return self.third(x)

    def offset(self):
        if not torch.onnx.is_in_onnx_export():
            return 0.0
        if self.fault == "crash":
            os.kill(os.getpid(), 11)
        return 0.5 if self.fault == "wrong" else 0.0


def build(num_classes, fault="none"):
    return Net(num_classes, fault)
"""


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        pytest.param("none", 0, "passes", marks=pytest.mark.slow),
        ("wrong", 3, "first difference: network.network.second"),
        ("crash", 2, "the process that exported it was ended by SIGSEGV"),
        pytest.param("operator", 2, "torch cannot export this network at opset 13", marks=pytest.mark.slow),
    ],
)
def test_what_is_wrong_with_a_file_is_said(fault: str, code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OWN)
    (tmp_path / "mine.yaml").write_text(f"model: net.py:build\narguments: {{fault: {fault}}}\n")
    text = jetbench("export", "mine.yaml", "--size", "64x96", "--out", "out", cwd=tmp_path, code=code)
    assert message in text
    assert (tmp_path / "out").exists() == (code != 2)
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.slow
def test_a_folder_says_how_to_feed_its_files_and_they_do_what_it_says(tmp_path: Path) -> None:
    command = ("export", "jetseg-nano", "--size", "64x96", "--classes", "5", "--to", "onnx,torchscript", "--batch", "2")
    text = jetbench(*command, "--images", "3", "--out", "out", cwd=tmp_path)
    assert text.count("passes") == 2
    assert "3 images of val of streets: 0 of 18,432 pixels change class" in text
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["input"]["shape"] == [2, 3, 64, 96]
    assert manifest["output"]["shape"] == [2, 5, 64, 96]
    assert [file["file"]["opset"] for file in manifest["files"]] == [13, None]
    reference = np.load(tmp_path / "out" / "reference.npz")
    by_hand = (reference["pixels"].astype(np.float32) - manifest["input"]["mean"]) / manifest["input"]["std"]
    assert np.allclose(by_hand.transpose(0, 3, 1, 2), reference["input"][:1], atol=1e-5)
    for name in ("model.onnx", "model.ts"):
        run, _ = open_file(tmp_path / "out" / name, "onnx" if name.endswith("onnx") else "torchscript")
        assert np.allclose(run(torch.from_numpy(reference["input"])), reference["output"], atol=1e-4)
    assert "already exists" in jetbench(*command, "--out", "out", cwd=tmp_path, code=2)
    assert "--opset 99: torch writes 11 to 20" in jetbench(
        *command, "--opset", "99", "--out", "b", cwd=tmp_path, code=2
    )
    assert "expected onnx, openvino, torchscript" in jetbench(
        "export", "cgnet", "--to", "tflite", "--out", "b", cwd=tmp_path, code=2
    )


def test_a_missing_runtime_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from jetbench.deploy import pack
    from jetbench.deploy.backends import base

    monkeypatch.setattr(base, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(SpecError, match=r"--to onnx: onnxruntime not installed: pip install 'jetbench\[onnx\]'"):
        pack.request_export("jetseg-nano", size=(64, 96))
    pack.request_export("jetseg-nano", ("torchscript",), size=(64, 96))


@pytest.mark.slow
def test_several_number_formats_have_a_folder_each(tmp_path: Path) -> None:
    command = ("export", "jetseg-nano", "--size", "64x96", "--images", "1", "--dtype", "fp32,int8", "--calibrate", "4")
    exported = json.loads(jetbench(*command, "--out", "out", "--json", cwd=tmp_path))
    assert [each["request"].get("precision", "fp32") for each in exported] == ["fp32", "int8"]
    sizes = [(tmp_path / "out" / name / "model.onnx").stat().st_size for name in ("fp32", "int8")]
    assert sizes == [each["files"][0]["file"]["bytes"] for each in exported]
    assert "already exists" in jetbench(*command, "--out", "out", cwd=tmp_path, code=2)


def test_of_several_number_formats_nothing_is_left_if_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jetbench.__main__ import main
    from jetbench.deploy import pack

    made: list[Path] = []

    def export_network(request: pack.ExportRequest, folder: Path) -> pack.Exported:
        made.append(folder)
        if request.precision != "fp32":
            raise SpecError("the second fails")
        folder.mkdir(parents=True)
        return pack.Exported(request=request, fingerprint="", files=())

    monkeypatch.setattr(pack, "export_network", export_network)
    out = tmp_path / "out"
    command = ["export", "jetseg-nano", "--size", "64x96", "--dtype", "fp32,int8", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["jetbench", *command])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert made == [out / "fp32", out / "int8"]
    assert not out.exists()
