"""A graph costs what its network costs, and is checked for what targets cannot run."""

from pathlib import Path

import pytest
import torch
from torch import nn

from jetbench.deploy.export import Deployed, export
from jetbench.deploy.graph import operations_of, read_graph
from jetbench.deploy.lint import lint_export, lint_graph
from jetbench.errors import SpecError
from jetbench.network.operations import add_up, dead_operations
from jetbench.network.plan import plan_network
from jetbench.profiling.file_counts import operations_of_file
from jetbench.profiling.listing import count, list_network
from jetbench.spec.catalog import load_architecture
from tests.cli.test_verbs import jetbench
from tests.deploy.test_export import MEAN, NETWORKS, QUICK, STD, settled

onnx = pytest.importorskip("onnx", reason="needs onnx")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_a_graph_has_the_macs_of_its_network(name: str, tmp_path: Path) -> None:
    size = (192, 320) if "released" in name else (94, 122)
    export(Deployed(settled(name, size), MEAN, STD).eval(), torch.randn(2, 3, *size), tmp_path, "onnx")
    counted = add_up(operations_of(read_graph(tmp_path / "model.onnx")))  # of a batch of two
    every = list_network(plan_network(load_architecture(name), 5, size))
    dead = dead_operations(every)  # what never reaches the output is not exported
    expected = add_up([operation for place, operation in enumerate(every) if place not in dead])
    if name in ("thundernet", "espnetv2", "fastscnn", "ppliteseg-t"):  # adaptive pooling is exported as matrix products
        assert expected.macs < counted.macs < 1.1 * expected.macs
    else:
        assert counted.macs == expected.macs
    assert 0.8 * expected.parameters < counted.parameters  # folded batch norm has none
    assert not counted.uncounted


def test_torchscript_has_the_macs_of_its_network(tmp_path: Path) -> None:
    size = (64, 96)
    export(Deployed(settled("jetseg-nano", size), MEAN, STD).eval(), torch.randn(1, 3, *size), tmp_path, "torchscript")
    counted = add_up(operations_of_file(str(tmp_path / "model.ts"), size))
    assert counted.macs == count("jetseg-nano", 5, size).macs
    assert not counted.uncounted


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07not a model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, problem in (("a.onnx", "is no ONNX model"), ("empty.onnx", "is no ONNX model"), ("b.onnx", "no such")):
        with pytest.raises(SpecError, match=problem):
            read_graph(tmp_path / name)


class Hostile(nn.Module):
    """Grouped convolutions of three channels, pooling with indices, rounding up, and resizing."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(3, 6, 1)
        self.narrow = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.narrow(self.grouped(x))
        y = y * y.clamp(max=0).exp()
        y, places = nn.functional.max_pool2d(self.pool(y), 2, return_indices=True)
        y = y + places.float()
        return nn.functional.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=True)


def write(path: Path, opset: int, dynamic: bool = False) -> None:
    axes = {"x": {2: "height"}} if dynamic else None
    torch.onnx.export(
        Hostile().eval(), (torch.randn(1, 3, 9, 12),), str(path), dynamo=False, opset_version=opset, input_names=["x"],
        dynamic_axes=axes,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_what_targets_cannot_run_is_named_with_version_and_source(tmp_path: Path) -> None:
    write(tmp_path / "old.onnx", 13)
    by_rule = {finding.rule: finding for finding in lint_graph(read_graph(tmp_path / "old.onnx"))}
    assert set(by_rule) == {"operators", "ceil-mode", "three-kernels", "unaligned-groups", "int8-groups", "resize"}
    assert "MaxPool with indices" in by_rule["operators"].what
    assert by_rule["operators"].target == "TensorRT 8.2 to 10.1"
    assert "align_corners" in by_rule["resize"].what
    assert all(finding.target and finding.source and finding.remedy for finding in by_rule.values())
    write(tmp_path / "new.onnx", 18, dynamic=True)
    rules = {finding.rule: finding for finding in lint_graph(read_graph(tmp_path / "new.onnx"))}
    assert "dynamic-sizes" in rules
    assert "TensorRT 8.2" in rules["opset"].why
    assert "TensorRT 8.4 to 8.6" in rules["opset"].why


def test_the_lint_of_a_network_reads_its_exported_graph() -> None:
    plan = plan_network(load_architecture("jetseg-nano"), 11, (64, 96))
    by_rule = {finding.rule: finding for finding in lint_export(plan)}
    exponentials = sum(operation.kernel == "exp" for operation in list_network(plan))
    assert f"REU runs as Clip, Exp and Mul, {exponentials} times" in by_rule["three-kernels"].what
    assert by_rule["unaligned-groups"].where[0].startswith("encoder/blocks.")
    assert lint_export(plan_network(load_architecture("enet"), 11, (64, 96))) == ()


@pytest.mark.slow
def test_show_lint_of_a_baseline_prints_both_kinds(tmp_path: Path) -> None:
    shown = jetbench("show", "stdc1", "--lint", "--size", "64x96", cwd=tmp_path)
    assert "from the graph that it is exported to" in shown
    assert "target: TensorRT" in shown
    assert "only its published figures are known" in jetbench("show", "mfenet", "--lint", cwd=tmp_path, code=2)
