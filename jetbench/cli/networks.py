"""What networks there are and what they cost: list, show, count. Nothing here trains or measures."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from jetbench.architecture import AnyArchitecture, Baseline
from jetbench.catalog import find, names, read_architecture
from jetbench.cli.app import (
    ClassesOption,
    JsonOption,
    SetOption,
    SizeOption,
    app,
    console,
    errors,
    read_changes,
    read_size,
)
from jetbench.cost import cost_of
from jetbench.errors import ProfilingError, SpecError, is_out_of_memory
from jetbench.lint import lint_plan
from jetbench.plan import AnyPlan, BaselinePlan, plan_architecture, plan_network
from jetbench.reporting import units
from jetbench.reporting.costs import describe_check, describe_cost, print_check, print_cost
from jetbench.reporting.findings import describe_findings, print_findings
from jetbench.reporting.sheets import describe_architecture, describe_rival, print_blocks, print_rival
from jetbench.reporting.terminal import print_whole
from jetbench.rules import format_size
from jetbench.screen import SPACES, count_variants, read_space
from jetbench.spec import read_yaml

if TYPE_CHECKING:
    from jetbench.profiling.crosscheck import CrossCheck


@app.command("list")
def list_names(
    size: SizeOption = "512x512",
    classes: ClassesOption = 11,
    as_json: JsonOption = False,
) -> None:
    """List the bundled architectures, rivals, sweeps, searches and spaces."""
    rows: list[dict[str, Any]] = []
    rivals: list[dict[str, Any]] = []
    for name in names("architectures"):
        architecture = read_architecture(name, {})
        if isinstance(architecture, Baseline):
            year, fidelity = architecture.paper.year, architecture.fidelity
            rivals.append({"name": name, "year": year, "fidelity": fidelity, "description": architecture.description})
            continue
        cost = cost_of(architecture, classes, read_size(size))
        rows.append(
            {"name": name, "parameters": cost.parameters, "macs": cost.macs, "description": architecture.description}
        )

    sweeps: list[dict[str, str]] = []
    searches: list[dict[str, str]] = []
    for name in names("sweeps"):
        held = read_yaml(find("sweeps", name))
        (searches if "axes" in held else sweeps).append({"name": name, "description": held.get("description", "")})
    spaces = [_describe_space(name) for name in names(SPACES)]
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "size": read_size(size),
                    "classes": classes,
                    "architectures": rows,
                    "rivals": rivals,
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
        title="\nRivals; what one costs: jetbench count NAME, what is published of it: jetbench show NAME",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("name", "year", "fidelity", ""):
        table.add_column(heading)
    for row in rivals:
        table.add_row(row["name"], str(row["year"]), row["fidelity"], escape(row["description"]))
    print_whole(console, table)
    for title, listed in (
        ("Sweeps", sweeps),
        ("Searches, for jetbench search", searches),
        ("Spaces, for jetbench screen", spaces),
    ):
        table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
        table.add_column("name")
        table.add_column("")
        for row in listed:
            table.add_row(row["name"], escape(row["description"]))
        print_whole(console, table)


def _describe_space(name: str) -> dict[str, str]:
    space = read_space(name)
    return {"name": name, "description": f"{space.description}: {count_variants(space):,} variants"}


def _read_network(name: str, changes: list[str] | None) -> AnyArchitecture:
    return read_architecture(name, read_changes(changes), f"{name} with {changes}" if changes else None)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name from `jetbench list`, or a path to a .yaml file.")],
    size: SizeOption = "512x512",
    classes: ClassesOption = 11,
    changes: SetOption = None,
    lint: Annotated[bool, typer.Option("--lint", help="Say what in it works against itself, and why.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show an architecture block by block: level, stage, shapes, parameters and MACs; of a rival, what is published."""
    architecture = _read_network(name, changes)
    if isinstance(architecture, Baseline):
        _show_rival(architecture, classes, read_size(size), lint, as_json)
        return
    plan = plan_architecture(architecture, classes, read_size(size))
    findings = lint_plan(plan) if lint else None
    if as_json:
        described = describe_architecture(architecture, plan)
        if findings is not None:
            described["findings"] = describe_findings(findings)
        typer.echo(json.dumps(described, indent=2))
        return
    print_blocks(console, architecture, plan)
    if findings is not None:
        print_findings(console, findings)


def _show_rival(architecture: Baseline, classes: int, size: tuple[int, int], lint: bool, as_json: bool) -> None:
    if lint:
        raise SpecError(f"{architecture.name}: is a rival; --lint knows the blocks of JetSeg alone, leave it out")
    plan = plan_network(architecture, classes, size) if architecture.network else None
    assert plan is None or isinstance(plan, BaselinePlan)
    if as_json:
        typer.echo(json.dumps(describe_rival(architecture, plan), indent=2))
    else:
        print_rival(console, architecture, plan)


@app.command()
def count(
    name: Annotated[str, typer.Argument(help="A name from `jetbench list`, or a path to a .yaml file.")],
    size: SizeOption = "512x512",
    classes: ClassesOption = 11,
    changes: SetOption = None,
    brief: Annotated[bool, typer.Option("--brief", help="One line for each block, not for each layer.")] = False,
    check: Annotated[
        bool, typer.Option("--cross-check", help="Set fvcore, thop and torch beside it and explain each difference.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Count what a network costs, layer by layer and by stated rules: parameters, MACs, FLOPs, memory, bytes moved."""
    architecture = _read_network(name, changes)
    plan = plan_network(architecture, classes, read_size(size))
    if as_json:
        described = describe_cost(architecture, plan, brief)
        if check:
            described["cross_check"] = describe_check(*_cross_check(plan))
        typer.echo(json.dumps(described, indent=2))
        return
    print_cost(console, architecture, plan, brief)
    if check:
        print_check(console, *_cross_check(plan))


def _cross_check(plan: AnyPlan) -> "tuple[CrossCheck, int | None, str]":
    """Builds the network, lets the tools count it and measures its peak memory; shows a spinner on a terminal."""
    with errors.status("building the network and counting it with fvcore, thop and torch"):
        import torch

        from jetbench.models.build import build_planned, without_training_heads
        from jetbench.profiling.crosscheck import cross_check
        from jetbench.profiling.memory import measure_peak_memory

        model, images = without_training_heads(build_planned(plan)), torch.zeros(1, 3, *plan.input_size)
        try:
            return cross_check(model, images), *measure_peak_memory(model, images)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            where = f"--cross-check at {format_size(plan.input_size)}"
            raise ProfilingError(f"{where} does not fit into this machine's memory; leave it out") from None
