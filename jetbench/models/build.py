"""build_model: the torch module of an architecture; also compiled, or as TorchScript."""

import warnings
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from jetbench.models.baselines import BASELINES
from jetbench.models.foreign import build_foreign
from jetbench.models.jetseg import JetSeg
from jetbench.network.plan import AnyPlan, BaselinePlan, ForeignPlan, plan_network
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.catalog import load_architecture


def build_model(architecture: AnyArchitecture | str, num_classes: int, input_size: tuple[int, int]) -> nn.Module:
    """A freshly initialised network that maps (N, 3, H, W) to logits (N, num_classes, H, W).

    In training mode a baseline with auxiliary heads returns a tuple: the logits, then the output of each head, of the
    same size. A head with one channel predicts edges.

    Args:
        architecture: what to build: a name (`jetseg-nano`), the path of a YAML file, or an `Architecture`.
        num_classes: K, at least 2.
        input_size: (height, width) for which the pyramid is planned; the built network also accepts other sizes.

    Raises:
        SpecError: the architecture cannot be built at this size; the message names the key, the value and the rule.
    """
    spec = load_architecture(architecture) if isinstance(architecture, str) else architecture
    return build_planned(plan_network(spec, num_classes, input_size))


def build_planned(plan: AnyPlan) -> nn.Module:
    """The network of a plan, freshly initialised."""
    if isinstance(plan, ForeignPlan):
        return build_foreign(plan)
    if isinstance(plan, BaselinePlan):
        return BASELINES[plan.network](plan.num_classes)
    return JetSeg(plan)


def without_training_heads(model: nn.Module) -> nn.Module:
    """`model` itself, as deployed: in eval mode, and with its training-only heads permanently removed."""
    if names := getattr(model, "training_only", ()):
        for name in names:
            delattr(model, name)
        vars(model).update(training_only=(), auxiliary_weights=())
    return model.eval()


def compile_whole(model: nn.Module, backend: str = "inductor") -> Any:
    """`model` compiled as one graph by torch.compile; an unsupported operation is an error instead of a graph break.

    torch caches compiled graphs per code object and silently falls back to eager mode after eight of them, so each
    network gets its own code object.
    """

    def run(images: Tensor) -> Tensor:
        logits: Tensor = model(images)
        return logits

    own = FunctionType(run.__code__.replace(), run.__globals__, run.__name__, None, run.__closure__)
    return torch.compile(own, dynamic=False, fullgraph=True, backend=backend)


def to_torchscript(model: nn.Module, images: Tensor) -> Any:
    """`model` traced with a batch like `images` and frozen: weights are constants, no Python runs between kernels.

    Traced and not scripted, because torch 1.10 can load a trace of torch 2.13 but aborts on a script.
    """
    with torch.no_grad(), warnings.catch_warnings():
        # A trace holds for the one size that it is made with, so a choice by size is no fault of it.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        return torch.jit.freeze(torch.jit.trace(model, images, check_trace=False))  # type: ignore[no-untyped-call]
