"""read_graph: an ONNX file as plain data, and the operations that it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jetbench.errors import SpecError
from jetbench.network.operations import INTERPOLATION_FLOPS, NORM_FLOPS, Kind, Operation, Tensor

Shape = tuple[int | None, ...]
BYTES_OF = {1: 4, 2: 1, 3: 1, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
"""Bytes of a number of ONNX's types: float 1, uint8 2, int8 3, int32 6, int64 7, float16 10, ..."""
TYPES = {1: "fp32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "fp16", 11: "fp64", 16: "bf16"}
PER_ELEMENT: dict[str, tuple[Kind, int]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Pow", "Neg", "Abs"), ("elementwise", 1)),
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"), ("elementwise", 1)),
    **dict.fromkeys(("And", "Or", "Not", "ArgMax"), ("elementwise", 1)),
    **dict.fromkeys(("Exp", "Tanh", "Sigmoid", "Relu", "Clip", "Sqrt"), ("activation", 1)),
    **dict.fromkeys(("LeakyRelu", "PRelu", "HardSigmoid"), ("activation", 2)),
    "Elu": ("activation", 4),
    "HardSwish": ("activation", 5),
    "BatchNormalization": ("normalisation", NORM_FLOPS),
    **dict.fromkeys(("Concat", "Transpose", "Pad", "Expand", "Tile", "ScatterElements", "ScatterND"), ("copy", 0)),
    **dict.fromkeys(("Gather", "Slice", "Split", "Where", "Cast"), ("copy", 0)),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), ("copy", 0)),
}
MULTIPLIES = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NOTHING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape", "Dropout")
"""Nodes that give their input another shape, or no map at all."""
COMPUTES_SIZES = (
    *("Slice", "Concat", "Gather", "Cast", "Unsqueeze", "Squeeze", "Add", "Sub", "Mul", "Div", "Floor", "Ceil"),
    *("Reshape", "Transpose", "Identity", "Mod", "Equal", "Where", "Range", "Expand", "ConstantOfShape"),
)
MOST_SIZES = 64
"""The largest constant that is taken for a size."""


class Node(NamedTuple):
    """A node of a graph."""

    name: str
    kind: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """An ONNX graph.

    Args:
        nodes: in their order.
        shapes: the shape of each value that is known; None for a side that may vary.
        types: the number type of each value that is known, as in `TYPES`.
        constants: the names of weights and other constants.
        opset: of the standard operators.
        domains: other sets of operators that the file uses.
        producer: the program that wrote the file, with its version.
        ir: version of the file's form.
        inputs: names of what it takes.
        outputs: names of what it gives.
    """

    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    types: Mapping[str, str]
    constants: frozenset[str]
    opset: int
    domains: tuple[str, ...]
    producer: str
    ir: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def elements(self, name: str) -> int:
        """Numbers in a value; a side that may vary counts as 1."""
        return prod(side or 1 for side in self.shapes.get(name, ()))


