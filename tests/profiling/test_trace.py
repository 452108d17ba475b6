from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench import build_model, load_architecture, plan_architecture
from jetbench.models.activations import ACTIVATIONS
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import add_up, dead_operations, peak_bytes
from jetbench.profiling.trace import ACTIVATION_MODULES, copy_without_hooks, trace_network, trace_operations
from jetbench.spec.architecture import ActivationName


class Functional(nn.Module):
    """A network that only calls functions, which counters that hook modules do not see."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x)
        return y


IMAGE = torch.randn(1, 6, 9, 11)
MAP = 9 * 11


@pytest.mark.parametrize(
    ("conv", "height", "width"),
    [
        (nn.Conv2d(6, 8, 1, bias=False), 9, 11),
        (nn.Conv2d(6, 8, (3, 5), stride=2, padding=(1, 2), groups=2, bias=False), 5, 6),  # odd maps, rounded up
        (nn.Conv2d(6, 6, (7, 1), padding=(9, 0), dilation=(3, 1), groups=6, bias=False), 9, 11),
        (nn.Conv2d(6, 8, 3, stride=(2, 1), padding=(1, 1)), 5, 11),  # with a bias
    ],
)
def test_convolutions_by_hand(conv: nn.Conv2d, height: int, width: int) -> None:
    (operation,) = trace_operations(conv, IMAGE)
    weights = conv.out_channels * (6 // conv.groups) * conv.kernel_size[0] * conv.kernel_size[1]
    pixels, biases = height * width, 0 if conv.bias is None else conv.out_channels
    assert operation.parameters == weights + biases
    assert operation.macs == weights * pixels
    assert operation.flops == 2 * weights * pixels + biases * pixels
    assert operation.eq2 == weights * MAP / (conv.stride[0] * conv.stride[1])  # the equation divides the input's area
    assert operation.moved_bytes == 4 * (6 * MAP + weights + biases + conv.out_channels * pixels)


def test_batch_norm_by_hand() -> None:
    (operation,) = trace_operations(nn.BatchNorm2d(6), IMAGE)
    assert (operation.kind, operation.parameters, operation.macs) == ("normalisation", 12, 0)
    assert operation.flops == 2 * 6 * MAP
    assert operation.eq2 == 4 * 6 * MAP
    assert operation.moved_bytes == 4 * (6 * MAP + 4 * 6 + 6 * MAP)  # weight, bias, running mean and variance


@pytest.mark.parametrize(
    ("name", "per_element", "kernels"),
    [("relu", 1, 1), ("silu", 2, 1), ("reu", 3, 3), ("tanhexp", 4, 4), ("hardswish", 5, 1)],
)
def test_activations_by_hand(name: ActivationName, per_element: int, kernels: int) -> None:
    operations = trace_operations(ACTIVATIONS[name](), IMAGE)
    assert len(operations) == kernels
    assert {operation.kind for operation in operations} == {"activation"}
    assert sum(operation.flops for operation in operations) == per_element * 6 * MAP
    assert sum(operation.eq2 for operation in operations) == 6 * MAP  # once, however it is written


@pytest.mark.parametrize(
    ("function", "kind", "flops"),
    [
        (lambda x: x + x, "elementwise", 6 * MAP),
        (lambda x: x * x[:, :1], "elementwise", 6 * MAP),
        (lambda x: F.adaptive_avg_pool2d(x, 1), "pooling", 6 * MAP),  # 98 additions and a division for each channel
        (lambda x: F.adaptive_max_pool2d(x, 1), "pooling", 6 * (MAP - 1)),
        (lambda x: x.mean(dim=1, keepdim=True), "pooling", 6 * MAP),
        (lambda x: x.amax(dim=1, keepdim=True), "pooling", 5 * MAP),
        (lambda x: F.interpolate(x, size=(17, 21), mode="bilinear"), "interpolation", 7 * 6 * 17 * 21),
        (lambda x: torch.cat([x, x], dim=1), "copy", 0),
        (torch.sigmoid, "activation", 6 * MAP),
    ],
)
def test_functional_calls_are_seen_and_priced(function: Any, kind: str, flops: int) -> None:
    (operation,) = trace_operations(Functional(function), IMAGE)
    assert (operation.kind, operation.flops, operation.macs) == (kind, flops, 0)


def test_views_cost_nothing_and_copies_move_bytes() -> None:
    assert trace_operations(Functional(lambda x: x.view(1, 2, 3, 9, 11).transpose(1, 2)), IMAGE) == ()
    (copied,) = trace_operations(Functional(lambda x: x.transpose(2, 3).contiguous()), IMAGE)
    assert (copied.kind, copied.flops, copied.moved_bytes) == ("copy", 0, 2 * 4 * 6 * MAP)


def test_an_operation_without_a_rule_is_listed_and_not_dropped() -> None:
    cost = add_up(trace_operations(Functional(lambda x: torch.erf(x) + x), IMAGE))
    assert cost.uncounted == {"erf": 6 * MAP}
    assert cost.flops == 6 * MAP


def test_what_is_done_in_place_takes_no_new_memory() -> None:
    map_bytes = 4 * 6 * MAP
    apart = trace_operations(Functional(lambda x: F.relu(x + x)), IMAGE)
    in_place = trace_operations(Functional(lambda x: F.relu_(x + x)), IMAGE)
    assert peak_bytes(apart) == 2 * map_bytes
    assert [operation.flops for operation in in_place] == [operation.flops for operation in apart]
    assert peak_bytes(in_place) == 2 * map_bytes  # the image beside the sum
    wide = Functional(lambda x: torch.exp(F.relu(torch.cat([x, x], 1))))
    assert peak_bytes(trace_operations(wide, IMAGE)) == 4 * map_bytes


@pytest.mark.parametrize("module", [kind() for kind in ACTIVATION_MODULES], ids=lambda module: type(module).__name__)
def test_every_activation_module_has_its_rule(module: nn.Module) -> None:
    cost = add_up(trace_operations(module, IMAGE))
    assert cost.uncounted == {}
    assert cost.flops == cost.flops_by_kind["activation"] >= 6 * MAP
    assert cost.eq2_flops == 6 * MAP


@pytest.mark.parametrize(
    ("function", "read"),
    [
        (lambda x: x * x, 6),  # the same map is read once
        (lambda x: x * x[:, :1], 6),  # the channel is a part of it
        (lambda x: x[:, :1] * x, 6),
        (lambda x: torch.cat(x.chunk(2, dim=1), dim=1), 6),  # two halves
        (lambda x: x[:, :2] + x[:, 2:4], 4),
        (lambda x: x[:, :1].expand(1, 6, 9, 11) + x, 6),
    ],
)
def test_views_are_read_as_what_they_are_of_the_whole(function: Any, read: int) -> None:
    (operation,) = trace_operations(Functional(function), IMAGE)
    assert operation.read_bytes == 4 * read * MAP
    assert {tensor.bytes for tensor in operation.reads} == {4 * 6 * MAP}  # all of it stays in memory


def test_pooling_of_windows_by_hand() -> None:
    largest, mean = nn.MaxPool2d(3, stride=2, padding=1), nn.AvgPool2d(2)
    assert sum(op.flops for op in trace_operations(largest, IMAGE)) == 8 * 6 * 5 * 6
    assert sum(op.flops for op in trace_operations(mean, IMAGE)) == 4 * 6 * 4 * 5


def test_a_transposed_convolution_spreads_a_kernel_from_each_input() -> None:
    (operation,) = trace_operations(nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2, bias=False), IMAGE)
    assert operation.kernel == "transposed convolution"
    assert operation.macs == 6 * MAP * 2 * 9
    assert operation.eq2 == 0  # the equation has no rule for it


def test_all_that_a_network_returns_is_an_output() -> None:
    trace = trace_network(Functional(lambda x: (x.exp(), x.tanh())), IMAGE)
    assert dead_operations(trace.operations, trace.outputs) == frozenset()
    assert dead_operations(trace.operations) == {0}
    assert peak_bytes(trace.operations, trace.outputs) == 3 * 4 * 6 * MAP


def test_the_meta_device_gives_the_same_without_computing() -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, (64, 72))
    real = trace_operations(model, torch.randn(1, 3, 64, 72))
    assert add_up(trace_operations(model, torch.empty(1, 3, 64, 72, device="meta"))) == add_up(real)
    assert add_up(real) == add_up(list_operations(plan_architecture(load_architecture("jetseg-nano"), 5, (64, 72))))
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


def test_only_the_first_image_of_a_batch_counts() -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, (64, 72))
    one, four = (trace_operations(model, torch.randn(batch, 3, 64, 72)) for batch in (1, 4))
    assert add_up(one) == add_up(four)


def test_a_copy_does_not_call_the_models_hooks() -> None:
    called: list[str] = []
    model = nn.Sequential(nn.Conv2d(6, 6, 1))
    model[0].register_forward_hook(lambda module, inputs, output: called.append("hook"))
    model.register_forward_pre_hook(lambda module, inputs: called.append("pre"))
    copy_without_hooks(model)(IMAGE)
    trace_operations(model, IMAGE)
    assert called == []
    model(IMAGE)
    assert called == ["pre", "hook"]
