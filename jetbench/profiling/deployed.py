"""What a runtime made of a file: its number formats, and its layers' times by part of the network."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from jetbench.deploy.artefact import Artefact
from jetbench.probe.engines import Layer
from jetbench.profiling.parts import parts_of, rest_of
from jetbench.records.deployment import Deployment
from jetbench.spec.profiling import DType

SCOPE = "/network/"
"""The beginning of the name of each node that a module of the network made."""
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
    return Deployment(
        runtime=description["runtime"],
        executes=description["executes"],
        options=description["options"],
        file=artefact.file,
        parities=artefact.parities,
        asked=asked,
        convolutions=dict(Counter(layer.precision for layer in layers if layer.is_convolution)),
        layers=dict(Counter(f"{layer.kind} {layer.precision}" for layer in layers)),
    )


def parts_of_layers(layers: Sequence[Layer], module: nn.Module) -> dict[str, list[float]]:
    """Seconds of each part of a network in each pass, from the layers that a runtime made of its file.

    A layer belongs to the part whose module its name begins with. One without such a name was added by the runtime,
    which changes memory layouts between layers.
    """
    places = {name: f"{path}." for name, path in parts_of(module).items()}
    samples: dict[str, list[float]] = {}
    for layer in layers:
        _, scope, inside = layer.name.partition(SCOPE)
        path = inside.replace("/", ".")
        owner = next((name for name, place in places.items() if path.startswith(place)), rest_of(module))
        own = samples.setdefault(owner if scope else ADDED, [0.0] * len(layer.seconds))
        for number, seconds in enumerate(layer.seconds):
            own[number] += seconds
    return samples
