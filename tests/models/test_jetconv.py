import pytest
import torch
from torch import Tensor, nn

from jetbench.models.jetconv import JetConv, ParallelBranches, SequentialBranches, depthwise
from jetbench.network.plan import JetConvPlan
from jetbench.spec.architecture import Branch


def plan(layout: str = "parallel", shortcut: bool = False, stride: int = 1, out_channels: int = 6) -> JetConvPlan:
    branches = (Branch.model_validate("3a"), Branch.model_validate("5a"), Branch.model_validate("7a"))
    return JetConvPlan(6, out_channels, stride, layout, branches, 2, shortcut)  # type: ignore[arg-type]


def impulse_response(conv: nn.Module, side: int = 25) -> Tensor:
    """Where ones for all weights spread a single pixel."""
    for parameter in conv.parameters():
        nn.init.ones_(parameter)
    x = torch.zeros(1, 1, side, side)
    x[0, 0, side // 2, side // 2] = 1
    with torch.no_grad():
        y: Tensor = conv(x)
    return y[0, 0]


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (7, 1), (1, 7), (5, 5)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_a_depthwise_convolution_keeps_the_size_and_dilates_only_its_long_sides(
    kernel: tuple[int, int], dilation: int
) -> None:
    response = impulse_response(depthwise(1, kernel, dilation))
    rows, columns = (response.sum(1) > 0).nonzero().flatten(), (response.sum(0) > 0).nonzero().flatten()
    assert response.shape == (25, 25)
    assert rows.tolist() == [12 + dilation * (i - kernel[0] // 2) for i in range(kernel[0])]
    assert columns.tolist() == [12 + dilation * (i - kernel[1] // 2) for i in range(kernel[1])]


def test_an_asymmetric_branch_reaches_as_far_as_its_dilated_square() -> None:
    response = impulse_response(SequentialBranches(1, (Branch.model_validate("7a"),)), side=31)
    reached = (response > 0).nonzero()
    assert reached.min().item() == 15 - 9
    assert reached.max().item() == 15 + 9
    assert int((response > 0).sum()) == 49


def test_branches_are_summed_hierarchically_and_stacked() -> None:
    torch.manual_seed(0)
    module = ParallelBranches(2, (Branch(kernel_size=3), Branch(kernel_size=5), Branch(kernel_size=7)))
    x = torch.randn(1, 2, 8, 8)
    one, two, three = (branch(x) for branch in module.branches)
    assert torch.allclose(module(x), torch.cat([one, one + two, one + two + three], 1), atol=1e-6)


def test_a_parallel_branch_ends_with_an_undilated_square_of_its_size() -> None:
    module = ParallelBranches(2, (Branch.model_validate("5a"),))
    kernels = [(m.kernel_size, m.dilation) for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [((5, 1), (2, 1)), ((1, 5), (1, 2)), ((5, 5), (1, 1))]


@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_the_shortcut_adds_the_input(layout: str) -> None:
    torch.manual_seed(0)
    module = JetConv(plan(layout, shortcut=True))
    x = torch.randn(1, 6, 9, 9)
    assert torch.allclose(module(x), x + module.mix(module.depthwise(x)))


@pytest.mark.parametrize("size", [(9, 9), (10, 7)])
def test_stride_two_halves_rounding_up(size: tuple[int, int]) -> None:
    y = JetConv(plan(stride=2, out_channels=8))(torch.randn(1, 6, *size))
    assert y.shape == (1, 8, (size[0] + 1) // 2, (size[1] + 1) // 2)
