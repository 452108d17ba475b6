"""schema: the JSON schema of a kind of YAML file."""

import json

import typer

from jetbench.cli.app import NETWORKS, verb
from jetbench.cli.options import KindArgument, read_kind


@verb(NETWORKS)
def schema(kind: KindArgument) -> None:
    """Print the JSON schema of a sweep, search, space or architecture, with which an editor completes its keys."""
    from jetbench.spec.schema import json_schema

    typer.echo(json.dumps(json_schema(read_kind(kind)), indent=2))
