import pytest
import torch
from torch import nn

from jetbench.models.attention import ECA, ReleasedSAM, SpatialAttention, build_attention
from jetbench.spec.architecture import AttentionName

ALL: tuple[AttentionName, ...] = AttentionName.__args__  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in ALL if name != "none"])
@pytest.mark.parametrize("channels", [4, 16, 48])
def test_each_attention_keeps_the_shape_and_reaches_all_its_parameters(name: AttentionName, channels: int) -> None:
    torch.manual_seed(1)
    module = build_attention(name, channels, nn.SiLU())
    assert module is not None
    x = torch.randn(2, channels, 9, 11)
    y = module(x)
    assert y.shape == x.shape
    (y * torch.randn_like(y)).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_none_is_no_module() -> None:
    assert build_attention("none", 8, nn.ReLU()) is None


def test_with_weights_of_zero_each_gate_is_one_half() -> None:
    x = torch.randn(1, 8, 5, 5)
    for module in (SpatialAttention(), ECA(8)):
        nn.init.zeros_(module.conv.weight)
        assert torch.allclose(module(x), x / 2)
    released = ReleasedSAM(8)
    nn.init.zeros_(released.conv.weight)
    assert torch.allclose(released(x), x * 0.5 * (0.5 + 0.5))


def test_eca_weighs_channels_by_their_means_alone() -> None:
    module = ECA(8)
    x = torch.randn(1, 8, 4, 4)
    moved = x.flip(-1)
    assert torch.allclose(module(moved).flip(-1), module(x))


def test_the_released_cbam_keeps_relu_and_the_papers_takes_the_architectures_activation() -> None:
    released, paper = build_attention("cbam-released", 16, nn.SiLU()), build_attention("cbam", 16, nn.SiLU())
    assert released is not None
    assert paper is not None
    assert [type(m) for m in released.modules() if isinstance(m, nn.ReLU | nn.SiLU)] == [nn.ReLU]
    assert [type(m) for m in paper.modules() if isinstance(m, nn.ReLU | nn.SiLU)] == [nn.SiLU]
