"""Reads a network by its name, for the verbs."""

from jetbench.cli.app import (
    read_changes,
)
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.catalog import read_architecture


def read_network(name: str, changes: list[str] | None) -> AnyArchitecture:
    """An architecture by name or path, with the changes of --set."""
    return read_architecture(name, read_changes(changes), " --set ".join([name, *changes]) if changes else None)
