"""int8: a file whose convolutions compute with 8-bit numbers, calibrated on images; and which parts of it that hurts.

ONNX files hold Q/DQ pairs in the form that TensorRT takes: symmetric, int8, per channel, no int32 biases. OpenVINO's
own files come from NNCF.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jetbench.errors import SpecError
from jetbench.models.parts import part_of_node
from jetbench.records.deployment import Calibration, PartError

QUANTISED = ("Conv", "ConvTranspose", "Add")
OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    "DedicatedQDQPair": True,
}


def spread(count: int, total: int) -> tuple[int, ...]:
    """The indices of `count` of `total` images, evenly spaced from the first."""
    count = min(count, total)
    return tuple(number * total // count for number in range(count))


def describe_calibration(dataset: str, indices: Sequence[int], pixels: Tensor, method: str) -> Calibration:
    """The record of a calibration, with a digest of its pixels.

    Args:
        dataset: the name of the data.
        indices: of the images of train.
        pixels: uint8 (N, H, W, 3).
        method: how ranges follow from the images.
    """
    digest = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
    return Calibration(dataset=dataset, indices=tuple(indices), digest=digest, method=method)


def quantise_onnx(source: Path, target: Path, batches: Sequence[Tensor]) -> None:
    """Write an int8 file of a float32 ONNX file, with Q/DQ pairs before its convolutions and additions.

    Args:
        source: the float32 file.
        target: the int8 file.
        batches: what calibration feeds: each of the shape of the file's input.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name = onnx.load(str(source), load_external_data=False).graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._left, None)
            return None if batch is None else {name: batch.numpy()}

    with _quiet():
        quantize_static(
            str(source), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, op_types_to_quantize=list(QUANTISED),
            extra_options=OPTIONS,
        )  # fmt: skip
    model = onnx.load(str(target))
    own = [each for each in model.opset_import if each.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(own)  # the quantiser names domains that the file does not use
    onnx.save(model, str(target))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice off the terminal: it is about steps that the export has made."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def quantise_openvino(source: Path, target: Path, batches: Sequence[Tensor]) -> None:
    """Write an int8 .xml with its .bin by NNCF, of a float32 ONNX file.

    Args:
        source: the ONNX file.
        target: the .xml.
        batches: what calibration feeds.

    Raises:
        SpecError: NNCF is not installed.
    """
    try:
        import nncf
    except ImportError:
        raise SpecError("int8 for openvino: nncf not installed: pip install 'jetbench[quantise]'") from None
    import openvino

    with _quiet():
        model = openvino.Core().read_model(str(source))
        quantised = nncf.quantize(model, nncf.Dataset([each.numpy() for each in batches]), subset_size=len(batches))
        openvino.save_model(quantised, str(target), compress_to_fp16=False)


def errors_by_part(
    whole: Path, places: Mapping[str, str], batches: Sequence[Tensor], expected: Sequence[Tensor]
) -> tuple[PartError, ...]:
    """How much each part hurts: the error of the output with only that part in int8, the largest first.

    Args:
        whole: an int8 file of `quantise_onnx`.
        places: the parts of the network, from `models.parts.parts_of`.
        batches: inputs.
        expected: the float32 outputs.

    Returns:
        The RMS error of the output, as a share of the RMS of the float32 output, of each part with Q/DQ pairs.
    """
    import onnx

    from jetbench.probe.engines.onnx_runtime import OnnxRuntime

    scale = _rms(expected)
    errors = []
    for name in places:
        model = onnx.load(str(whole))
        kept = _keep_only(model, name, places)
        if not kept:
            continue
        path = whole.with_name("one-part.onnx")
        onnx.save(model, str(path))
        engine = OnnxRuntime(str(path), "int8", 1, False)
        differences = [engine(batch) - right for batch, right in zip(batches, expected, strict=True)]
        path.unlink()
        errors.append(PartError(part=name, quantised=kept, error=_rms(differences) / scale))
    return tuple(sorted(errors, key=lambda each: -each.error))


def _keep_only(model: Any, part: str, places: Mapping[str, str]) -> int:
    """Take the Q/DQ pairs of all nodes away but those of one part; returns the number of nodes that keep them.

    Each consumer has a pair of its own, so that what a pair quantises can be fed to its consumer instead.
    """
    nodes = list(model.graph.node)
    quantise = {node.output[0]: node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    plain = {
        node.output[0]: quantise[node.input[0]]
        for node in nodes
        if node.op_type == "DequantizeLinear" and node.input[0] in quantise
    }
    kept = 0
    for node in nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") or not any(each in plain for each in node.input):
            continue
        if part_of_node(node.name, places) == part:
            kept += 1
            continue
        for place, each in enumerate(node.input):
            node.input[place] = plain.get(each, each)
    return kept


def _rms(tensors: Sequence[Tensor]) -> float:
    return float(torch.cat([each.double().flatten() for each in tensors]).square().mean().sqrt())
