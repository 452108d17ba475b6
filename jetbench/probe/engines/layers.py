"""A layer as a runtime executed it."""

from typing import Any, Dict, List


class Layer:
    """A layer of the graph that a runtime made of a file.

    Args:
        name: the name in the file that it was made of; a layer that the runtime added may have any.
        kind: its operation, as the runtime calls it.
        precision: the number format in which it ran: fp32, fp16, bf16, int8, or the runtime's word.
        where: what executed it.
        seconds: its time in each pass; 0 in one that did not run it.
        layout: the order of its output in memory: channels first, channels last, blocked, or the runtime's word.
    """

    def __init__(self, name: str, kind: str, precision: str, where: str, seconds: List[float], layout: str) -> None:
        self.name, self.kind, self.precision, self.where = name, kind, precision, where
        self.seconds, self.layout = seconds, layout

    @property
    def is_convolution(self) -> bool:
        """True for a convolution of any kind: what most of the time of these networks goes into."""
        return "conv" in self.kind.lower() and "convert" not in self.kind.lower()

    def to_dict(self) -> Dict[str, Any]:
        """The layer as JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "precision": self.precision,
            "where": self.where,
            "seconds": self.seconds,
            "layout": self.layout,
        }
