"""show: show an architecture block by block, or the published figures of a baseline."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from jetbench.cli.app import NETWORKS, ClassesOption, JsonOption, SetOption, SizeOption, console, read_size, verb
from jetbench.cli.completion import architectures
from jetbench.cli.naming import read_network
from jetbench.errors import SpecError
from jetbench.network.lint import Finding, lint_plan
from jetbench.network.plan import AnyPlan, Plan, plan_architecture, plan_network
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
        bool,
        typer.Option(
            "--lint",
            help="Report design problems (dead layers, dilation larger than the map, ...), and what targets cannot "
            "run, or run slowly, of the exported graph.",
        ),
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
    deployed, missing = _lint_export(plan) if lint else (None, "")
    if as_json:
        described = describe_architecture(architecture, plan)
        if findings is not None:
            described["findings"] = describe_findings(findings)
            described["deployability"] = describe_findings(deployed) if deployed is not None else None
        typer.echo(json.dumps(described, indent=2))
        return
    print_blocks(console, architecture, plan)
    if findings is not None:
        print_findings(console, findings)
        _print_deployability(deployed, missing)


def _lint_export(plan: AnyPlan) -> "tuple[Sequence[Finding] | None, str]":
    """What targets cannot run of a network's exported graph; None with the reason if it cannot be exported."""
    from importlib.util import find_spec

    if find_spec("onnx") is None:
        return None, "onnx not installed: pip install 'jetbench[onnx]'"
    from jetbench.deploy.lint import lint_export

    try:
        return lint_export(plan), ""
    except SpecError as error:
        return None, str(error)


def _print_deployability(findings: "Sequence[Finding] | None", missing: str) -> None:
    if findings is None:
        console.print(f"\nThe exported graph was not read: {missing}", highlight=False, markup=False, soft_wrap=True)
    else:
        print_findings(console, findings, of="the graph that it is exported to")


def _show_in_code(
    architecture: Baseline | Foreign, classes: int, size: tuple[int, int], lint: bool, as_json: bool
) -> None:
    is_quoted = isinstance(architecture, Baseline) and architecture.network is None
    plan = None if is_quoted else plan_network(architecture, classes, size)
    assert not isinstance(plan, Plan)
    if lint and plan is None:
        raise SpecError(f"{architecture.name}: only its published figures are known, so --lint has nothing to read")
    deployed, missing = _lint_export(plan) if lint and plan is not None else (None, "")
    if as_json:
        described = describe_baseline(architecture, plan)
        if lint:
            described["deployability"] = describe_findings(deployed) if deployed is not None else None
        typer.echo(json.dumps(described, indent=2))
        return
    print_baseline(console, architecture, plan)
    if lint:
        _print_deployability(deployed, missing)
