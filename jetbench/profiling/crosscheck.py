"""cross_check: compares our count with fvcore's, thop's and torch's, and explains every difference per operation.

This module states each tool's rule for an operation and compares it with what the tool reported. A difference that the
rule does not explain exactly is printed as unexplained, with the remaining number.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from jetbench.errors import is_out_of_memory
from jetbench.network.operations import Operation, dead_operations
from jetbench.profiling.counts import COUNTERS, ToolCount
from jetbench.profiling.trace import trace_network

ToolQuantity = Literal["MACs", "FLOPs"]
TOOL_QUANTITIES: tuple[ToolQuantity, ...] = ("MACs", "FLOPs")

# The quantity of ours that each tool's total is compared with: the nearest one.
COMPARED_WITH: dict[str, ToolQuantity] = {"fvcore": "MACs", "thop": "MACs", "FlopCounterMode": "FLOPs"}


@dataclass(frozen=True, slots=True)
class Rule:
    """How a tool counts an operation: `factor` per MAC, output element or input element, under its own `name`."""

    name: str
    factor: int
    per: Literal["MAC", "output element", "input element"]


TOOL_RULES: dict[str, dict[str, tuple[Rule, ...]]] = {
    "fvcore": {
        "convolution": (Rule("conv", 1, "MAC"),),  # transposed ones too
        "batch norm": (Rule("batch_norm", 2, "output element"),),
        "bilinear upsampling": (Rule("upsample_bilinear2d", 4, "output element"),),
        "nearest upsampling": (Rule("upsample_nearest2d", 1, "output element"),),
        "mean over the map": (Rule("adaptive_avg_pool2d", 1, "input element"),),
        "matrix product": (Rule("linear", 1, "MAC"), Rule("addmm", 1, "MAC"), Rule("matmul", 1, "MAC")),
    },
    "thop": {
        "convolution": (Rule("Conv2d", 1, "MAC"), Rule("Conv1d", 1, "MAC"), Rule("ConvTranspose2d", 1, "MAC")),
        "batch norm": (Rule("BatchNorm2d", 4, "output element"),),
        "PReLU": (Rule("PReLU", 1, "output element"),),
        "matrix product": (Rule("Linear", 1, "MAC"),),
    },
    "FlopCounterMode": {
        "convolution": (Rule("convolution", 2, "MAC"),),
        "matrix product": (Rule("addmm", 2, "MAC"), Rule("mm", 2, "MAC"), Rule("bmm", 2, "MAC")),
    },
}
# fvcore counts on a graph from which torch's tracer has removed operations that do not affect the output.
SKIPS_DEAD = ("fvcore",)


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One kind of operation in the network: how often it runs, its size, and its cost by our rules."""

    operation: str
    times: int
    output_elements: int
    input_elements: int
    macs: int
    flops: int


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One part of the difference between a tool's total and ours. `explained` if the reason fits exactly."""

    operation: str
    amount: int
    reason: str
    explained: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """One tool's count compared with ours; `compared_with` is the quantity of ours that is nearest to its total.

    `by_row` is its count by our names of operations. For either quantity the differences sum to its total minus ours.
    """

    count: ToolCount
    compared_with: ToolQuantity
    by_row: dict[str, int]
    differences: dict[ToolQuantity, tuple[Discrepancy, ...]]


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """Our rows, each tool, the tools that failed and why, and the operations that no tool counted.

    If a tool reports a name that its rules do not know, that name may mean one of the uncounted operations.
    """

    rows: tuple[CheckRow, ...]
    tools: tuple[Checked, ...]
    failed: dict[str, str]
    counted_by_none: tuple[str, ...]

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """Names that a tool reports and that none of its rules covers."""
        rule_names = {
            tool: {rule.name for rules in by_kind.values() for rule in rules} for tool, by_kind in TOOL_RULES.items()
        }
        return tuple(
            name for tool in self.tools for name in tool.count.by_operation if name not in rule_names[tool.count.tool]
        )


def cross_check(model: nn.Module, images: Tensor) -> CrossCheck:
    """Count `model` with every tool, on copies, for one image of (N, 3, H, W)."""
    try:
        operations, outputs = trace_network(model, images[:1].to("meta"))
    except RuntimeError:
        # A network that reads values (`.item()`) cannot run on the meta device, which has none: run it on its own.
        operations, outputs = trace_network(model, images[:1])
    rows = summarise(operations)
    dead = dead_operations(operations, outputs)
    gone = {row.operation: row for row in summarise([operations[index] for index in sorted(dead)])}
    tools, failed = [], {}
    for count in COUNTERS:
        try:
            tools.append(compare_counts(count(model, images), rows, gone))
        except (RuntimeError, ImportError, ValueError, TypeError, KeyError, AttributeError) as error:
            if is_out_of_memory(error):
                raise  # the machine ran out of memory; the tool did not fail
            failed[count.__name__.removeprefix("count_with_")] = f"{type(error).__name__}: {error}"
    by_none = [row.operation for row in rows if not any(tool.by_row.get(row.operation) for tool in tools)]
    return CrossCheck(rows, tuple(tools), failed, tuple(by_none))


