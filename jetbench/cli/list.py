"""list: list the bundled architectures, baselines, sweeps, searches and spaces."""

import json
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from jetbench.cli.app import NETWORKS, ClassesOption, JsonOption, SizeOption, console, read_size, verb
from jetbench.network.closed_form import cost_of
from jetbench.reporting import units
from jetbench.reporting.terminal import print_whole
from jetbench.search.screen import count_variants, read_space
from jetbench.spec.architecture import Baseline
from jetbench.spec.base import read_yaml
from jetbench.spec.catalog import Kind, find, names, read_architecture


@verb(NETWORKS, "list")
def list_names(
    size: SizeOption = "512x512",
    classes: ClassesOption = 11,
    as_json: JsonOption = False,
) -> None:
    """List the bundled architectures, baselines, sweeps, searches and spaces."""
    rows: list[dict[str, Any]] = []
    baselines: list[dict[str, Any]] = []
    for name in names("architecture"):
        architecture = read_architecture(name, {})
        if isinstance(architecture, Baseline):
            year, fidelity = architecture.paper.year, architecture.fidelity
            baselines.append(
                {"name": name, "year": year, "fidelity": fidelity, "description": architecture.description}
            )
            continue
        cost = cost_of(architecture, classes, read_size(size))
        rows.append(
            {"name": name, "parameters": cost.parameters, "macs": cost.macs, "description": architecture.description}
        )

    sweeps, searches = (_describe_files(kind) for kind in ("sweep", "search"))
    spaces = [_describe_space(name) for name in names("space")]
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "size": read_size(size),
                    "classes": classes,
                    "architectures": rows,
                    "baselines": baselines,
                    "sweeps": sweeps,
                    "searches": searches,
                    "spaces": spaces,
                },
                indent=2,
            )
        )
        return
    table = Table(
        title=f"Architectures, counted at {size} with {classes} classes", title_justify="left", box=None, pad_edge=False
    )
    for heading, justify in (("name", "left"), ("parameters", "right"), ("MACs (M)", "right"), ("", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(
            row["name"], units.count(row["parameters"]), units.millions(row["macs"]), escape(row["description"])
        )
    print_whole(console, table)
    table = Table(
        title="\nBaselines; costs: `jetbench count NAME`, published figures: `jetbench show NAME`",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("name", "year", "fidelity", ""):
        table.add_column(heading)
    for row in baselines:
        table.add_row(row["name"], str(row["year"]), row["fidelity"], escape(row["description"]))
    print_whole(console, table)
    for title, listed in (
        ("Sweeps", sweeps),
        ("Searches, for `jetbench search`", searches),
        ("Spaces, for `jetbench screen`", spaces),
    ):
        table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
        table.add_column("name")
        table.add_column("")
        for row in listed:
            table.add_row(row["name"], escape(row["description"]))
        print_whole(console, table)


def _describe_files(kind: Kind) -> list[dict[str, str]]:
    contents = {name: read_yaml(find(kind, name)) for name in names(kind)}
    return [{"name": name, "description": content.get("description", "")} for name, content in contents.items()]


def _describe_space(name: str) -> dict[str, str]:
    space = read_space(name)
    return {"name": name, "description": f"{space.description}: {count_variants(space):,} variants"}
