"""The parts of a network: a block or the decoder of JetSeg, or an outermost module of any other network."""

from collections.abc import Mapping

from torch import nn

from jetbench.models.foreign import ForeignNetwork
from jetbench.models.jetseg import JetSeg

SCOPE = "/network/"
"""The beginning of the name of each node of an exported file that a module of the network made."""


LOGITS = "logits"
"""The name of the output of an exported file, which a runtime may give to the node that makes it."""


def is_of_network(name: str) -> bool:
    """True if a node of an exported file was made by a module of the network, and not added by a runtime."""
    return SCOPE in name or name.startswith(LOGITS)


BETWEEN = "between"
"""What runs outside all parts of a network that is not JetSeg."""


def parts_of(module: nn.Module) -> dict[str, str]:
    """The name of each part with the path of its module, in the order of the modules."""
    if isinstance(module, JetSeg):
        blocks = {f"block {number}": f"encoder.blocks.{number}" for number in range(len(module.encoder.blocks))}
        return {**blocks, "decoder": "decoder"}
    if isinstance(module, ForeignNetwork):
        return {path: f"network.{path}" for path in _called(module.network)}
    return {path: path for path in _called(module)}


def _called(module: nn.Module, above: str = "") -> list[str]:
    """Paths of the outermost modules that are called. A ModuleList is not called itself, its members are."""
    paths = []
    for name, child in module.named_children():
        path = f"{above}{name}"
        is_list = isinstance(child, nn.ModuleList | nn.ModuleDict)
        paths += _called(child, f"{path}.") if is_list else [path]
    return paths


def rest_of(module: nn.Module) -> str:
    """The name for everything that runs outside all parts."""
    return "output" if isinstance(module, JetSeg) else BETWEEN


def part_of_node(name: str, places: Mapping[str, str]) -> str | None:
    """The part of a network to which a node of an exported file belongs; None if no module of a part made it.

    Args:
        name: the node's: `/network/encoder/blocks.0/operations/jetconv/mix/Conv`.
        places: what `parts_of` gives.
    """
    _, scope, inside = name.partition(SCOPE)
    path = inside.replace("/", ".")
    return next((part for part, place in places.items() if scope and path.startswith(f"{place}.")), None)
