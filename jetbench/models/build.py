"""build_model: the one door from an architecture to a torch module; and that module compiled, or as TorchScript."""

from types import FunctionType
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


def compile_whole(model: nn.Module) -> Any:
    """`model` compiled as one graph by torch.compile; what it cannot take is an error, not a slow piece in between.

    Compiled graphs are kept for each code object and given up for eager mode after eight of them, without an error:
    a process that compares several networks needs a code object for each.
    """

    def run(images: Tensor) -> Tensor:
        logits: Tensor = model(images)
        return logits

    own = FunctionType(run.__code__.replace(), run.__globals__, run.__name__, None, run.__closure__)
    return torch.compile(own, dynamic=False, fullgraph=True)


def to_torchscript(model: nn.Module, images: Tensor) -> Any:
    """`model` traced with a batch like `images` and frozen: weights are constants, no Python runs between kernels.

    Traced, not scripted: torch 1.10 loads a trace of torch 2.13, and is aborted by a script.
    """
    with torch.no_grad():
        return torch.jit.freeze(torch.jit.trace(model, images, check_trace=False))  # type: ignore[no-untyped-call]