def summarise(operations: Sequence[Operation]) -> tuple[CheckRow, ...]:
    """Operations added up by kind, most FLOPs first; biases have a row of their own."""
    totals: dict[str, Counter[str]] = {}
    for operation in operations:
        row = totals.setdefault(describe_operation(operation), Counter())
        bias = operation.flops - 2 * operation.macs if operation.macs else 0
        size = operation.makes[0].bytes // operation.elements  # bytes of one element
        row.update(
            times=1,
            output_elements=operation.elements,
            input_elements=operation.read_bytes // size,
            macs=operation.macs,
            flops=operation.flops - bias,
        )
        if bias:
            elements = operation.elements
            totals.setdefault("bias", Counter()).update(
                times=1, output_elements=elements, input_elements=elements, macs=0, flops=bias
            )
    rows = [CheckRow(name, **{key: row[key] for key in CheckRow.__slots__[1:]}) for name, row in totals.items()]
    return tuple(sorted(rows, key=lambda row: (-row.flops, row.operation)))


def describe_operation(operation: Operation) -> str:
    """The name of an operation's kind; operations that tools count differently have different names."""
    if operation.kernel == "mean":
        return "mean over the map" if operation.eq2_pooling else "mean over channels"
    if operation.kind == "activation" and operation.kernel in ("clamp", "exp", "mul", "add"):
        return f"{operation.kernel} of the activation"
    return {
        "native_batch_norm": "batch norm" if operation.kind != "uncounted" else "batch norm by the batch's statistics",
        **dict.fromkeys(("addmm", "mm", "bmm"), "matrix product"),
        "cudnn_batch_norm": "batch norm",
        "transposed convolution": "convolution",
        "upsample_bilinear2d": "bilinear upsampling",
        "upsample_nearest2d": "nearest upsampling",
        "_prelu_kernel": "PReLU",
        "_adaptive_avg_pool2d": "mean over the map",  # over its parts
        "adaptive_max_pool2d": "maximum over the map",
        "amax": "maximum over channels",
        "cat": "stacking (cat)",
        "clone": "shuffling (copy)",
    }.get(operation.kernel, operation.kernel)


def compare_counts(count: ToolCount, rows: Sequence[CheckRow], dead: dict[str, CheckRow]) -> Checked:
    """Every difference between `count` and ours, by operation; `dead`: rows that do not affect the output."""
    rules, counted = TOOL_RULES[count.tool], count.by_operation
    by_row = {row.operation: sum(counted.get(rule.name, 0) for rule in rules.get(row.operation, ())) for row in rows}
    differences = {quantity: _explain(count, rows, dead, quantity) for quantity in TOOL_QUANTITIES}
    return Checked(count, COMPARED_WITH[count.tool], by_row, differences)


def _explain(
    count: ToolCount, rows: Sequence[CheckRow], dead: dict[str, CheckRow], quantity: ToolQuantity
) -> tuple[Discrepancy, ...]:
    rules = TOOL_RULES[count.tool]
    left = dict(count.by_operation)
    differences: list[Discrepancy] = []
    for row in rows:
        ours = row.macs if quantity == "MACs" else row.flops
        applied = rules.get(row.operation, ())
        theirs = sum(left.pop(rule.name, 0) for rule in applied)
        if not applied:
            if ours:
                differences.append(Discrepancy(row.operation, -ours, "missed"))
            continue
        rule = applied[0]
        expected = rule.factor * _measure(row, rule)
        skipped = dead.get(row.operation) if count.tool in SKIPS_DEAD else None
        dropped = rule.factor * _measure(skipped, rule) if skipped else 0
        if expected != ours:
            reason = f"counts {rule.factor} per {rule.per}; we count {_per(ours, row, rule, quantity)}"
            differences.append(Discrepancy(row.operation, expected - ours, reason))
        if skipped and dropped:
            times = f"{skipped.times} of {row.times}"
            reason = f"leaves out {times} that do not affect the output, because its tracer removes them"
            differences.append(Discrepancy(row.operation, -dropped, reason))
        if theirs != expected - dropped:
            rest = theirs - expected + dropped
            differences.append(
                Discrepancy(row.operation, rest, "unexplained: the tool's number differs from the rule above", False)
            )
    for name, amount in left.items():
        differences.append(Discrepancy(name, amount, "unexplained: we know no rule of the tool for it", False))
    unattributed = count.total - sum(count.by_operation.values())
    if unattributed:
        differences.append(
            Discrepancy("(total)", unattributed, "unexplained: the tool counts it under no operation", False)
        )
    return tuple(differences)


def _measure(row: CheckRow, rule: Rule) -> int:
    return {"MAC": row.macs, "output element": row.output_elements, "input element": row.input_elements}[rule.per]


def _per(ours: int, row: CheckRow, rule: Rule, quantity: ToolQuantity) -> str:
    if ours == 0:
        return f"no {quantity} for it"
    measure = _measure(row, rule)
    return str(ours // measure) if ours % measure == 0 else f"{ours / measure:.3f}"
