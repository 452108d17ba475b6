"""Every backend computes what the network computes, says what it ran, and ends with a message where it cannot run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jetbench.deploy.artefact import Artefact
from jetbench.deploy.backends import RUNTIMES, base, check_backend
from jetbench.deploy.backends.folded import NORM, fold
from jetbench.deploy.export import Deployed
from jetbench.deploy.graph import operations_of, read_graph
from jetbench.deploy.pack import ExportedFile
from jetbench.errors import SpecError
from jetbench.models.parts import part_of_node, parts_of
from jetbench.network.kernels import ADDED, kernel_class
from jetbench.network.plan import plan_network
from jetbench.probe.engines import onnx_runtime, open_engine, open_vino
from jetbench.profiling.deployed import describe_deployment, parts_of_file, parts_of_layers
from jetbench.profiling.kernels import kernels_of_layers
from jetbench.profiling.listing import list_network
from jetbench.profiling.trace import trace_operations
from jetbench.records.deployment import ModelFile
from jetbench.records.verdict import judge
from jetbench.spec.base import parse_spec
from jetbench.spec.catalog import load_architecture
from jetbench.spec.profiling import ProfilingConfig, read_form, settings_of
from tests.cli.test_verbs import jetbench
from tests.deploy.test_export import MEAN, NETWORKS, QUICK, STD, parity_of, settled
from tests.made_up import profile

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
OPENVINO = pytest.mark.skipif(RUNTIMES["openvino"].missing() is not None, reason="needs openvino")
SIZE = (64, 96)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_a_folded_network_computes_the_same_with_fewer_operations(name: str) -> None:
    network = settled(name, (192, 320) if "released" in name else SIZE)
    images = torch.randn(1, 3, *((192, 320) if "released" in name else SIZE))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = fold(network, images)
    with torch.inference_mode():
        expected, given, again = network(images), folded(images), folded(images)
    assert torch.equal(given, again)  # its input is not overwritten
    assert float((given - expected).abs().square().mean().sqrt() / expected.abs().max()) < 1e-4
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    targets = [node.target for node in folded.graph.nodes]
    assert any(str(target).endswith("_.default") or str(target).endswith("_.Tensor") for target in targets)


class Block(nn.Module):
    """conv(x) + x, then batch norm behind a transposed grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.last = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.up(self.own(x) + x))
        z: Tensor = self.last(y.relu() * 2)
        return z


def test_norms_and_shortcuts_become_one_convolution_each() -> None:
    torch.manual_seed(0)
    block = Block()
    for norm in (block.norm, block.last):
        norm.running_mean, norm.running_var = torch.randn(6), torch.rand(6) + 0.5
        norm.weight, norm.bias = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(6))
    x = torch.randn(2, 4, 5, 7)
    folded = fold(block.eval(), x)
    targets = [node.target for node in folded.graph.nodes]
    assert targets.count(NORM) == 1  # the one that has no convolution before it
    assert not any("add" in str(target) for target in targets)
    torch.testing.assert_close(folded(x), block(x), rtol=1e-5, atol=1e-5)
    # The weights that were folded into others are let go.
    assert sum(tensor.numel() for tensor in folded.state_dict().values()) == 4 * 18 + 4 + 4 * 12 + 6 + 4 * 6


def engine_of(backend: str, folder: Path, dtype: str = "fp32", name: str = "jetseg-nano") -> tuple[object, Deployed]:
    model = Deployed(settled(name, SIZE), MEAN, STD).eval()
    parity_of(model, torch.randn(1, 3, *SIZE), folder)
    return open_engine(backend, str(folder / "model.onnx"), dtype, flush_denormals=False), model


