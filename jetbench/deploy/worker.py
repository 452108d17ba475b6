"""python -m jetbench.deploy.worker FOLDER PARENT: exports what request.json says, and writes answer.json."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from jetbench.data.cache import load_data
from jetbench.deploy.export import Deployed, export
from jetbench.deploy.pack import REFERENCE, Exported, ExportedFile, ExportRequest
from jetbench.deploy.parity import Comparison, Run, first_difference, open_file
from jetbench.errors import JetbenchError, SpecError
from jetbench.files import read_json, write_json
from jetbench.models.build import build_model, without_training_heads
from jetbench.models.weights import load_weights
from jetbench.network.plan import plan_network
from jetbench.probe.alone import die_with
from jetbench.probe.passes import random_pixels
from jetbench.records.deployment import Parity


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
    reference = model.feed(pixels[:1].expand(batch, -1, -1, -1))
    with torch.no_grad():
        expected = model(reference)
    files = []
    for to in request.formats:
        file = export(model, reference, folder, to, request.opset)
        run, runtime = open_file(folder / file.name, to, request.backend, request.dtype)
        parities = (
            _compare(model, run, pixels[:1], batch, "the reference"),
            _compare(model, run, pixels[1:], batch, source),
        )
        differs = None
        is_bad = request.dtype == "fp32" and not all(parity.passes for parity in parities)
        if to == "onnx" and is_bad and find_spec("onnxruntime"):
            differs = first_difference(model, folder / file.name, reference)
        files.append(ExportedFile(file=file, runtime=runtime, parities=parities, differs=differs))
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
