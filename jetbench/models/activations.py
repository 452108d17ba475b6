"""REU and TanhExp, the activations of JetSeg (section 2.2), and common activations to compare with them."""

from typing import Any

import torch
from torch import Tensor, nn

from jetbench.spec.architecture import ActivationName

CUT = 20


def _trains_eagerly(module: nn.Module, x: Tensor) -> bool:
    """True if the pass stores the results of single operations for backward; only then does a fused function save work.

    Compilers fuse by themselves, counters and exporters need the plain operations, and mixed precision chooses the type
    of each operation.
    """
    return (
        module.training
        and x.requires_grad
        and not torch.compiler.is_compiling()
        and x.device.type in ("cpu", "cuda")  # not on meta, which holds only shapes
        and not torch.is_autocast_enabled(x.device.type)
    )


class _FusedREU(torch.autograd.Function):
    """REU that stores only its input and needs fewer memory passes: e = exp(min(x, 0)), dx = (1 + min(x, 0)) e."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(max=0).exp_().mul_(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = x.clamp(max=0)
        exponential = slope.exp()
        return slope.add_(1).mul_(exponential).mul_(gradient)


class REU(nn.Module):
    """Rectified exponential unit: x for x > 0, x * exp(x) otherwise. Keeps the shape.

    Computed as x * exp(min(x, 0)): the same function, but exp never overflows, so the gradient is finite everywhere.
    """

    def forward(self, x: Tensor) -> Tensor:
        if _trains_eagerly(self, x):
            fused: Tensor = _FusedREU.apply(x)  # type: ignore[no-untyped-call]
            return fused
        return x * x.clamp(max=0).exp()


class _FusedTanhExp(torch.autograd.Function):
    """TanhExp that stores only x and t = tanh(e), with e = exp(x): dx = t + x (1 - t^2) e."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        tangent = x.clamp(max=CUT).exp_().tanh_()
        ctx.save_for_backward(x, tangent)
        return x * tangent

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, tangent = ctx.saved_tensors
        slope: Tensor = x.clamp(max=CUT).exp_().mul_(x).mul_(1 - tangent * tangent)
        return slope.add_(tangent).mul_(gradient)


class TanhExp(nn.Module):
    """x * tanh(exp(x)). Keeps the shape.

    x is clamped at 20, where tanh(exp(x)) is already 1 in double precision; beyond, the gradient would be inf * 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        if _trains_eagerly(self, x):
            fused: Tensor = _FusedTanhExp.apply(x)  # type: ignore[no-untyped-call]
            return fused
        return x * torch.tanh(x.clamp(max=CUT).exp())


ACTIVATIONS: dict[ActivationName, type[nn.Module]] = {
    "reu": REU,
    "tanhexp": TanhExp,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
