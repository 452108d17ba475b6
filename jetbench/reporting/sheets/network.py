"""One network on one page: its blocks, or a baseline's parts and paper; and the variants of a sweep."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetbench.network.idle import describe_idle
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Operation, add_up
from jetbench.network.plan import CodePlan, Plan
from jetbench.network.rules import format_size
from jetbench.network.variants import Variant
from jetbench.profiling.listing import count_training_only, list_network
from jetbench.reporting import units
from jetbench.reporting.tables.published import describe_fidelity, describe_figure, describe_kind, mark_of
from jetbench.reporting.terminal import print_whole
from jetbench.spec.architecture import AnyArchitecture, Architecture, Baseline, Foreign
from jetbench.spec.published import Reported
from jetbench.spec.sweep import Sweep

COUNTING_RULE = (
    "groups: expansion / JetConv mix / reduction. MACs: multiply-accumulates of convolutions for one image, without "
    "biases; 1 MAC = 2 FLOPs."
)


def describe_identity(architecture: AnyArchitecture) -> dict[str, Any]:
    """The identity of a network as plain data: JetSeg's form, or the baseline's network, fidelity and assumptions."""
    if isinstance(architecture, Foreign):
        return {"model": architecture.model, "arguments": architecture.arguments, "source": architecture.digest}
    if not isinstance(architecture, Baseline):
        return {"form": architecture.form}
    return {"network": architecture.network, "fidelity": architecture.fidelity, "assumed": list(architecture.assumed)}


def describe_architecture(architecture: Architecture, plan: Plan) -> dict[str, Any]:
    """A planned network as plain data: totals, blocks, decoder."""
    operations = list_operations(plan)
    parameters, macs = _count(operations)
    return {
        "name": architecture.name,
        "form": architecture.form,
        "description": architecture.description,
        "input_size": plan.input_size,
        "num_classes": plan.decoder.num_classes,
        "activation": plan.activation,
        "fingerprint": plan.fingerprint,
        "parameters": parameters,
        "macs": macs,
        "blocks": _describe_blocks(plan, operations),
        "decoder": _describe_decoder(plan, operations),
    }


def _count(operations: Sequence[Operation], part: str | None = None) -> tuple[int, int]:
    """Parameters and MACs of all operations, or of one part's."""
    chosen = [operation for operation in operations if part in (None, operation.part)]
    return sum(operation.parameters for operation in chosen), sum(operation.macs for operation in chosen)


def _describe_blocks(plan: Plan, operations: Sequence[Operation]) -> list[dict[str, Any]]:
    rows = []
    for number, block in enumerate(plan.blocks):
        parameters, macs = _count(operations, f"block {number}")
        mix = block.jetconv.groups
        rows.append(
            {
                "block": number,
                "level": block.level,
                "stage": block.stage,
                "residual": block.residual,
                "in_channels": block.in_channels,
                "expanded_channels": block.expanded_channels,
                "out_channels": block.out_channels,
                "stride": block.stride,
                "input_size": block.in_size,
                "output_size": block.out_size,
                "groups": [mix] if block.expanded_channels is None else [block.expand_groups, mix, block.reduce_groups],
                "layout": block.jetconv.layout,
                "branches": " ".join(str(branch) for branch in block.jetconv.branches),
                "attention": block.attention,
                "skip": block.skip,
                "parameters": parameters,
                "macs": macs,
            }
        )
    return rows


def _describe_decoder(plan: Plan, operations: Sequence[Operation]) -> dict[str, Any]:
    parameters, macs = _count(operations, "decoder")
    return {
        "fusion": plan.decoder.fusion,
        "taps": [
            {"stage": tap.stage, "level": tap.level, "block": tap.block, "channels": tap.channels, "size": tap.size}
            for tap in plan.decoder.taps
        ],
        "head_channels": plan.decoder.head_channels,
        "output_size": plan.decoder.taps[-1].size,
        "parameters": parameters,
        "macs": macs,
    }


