"""count: count the cost of a network, layer by layer."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli.app import (
    NETWORKS,
    ClassesOption,
    JsonOption,
    SetOption,
    SizeOption,
    console,
    errors,
    read_size,
    verb,
)
from jetbench.cli.completion import architectures
from jetbench.cli.naming import read_network
from jetbench.errors import ProfilingError, is_out_of_memory
from jetbench.network.plan import AnyPlan, plan_network
from jetbench.network.rules import format_size
from jetbench.reporting.sheets.cost import describe_check, describe_cost, print_check, print_cost

if TYPE_CHECKING:
    from jetbench.profiling.crosscheck import CrossCheck


@verb(NETWORKS)
def count(
    name: Annotated[
        str,
        typer.Argument(autocompletion=architectures, help="A name from `jetbench list`, or a path to a .yaml file."),
    ],
    size: SizeOption = "512x512",
    classes: ClassesOption = 11,
    changes: SetOption = None,
    brief: Annotated[bool, typer.Option("--brief", help="Print one line per block instead of one per layer.")] = False,
    check: Annotated[
        bool, typer.Option("--cross-check", help="Compare with fvcore, thop and torch, and explain each difference.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Count the cost of a network, layer by layer and by stated rules: parameters, MACs, FLOPs, memory, bytes moved."""
    architecture = read_network(name, changes)
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
    """Build the network, count it with the tools and measure its peak memory; shows a spinner on a terminal."""
    with errors.status("building the network and counting it with fvcore, thop and torch"):
        import torch

        from jetbench.models.build import build_planned, without_training_heads
        from jetbench.profiling.crosscheck import cross_check
        from jetbench.profiling.peak_memory import measure_peak_memory

        model, images = without_training_heads(build_planned(plan)), torch.zeros(1, 3, *plan.input_size)
        try:
            return cross_check(model, images), *measure_peak_memory(model, images)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            where = f"--cross-check at {format_size(plan.input_size)}"
            raise ProfilingError(
                f"{where} does not fit into this machine's memory; leave out --cross-check or give a smaller --size"
            ) from None