def read_graph(path: Path, size: tuple[int, int] | None = None) -> Graph:
    """The graph of an ONNX file.

    Args:
        path: the file.
        size: (height, width) of its images, if the file takes any.

    Raises:
        SpecError: there is no such file, or it is no ONNX model.
    """
    if find_spec("onnx") is None:
        raise SpecError(f"{path}: onnx not installed: pip install 'jetbench[onnx]'")
    import onnx

    if not path.is_file():
        raise SpecError(f"{path}: no such file")
    try:
        model = onnx.load(str(path))
        if not model.graph.node:
            raise ValueError("it has no node")
        if size is not None:
            _fix_size(model, size)
        inferred = _with_sizes(model).graph
    except Exception as error:  # errors of protobuf and of onnx have no common class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SpecError(f"{path}: is no ONNX model ({reason})") from None
    constants = {each.name for each in inferred.initializer}
    shapes: dict[str, Shape] = {each.name: tuple(each.dims) for each in inferred.initializer}
    types = {each.name: TYPES.get(each.data_type, str(each.data_type)) for each in inferred.initializer}
    for each in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = each.type.tensor_type
        if kind.HasField("shape"):
            shapes[each.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
        types[each.name] = TYPES.get(kind.elem_type, str(kind.elem_type))
    nodes = []
    for number, node in enumerate(inferred.node):
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        if node.op_type == "Constant" and hasattr(attributes.get("value"), "dims"):
            shapes[node.output[0]] = tuple(attributes["value"].dims)
            constants.add(node.output[0])
        name = node.name or f"{node.op_type} {number}"
        nodes.append(Node(name, node.op_type, attributes, tuple(node.input), tuple(node.output)))
    # What is made of constants alone is one: the scales of a quantiser, a bias behind an Identity.
    for made in nodes:
        if made.inputs and all(each in constants or not each for each in made.inputs):
            constants.update(made.outputs)
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    others = tuple(sorted(each.domain for each in model.opset_import if each.domain not in ("", "ai.onnx")))
    producer = " ".join(filter(None, (model.producer_name, model.producer_version))) or "unknown"
    given = tuple(each.name for each in inferred.input if each.name not in constants)
    outputs = tuple(each.name for each in inferred.output)
    return Graph(
        tuple(nodes), shapes, types, frozenset(constants), opset, others, producer, model.ir_version, given, outputs
    )


def _fix_size(model: Any, size: tuple[int, int]) -> None:
    """Give the first input fixed sides where they may vary."""
    shape = model.graph.input[0].type.tensor_type.shape.dim
    for side, value in zip(shape, (1, 3, *size), strict=False):
        if not side.HasField("dim_value"):
            side.dim_value = value


def _with_sizes(model: Any) -> Any:
    """A copy of a model with the shapes of its values, in which what computes sizes from fixed sizes is constant.

    Exporters compute the size of a resize or a reshape by nodes; shape inference alone ends there.
    """
    import onnx

    while True:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        if not _fold_sizes(model):
            return model


def _fold_sizes(model: Any) -> int:
    """Replace nodes that compute small constants by what they give; returns how many."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph = model.graph
    known = {each.name: each for each in graph.initializer if prod(each.dims) <= MOST_SIZES}
    for node in graph.node:
        if (
            node.op_type == "Constant"
            and node.attribute[0].name == "value"
            and prod(node.attribute[0].t.dims) <= MOST_SIZES
        ):
            known[node.output[0]] = node.attribute[0].t
    shapes = {
        each.name: [d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (*graph.input, *graph.value_info)
        if each.type.tensor_type.HasField("shape")
        and all(d.HasField("dim_value") for d in each.type.tensor_type.shape.dim)
    }
    count = 0
    for node in list(graph.node):
        if not _is_small(node, known):
            continue
        if node.op_type == "Shape" and node.input[0] in shapes and not node.attribute:
            values = [onnx.numpy_helper.from_array(np.array(shapes[node.input[0]], dtype=np.int64), node.output[0])]
        elif node.op_type in COMPUTES_SIZES and all(each in known or not each for each in node.input):
            inputs = {each: onnx.numpy_helper.to_array(known[each]) for each in node.input if each}
            given = [onnx.helper.make_tensor_value_info(each, 0, None) for each in inputs]
            taken = [onnx.helper.make_tensor_value_info(each, 0, None) for each in node.output]
            one = onnx.helper.make_graph([node], "one", given, taken)
            results = ReferenceEvaluator(onnx.helper.make_model(one, opset_imports=model.opset_import)).run(
                None, inputs
            )
            values = [onnx.numpy_helper.from_array(np.asarray(v), n) for v, n in zip(results, node.output, strict=True)]
            if any(prod(each.dims) > MOST_SIZES for each in values):  # no size, and a file might double it for ever
                continue
        else:
            continue
        graph.initializer.extend(values)
        known.update({each.name: each for each in values})
        graph.node.remove(node)
        count += 1
    return count


def _is_small(node: Any, known: Mapping[str, Any]) -> bool:
    """False for a node that would make a large tensor of a few numbers."""
    import onnx

    values = [onnx.numpy_helper.to_array(known[each]).ravel() for each in node.input if each in known]
    if len(values) < len([each for each in node.input if each]):
        return True  # it is not computed
    if node.op_type == "ConstantOfShape":
        return bool(values) and prod(map(int, values[0])) <= MOST_SIZES
    if node.op_type == "Expand":
        return len(values) > 1 and prod(map(int, values[1])) <= MOST_SIZES
    if node.op_type == "Range":
        return len(values) == 3 and all(map(len, values)) and abs(values[1][0] - values[0][0]) <= MOST_SIZES
    return True


def operations_of(graph: Graph) -> tuple[Operation, ...]:
    """Every operation of a graph for one image, in order, by the rules of `network/operations.py`.

    Batch norm that the exporter folded into a convolution is no operation any more, and its parameters are the
    convolution's. Equation 2 is not computed, since its tool counts modules.

    Raises:
        SpecError: the size of a convolution's or a product's input or output does not follow from the input's.
    """
    numbers: dict[str, int] = {}
    sources: dict[str, str] = {}
    read: set[str] = set()
    operations = []
    batch = max(1, (graph.shapes.get(graph.inputs[0], (1,)) or (1,))[0] or 1) if graph.inputs else 1

    def memory(name: str) -> Tensor:
        name = sources.get(name, name)
        return Tensor(numbers.setdefault(name, len(numbers) + 1), 4 * graph.elements(name) // batch)

    for node in graph.nodes:
        if all(each in graph.constants for each in (*node.inputs, *node.outputs) if each):
            continue
        maps = [each for each in node.inputs if each and each not in graph.constants]
        if node.kind in MULTIPLIES and any(None in graph.shapes.get(e, (None,)) for e in (*maps, node.outputs[0])):
            raise SpecError(
                f"{node.name}: its size does not follow from the size of the images; export it with fixed sizes"
            )
        if node.kind in NOTHING:
            sources.update({each: sources.get(maps[0], maps[0]) for each in node.outputs if maps})
            continue
        weights = [each for each in node.inputs if each in graph.constants and _is_weight(node, each)]
        elements = graph.elements(node.outputs[0]) // batch
        kind, macs, flops = _price(graph, node, elements, batch)
        new = [each for each in weights if each not in read]
        read.update(new)
        operations.append(
            Operation(
                part="",
                layer=node.name,
                kernel=node.kind,
                kind=kind,
                elements=elements,
                parameters=sum(graph.elements(each) for each in new),
                macs=macs,
                flops=flops,
                eq2=0.0,
                eq2_pooling=0,
                parameter_bytes=sum(4 * graph.elements(each) for each in weights),
                read_bytes=sum(memory(each).bytes for each in dict.fromkeys(maps)),
                reads=tuple(memory(each) for each in dict.fromkeys(maps)),
                makes=(memory(node.outputs[0]),),
            )
        )
    return tuple(operations)


def _is_weight(node: Node, name: str) -> bool:
    """True for a constant that is learned: not the scales of Resize, the bounds of Clip or the indices of Slice."""
    places = {
        "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "PRelu": (1,),
        "BatchNormalization": (1, 2), "QLinearConv": (3, 8), "Add": (0, 1), "Mul": (0, 1),
    }.get(node.kind, ())  # fmt: skip
    return any(node.inputs[place] == name for place in places if place < len(node.inputs))


def _price(graph: Graph, node: Node, elements: int, batch: int) -> tuple[Kind, int, int]:
    """(kind, MACs, FLOPs) of a node for one image."""
    shapes = [tuple(side or 1 for side in graph.shapes.get(each, ())) for each in node.inputs]
    if node.kind in ("Conv", "ConvTranspose") and len(shapes) > 1 and shapes[1]:
        _, *rest = shapes[1]
        per_map = elements if node.kind == "Conv" else prod(shapes[0]) // batch
        has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
        macs = per_map * prod(rest)
        return "convolution", macs, 2 * macs + elements * has_bias
    if node.kind in ("Gemm", "MatMul") and shapes and shapes[0]:
        depth = shapes[0][0 if node.attributes.get("transA") else -1]
        macs = elements * depth
        return "convolution", macs, 2 * macs + elements * (node.kind == "Gemm" and len(shapes) > 2)
    if node.kind in ("GlobalAveragePool", "ReduceMean", "ReduceSum", "ReduceMax", "GlobalMaxPool"):
        size = prod(shapes[0]) // batch if shapes else elements
        return "pooling", 0, size - elements * ("Max" in node.kind)
    if node.kind in ("MaxPool", "AveragePool"):
        taps = prod(node.attributes.get("kernel_shape", (1,)))
        return "pooling", 0, elements * (taps - (node.kind == "MaxPool"))
    if node.kind in ("Resize", "Upsample"):
        is_linear = node.attributes.get("mode", b"nearest") == b"linear"
        return ("interpolation", 0, INTERPOLATION_FLOPS * elements) if is_linear else ("copy", 0, 0)
    kind, flops = PER_ELEMENT.get(node.kind, ("uncounted", 0))
    return kind, 0, flops * elements