def print_blocks(console: Console, architecture: Architecture, plan: Plan) -> None:
    """Print the block table of a planned network."""
    described = describe_architecture(architecture, plan)
    size, classes = format_size(plan.input_size), plan.decoder.num_classes
    console.print(f"[bold]{escape(architecture.name)}[/] ({architecture.form} form) at {size}, {classes} classes")
    console.print(f"[dim]{escape(architecture.description)}[/]")
    table = Table(box=None, pad_edge=False)
    for heading in (
        "block",
        "level",
        "stage",
        "channels",
        "output",
        "groups",
        "JetConv",
        "attention",
        "params",
        "MACs M",
    ):
        left = heading in ("stage", "channels", "JetConv", "attention")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading != "JetConv")
    layouts = {block["layout"] for block in described["blocks"]}
    for block in described["blocks"]:
        channels = [block["in_channels"], block["expanded_channels"], block["out_channels"]]
        branches = block["branches"] if len(layouts) == 1 else f"{block['layout']}: {block['branches']}"
        table.add_row(
            str(block["block"]),
            str(block["level"]),
            block["stage"].upper() + (" res." if block["residual"] else ""),
            " > ".join(str(count) for count in channels if count is not None),
            format_size(block["output_size"]),
            "/".join(str(groups) for groups in block["groups"]),
            branches,
            block["attention"],
            units.count(block["parameters"]),
            units.millions(block["macs"]),
        )
    decoder = described["decoder"]
    table.add_section()
    through = f"{decoder['head_channels']} > {classes}"
    costs = units.count(decoder["parameters"]), units.millions(decoder["macs"])
    table.add_row("", "", "decoder", through, format_size(decoder["output_size"]), "1", "", "", *costs)
    parameters, macs = units.count(described["parameters"]), units.millions(described["macs"])
    table.add_row("", "", "[bold]total", *[""] * 5, f"[bold]{parameters}", f"[bold]{macs}")
    print_whole(console, table)
    taps = ", ".join(f"{tap['stage'].upper()} {format_size(tap['size'])}" for tap in decoder["taps"])
    skip = sorted({block["skip"] for block in described["blocks"]} - {"none"})
    skips = f"residual around each {skip[0]}" if skip else "no residual"
    console.print(
        f"[dim]JetConv layout {', '.join(sorted(layouts))}; {skips}; "
        f"activation {plan.activation}; "
        f"decoder {decoder['fusion']} from {taps}.\n{COUNTING_RULE}[/]",
        highlight=False,
    )


def describe_baseline(architecture: Baseline | Foreign, plan: CodePlan | None) -> dict[str, Any]:
    """A baseline as plain data: its paper, its published figures, and totals and parts if it has a plan."""
    described: dict[str, Any] = {
        "name": architecture.name,
        **describe_identity(architecture),
        "description": architecture.description,
        "paper": architecture.paper.model_dump() if architecture.paper is not None else None,
        "reported": [figure.model_dump(exclude_none=True) for figure in architecture.reported],
    }
    if plan is None:
        return described
    operations = list_network(plan)
    parameters, macs = _count(operations)
    parts = dict.fromkeys(operation.part for operation in operations)
    return {
        **described,
        "input_size": plan.input_size,
        "num_classes": plan.num_classes,
        "fingerprint": plan.fingerprint,
        "parameters": parameters,
        "training_only_parameters": count_training_only(plan),
        "macs": macs,
        "parts": [
            dict(zip(("part", "parameters", "macs"), (part, *_count(operations, part)), strict=True)) for part in parts
        ],
    }


