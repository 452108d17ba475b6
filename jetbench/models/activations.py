"""REU and TanhExp, the activations of JetSeg (section 2.2), and the plain rivals to sweep against them."""

import torch
from torch import Tensor, nn

from jetbench.architecture import ActivationName


class REU(nn.Module):
    """Rectified exponential unit: x for x > 0, x * exp(x) otherwise. Keeps the shape.

    Written as x * exp(min(x, 0)): the same function, but exp never overflows, so its gradient is finite everywhere.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * x.clamp(max=0).exp()


class TanhExp(nn.Module):
    """x * tanh(exp(x)). Keeps the shape.

    exp is cut at 20, where tanh(exp(x)) is already 1 in double precision: beyond, its gradient would be inf * 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tanh(x.clamp(max=20).exp())


ACTIVATIONS: dict[ActivationName, type[nn.Module]] = {
    "reu": REU,
    "tanhexp": TanhExp,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
