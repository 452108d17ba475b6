import math

import pytest
import torch

from jetbench.models.activations import ACTIVATIONS, REU, TanhExp
from jetbench.spec.architecture import ActivationName

ALL = list(ACTIVATIONS)


def test_the_names_in_the_spec_and_the_classes_are_the_same() -> None:
    assert set(ALL) == set(ActivationName.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("x", [-100.0, -2.0, -0.5, 0.0, 0.5, 3.0])
def test_reu_is_x_above_zero_and_x_exp_x_below(x: float) -> None:
    assert REU()(torch.tensor(x)).item() == pytest.approx(x if x > 0 else x * math.exp(x), rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("x", [-3.0, -0.5, 0.0, 1.0, 50.0])
def test_tanhexp_is_x_tanh_exp_x(x: float) -> None:
    assert TanhExp()(torch.tensor(x)).item() == pytest.approx(x * math.tanh(math.exp(min(x, 300))), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_everywhere_and_right(name: ActivationName) -> None:
    act = ACTIVATIONS[name]()
    extreme = torch.tensor([-1e4, -90.0, -1.5, 0.7, 90.0, 1e4], requires_grad=True)
    act(extreme).sum().backward()
    assert extreme.grad is not None
    assert torch.isfinite(extreme.grad).all()
    usual = torch.tensor([-2.5, -1.2, -0.3, 0.4, 2.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(act, usual)


@pytest.mark.parametrize("name", ["reu", "tanhexp"])
def test_what_trains_gives_the_values_and_gradients_of_the_plain_operations(name: ActivationName) -> None:
    act = ACTIVATIONS[name]()
    x = torch.linspace(-100, 30, 4001, requires_grad=True)
    gradient = torch.linspace(1, 2, 4001)
    found = []
    for act.training in (True, False):
        y = act(x)
        found.append((y.detach(), *torch.autograd.grad(y, x, gradient)))
    assert type(act.train()(x).grad_fn).__name__.startswith("_Fused")
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["reu", "tanhexp"])
def test_mixed_precision_keeps_the_plain_operations(name: ActivationName) -> None:
    act = ACTIVATIONS[name]()
    x = torch.linspace(-10, 10, 64).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = act(x)
    assert not type(y.grad_fn).__name__.startswith("_Fused")
