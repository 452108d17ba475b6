"""A network of the user's own as one of ours: a torch module whose output becomes logits of the image's size."""

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.errors import JetbenchError, SpecError
from jetbench.network.plan import ForeignPlan
from jetbench.spec.sources import import_path, is_file, named_source, neighbours_of, split_model

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
    model = named_source(plan.name, plan.model, plan.digest)
    _, factory = split_model(model)
    try:
        make: Any = _import(model)
    except JetbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise SpecError(f"{plan.name}: {split_model(model)[0]} cannot be imported ({_on_one_line(error)})") from None
    for part in factory.split("."):
        if not hasattr(make, part):
            raise SpecError(f"{plan.name}: {model}: has no {factory}")
        make = getattr(make, part)
    arguments = _filled(json.loads(plan.arguments), plan)
    try:
        if "num_classes" not in arguments and _takes(make, "num_classes"):
            arguments["num_classes"] = plan.num_classes
        network = make(**arguments)
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise SpecError(f"{plan.name}: {factory}({shown[:300]}) failed ({_on_one_line(error)})") from None
    if not isinstance(network, nn.Module):
        raise SpecError(f"{plan.name}: {factory} returned a {type(network).__name__}, not a torch module")
    return ForeignNetwork(network, plan.name, plan.output, plan.num_classes)


def _on_one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _takes(make: Any, name: str) -> bool:
    try:
        return name in inspect.signature(make).parameters
    except (TypeError, ValueError):
        return False


def _filled(value: Any, plan: ForeignPlan) -> Any:
    """The arguments with the number of classes and the image size in their places."""
    height, width = plan.input_size
    places = {"$classes": plan.num_classes, "$height": height, "$width": width}
    if isinstance(value, dict):
        return {key: _filled(each, plan) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, plan) for each in value]
    return places.get(value, value) if isinstance(value, str) else value


def _import(model: str) -> ModuleType:
    place, _ = split_model(model)
    if not is_file(model):
        return importlib.import_module(place)
    name = f"jetbench_user_{Path(place).stem}"
    import_path(model)
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise SpecError(f"{place}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _check_neighbours(Path(place))
    return module


def _check_neighbours(path: Path) -> None:
    """Raise if a name that a file imports is another module here than the neighbour whose source was digested.

    Raises:
        SpecError: an installed package, or a file that was imported before, has the name of the neighbour.
    """
    for name in {each.relative_to(path.parent).parts[0].removesuffix(".py") for each in neighbours_of(path)}:
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin is not None and not Path(origin).resolve().is_relative_to(path.parent.resolve()):
            raise SpecError(f"{path}: imports {name}, which is {origin} here and not the one beside it; rename it")
