"""Deployability: what a target cannot run, or runs slowly, of the graph that a network is exported to.

A finding states a rule of a target, with its version and a source, or a measurement of ours (reports/LOG.md). It is no
measurement of the network: `jetbench profile --backend` makes one.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from jetbench.deploy.export import Deployed, export
from jetbench.deploy.graph import Graph, Node, read_graph
from jetbench.models.build import build_planned, without_training_heads
from jetbench.models.parts import SCOPE
from jetbench.models.weights import GREY_MEAN, GREY_STD
from jetbench.network.lint import Finding
from jetbench.network.plan import AnyPlan

BLOCK = 16
"""Channels of a block of ONNX Runtime's own memory layout on AVX-512; 8 on AVX2."""
INT8_CHANNELS = 4
OPERATORS = "onnx/onnx-tensorrt, docs/operators.md at release/8.2-GA to 10.1-GA"
LOG = "measured: reports/LOG.md, 2026-11-30"
OPSETS = (
    ("TensorRT 8.2 (JetPack 4.6)", 13),
    ("TensorRT 8.4 to 8.6 (JetPack 5 to 6.0)", 17),
    ("TensorRT 10.0 and 10.1", 20),
    ("TensorRT 10.9", 22),
)
"""The highest opset that a version reads (onnx/onnx-tensorrt, docs/operators.md)."""


@dataclass(frozen=True, slots=True)
class TargetFinding(Finding):
    """A finding about a target: its version, and where the rule is stated or was measured."""

    target: str
    source: str


def lint_export(plan: AnyPlan) -> tuple[TargetFinding, ...]:
    """All findings about the graph that a network is exported to.

    Raises:
        SpecError: the network cannot be built or exported.
    """
    network = without_training_heads(build_planned(plan))
    model = Deployed(network, GREY_MEAN, GREY_STD).eval()
    with tempfile.TemporaryDirectory(prefix="jetbench-lint-") as name:
        export(model, torch.zeros(1, 3, *plan.input_size), Path(name), "onnx")
        return lint_graph(read_graph(Path(name) / "model.onnx"))


def lint_graph(graph: Graph) -> tuple[TargetFinding, ...]:
    """All findings about a graph, what a target cannot run first."""
    rules = (_opset, _operators, _sizes, _ceil, _adaptive, _activations, _groups, _int8_groups, _resizes)
    return tuple(finding for rule in rules for finding in rule(graph))


def _place(node: Node) -> str:
    """The module of a network that made a node: `encoder/blocks.0/operations/activation`; else the node's name."""
    inside = node.name.removeprefix(SCOPE)
    return inside.rpartition("/")[0] or inside if inside != node.name else node.name


def _opset(graph: Graph) -> Iterator[TargetFinding]:
    lacking = [target for target, highest in OPSETS if graph.opset > highest]
    if lacking:
        yield TargetFinding(
            "opset",
            (),
            f"the file has opset {graph.opset}",
            f"{', '.join(lacking)} read none that high",
            "export it with --opset 13",
            lacking[0],
            "onnx/onnx-tensorrt, docs/operators.md",
        )


def _operators(graph: Graph) -> Iterator[TargetFinding]:
    if graph.domains:
        yield TargetFinding(
            "own-operators",
            (),
            f"the file uses operators of {', '.join(graph.domains)}",
            "only the runtime that defines them runs them",
            "export the network again, without that runtime's optimisations",
            "every other runtime",
            "ONNX specification, operator sets",
        )
    lists: tuple[tuple[str, Callable[[Node], bool], str, str], ...] = (
        ("MaxPool with indices", lambda n: n.kind == "MaxPool" and len(n.outputs) > 1 and bool(n.outputs[1]),
         "TensorRT 8.2 to 10.1", "unpool without indices: `jetbench export` replaces it, with the same result"),
        ("Mod", lambda n: n.kind == "Mod", "TensorRT 8.2 to 8.5",
         "export it for a fixed size, so that no size is computed"),
        ("GridSample", lambda n: n.kind == "GridSample", "TensorRT 8.2 to 8.4", "resize in place of sampling"),
    )  # fmt: skip
    for what, is_one, target, remedy in lists:
        where = tuple(_place(node) for node in graph.nodes if is_one(node))
        if where:
            text = f"{len(where)} x {what}"
            yield TargetFinding("operators", where, text, "its parser refuses the file", remedy, target, OPERATORS)


def _sizes(graph: Graph) -> Iterator[TargetFinding]:
    open_inputs = [name for name in graph.inputs if None in graph.shapes.get(name, ())]
    if open_inputs:
        yield TargetFinding(
            "dynamic-sizes",
            tuple(open_inputs),
            "its input has sides that may vary",
            "an engine is then built for a range of sizes, and its kernels are chosen for one of them",
            "export it with fixed sizes",
            "TensorRT, all versions",
            "NVIDIA, TensorRT developer guide, working with dynamic shapes",
        )


