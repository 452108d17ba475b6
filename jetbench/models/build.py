"""build_model: the one door from an architecture to a torch module; and that module compiled, or as TorchScript."""

from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from jetbench.models.baselines import BASELINES
from jetbench.models.jetseg import JetSeg
from jetbench.network.plan import AnyPlan, BaselinePlan, plan_network
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.catalog import load_architecture


def build_model(architecture: AnyArchitecture | str, num_classes: int, input_size: tuple[int, int]) -> nn.Module:
    """A freshly initialised network that maps (N, 3, H, W) to logits (N, num_classes, H, W).

    In training mode a baseline with auxiliary heads returns a tuple: the logits, then each head's, of the same size.
    A head of one channel tells edges from the rest.

    Args:
        architecture: what to build: a name (`jetseg-nano`), the path of a YAML file, or an `Architecture`.
        num_classes: K, at least 2.
        input_size: (height, width) the pyramid is planned for; the built network takes others too.

    Raises:
        SpecError: the architecture cannot be built at this size; the message names the key, the value and the rule.
    """
    known = load_architecture(architecture) if isinstance(architecture, str) else architecture
    return build_planned(plan_network(known, num_classes, input_size))


def build_planned(plan: AnyPlan) -> nn.Module:
    """The network of a plan, freshly initialised."""
    if isinstance(plan, BaselinePlan):
        return BASELINES[plan.network](plan.num_classes)
    return JetSeg(plan)


def without_training_heads(model: nn.Module) -> nn.Module:
    """`model` itself, in eval mode and for good without the heads that only training uses: what would be deployed."""
    if names := getattr(model, "training_only", ()):
        for name in names:
            delattr(model, name)
        vars(model).update(training_only=(), auxiliary_weights=())
    return model.eval()


def compile_whole(model: nn.Module, backend: str = "inductor") -> Any:
    """`model` compiled as one graph by torch.compile; what it cannot take is an error, not a slow piece in between.

    Compiled graphs are kept for each code object and given up for eager mode after eight of them, without an error:
    a process that compares several networks needs a code object for each.
    """

    def run(images: Tensor) -> Tensor:
        logits: Tensor = model(images)
        return logits

    own = FunctionType(run.__code__.replace(), run.__globals__, run.__name__, None, run.__closure__)
    return torch.compile(own, dynamic=False, fullgraph=True, backend=backend)


def to_torchscript(model: nn.Module, images: Tensor) -> Any:
    """`model` traced with a batch like `images` and frozen: weights are constants, no Python runs between kernels.

    Traced, not scripted: torch 1.10 loads a trace of torch 2.13, and is aborted by a script.
    """
    with torch.no_grad():
        return torch.jit.freeze(torch.jit.trace(model, images, check_trace=False))  # type: ignore[no-untyped-call]
