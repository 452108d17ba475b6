"""The class of an operation: what kind of kernel computes it, in words that a designer chooses by; no torch."""

from jetbench.network.operations import Convolution, Kind, Operation

ADDED, REORDERED = "added by the runtime", "layout change"
"""The part of what a runtime adds to a network, and the class of the maps that it writes in another order."""
GROUPED = ("depthwise", "grouped")
"""The beginning of the class of a convolution in groups."""
WORDS: dict[Kind, str] = {
    "convolution": "matrix product",
    "normalisation": "batch norm",
    "activation": "activation",
    "elementwise": "sum, product",
    "pooling": "pooling",
    "interpolation": "resize",
    "copy": "copy",
}


def kernel_class(operation: Operation) -> str:
    """`depthwise 7x1 d3`, `grouped 1x1`, `batch norm`: d is the dilation. A kernel without a rule has its own name."""
    if operation.convolution is not None:
        return class_of_convolution(operation.convolution)
    if operation.kind == "convolution" and "convolution" in operation.kernel:
        return "1-d convolution" if operation.kernel == "convolution" else operation.kernel
    return WORDS.get(operation.kind, operation.kernel)


def class_of_convolution(shape: Convolution) -> str:
    """`depthwise 7x1 d3`, `grouped 1x1` or `3x3`; the stride is not told."""
    dilation = max(shape.dilation)
    words = [GROUPED[0]] if shape.is_depthwise else [GROUPED[1]] if shape.groups > 1 else []
    words += [f"{shape.kernel[0]}x{shape.kernel[1]}"] + [f"d{dilation}"] * (dilation > 1)
    return " ".join(words)
