"""The cost of a network, printed or as plain data: per layer, in total, and compared with other tools' counts."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetbench.network.operations import RULES, Cost, Operation, add_up
from jetbench.network.plan import AnyPlan
from jetbench.network.rules import format_size
from jetbench.profiling.listing import list_network
from jetbench.reporting import units
from jetbench.reporting.sheets.network import describe_identity
from jetbench.reporting.tables.published import describe_kind
from jetbench.reporting.terminal import print_whole
from jetbench.spec.architecture import AnyArchitecture

if TYPE_CHECKING:
    from jetbench.profiling.crosscheck import Checked, CrossCheck

MEANINGS = {
    "macs": "multiply-accumulates of all convolutions and matrix products; a bias counts 0",
    "flops": "2 per MAC, and other operations by the rules below",
    "eq2": "the paper's equation 2 as the authors' own tool applies it: Kw Kh Hin Win Cin Cout / (s s g) of 2-D "
    "convolutions, 4 per element of batch norm, 1 per element of a block's or the decoder's activation; a transposed "
    "convolution counts 0, because their tool does not know it",
    "peak": "each map, and the image, is held from the operation that makes it to the last that reads it; each "
    "operation works out of place, in PyTorch's order. Eager PyTorch holds more, because callers keep what they pass; "
    "a runtime that fuses or works in place holds less",
    "bytes_moved": "a lower bound: each operation reads its inputs and parameters once and writes its output once",
}


def describe_cost(architecture: AnyArchitecture, plan: AnyPlan, brief: bool = False) -> dict[str, Any]:
    """Totals, layers (or blocks, if `brief`) and rules as plain data, for one image in float32."""
    operations = list_network(plan)
    cost = add_up(operations)
    return {
        "name": architecture.name,
        **describe_identity(architecture),
        "fingerprint": plan.fingerprint,
        "input_size": plan.input_size,
        "num_classes": plan.num_classes,
        "batch_size": 1,
        "precision": "float32",
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "flops_by_kind": cost.flops_by_kind,
        "eq2_flops": cost.eq2_flops,
        "eq2": {
            "convolution": cost.eq2_convolution,
            "normalisation": cost.eq2_normalisation,
            "activation": cost.eq2_activation,
            "pooling_not_counted": cost.eq2_pooling,
        },
        "activations": cost.activations,
        "activation_bytes": cost.activation_bytes,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "weight_bytes": cost.weight_bytes,
        "bytes_moved": cost.bytes_moved,
        "arithmetic_intensity": cost.arithmetic_intensity,
        "blocks" if brief else "layers": [
            _describe_layer(part, layer, members) for part, layer, members in _layers(operations, brief)
        ],
        "rules": {"flops": RULES, **MEANINGS},
    }


def _layers(operations: Sequence[Operation], brief: bool = False) -> list[tuple[str, str, list[Operation]]]:
    if brief:  # a baseline's parts may alternate, so groupby would split them
        parts = dict.fromkeys(operation.part for operation in operations)
        return [(part, "", [operation for operation in operations if operation.part == part]) for part in parts]
    grouped = groupby(operations, key=lambda operation: (operation.part, operation.layer))
    return [(part, layer, list(members)) for (part, layer), members in grouped]


def _describe_layer(part: str, layer: str, operations: Sequence[Operation]) -> dict[str, Any]:
    cost = add_up(operations)
    return {
        "part": part,
        "layer": layer,
        "kernels": [operation.kernel for operation in operations],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "eq2_flops": cost.eq2_flops,
        "activations": cost.activations,
        "bytes_moved": cost.bytes_moved,
        "arithmetic_intensity": cost.arithmetic_intensity,
    }


def print_cost(console: Console, architecture: AnyArchitecture, plan: AnyPlan, brief: bool) -> None:
    """Print each layer (or each block, if `brief`), then the exact totals and what each of them means."""
    operations = list_network(plan)
    size, classes = format_size(plan.input_size), plan.num_classes
    console.print(f"[bold]{escape(architecture.name)}[/] ({describe_kind(architecture)}) at {size}, {classes} classes")
    table = Table(box=None, pad_edge=False)
    table.add_column("part", no_wrap=True)
    if not brief:
        table.add_column("layer", no_wrap=True)
    for heading in ("params", "MACs M", "FLOPs M", "eq. 2 M", "outputs k", "moved KiB", "FLOPs/byte"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = None
    for part, layer, members in _layers(operations, brief):
        names = [part] if brief else [part if part != before else "", layer]
        table.add_row(*names, *_cells(add_up(members)))
        before = part
    cost = add_up(operations)
    table.add_section()
    table.add_row("[bold]total", *([] if brief else [""]), *(f"[bold]{cell}" for cell in _cells(cost)))
    print_whole(console, table)
    _print_totals(console, cost)


def _cells(cost: Cost) -> list[str]:
    return [
        units.count(cost.parameters),
        *(units.exact_millions(value) for value in (cost.macs, cost.flops, cost.eq2_flops)),
        f"{cost.activations / 1e3:,.1f}",
        f"{cost.bytes_moved / 2**10:,.1f}",
        f"{cost.arithmetic_intensity:.2f}",
    ]


def _print_totals(console: Console, cost: Cost) -> None:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in cost.flops_by_kind.items() if count)
    parts = f"convolution {cost.eq2_convolution:,} + batch norm {cost.eq2_normalisation:,} + activation "
    parts += (
        f"{cost.eq2_activation:,}; the printed rule for pooling would add {cost.eq2_pooling:,}, and the authors' tool "
    )
    parts += "does not apply it"
    rows = [
        ("parameters", f"{cost.parameters:,}", f"{cost.weight_bytes:,} bytes of float32 weights"),
        ("MACs", f"{cost.macs:,}", MEANINGS["macs"]),
        ("FLOPs", f"{cost.flops:,}", kinds),
        ("eq. 2", f"{cost.eq2_flops:,}", parts),
        ("activations", f"{cost.activations:,}", f"elements of all maps written, {cost.activation_bytes:,} bytes"),
        ("peak activations", f"{cost.peak_activation_bytes:,}", f"bytes ({_mib(cost)} MiB), {MEANINGS['peak']}"),
        ("bytes moved", f"{cost.bytes_moved:,}", MEANINGS["bytes_moved"]),
        ("intensity", f"{cost.arithmetic_intensity:.2f}", "FLOPs per byte moved, for the lower bound of bytes"),
    ]
    grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim")
    for label, value, meaning in rows:
        grid.add_row(f"[bold]{label}", value, escape(meaning))
    console.print()
    console.print(grid, highlight=False)
    rules = "\n".join(f"  {kind}: {rule}" for kind, rule in RULES.items() if kind != "uncounted")
    console.print(f"\n[dim]For one image in float32. FLOPs of each kind:\n{escape(rules)}[/]", highlight=False)


def _mib(cost: Cost) -> str:
    return units.mebibytes(cost.peak_activation_bytes)


def describe_check(check: "CrossCheck", peak_bytes: int | None, peak_note: str) -> dict[str, Any]:
    """The cross-check as plain data: for each tool its differences from our MACs and FLOPs, which sum to the total."""
    return {
        "operations": [{key: getattr(row, key) for key in row.__slots__} for row in check.rows],
        "tools": [
            {
                "tool": tool.count.tool,
                "distribution": tool.count.distribution,
                "version": tool.count.version,
                "total": tool.count.total,
                "nearest_to": tool.compared_with,
                "by_operation": tool.by_row,
                "its_own_names": tool.count.by_operation,
                "unsupported": tool.count.unsupported,
                "differences": {
                    quantity: [{key: getattr(part, key) for key in part.__slots__} for part in parts]
                    for quantity, parts in tool.differences.items()
                },
            }
            for tool in check.tools
        ],
        "failed": check.failed,
        "counted_by_no_tool": check.counted_by_none,
        "names_without_a_rule": check.unknown_names,
        "measured_peak_memory": {"bytes": peak_bytes, "what": peak_note, "where": "PyTorch in eager mode, this CPU"},
    }


def print_check(console: Console, check: "CrossCheck", peak_bytes: int | None, peak_note: str) -> None:
    """Print each operation's count by each tool, then the differences that lead from our total to each tool's."""
    table = Table(title="\nCompared with other counters", title_justify="left", box=None, pad_edge=False)
    table.add_column("operation", no_wrap=True)
    for heading in ("times", "our MACs", "our FLOPs", *(tool.count.tool for tool in check.tools)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in check.rows:
        counts = [f"{tool.by_row[row.operation]:,}" if tool.by_row[row.operation] else "-" for tool in check.tools]
        macs = f"{row.macs:,}" if row.macs else "-"
        table.add_row(escape(row.operation), str(row.times), macs, f"{row.flops:,}", *counts)
    table.add_section()
    macs, flops = (f"{sum(getattr(row, name) for row in check.rows):,}" for name in ("macs", "flops"))
    totals = [macs, flops, *(f"{tool.count.total:,}" for tool in check.tools)]
    table.add_row("[bold]total", "", *(f"[bold]{total}" for total in totals))
    print_whole(console, table)
    for tool in check.tools:
        _print_differences(console, tool, check)
    for tool_name, reason in check.failed.items():
        console.print(f"\n[bold red]{escape(tool_name)} failed:[/] {escape(reason)}", highlight=False)
    if check.counted_by_none:
        names = escape(", ".join(check.counted_by_none))
        doubt = f", unless as {', '.join(check.unknown_names)}" if check.unknown_names else ""
        console.print(f"\n[bold]Counted by no tool{escape(doubt)}:[/] {names}.", highlight=False, soft_wrap=True)
    measured = f"peak memory {units.mebibytes(peak_bytes)} MiB ({peak_note})"
    console.print(
        f"[bold]Measured[/] in PyTorch's eager mode on this CPU: {measured}.", highlight=False, soft_wrap=True
    )


def _print_differences(console: Console, tool: "Checked", check: "CrossCheck") -> None:
    quantity, count = tool.compared_with, tool.count
    ours = sum(row.macs if quantity == "MACs" else row.flops for row in check.rows)
    difference = count.total - ours
    console.print(
        f"\n[bold]{count.tool}[/] ({escape(count.distribution)} {escape(count.version)}) says {count.total:,}, "
        f"{difference:+,} to our {quantity}:",
        highlight=False,
    )
    grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for part in tool.differences[quantity]:
        style = "" if part.explained else "[bold red]"
        grid.add_row(f"{style}{part.amount:+,}", f"{style}{escape(part.operation)}", f"{style}{escape(part.reason)}")
    grid.add_row(f"[bold]{sum(part.amount for part in tool.differences[quantity]):+,}", "[bold]together", "")
    console.print(grid, highlight=False)