@pytest.mark.parametrize("backend", ["onnxruntime", pytest.param("openvino", marks=OPENVINO)])
def test_an_engine_says_what_ran_layer_by_layer(backend: str, tmp_path: Path) -> None:
    engine, model = engine_of(backend, tmp_path)
    images = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(engine(images), model(images), rtol=1e-3, atol=1e-3)  # type: ignore[operator]
    description = engine.describe()  # type: ignore[attr-defined]
    assert description["runtime"].startswith(backend)
    assert description["options"]["threads"] == "1"
    layers = engine.list_layers(images, 2)  # type: ignore[attr-defined]
    convolutions = [layer for layer in layers if layer.is_convolution]
    operations = list_network(plan_network(load_architecture("jetseg-nano"), 5, SIZE))
    assert len(convolutions) == sum(operation.kind == "convolution" for operation in operations)
    assert {layer.precision for layer in convolutions} == {"fp32"}
    assert {layer.layout for layer in convolutions} <= {"channels first", "channels last", "blocked"}
    assert all(len(layer.seconds) == 2 for layer in layers)
    parts = parts_of_layers(layers, model.network)
    assert set(parts_of(model.network)) <= set(parts)
    named = sum(sum(seconds) for part, seconds in parts.items() if part != ADDED)
    assert named > 0.5 * sum(sum(layer.seconds) for layer in layers)
    # Its layers compute every convolution of the network, each in the class and the part that PyTorch says.
    kernels = kernels_of_layers(layers, model.network, trace_operations(model.network, torch.zeros(1, 3, *SIZE)))
    macs: dict[tuple[str, str], int] = {}
    for operation in (each for each in operations if each.macs):
        key = operation.part, kernel_class(operation)
        macs[key] = macs.get(key, 0) + operation.macs
    assert {(each.part, each.kernel): each.macs for each in kernels if each.macs and each.samples_s} == macs
    assert sum(each.count for each in kernels if each.samples_s) == len(layers)


def test_a_file_whose_network_is_not_known_has_the_parts_that_its_names_tell(tmp_path: Path) -> None:
    engine, model = engine_of("onnxruntime", tmp_path, name="dabnet")
    layers = engine.list_layers(torch.randn(1, 3, *SIZE), 2)  # type: ignore[attr-defined]
    operations = operations_of(read_graph(tmp_path / "model.onnx"))
    parts = {part.name: part for part in parts_of_file(operations, layers)}
    known = parts_of_layers(layers, model.network)
    assert {name: list(parts[name].samples_s) for name in parts_of(model.network)} == {
        name: known[name] for name in parts_of(model.network)
    }
    assert sum(part.macs for part in parts.values()) == sum(operation.macs for operation in operations)
    unnamed = [operation._replace(layer=f"Conv {number}") for number, operation in enumerate(operations)]
    assert parts_of_file(unnamed, layers) == ()


@OPENVINO
def test_fp16_on_a_processor_is_not_what_runs(tmp_path: Path) -> None:
    engine, _ = engine_of("openvino", tmp_path, "fp16")
    layers = engine.list_layers(torch.randn(1, 3, *SIZE), 1)  # type: ignore[attr-defined]
    file = ModelFile(format="onnx", name="model.onnx", bytes=1, sha256="", exporter="", seconds=None)
    made = Artefact(path="", exported=ExportedFile(file=file, runtime="", parities=()))
    record = describe_deployment(engine.describe(), layers, made, "fp16")  # type: ignore[attr-defined]
    ran = {layer.precision for layer in layers if layer.is_convolution}
    assert set(record.convolutions) == ran
    assert ran != {"none"}
    assert record.is_as_asked == (ran == {"fp16"})
    assert (judge(profile(0.01, deployment=record)).level == "valid") == record.is_as_asked
    assert record.options["INFERENCE_PRECISION_HINT"].endswith("asked f16")
    assert sum(record.layouts.values()) == sum(record.convolutions.values())


@pytest.mark.parametrize(
    ("word", "layout"),
    [("abcd", "channels first"), ("acdb", "channels last"), ("acb", "channels last"), ("aBcd16b", "blocked")],
)
def test_a_layout_is_named_from_its_axes(word: str, layout: str) -> None:
    assert open_vino.layout_of(word) == layout


def test_onnx_runtime_names_its_layout_by_name_or_by_shape() -> None:
    def layout_of(name: str, kind: str, output: list[int]) -> str:
        inputs = [{"int8": [1, 8, 4, 6]}, {"float": []}, {"int8": []}, {"int8": [16, 8, 3, 3]}]
        given = {"op_name": kind, "input_type_shape": inputs, "output_type_shape": [{"int8": output}]}
        return onnx_runtime.layout_of(name, given)

    assert layout_of("/stem/Conv_output_0_nchwc", "Conv", [1, 16, 4, 6]) == "blocked"
    assert layout_of("/stem/Conv", "Conv", [1, 16, 4, 6]) == "channels first"
    assert layout_of("/stem/Conv", "QLinearConv", [1, 16, 4, 6]) == "channels first"
    assert layout_of("/stem/Conv", "QLinearConv", [1, 4, 6, 16]) == "channels last"
    assert layout_of("/stem/Conv", "QLinearConv", [1, 16, 4, 16]) == "unknown"


