"""A network of the user's own as one of ours: a torch module whose output becomes logits of the image's size."""

import json
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.errors import SpecError
from jetbench.models.user_code import call_factory
from jetbench.network.plan import ForeignPlan

USUAL_OUTPUTS = ("logits", "out", "output", "pred", "predictions")


class ForeignNetwork(nn.Module):
    """Maps (N, 3, H, W) to logits (N, K, H, W) by a module whose output is a tensor, or holds tensors.

    Logits of another size are scaled bilinearly to that of the image; the costs of that are part of the network's.
    """

    def __init__(self, network: nn.Module, name: str, output: str | int | None, num_classes: int) -> None:
        super().__init__()
        self.network, self.name, self.output, self.num_classes = network, name, output, num_classes

    def forward(self, images: Tensor) -> Tensor:
        logits = pick_output(self.network(images), self.output, self.name)
        if logits.dim() != 4 or logits.shape[1] != self.num_classes:
            raise SpecError(
                f"{self.name}: its output has the shape {tuple(logits.shape)}; expected logits (N, {self.num_classes}, "
                "h, w): pass the number of classes as an argument ($classes), or name the output"
            )
        if logits.shape[2:] != images.shape[2:]:
            logits = F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)
        return logits


def pick_output(returned: Any, output: str | int | None, name: str) -> Tensor:
    """The logits in what a module returned.

    Raises:
        SpecError: there is no such output, or several could be meant.
    """
    if isinstance(returned, Tensor):
        return returned
    chosen: Any = None
    if isinstance(returned, Mapping):
        names = [str(key) for key in returned]
        usual = next((each for each in USUAL_OUTPUTS if each in returned), names[0] if len(names) == 1 else None)
        chosen = returned.get(output if output is not None else usual)
    elif isinstance(returned, tuple | list):
        names = [str(number) for number in range(len(returned))]
        place = 0 if output is None else output
        chosen = (
            returned[place] if isinstance(place, int) and place < len(returned) else getattr(returned, str(place), None)
        )
    else:
        names = [each for each in vars(returned)] if hasattr(returned, "__dict__") else []
        usual = next((each for each in USUAL_OUTPUTS if hasattr(returned, each)), "")
        chosen = getattr(returned, str(output if output is not None else usual), None)
    if isinstance(chosen, Tensor):
        return chosen
    asked = "which output holds the logits is not clear" if output is None else f"there is no output {output!r}"
    raise SpecError(f"{name}: {asked}; it returns a {type(returned).__name__} with {', '.join(names[:8])}; set output:")


def build_foreign(plan: ForeignPlan) -> nn.Module:
    """Import the source that this command named, and call the factory.

    Raises:
        SpecError: nobody named the source, it cannot be imported, or the factory fails or returns no module.
    """
    arguments = _filled(json.loads(plan.arguments), plan)
    offered = {"num_classes": plan.num_classes}
    network = call_factory(plan.name, plan.model, plan.digest, arguments, offered)
    if not isinstance(network, nn.Module):
        raise SpecError(f"{plan.name}: {plan.model} returned a {type(network).__name__}, not a torch module")
    return ForeignNetwork(network, plan.name, plan.output, plan.num_classes)


def _filled(value: Any, plan: ForeignPlan) -> Any:
    """The arguments with the number of classes and the image size in their places."""
    height, width = plan.input_size
    places = {"$classes": plan.num_classes, "$height": height, "$width": width}
    if isinstance(value, dict):
        return {key: _filled(each, plan) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, plan) for each in value]
    return places.get(value, value) if isinstance(value, str) else value
