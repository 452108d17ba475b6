"""show: show an architecture block by block, or the published figures of a baseline."""

import json
from typing import Annotated

import typer

from jetbench.cli.app import NETWORKS, ClassesOption, JsonOption, SetOption, SizeOption, console, read_size, verb
from jetbench.cli.completion import architectures
from jetbench.cli.naming import read_network
from jetbench.errors import SpecError
from jetbench.network.lint import lint_plan
from jetbench.network.plan import Plan, plan_architecture, plan_network
from jetbench.reporting.sheets.lint import describe_findings, print_findings
from jetbench.reporting.sheets.network import (
    describe_architecture,
    describe_baseline,
    print_baseline,
    print_blocks,
)
from jetbench.spec.architecture import Baseline, Foreign


@verb(NETWORKS)
def show(
    name: Annotated[
        str,
        typer.Argument(autocompletion=architectures, help="A name from `jetbench list`, or a path to a .yaml file."),
    ],
    size: SizeOption = "512x512",
    classes: ClassesOption = 11,
    changes: SetOption = None,
    lint: Annotated[
        bool, typer.Option("--lint", help="Report design problems: dead layers, dilation larger than the map, ...")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show an architecture block by block, with shapes, parameters and MACs; or a baseline's published figures."""
    architecture = read_network(name, changes)
    if isinstance(architecture, Baseline | Foreign):
        _show_in_code(architecture, classes, read_size(size), lint, as_json)
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


def _show_in_code(
    architecture: Baseline | Foreign, classes: int, size: tuple[int, int], lint: bool, as_json: bool
) -> None:
    if lint:
        raise SpecError(f"{architecture.name}: has no JetBlocks, and --lint checks those only; leave it out")
    is_quoted = isinstance(architecture, Baseline) and architecture.network is None
    plan = None if is_quoted else plan_network(architecture, classes, size)
    assert not isinstance(plan, Plan)
    if as_json:
        typer.echo(json.dumps(describe_baseline(architecture, plan), indent=2))
    else:
        print_baseline(console, architecture, plan)
