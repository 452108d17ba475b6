"""python -m jetbench.deploy.worker FOLDER PARENT: exports what request.json says, and writes answer.json."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from jetbench.data.cache import load_data
from jetbench.deploy.backends.tensor_rt import build_engine
from jetbench.deploy.export import Deployed, export
from jetbench.deploy.pack import REFERENCE, Exported, ExportedFile, ExportRequest
from jetbench.deploy.parity import Comparison, Run, first_difference, open_file
from jetbench.deploy.quantise import describe_calibration, errors_by_part, spread
from jetbench.errors import JetbenchError, SpecError
from jetbench.files import read_json, write_json
from jetbench.models.build import build_model, without_training_heads
from jetbench.models.parts import parts_of
from jetbench.models.weights import load_weights
from jetbench.network.plan import plan_network
from jetbench.probe.alone import die_with
from jetbench.probe.engines import open_engine
from jetbench.probe.passes import random_pixels
from jetbench.records.deployment import Calibration, Format, Parity, PartError
from jetbench.spec.profiling import FileBackend

PART_IMAGES = 4


def main(folder: Path, parent: int) -> int:
    """Export into `folder`; an error of the user's becomes the answer."""
    die_with(parent)
    request = ExportRequest.model_validate(read_json(folder / "request.json"))
    try:
        answer = _export(request, folder).model_dump(mode="json")
    except JetbenchError as error:
        answer = {"error": str(error)}
    write_json(folder / "answer.json", answer)
    return 0


def _export(request: ExportRequest, folder: Path) -> Exported:
    saved, batch = request.saved, request.batch_size
    if request.weights_file is not None:
        network = load_weights(Path(request.weights_file))[0]
    else:
        torch.manual_seed(request.seed)
        network = build_model(saved.architecture, saved.num_classes, saved.input_size)
    model = Deployed(without_training_heads(network), saved.mean, saved.std, request.include).eval()
    pixels, source = _pixels(request)
    batches, calibration = _calibrate(request, model) if request.precision == "int8" else ((), None)
    reference = model.feed(pixels[:1].expand(batch, -1, -1, -1))
    with torch.no_grad():
        expected = model(reference)
    files = []
    for to in request.formats:
        file = export(model, reference, folder, to, request.opset, request.precision, batches)
        if request.backend == "tensorrt":
            build_engine(folder / file.name, request.dtype, request.precision)
        run, runtime = open_file(folder / file.name, to, request.backend, request.dtype)
        parities = (
            _compare(model, run, pixels[:1], batch, "the reference"),
            _compare(model, run, pixels[1:], batch, source),
        )
        differs = None
        is_bad = request.precision == request.dtype == "fp32" and not all(parity.passes for parity in parities)
        if to == "onnx" and is_bad and find_spec("onnxruntime"):
            differs = first_difference(model, folder / file.name, reference)
        in_float, errors = _explain(model, folder / file.name, batches) if batches else ((), ())
        files.append(
            ExportedFile(
                file=file,
                runtime=runtime,
                parities=parities,
                differs=differs,
                precision=request.precision,
                calibration=_by(calibration, to),
                in_float=in_float,
                part_errors=errors,
            )
        )
    np.savez_compressed(folder / REFERENCE, pixels=pixels[:1].numpy(), input=reference.numpy(), output=expected.numpy())
    fingerprint = plan_network(saved.architecture, saved.num_classes, saved.input_size).fingerprint
    return Exported(request=request, fingerprint=fingerprint, files=tuple(files))


def _pixels(request: ExportRequest) -> tuple[torch.Tensor, str]:
    """The reference and the images of val, uint8 (1 + N, H, W, 3), and what the latter are.

    The first image of train, then the first of val; random pixels where no streets of this size are drawn.

    Raises:
        SpecError: the data have another size than the network takes.
    """
    config = request.data()
    if config is None:
        return random_pixels(1 + request.images, request.saved.input_size), "random pixels"
    data = load_data(config)
    if data.info.size != request.saved.input_size:
        size = "x".join(map(str, request.saved.input_size))
        raise SpecError(f"--dataset: the network takes images of {size}; leave size out")
    images = np.concatenate([data.images["train"][:1], data.images["val"][: request.images]])
    if len(images) < 2:
        raise SpecError(f"--dataset: {data.info.name} has no image in val, so the files cannot be compared")
    return torch.from_numpy(images.copy()), f"val of {config.name}"


def _calibrate(request: ExportRequest, model: Deployed) -> tuple[list[torch.Tensor], Calibration]:
    """The batches from which the ranges of an int8 file follow, and what they are.

    Raises:
        SpecError: no data were named, and no streets of this size are drawn.
    """
    config = request.data()
    if config is None:
        raise SpecError("int8 is calibrated on images, and no streets of this size are drawn; name data with --dataset")
    data = load_data(config)
    indices = spread(request.calibrate, len(data.images["train"]))
    pixels = torch.from_numpy(data.images["train"][list(indices)].copy())
    whole = len(pixels) - len(pixels) % request.batch_size or request.batch_size  # a file takes whole batches only
    pixels = pixels.repeat(-(-whole // len(pixels)), 1, 1, 1)[:whole]
    batches = [model.feed(part) for part in torch.split(pixels, request.batch_size)]
    used = [indices[number % len(indices)] for number in range(whole)]
    return batches, describe_calibration(config.name, used, pixels, "MinMax")


def _by(calibration: Calibration | None, to: Format) -> Calibration | None:
    """The calibration with what made ranges of it."""
    if calibration is None or to == "onnx":
        return calibration
    return calibration.model_copy(update={"method": "mixed int8 by NNCF"})


def _explain(
    model: Deployed, path: Path, batches: Sequence[torch.Tensor]
) -> tuple[tuple[str, ...], tuple[PartError, ...]]:
    """The convolutions of an int8 file that stay in float, and how much each part hurts (of an ONNX file)."""
    backend: FileBackend = "openvino" if path.suffix == ".xml" else "onnxruntime"
    layers = open_engine(backend, str(path), "int8", flush_denormals=False).list_layers(batches[0], 1)
    in_float = tuple(layer.name for layer in layers if layer.is_convolution and layer.precision != "int8")
    if backend == "openvino":
        return in_float, ()
    some = batches[:PART_IMAGES]
    with torch.no_grad():
        expected = [model(each) for each in some]
    if not expected[0].is_floating_point():
        return in_float, ()
    return in_float, errors_by_part(path, parts_of(model.network), some, expected)


def _compare(model: Deployed, run: Run, pixels: torch.Tensor, batch: int, on: str) -> Parity:
    """The parity over images, in batches of the file's size; the last one is filled with its first image."""
    comparison = Comparison(on)
    for begin in range(0, len(pixels), batch):
        part = pixels[begin : begin + batch]
        count = len(part)
        filled = torch.cat([part, part[:1].expand(batch - count, -1, -1, -1)]) if count < batch else part
        images = model.feed(filled)
        with torch.no_grad():
            comparison.add(model(images)[:count], run(images)[:count])
    return comparison.parity()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