def test_a_node_belongs_to_the_part_whose_module_made_it() -> None:
    places = {"block 1": "encoder.blocks.1", "block 10": "encoder.blocks.10", "decoder": "decoder"}
    assert part_of_node("/network/encoder/blocks.10/operations/mix/Conv", places) == "block 10"
    assert part_of_node("images_reorder_/network/encoder/blocks.1/operations/mix/Conv", places) == "block 1"
    assert part_of_node("/network/decoder/Resize", places) == "decoder"
    assert part_of_node("/network/Resize", places) is None
    assert part_of_node("ReorderInput_token_3", places) is None


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"onnxruntime and onnx not installed: pip install 'jetbench\[onnx\]'"):
        check_backend(ProfilingConfig(backend="onnxruntime"), "cpu")
    check_backend(ProfilingConfig(backend="folded"), "cpu")


def test_a_runtime_of_the_processor_refuses_a_gpu() -> None:
    with pytest.raises(SpecError, match="runs on the processor only"):
        check_backend(ProfilingConfig(backend="onnxruntime"), "cuda")


CRASHES = """
import os, signal
__version__ = "0"
class Core:
    def read_model(self, path):
        return path
    def compile_model(self, *arguments):
        os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.slow
@OPENVINO
def test_a_compiler_that_crashes_is_a_message(tmp_path: Path) -> None:
    # A stand-in for OpenVINO, which crashes on few files: it ends its process as those do.
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text(CRASHES)
    command = [sys.executable, "-m", "jetbench", "profile", "jetseg-nano", "--size", "64x96", "--quick"]
    command += ["--backend", "openvino", "--reports", str(tmp_path / "reports")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "JETBENCH_CACHE": str(tmp_path / "cache")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path.cwd())
    assert ended.returncode == 2
    assert f"was ended by {signal.Signals.SIGSEGV.name}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("forms", "problem"),
    [
        (["openvino:fp64"], "expected one of eager"),
        (["tensorflow"], "expected one of eager"),
        (["onnxruntime:bf16"], "onnxruntime runs fp32, int8, not bf16"),
        (["eager:int8"], "eager runs fp32, fp16 and bf16; int8 needs onnxruntime or openvino"),
        (["eager"], "a form is named twice"),
        (["folded", "folded"], "a form is named twice"),
    ],
)
def test_forms_that_cannot_run_are_refused(forms: list[str], problem: str) -> None:
    def read() -> None:
        for form in forms:
            read_form(form)
        settings_of(ProfilingConfig(), forms)

    with pytest.raises((SpecError, ValueError), match=problem):
        read()


def test_a_list_of_backends_is_the_first_and_the_other_forms() -> None:
    from jetbench.spec.sweep import Sweep

    raw = {"name": "a", "base": "jetseg-nano", "profiling": {"backend": ["eager", "onnxruntime", "openvino:bf16"]}}
    sweep = parse_spec(Sweep, raw, "a.yaml")
    assert (sweep.profiling.backend, sweep.forms) == ("eager", ("onnxruntime", "openvino:bf16"))
    assert [config.form for config in settings_of(sweep.profiling, sweep.forms)] == [
        "eager",
        "onnxruntime",
        "openvino bf16",
    ]
    assert parse_spec(Sweep, sweep.model_dump(mode="json"), "sweep.yaml") == sweep  # what a folder keeps
    with pytest.raises(SpecError, match="expected one of eager"):
        parse_spec(Sweep, {**raw, "profiling": {"backend": ["eager", "tvm"]}}, "a.yaml")


def test_profile_refuses_what_a_backend_cannot(tmp_path: Path) -> None:
    text = jetbench("profile", "jetseg-nano", "--backend", "onnxruntime", "--dtype", "fp16", cwd=tmp_path, code=2)
    assert "onnxruntime runs fp32, int8, not fp16" in text
    text = jetbench(
        "profile", "jetseg-nano", "--backend", "openvino", "--layout", "channels-last", cwd=tmp_path, code=2
    )
    assert "chooses its memory layout itself" in text
