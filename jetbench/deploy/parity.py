"""Does a file compute what its network computes? Three numbers, because the largest difference alone misleads.

Where two maxima in a pooling window are nearly equal, another order of additions swaps them, and one pixel differs by
a tenth of the output while the map is the same.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jetbench.deploy.export import INPUT
from jetbench.probe.engines import open_engine
from jetbench.records.deployment import MOST_RMS, Format, Parity
from jetbench.spec.profiling import DType, FileBackend

RESOLUTION = 1e-7
MOST_ENDS = 4
"""Last nodes of a module, of which one is its output: the exporter may put others behind it."""

Run = Callable[[Tensor], Tensor]


class Comparison:
    """Adds up a `Parity` over batches."""

    def __init__(self, on: str) -> None:
        self.on = on
        self._images = self._pixels = self._changed = self._numbers = 0
        self._largest = self._scale = self._squares = 0.0
        self._is_finite, self._has_logits = True, False

    def add(self, expected: Tensor, given: Tensor) -> None:
        """Add a batch: logits (N, K, H, W), or class ids (N, H, W)."""
        is_logits = expected.dim() == 4
        own, theirs = (each.argmax(1) if is_logits else each for each in (expected, given))
        self._images += len(expected)
        self._pixels += own.numel()
        self._changed += int((own != theirs).sum())
        if is_logits:
            self._has_logits = True
            self._is_finite = self._is_finite and bool(torch.isfinite(given).all())
            difference = (given.double() - expected.double()).abs()
            self._largest = max(self._largest, float(difference.max()))
            self._squares += float(difference.square().sum())
            self._scale = max(self._scale, float(expected.abs().max()))
            self._numbers += difference.numel()

    def parity(self) -> Parity:
        """The sum so far."""
        numbers = (self._largest, (self._squares / max(1, self._numbers)) ** 0.5, self._scale)
        largest, rms, scale = numbers if self._has_logits and self._is_finite else (None, None, None)
        return Parity(
            on=self.on,
            images=self._images,
            pixels=self._pixels,
            changed=self._changed,
            largest=largest,
            rms=rms,
            scale=scale,
            is_finite=self._is_finite,
        )


def open_file(
    path: Path, to: Format, backend: FileBackend = "onnxruntime", dtype: DType = "fp32", threads: int = 1
) -> tuple[Run, str]:
    """A function that runs a file, from the CPU's memory and to it, and the name of its runtime with its version.

    Args:
        path: the file.
        to: its format.
        backend: the runtime of an ONNX file.
        dtype: the number format that the runtime is asked for.
        threads: its threads.
    """
    backend = "openvino" if to == "openvino" else backend
    if to == "torchscript":
        traced: Any = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
        return (lambda images: traced(images)), f"torch {torch.__version__}"
    # A session that flushes denormals makes the thread that opens it flush them, too.
    engine = open_engine(backend, str(path), dtype, threads, flush_denormals=False)
    return (lambda images: engine(images).cpu()), str(engine.describe()["runtime"])


def first_difference(model: nn.Module, path: Path, images: Tensor) -> str | None:
    """The first module of a network, in the order in which they end, whose output in an ONNX file is another one.

    A module is found by the names that the exporter gives to nodes, unless it is called more than once. Batch norm is
    folded into the convolution before it, so that convolution's own output is nowhere.

    Returns:
        None if no module that can be found differs.
    """
    import onnx
    import onnxruntime

    outputs, called = _outputs_of(model, images)
    graph = onnx.load(str(path))
    ends: dict[str, list[str]] = {}
    for node in graph.graph.node:
        parts = node.name.split("/")[1:-1]
        for depth in range(1, len(parts) + 1):
            ends.setdefault("/".join(parts[:depth]), []).append(node.output[0])
    own_ends = {name: ends[scope][-MOST_ENDS:] for name in outputs if (scope := _scope_of(name, called)) in ends}
    known = {output.name for output in graph.graph.output}
    names = list(dict.fromkeys(value for values in own_ends.values() for value in values))
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    values = dict(zip(names, session.run(names, {INPUT: images.numpy()}), strict=True))
    # What is lost in rounding beside the network's other values, such as a sigmoid of 1e-28, is no difference.
    floor = RESOLUTION * max((float(each.abs().max()) for each in outputs.values() if each.numel()), default=0.0)
    for name, ended in own_ends.items():
        expected = outputs[name]
        alike = [values[value] for value in ended if tuple(values[value].shape) == tuple(expected.shape)]
        if not alike or not expected.is_floating_point():
            continue
        scale = float(expected.abs().max())
        rms = min(float((torch.from_numpy(each).double() - expected).square().mean().sqrt()) for each in alike)
        if not rms <= max(MOST_RMS * scale, floor):
            return f"{name} (RMS {rms / scale if scale else rms:.0e} of its largest output)"
    return None


def _outputs_of(model: nn.Module, images: Tensor) -> tuple[dict[str, Tensor], set[str]]:
    """The output of each module in the order in which they end, and the names of all modules that are called.

    Outputs that a batch norm reads are left out, and those of a module that is called again.
    """
    outputs: dict[str, Tensor] = {}
    itself: dict[str, Tensor] = {}
    called: set[str] = set()
    hooks = []

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name in called:
                outputs.pop(name, None)
                return
            called.add(name)
            if isinstance(module, nn.BatchNorm2d):
                for before in [each for each, tensor in itself.items() if tensor is inputs[0]]:
                    outputs.pop(before, None)
            elif isinstance(output, Tensor):
                outputs[name], itself[name] = output.clone(), output

        return hook

    for name, module in model.named_modules():
        if name:
            hooks.append(module.register_forward_hook(keep(name)))
    with torch.no_grad():
        model(images)
    for each in hooks:
        each.remove()
    return outputs, called


def _scope_of(name: str, called: set[str]) -> str:
    """The scope of a module's nodes: `encoder/blocks.0/body/body.1` of `encoder.blocks.0.body.1`.

    Each module that is called is a part; a number stands behind the name of the list that holds the module.
    """
    tokens = name.split(".")
    parts = []
    for place in range(len(tokens)):
        if ".".join(tokens[: place + 1]) not in called:
            continue
        first = place
        while tokens[first].isdigit() and first:
            first -= 1
        parts.append(".".join(tokens[first : place + 1]))
    return "/".join(parts)
