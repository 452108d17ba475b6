"""build_model: the one door from an architecture to a torch module; and that module as TorchScript."""

from typing import Any

import torch
from torch import Tensor, nn

from jetbench.architecture import Architecture
from jetbench.models.jetseg import JetSeg
from jetbench.plan import plan_architecture


def build_model(architecture: Architecture, num_classes: int, input_size: tuple[int, int]) -> nn.Module:
    """A freshly initialised network that maps (N, 3, H, W) to logits (N, num_classes, H, W).

    Args:
        architecture: what to build, from `load_architecture` or made in Python.
        num_classes: K, at least 2.
        input_size: (height, width) the pyramid is planned for.

    Raises:
        SpecError: the architecture cannot be built at this size; the message names the key, the value and the rule.
    """
    return JetSeg(plan_architecture(architecture, num_classes, input_size))


def to_torchscript(model: nn.Module, images: Tensor) -> Any:
    """`model` traced with a batch like `images` and frozen: weights are constants, no Python runs between kernels.

    Traced, not scripted: torch 1.10 loads a trace of torch 2.13, and is aborted by a script.
    """
    with torch.no_grad():
        return torch.jit.freeze(torch.jit.trace(model, images, check_trace=False))  # type: ignore[no-untyped-call]
