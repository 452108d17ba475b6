"""A torch module that a script holds is profiled as it is, and its record prints as a sheet."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jetbench import build_model, profile
from jetbench.errors import SpecError
from jetbench.network.closed_form import cost_of
from jetbench.spec.architecture import Foreign
from jetbench.spec.catalog import load_jetseg
from jetbench.spec.profiling import ProfilingConfig

QUICK = ProfilingConfig(warmup_iterations=1, min_iterations=3, min_seconds=0, precision=1)
SIZE = (64, 96)


class Net(nn.Module):
    """Several outputs, and code that reads a value, which a trace without values could not run."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, width, 3, 4, 1)
        self.head = nn.Conv2d(width, 7, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits = self.head(self.body(images).relu())
        if float(logits.sum()) != float(logits.sum()):
            raise RuntimeError("no number")
        return {"first": images, "second": logits}


def test_a_module_is_counted_and_measured_and_stays_as_it_is() -> None:
    module, threads = Net().train(), torch.get_num_threads()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    record = profile(module, QUICK, size=SIZE, output="second")
    assert record.measured.parameters == 27 * 8 + 8 + 8 * 7 + 7
    assert record.measured.macs == (27 * 8 + 8 * 7) * (64 // 4) * (96 // 4)
    assert record.num_classes == 7
    assert record.measured.model_latency is not None
    assert len(record.measured.model_latency.runs) == 1
    assert {part.name for part in record.measured.parts} >= {"body", "head"}
    assert module.training
    assert torch.get_num_threads() == threads
    assert float(torch.tensor(1e-40) * 1.0) != 0.0  # a measurement flushes denormals, and this process goes on
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    sheet = str(record)
    assert "Net at 64x96, 7 classes" in sheet
    assert "one process only" in sheet
    assert "JetSeg" not in str(
        profile(module, QUICK, size=SIZE, output="second", device="agx")
    )  # whose FPS are published


def test_a_record_tells_structures_and_weights_apart() -> None:
    torch.manual_seed(0)
    first, other = Net(), Net()
    wide = Net(16)
    records = [profile(each, QUICK, size=SIZE, output="second", device="agx") for each in (first, other, wide, first)]
    prints = [record.fingerprint for record in records]
    assert prints[0] == prints[1] == prints[3] != prints[2]
    assert records[0].weights == records[3].weights != records[1].weights
    architecture = records[0].architecture
    assert isinstance(architecture, Foreign)
    assert architecture.model.endswith("test_live:Net")
    assert all(record.measured.model_latency is None for record in records)  # this machine is no AGX
    assert "this machine is not a Jetson AGX Xavier" in str(records[0])


def test_one_of_ours_has_the_counts_of_its_architecture() -> None:
    record = profile(build_model("jetseg-nano", 5, SIZE), QUICK, size=SIZE, device="agx")
    assert record.measured.macs == cost_of(load_jetseg("jetseg-nano"), 5, SIZE).macs
    named = profile("jetseg-nano", QUICK, device="agx", size=SIZE, num_classes=5)
    assert named.measured.macs == record.measured.macs
    (listed,) = profile(["jetseg-nano"], QUICK, device="agx", size=SIZE, num_classes=5)
    assert listed.fingerprint == named.fingerprint


class Flat(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


class Uncopied(nn.Module):
    def __deepcopy__(self, memo: Any) -> nn.Module:
        raise RuntimeError("holds a file")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Net(), "Net: which output holds the logits is not clear; it returns a dict with first, second; set output:"),
        (Flat(), r"Flat: its output has the shape \(1, 18432\); expected logits \(N, K, h, w\)"),
        (nn.Conv2d(4, 2, 1), "Conv2d: it fails on an image of 64x96 .RuntimeError: "),
        (Uncopied(), "Uncopied: cannot be copied .RuntimeError: holds a file"),
    ],
)
def test_what_is_no_segmentation_network_is_said(module: nn.Module, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        profile(module, QUICK, size=SIZE)


def test_a_module_has_no_file_that_a_runtime_could_run() -> None:
    with pytest.raises(SpecError, match="onnxruntime runs a file, and none is made of a module"):
        profile(Net(), QUICK.model_copy(update={"backend": "onnxruntime"}), size=SIZE, output="second")
