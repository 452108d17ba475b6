"""What a runtime made of a file: its number formats, and its layers' times by part of the network."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from jetbench.deploy.artefact import Artefact
from jetbench.models.parts import BETWEEN, is_of_network, part_of_node, parts_of, rest_of
from jetbench.network.kernels import ADDED
from jetbench.network.operations import Operation
from jetbench.probe.engines import Layer
from jetbench.profiling.parts import describe_part
from jetbench.records.deployment import Deployment
from jetbench.records.measurement import NetworkPart
from jetbench.spec.profiling import DType


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
        engine=description.get("engine"),
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
        owner = part_of_node(layer.name, places) or (rest_of(module) if is_of_network(layer.name) else ADDED)
        own = samples.setdefault(owner, [0.0] * len(layer.seconds))
        for number, seconds in enumerate(layer.seconds):
            own[number] += seconds
    return samples


def parts_of_file(operations: Sequence[Operation], layers: Sequence[Layer]) -> tuple[NetworkPart, ...]:
    """Each outermost module of a file whose network is not known, with its counts and times.

    PyTorch's exporter names a node by its module: `/encoder/blocks.0/mix/Conv`. A module that holds all nodes is no
    part. Empty if the names tell fewer than two modules.

    Args:
        operations: of the file, for one image; `layer` is the name of the node.
        layers: what a runtime made of it.
    """
    split = (operation.layer.split("/")[1:-1] for operation in operations if operation.layer.startswith("/"))
    paths = [path for path in split if path]
    levels = enumerate(zip(*paths, strict=False))
    shared = next((level for level, names in levels if len(set(names)) > 1), min(map(len, paths), default=0))
    names = list(dict.fromkeys(path[shared] for path in paths if len(path) > shared))
    if len(names) < 2:
        return ()

    def part_of(name: str) -> str | None:
        path = name[name.find("/") :].split("/")[1:-1] if "/" in name else []
        return path[shared] if len(path) > shared and path[shared] in names else None

    members: dict[str, list[Operation]] = {name: [] for name in (*names, BETWEEN, ADDED)}
    for operation in operations:
        members[part_of(operation.layer) or BETWEEN].append(operation)
    passes = len(layers[0].seconds) if layers else 0
    samples = {name: [0.0] * passes for name in members}
    for layer in layers:
        for number, seconds in enumerate(layer.seconds):
            samples[part_of(layer.name) or ADDED][number] += seconds
    return tuple(describe_part(name, own, samples[name]) for name, own in members.items() if own or any(samples[name]))
