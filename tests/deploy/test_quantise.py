"""int8 files have the form that TensorRT takes, name what they leave in float, and are judged by their score."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jetbench.data.cache import load_data
from jetbench.deploy.backends import RUNTIMES
from jetbench.deploy.export import Deployed, export
from jetbench.deploy.quantise import errors_by_part, quantise_onnx, spread
from jetbench.models.parts import parts_of
from jetbench.probe.engines import open_engine
from jetbench.spec.dataset import StreetsConfig
from tests.deploy.test_export import MEAN, STD, settled

onnx = pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")
SIZE = (64, 96)
DATA = StreetsConfig(size=SIZE, train=12, val=3, test=3)


@pytest.fixture(scope="module")
def model() -> Deployed:
    return Deployed(settled("jetseg-nano", SIZE), MEAN, STD).eval()


@pytest.fixture(scope="module")
def batches(model: Deployed) -> list[torch.Tensor]:
    pixels = torch.from_numpy(load_data(DATA).images["train"].copy())
    return list(torch.split(model.feed(pixels), 1))


def changed(path: Path, model: Deployed, images: torch.Tensor) -> int:
    """Pixels of val that have another class than PyTorch gives."""
    engine = open_engine("onnxruntime", str(path), "int8", flush_denormals=False)
    with torch.no_grad():
        return sum(int((engine(one).argmax(1) != model(one).argmax(1)).sum()) for one in torch.split(images, 1))


def test_the_file_has_the_form_that_tensorrt_takes(
    model: Deployed, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    file = export(model, batches[0], tmp_path, "onnx", 13, "int8", batches)
    graph = onnx.load(str(tmp_path / file.name))
    assert file.opset == 13
    assert [each.domain for each in graph.opset_import] == [""]
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.graph.initializer}
    pairs = [node for node in graph.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 100
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    dequantised = {node.input[0] for node in pairs if node.op_type == "DequantizeLinear"}
    assert not dequantised & set(constants)  # weights are quantised in the graph, and no bias is
    engine = open_engine("onnxruntime", str(tmp_path / file.name), "int8", flush_denormals=False)
    layers = [layer for layer in engine.list_layers(batches[0], 1) if layer.is_convolution]
    assert {layer.precision for layer in layers} == {"fp32", "int8"}


@pytest.mark.slow
def test_noise_in_place_of_images_ruins_the_file(model: Deployed, batches: list[torch.Tensor], tmp_path: Path) -> None:
    export(model, batches[0], tmp_path, "onnx")
    noise = [torch.rand_like(batches[0]) / 100 for _ in batches]
    val = model.feed(torch.from_numpy(load_data(DATA).images["val"].copy()))
    counts = []
    for name, given in (("images", batches), ("noise", noise)):
        quantise_onnx(tmp_path / "model.onnx", tmp_path / f"{name}.onnx", given)
        counts.append(changed(tmp_path / f"{name}.onnx", model, val))
    of_images, of_noise = counts
    assert of_noise > 3 * of_images


@pytest.mark.slow
def test_the_parts_that_hurt_are_measured_one_by_one(
    model: Deployed, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    file = export(model, batches[0], tmp_path, "onnx", 13, "int8", batches)
    some = batches[:2]
    with torch.no_grad():
        expected = [model(one) for one in some]
    errors = errors_by_part(tmp_path / file.name, parts_of(model.network), some, expected)
    assert {each.part for each in errors} == set(parts_of(model.network))
    assert [each.error for each in errors] == sorted((each.error for each in errors), reverse=True)
    engine = open_engine("onnxruntime", str(tmp_path / file.name), "int8", flush_denormals=False)
    whole = torch.cat([engine(one) - right for one, right in zip(some, expected, strict=True)])
    scale = torch.cat(expected).square().mean().sqrt()
    assert 0 < errors[-1].error < errors[0].error <= 1.5 * float(whole.square().mean().sqrt() / scale)


def test_calibration_images_are_spread_over_the_split() -> None:
    assert spread(4, 8) == (0, 2, 4, 6)
    assert spread(100, 3) == (0, 1, 2)
    assert spread(3, 10) == (0, 3, 6)


@pytest.mark.slow
@pytest.mark.skipif(RUNTIMES["openvino"].missing() is not None, reason="needs openvino")
def test_openvino_gets_int8_from_nncf(model: Deployed, batches: list[torch.Tensor], tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs nncf")
    file = export(model, batches[0], tmp_path, "openvino", 13, "int8", batches)
    assert file.bytes == sum((tmp_path / f"model{end}").stat().st_size for end in (".xml", ".bin"))
    engine = open_engine("openvino", str(tmp_path / file.name), "int8", flush_denormals=False)
    assert "int8" in {layer.precision for layer in engine.list_layers(batches[0], 1) if layer.is_convolution}
    with torch.no_grad():
        expected = model(batches[0])
    assert float((engine(batches[0]).argmax(1) != expected.argmax(1)).float().mean()) < 0.1
