"""What a runtime made of a file: its number formats, and its layers' times by part of the network."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from jetbench.deploy.artefact import Artefact
from jetbench.models.parts import SCOPE, part_of_node, parts_of, rest_of
from jetbench.probe.engines import Layer
from jetbench.records.deployment import Deployment
from jetbench.spec.profiling import DType

ADDED = "added by the runtime"


def describe_deployment(
    description: Mapping[str, Any], layers: Sequence[Layer], artefact: Artefact, asked: DType
) -> Deployment:
    """The record of how a file ran.

    Args:
        description: of the engine.
        layers: the layers that it ran.
        artefact: the file.
        asked: the number format that was asked for.
    """
    exported = artefact.exported
    return Deployment(
        runtime=description["runtime"],
        executes=description["executes"],
        options=description["options"],
        file=exported.file,
        parities=exported.parities,
        calibration=exported.calibration,
        in_float=tuple(layer.name for layer in layers if layer.is_convolution and layer.precision != "int8")
        if asked == "int8"
        else (),
        part_errors=exported.part_errors,
        asked=asked,
        convolutions=dict(Counter(layer.precision for layer in layers if layer.is_convolution)),
        layouts=dict(Counter(layer.layout for layer in layers if layer.is_convolution)),
        layers=dict(Counter(f"{layer.kind} {layer.precision}" for layer in layers)),
    )


def parts_of_layers(layers: Sequence[Layer], module: nn.Module) -> dict[str, list[float]]:
    """Seconds of each part of a network in each pass, from the layers that a runtime made of its file.

    A layer belongs to the part whose module its name begins with. One without such a name was added by the runtime,
    which changes memory layouts between layers.
    """
    places = parts_of(module)
    samples: dict[str, list[float]] = {}
    for layer in layers:
        owner = part_of_node(layer.name, places) or (rest_of(module) if SCOPE in layer.name else ADDED)
        own = samples.setdefault(owner, [0.0] * len(layer.seconds))
        for number, seconds in enumerate(layer.seconds):
            own[number] += seconds
    return samples
