"""One network on one page: its blocks as a table or JSON; and the variants a sweep would run."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetbench.architecture import Architecture
from jetbench.experiment import Sweep
from jetbench.operations import Operation
from jetbench.plan import Plan
from jetbench.profiling.listing import list_network
from jetbench.reporting import units
from jetbench.rules import format_size
from jetbench.sweep import Variant
from jetbench.walk import list_operations

COUNTING_RULE = (
    "groups: of the expansion / the JetConv mix / the reduction. MACs: multiply-accumulates of convolutions for one "
    "image, biases not counted; 1 MAC = 2 FLOPs."
)


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
    """The block table of a planned network."""
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
    table.add_row(
        *("", "", "decoder", f"{decoder['head_channels']} > {classes}", format_size(decoder["output_size"]), "1"),
        *("", "", units.count(decoder["parameters"]), units.millions(decoder["macs"])),
    )
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


def print_whole(console: Console, table: Table) -> None:
    """Print a table without cutting a number or a name: where it is wider than the terminal, its lines wrap."""
    needed = console.measure(table, options=console.options.update(width=10_000)).maximum
    if needed <= console.width:
        console.print(table)
        return
    Console(file=console.file, width=needed, force_terminal=console.is_terminal).print(table)


def print_variants(console: Console, asked: Sweep, variants: Sequence[Variant]) -> None:
    """What a sweep would run: each variant with its counts."""
    size, classes = variants[0].plan.input_size, variants[0].plan.num_classes
    title = f"{asked.name}: {len(variants)} variants at {format_size(size)}, {classes} classes, "
    title += f"{asked.training.budget} each"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading, justify in (("variant", "left"), ("parameters", "right"), ("MACs (M)", "right"), ("network", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for variant in variants:
        parameters, macs = _count(list_network(variant.plan))
        also = f" [dim]= {escape(', '.join(variant.also_named))}[/]" if variant.also_named else ""
        table.add_row(
            f"{escape(variant.name)}{also}",
            units.count(parameters),
            units.millions(macs),
            variant.plan.fingerprint,
        )
    print_whole(console, table)
    for each in asked.quoted:
        console.print(f"[dim]{escape(each)}: only its published figures[/]", highlight=False)
    console.print("[dim]Nothing was run.[/]")