def _ceil(graph: Graph) -> Iterator[TargetFinding]:
    where = []
    for node in graph.nodes:
        if node.kind in ("MaxPool", "AveragePool") and node.attributes.get("ceil_mode"):
            shape = graph.shapes.get(node.inputs[0], ())
            strides = node.attributes.get("strides", (1, 1))
            if any((side or 0) % stride for side, stride in zip(shape[2:], strides, strict=False)):
                where.append(_place(node))
    if where:
        yield TargetFinding(
            "ceil-mode",
            tuple(where),
            f"{len(where)} poolings round their size up, on maps with an odd side",
            "the last window is a part of one; how a target averages it was never tested",
            "use sides that the strides divide, and compare the output on the target",
            "TensorRT, all versions",
            "not tested by us",
        )


def _adaptive(graph: Graph) -> Iterator[TargetFinding]:
    where = [
        _place(node)
        for node in graph.nodes
        if node.kind == "MatMul" and any(each in graph.constants for each in node.inputs)
    ]
    if where:
        yield TargetFinding(
            "matrix-products",
            tuple(where),
            f"{len(where)} products with constant matrices: linear layers, or adaptive pooling into bins",
            "ONNX has no adaptive pooling into bins, so that `jetbench export` writes two products per pooling, which "
            "give the same means",
            "none is needed; where the bins divide the map, an average pooling of that size is faster",
            "ONNX, all opsets",
            "ONNX specification, operators",
        )


def _activations(graph: Graph) -> Iterator[TargetFinding]:
    made = {output: node for node in graph.nodes for output in node.outputs}

    def before(node: Node | None, place: int = 0) -> Node | None:
        return made.get(node.inputs[place]) if node is not None and len(node.inputs) > place else None

    where, elements = [], 0
    for node in graph.nodes:
        if node.kind != "Mul":
            continue
        for place in (0, 1):
            exponential = before(node, place)
            clip = before(exponential)
            if exponential is not None and exponential.kind == "Exp" and clip is not None and clip.kind == "Clip":
                where.append(_place(node))
                elements += graph.elements(node.outputs[0])
                break
    if where:
        yield TargetFinding(
            "three-kernels",
            tuple(where),
            f"REU runs as Clip, Exp and Mul, {len(where)} times, over {elements / 1e6:.1f} M elements",
            "ONNX Runtime fuses none of them, so each reads and writes the whole map; it fuses ReLU into the "
            "convolution before it",
            "compare with activation: relu, hardswish or silu, which targets fuse or have as one kernel",
            "ONNX Runtime 1.32",
            LOG,
        )


def _grouped(graph: Graph) -> Iterator[tuple[Node, int, int, int]]:
    """Each convolution with groups that is not depthwise: its groups, and channels per group in and out."""
    for node in graph.nodes:
        groups = node.attributes.get("group", 1)
        weight = graph.shapes.get(node.inputs[1], ()) if len(node.inputs) > 1 else ()
        if node.kind == "Conv" and groups > 1 and len(weight) > 1:
            ours, theirs = weight[1] or 1, (weight[0] or 1) // groups
            if ours > 1:
                yield node, groups, ours, theirs


def _groups(graph: Graph) -> Iterator[TargetFinding]:
    where = [_place(node) for node, _, ours, theirs in _grouped(graph) if ours % BLOCK or theirs % BLOCK]
    if where:
        yield TargetFinding(
            "unaligned-groups",
            tuple(where),
            f"{len(where)} grouped convolutions whose groups have no multiple of {BLOCK} channels",
            "they leave the blocked memory layout, so the map is reordered before and after each: 8 groups of 8 "
            "channels took 1.2 times as long as 4 groups of 16, with half the MACs",
            f"choose group counts that leave a multiple of {BLOCK} channels in a group (8 without AVX-512)",
            "ONNX Runtime 1.32, processors with AVX-512",
            LOG,
        )


def _int8_groups(graph: Graph) -> Iterator[TargetFinding]:
    grouped = list(_grouped(graph))
    where = [_place(node) for node, _, ours, theirs in grouped if ours % INT8_CHANNELS or theirs % INT8_CHANNELS]
    if where:
        yield TargetFinding(
            "int8-groups",
            tuple(where),
            f"{len(where)} grouped convolutions whose groups have no multiple of {INT8_CHANNELS} channels",
            "in int8 the size of a group must be a multiple of 4, of input and output",
            "choose other group counts, or leave these convolutions in float",
            "TensorRT 7 to 10, int8",
            "NVIDIA, IConvolutionLayer::setNbGroups",
        )
    elif grouped:
        yield TargetFinding(
            "int8-groups",
            tuple(_place(node) for node, *_ in grouped),
            f"{len(grouped)} grouped convolutions",
            "in int8 they are split into one convolution per group, and were reported slower than in fp16",
            "measure int8 against fp16 on the board before you choose it",
            "TensorRT 10, int8",
            "NVIDIA/TensorRT, issue 4529",
        )


def _resizes(graph: Graph) -> Iterator[TargetFinding]:
    modes: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.kind in ("Resize", "Upsample"):
            mode = node.attributes.get("mode", b"nearest").decode()
            place = node.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
            modes.setdefault(f"{mode}, {place}", []).append(_place(node))
    for mode, where in modes.items():
        yield TargetFinding(
            "resize",
            tuple(where),
            f"{len(where)} x Resize ({mode})",
            "every target lists it, but each has its own rule for the pixels' places: one mismatch left an mIoU of "
            "6.4 % on a Xavier",
            "compare the output on the target with reference.npz, and score it there",
            "TensorRT, all versions",
            "TUI-NICR/ESANet, issue 23",
        )
