import pytest
import torch
from torch import nn

from jetbench import build_model, load_architecture
from jetbench.profiling.counts import count_macs, count_parameters, count_with_fvcore, count_with_thop


def test_a_convolution_by_hand() -> None:
    conv = nn.Conv2d(6, 8, (3, 5), stride=2, padding=(1, 2), groups=2)
    assert count_parameters(conv) == 8 * 3 * 15 + 8
    assert count_macs(conv, torch.randn(4, 6, 9, 10)) == 8 * 3 * 15 * 5 * 5  # per image, bias not counted


def test_what_has_no_rule_is_refused_and_not_counted_as_nothing() -> None:
    with pytest.raises(TypeError, match="no rule for Linear"):
        count_macs(nn.Linear(3, 4), torch.randn(1, 3))


def test_fvcore_on_the_released_nano_is_what_was_found_on_the_release() -> None:
    # With REU of plain operations fvcore's tracer drops the dead part: 1,132,519,552 on the release itself too.
    model = build_model(load_architecture("jetseg-nano-released"), 32, (512, 512))
    counted = count_with_fvcore(model, torch.randn(1, 3, 512, 512))
    assert counted.macs == 1_132_519_552
    assert counted.unsupported["aten::exp"] > 0


def test_thop_counts_convolutions_and_four_per_normalised_element() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    counted = count_with_thop(model, torch.randn(1, 3, 8, 8))
    assert counted.macs == 3 * 4 * 64 + 4 * 4 * 64


def test_counting_leaves_no_trace() -> None:
    model = build_model(load_architecture("jetseg-nano"), 5, (64, 64)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.randn(1, 3, 64, 64)
    for count in (count_macs, count_with_fvcore, count_with_thop):
        count(model, images)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(hasattr(module, "total_ops") for module in model.modules())
