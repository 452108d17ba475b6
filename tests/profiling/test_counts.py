import copy

import pytest
import torch
from torch import nn

from jetbench import build_model, load_architecture
from jetbench.profiling.counts import COUNTERS, count_parameters, count_with_fvcore, count_with_thop, count_with_torch
from jetbench.profiling.crosscheck import cross_check
from jetbench.profiling.trace import trace_operations


def test_fvcore_on_the_released_nano_is_what_was_found_on_the_release() -> None:
    # With REU of plain operations fvcore's tracer drops the dead part: 1,132,519,552 on the release itself too.
    model = build_model(load_architecture("jetseg-nano-released"), 32, (512, 512))
    counted = count_with_fvcore(model, torch.randn(1, 3, 512, 512))
    assert counted.total == 1_132_519_552
    assert counted.unsupported["aten::exp"] > 0


def test_the_tools_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    images = torch.randn(2, 3, 8, 8)
    macs = 3 * 4 * 64
    assert count_with_fvcore(model, images).by_operation == {"conv": macs, "batch_norm": 2 * 4 * 64}
    assert count_with_thop(model, images).by_operation == {"Conv2d": macs, "BatchNorm2d": 4 * 4 * 64}
    assert count_with_torch(model, images).by_operation == {"convolution": 2 * macs}
    assert count_parameters(model) == 12 + 8


def test_a_count_says_which_installed_package_made_it() -> None:
    images = torch.randn(1, 3, 8, 8)
    found = [count(nn.Conv2d(3, 4, 1), images) for count in COUNTERS]
    assert [count.distribution for count in found][::2] == ["fvcore", "torch"]
    assert "thop" in found[1].distribution  # thop and ultralytics-thop share the import name
    assert found[2].version == torch.__version__.split("+")[0] or found[2].version == torch.__version__


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_no_trace(training: bool) -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, (64, 64)).train(training)
    called: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: called.append(1))
    before = copy.deepcopy(model.state_dict())
    hooks = {name: len(module._forward_hooks) for name, module in model.named_modules()}
    images = torch.randn(1, 3, 64, 64)
    for count in COUNTERS:
        count(model, images)
    trace_operations(model, images)
    cross_check(model, images)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    assert {name: len(module._forward_hooks) for name, module in model.named_modules()} == hooks
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(hasattr(module, "total_ops") for module in model.modules())
    assert called == []