def print_baseline(console: Console, architecture: Baseline | Foreign, plan: CodePlan | None) -> None:
    """Print a baseline's paper and parts, and its published figures next to our counts at the same size."""
    described, paper = describe_baseline(architecture, plan), architecture.paper
    where = f" at {format_size(plan.input_size)}, {plan.num_classes} classes" if plan else ""
    console.print(f"[bold]{escape(architecture.name)}[/] ({describe_kind(architecture)}){where}", highlight=False)
    if architecture.description:
        console.print(f"[dim]{escape(architecture.description)}[/]", highlight=False)
    if paper is not None:
        venue = ", ".join(filter(None, (paper.authors, str(paper.year), paper.venue)))
        console.print(f"[dim]{escape(paper.title)}\n{escape(venue)}, {paper.link}[/]", highlight=False)
    if isinstance(architecture, Foreign):
        arguments = ", ".join(f"{key}={value}" for key, value in architecture.arguments.items())
        console.print(
            f"{escape(architecture.model)}({escape(arguments)}), source {architecture.digest}", highlight=False
        )
    else:
        console.print(escape(describe_fidelity(architecture)), highlight=False)
    if plan is not None:
        _print_parts(console, described)
    if architecture.reported:
        table = Table(title="\nAs published", title_justify="left", box=None, pad_edge=False)
        for heading in ("figure", "counted here") if plan else ("figure",):
            table.add_column(heading, overflow="fold")
        for figure in architecture.reported:
            cells = [describe_figure(figure), _counted_here(figure, plan)] if plan else [describe_figure(figure)]
            table.add_row(*map(escape, cells))
        console.print(table)


def _print_parts(console: Console, described: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("part", no_wrap=True)
    for heading in ("params", "MACs M"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in described["parts"]:
        if part["parameters"] or part["macs"]:
            table.add_row(part["part"], units.count(part["parameters"]), units.millions(part["macs"]))
    table.add_section()
    parameters, macs = units.count(described["parameters"]), units.millions(described["macs"])
    table.add_row("[bold]total", f"[bold]{parameters}", f"[bold]{macs}")
    print_whole(console, table)
    if described["training_only_parameters"]:
        more = units.count(described["training_only_parameters"])
        console.print(f"[dim]and {more} more parameters in auxiliary heads, used only in training[/]", highlight=False)


def _counted_here(figure: Reported, plan: CodePlan) -> str:
    """Our count for a published count, at its size; a dash if the figure was measured or has no size."""
    if figure.quantity == "parameters":
        return units.count(_count(list_network(plan))[0])
    if figure.quantity != "flops" or figure.size is None:
        return units.MISSING
    cost = add_up(list_network(replace(plan, input_size=figure.size)))
    return f"{cost.macs / 1e9:.2f} G MACs, {cost.flops / 1e9:.2f} G FLOPs ({plan.num_classes} classes)"


def print_variants(console: Console, asked: Sweep, variants: Sequence[Variant]) -> None:
    """Print the variants that a sweep would run, with their counts."""
    size, classes = variants[0].plan.input_size, variants[0].plan.num_classes
    title = f"{asked.name}: {units.counted(len(variants), 'variant')} at {format_size(size)}, {classes} classes, "
    budgets = dict.fromkeys(str(variant.training.budget) for variant in variants)
    title += f"{' or '.join(budgets)} each"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading, justify in (("variant", "left"), ("parameters", "right"), ("MACs (M)", "right"), ("network", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for variant in variants:
        parameters, macs = _count(list_network(variant.plan))
        also = f" [dim]= {escape(', '.join(variant.also_named))}[/]" if variant.also_named else ""
        table.add_row(
            f"{escape(variant.name)}{mark_of(variant.architecture)}{also}",
            units.count(parameters),
            units.millions(macs),
            variant.plan.fingerprint,
        )
    print_whole(console, table)
    for line in describe_idle(asked, variants):
        console.print(f"[yellow]{escape(line)}[/]", highlight=False)
    for quoted in asked.quoted:
        console.print(f"[dim]{escape(quoted)}: only published figures[/]", highlight=False)
    console.print("[dim]Nothing was run.[/]")
