import math

import pytest
import torch
from torch import Tensor, nn

from jetbench import build_model, load_architecture
from jetbench.models.activations import REU
from jetbench.training.losses import CrossEntropy
from jetbench.training.proxies import PROXIES, gradient_norm, measure_proxies, naswot, synflow


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 3, 48, 64), torch.randint(0, 11, (4, 48, 64))


def test_a_network_is_left_as_it_was_and_so_are_random_numbers(batch: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(3)
    model = build_model(load_architecture("jetseg-nano"), 11, (48, 64))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    found = measure_proxies(model, *batch)
    assert set(found) == set(PROXIES)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert measure_proxies(model, *batch) == found


def test_synflow_of_two_layers_is_the_product_of_their_sums() -> None:
    """Of linear layers without a bias: R = sum |W2| |W1| 1, and each layer's w dR/dw adds up to R."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 1, bias=False), nn.BatchNorm2d(5, affine=False), nn.Conv2d(5, 2, 1, bias=False)
    )
    first, second = (each.detach().squeeze() for each in model.parameters())
    flow = (second.abs() @ first.abs() @ torch.ones(3)).sum().item()
    assert synflow(model, torch.zeros(1, 3, 4, 6)) == pytest.approx(math.log10(2 * 24 * flow), rel=1e-6)


def test_the_gradients_norm_is_that_of_backward(batch: tuple[Tensor, Tensor]) -> None:
    images, target = batch
    model = nn.Conv2d(3, 11, 1)
    CrossEntropy()(model(images), target).backward()
    expected = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None))
    assert gradient_norm(model, images, target) == pytest.approx(expected, rel=1e-6)


def test_naswot_is_the_log_determinant_of_agreeing_signs() -> None:
    model = nn.Sequential(nn.Identity(), REU())
    images = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1], [1, -1, -1, -1]]).view(3, 1, 2, 2)
    agree = torch.tensor([[4.0, 3, 1], [3, 4, 2], [1, 2, 4]], dtype=torch.float64) / 4
    assert naswot(model, images) == pytest.approx(float(torch.logdet(agree)), rel=1e-6)
    # Images that no activation tells apart: there is no such number.
    alike = nn.Sequential(nn.Conv2d(3, 2, 1), REU())
    found = measure_proxies(alike, torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).long())
    assert set(found) == {"synflow", "gradient-norm"}
    assert naswot(model, images[:1]) == -math.inf
    assert naswot(model, images[:1].expand(2, -1, -1, -1)) == -math.inf
