"""Times of kernels by class and part: real modules whose limit is known, and the layers of a runtime."""

import time

import pytest
import torch
from torch import Tensor, nn

from jetbench import build_model, load_architecture
from jetbench.network.closed_form import cost_of
from jetbench.probe.engines import Layer
from jetbench.probe.machine import keep_freed_memory
from jetbench.probe.peaks import measure_peaks
from jetbench.profiling.kernels import kernels_of_layers, path_of_node, time_kernels
from jetbench.profiling.trace import image_to_trace, trace_operations
from jetbench.records.measurement import Peaks
from jetbench.reporting.questions.why import Why, explain
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import profile, record

SIZE = (64, 96)


class Copies(nn.Module):
    """A large map stacked several times: bytes and nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x, x, x], dim=1)


class Tiny(nn.Module):
    """A hundred additions of a single number."""

    def forward(self, x: Tensor) -> Tensor:
        y = x[:, :1, :1, :1].contiguous()
        for _ in range(100):
            y = y + 1
        return y


def why(module: nn.Module, images: Tensor) -> Why:
    torch.set_num_threads(1)
    keep_freed_memory()
    peaks = Peaks.model_validate(measure_peaks(images.device, "fp32"))
    measured = profile(1.0, kernels=time_kernels(nn.Sequential(module), images), peaks=peaks)
    return explain(record("made up", profile=measured))


@pytest.mark.parametrize(
    ("module", "channels", "side", "limit"),
    [
        (nn.Conv2d(256, 256, 1, bias=False), 256, 64, "arithmetic"),
        (Copies(), 16, 256, "memory"),
        (Tiny(), 3, 8, "launches"),
    ],
    ids=["a large 1x1 convolution", "a copy", "a hundred tiny kernels"],
)
def test_the_limit_of_a_block_is_the_one_that_is_known(module: nn.Module, channels: int, side: int, limit: str) -> None:
    explained = why(module.eval(), torch.zeros(1, channels, side, side))
    (part,) = explained.parts
    assert part.bound == limit
    assert part.bound is not None
    assert explained.bound_shares[part.bound] > 0.9
    assert 0.2 < part.reached < 2  # of a peak that was measured with the same kind of kernel


def test_every_kernel_of_a_network_is_timed_and_counted_once() -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, SIZE).eval()
    kernels = time_kernels(model, torch.zeros(1, 3, *SIZE))
    operations = trace_operations(model, image_to_trace(model, SIZE))
    assert sum(each.count for each in kernels) == len(operations)
    assert sum(each.macs for each in kernels) == cost_of(load_architecture("jetseg-nano"), 5, SIZE).macs
    assert all(len(each.samples_s) == len(kernels[0].samples_s) >= 3 for each in kernels)
    assert {each.part for each in kernels} >= {"block 0", "decoder", "output"}
    assert model.training is False


def test_seconds_are_those_of_the_clock() -> None:
    """A clock that goes on by one second at each reading gives every kernel one second."""
    seconds = iter(range(10_000_000))
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    kernels = time_kernels(model, torch.zeros(1, 3, 8, 8), lambda: float(next(seconds)))
    timed = [(each.part, each.kernel, each.median_s) for each in kernels]
    assert timed == [("0", "1x1", 1.0), ("1", "activation", 1.0)]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/network/encoder/blocks.0/operations/jetconv/mix/Conv", "encoder.blocks.0.operations.jetconv.mix"),
        ("/network/encoder/depthwise/branches.0/branches.0.1/Conv_output_0", "encoder.depthwise.branches.0.1"),
        ("/network/heads.2/heads.2.0/Conv", "heads.2.0"),
        ("reorder_1", ""),
        ("/network/Resize", ""),
    ],
)
def test_a_node_names_the_module_that_made_it(name: str, path: str) -> None:
    assert path_of_node(name) == path


def test_layers_are_of_the_class_of_their_module_and_what_is_fused_has_no_time() -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, SIZE).eval()
    operations = trace_operations(model, image_to_trace(model, SIZE))
    mix = "/network/encoder/blocks.0/operations/jetconv/mix/Conv"
    layers = [
        Layer(mix, "Conv", "fp32", "cpu", [0.001, 0.003], "blocked"),
        Layer("/network/encoder/blocks.0/operations/activation/Exp", "Exp", "fp32", "cpu", [0.002, 0.002], "blocked"),
        Layer("reorder", "ReorderOutput", "fp32", "cpu", [0.004, 0.004], "channels first"),
    ]
    kernels = kernels_of_layers(layers, model, operations)
    timed = {(each.part, each.kernel): each for each in kernels if each.samples_s}
    fused = {(each.part, each.kernel): each for each in kernels if not each.samples_s}
    (own,) = [each for each in operations if each.layer == "encoder.blocks.0.operations.jetconv.mix"]
    mixed = timed["block 0", "1x1"]
    assert (mixed.samples_s, mixed.count, mixed.macs) == ((0.001, 0.003), 1, own.macs)
    assert mixed.bytes_moved == own.moved_bytes
    assert timed["block 0", "activation"].median_s == 0.002
    added = timed["added by the runtime", "layout change"]
    assert (added.median_s, added.macs, added.bytes_moved) == (0.004, 0, 0)
    assert sum(each.count for each in timed.values()) == len(layers)
    # Every operation is in one row: those of the layers, and those that no layer computes.
    assert fused["block 0", "batch norm"].count > 0
    assert not set(fused) & {("block 0", "1x1"), ("block 0", "activation")}
    assert sum(each.macs for each in kernels) == sum(each.macs for each in operations)
    assert sum(each.bytes_moved for each in kernels) == sum(each.moved_bytes for each in operations)
    halves = kernels_of_layers(layers, model, operations, "fp16")
    assert [2 * each.bytes_moved for each in halves] == [each.bytes_moved for each in kernels]
    whole = explain(record("made up", profiling_config=ProfilingConfig(backend="onnxruntime"), profile=profile(
        0.01, kernels=kernels,
        peaks=Peaks(dtype="fp32", macs_per_s=1e9, bytes_per_s=1e9, launch_s=1e-6, depthwise_launch_s=1e-5),
    )))  # fmt: skip
    assert whole.fused["batch norm"] == sum(each.kernel.endswith("batch_norm") for each in operations)
    assert whole.kernels_s == pytest.approx(0.008)
    assert {each.name: each.bound for each in whole.kernels}["layout change"] is None


def test_timing_kernels_takes_seconds_not_minutes() -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, SIZE).eval()
    begin = time.monotonic()
    time_kernels(model, torch.zeros(1, 3, *SIZE))
    assert time.monotonic() - begin < 30
