"""score_file: what a file that `export` wrote scores on a split, beside the PyTorch network that it was made of."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from jetbench.data.cache import SegmentationData
from jetbench.deploy.backends import RUNTIMES
from jetbench.deploy.export import Included, digest_of_model
from jetbench.deploy.graph import read_graph
from jetbench.deploy.pack import MANIFEST, ExportedFile, ExportRequest
from jetbench.deploy.parity import Run, open_file
from jetbench.errors import JetbenchError, SpecError
from jetbench.files import digest_of, read_json
from jetbench.models.build import build_model, without_training_heads
from jetbench.models.weights import SavedNetwork, load_weights
from jetbench.probe.alone import signal_name
from jetbench.progress import Report
from jetbench.records.deployment import FORMAT_OF, DeployedScore, Format
from jetbench.spec.architecture import Foreign
from jetbench.spec.base import first_problem
from jetbench.spec.dataset import Split
from jetbench.spec.profiling import DType, FileBackend
from jetbench.stats import Difference
from jetbench.training.evaluate import Evaluated, evaluate_together, mean_change


class FileNetwork(nn.Module):
    """A file as a network: normalised images (N, 3, H, W) -> logits (N, K, H, W); of class ids, 1 for the class.

    Logits of a smaller map, as files of other exporters give, are enlarged to the size of the images, bilinearly.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        run: Run,
        saved: SavedNetwork,
        batch_size: int = 1,
        include: Sequence[Included] = (),
    ) -> None:
        super().__init__()
        self.run, self.saved, self.batch_size, self.include = run, saved, batch_size, include
        self.register_buffer("mean", torch.tensor(saved.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(saved.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        size = self.batch_size
        return torch.cat([self._part(images[begin : begin + size]) for begin in range(0, len(images), size)])

    def _part(self, images: Tensor) -> Tensor:
        """The logits of at most a batch of the file's size, which is filled with its first image."""
        count, size = len(images), self.batch_size
        filled = torch.cat([images, images[:1].expand(size - count, -1, -1, -1)]) if count < size else images
        if "normalise" in self.include:
            filled = (filled * self.std + self.mean).round()  # the pixels that it was made of
        output = self.run(filled.contiguous())[:count]
        if "argmax" not in self.include:
            if output.shape[-2:] != images.shape[-2:]:
                return F.interpolate(output, size=images.shape[-2:], mode="bilinear", align_corners=False)
            return output.clone()  # an engine may write its next output into the same memory
        return F.one_hot(output.long(), self.saved.num_classes).permute(0, 3, 1, 2).float()


@dataclass(frozen=True)
class FileScore:
    """What a file scores.

    Args:
        deployed: its scores.
        torch: those of the PyTorch network on the same images; None with the reason in `missing`.
        changed: pixels whose class differs between the two.
        pixels: all pixels.
        runtime: what ran the file.
        missing: why there is no comparison.
    """

    deployed: Evaluated
    torch: Evaluated | None
    changed: int | None
    pixels: int | None
    runtime: str
    missing: str = ""

    @property
    def change(self) -> float | None:
        """The mIoU of the file less that of PyTorch."""
        return None if self.torch is None else self.deployed.miou - self.torch.miou

    @property
    def image_change(self) -> Difference | None:
        """The mean change of an image's mIoU with its 95 % interval, paired; None below two images."""
        return None if self.torch is None else mean_change(self.deployed, self.torch)


def is_exported(path: Path) -> bool:
    """True for the name of a model file, as `export` writes it."""
    return path.suffix in FORMAT_OF


def read_exported(path: Path) -> tuple[ExportedFile, ExportRequest]:
    """What the manifest beside a file says of it.

    Raises:
        SpecError: there is no manifest, it does not name the file, or the file is not the one that was exported.
    """
    if not path.is_file():
        raise SpecError(f"{path}: no such file")
    manifest = path.parent / MANIFEST
    raw = read_json(manifest)
    if raw is None:
        raise SpecError(
            f"{path}: has no {MANIFEST} beside it, which says how to feed it and what its classes are; `jetbench "
            "export` writes both"
        )
    try:
        request = ExportRequest.model_validate(raw.get("request"))
        files = [ExportedFile.model_validate(each) for each in raw.get("files", ())]
    except ValidationError as error:
        raise SpecError(f"{manifest}: is no manifest of this version ({first_problem(error)})") from None
    except TypeError:
        raise SpecError(f"{manifest}: is no manifest of this version (files: expected a list)") from None
    own = next((each for each in files if each.file.name == path.name), None)
    if own is None:
        raise SpecError(f"{path}: {manifest} does not name it")
    if (now := digest_of_model(path)) != own.file.sha256:
        raise SpecError(
            f"{path}: is not the file that was exported (SHA-256 {now[:12]}, it was {own.file.sha256[:12]})"
        )
    return own, request


@dataclass(frozen=True)
class Fed:
    """How a file is fed: `request` made it, or is None for a file of another exporter.

    Args:
        format: of the file.
        saved: the network's input and output.
        batch_size: images that it takes at once.
        include: what it does beside the network.
        request: what it was made of.
    """

    format: Format
    saved: SavedNetwork
    batch_size: int = 1
    include: tuple[Included, ...] = ()
    request: ExportRequest | None = None


def how_fed(
    path: Path, mean: tuple[float, float, float] | None = None, std: tuple[float, float, float] | None = None
) -> Fed:
    """How to feed a file: by its manifest, or with `mean` and `std` if it is an ONNX file of another exporter.

    Raises:
        SpecError: as `read_exported`; or the file has no manifest, and does not map images of one size to logits.
    """
    if (path.parent / MANIFEST).exists() or path.suffix != ".onnx" or not path.is_file():
        if mean is not None or std is not None:
            raise SpecError(f"{path}: {MANIFEST} says how to feed it; leave out --mean and --std")
        exported, request = read_exported(path)
        return Fed(exported.file.format, request.saved, request.batch_size, request.include, request)
    if mean is None or std is None:
        raise SpecError(
            f"{path}: has no {MANIFEST} beside it, which says how to feed it; say it with --mean and --std, of RGB "
            "from 0 to 255"
        )
    graph = read_graph(path)
    shapes = [graph.shapes.get(name, ()) for name in (*graph.inputs, *graph.outputs)]
    if len(shapes) != 2 or any(len(shape) != 4 for shape in shapes) or None in shapes[0] or shapes[0][1] != 3:
        raise SpecError(f"{path}: expected images (N, 3, H, W) of one size in, and logits (N, K, h, w) out")
    batch, _, height, width = (side or 1 for side in shapes[0])
    saved = SavedNetwork(
        architecture=Foreign(name=path.stem, model="onnx:file"),
        num_classes=shapes[1][1] or 1,
        input_size=(height, width),
        mean=mean,
        std=std,
    )
    return Fed("onnx", saved, batch)


def score_file(
    path: Path,
    data: SegmentationData,
    split: str,
    report: Report = lambda share, text: None,
    fed: Fed | None = None,
    backend: FileBackend = "onnxruntime",
    dtype: DType = "fp32",
) -> tuple[FileScore, FileNetwork]:
    """Score a file on a split, and the PyTorch network that it was made of on the same images; on the CPU.

    Args:
        path: the file.
        data: decoded images and labels, of the size that the file takes.
        split: train, val or test.
        report: called with the finished share.
        fed: how it is fed; by default as its manifest says.
        backend: the runtime of an ONNX file.
        dtype: the number format that the runtime is asked for.

    Raises:
        SpecError: as `how_fed`, or the runtime cannot open the file, or the split has no labelled image.
        DivergedError: its output was not finite.
    """
    fed = fed or how_fed(path)
    if (lacking := RUNTIMES[backend].missing()) is not None and fed.format != "torchscript":
        raise SpecError(f"{path}: {lacking.reason}: {lacking.remedy}")
    _check_opens(path, fed.format, backend, dtype)
    run, runtime = open_file(path, fed.format, backend, dtype)
    network, missing = _network_of(fed.request) if fed.request else (None, "another exporter wrote the file")
    model = FileNetwork(run, fed.saved, fed.batch_size, fed.include)
    forms = [model] if network is None else [network, model]
    scored, changed = evaluate_together(forms, fed.saved, data, split, torch.device("cpu"), report)
    if network is None:
        return FileScore(scored[0], None, None, None, runtime, missing), model
    theirs, deployed = scored
    return FileScore(deployed, theirs, changed[1], pixels_of(deployed, data), runtime), model


def _check_opens(path: Path, to: Format, backend: FileBackend, dtype: DType) -> None:
    """Open a file in a process of its own first, since a runtime may crash on it.

    Raises:
        SpecError: it cannot be opened; the message has the runtime's reason.
    """
    code = "import sys; from pathlib import Path; from jetbench.deploy.parity import open_file; "
    code += "open_file(Path(sys.argv[1]), *sys.argv[2:])"
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", code, str(path), to, backend, dtype]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    if done.returncode < 0:
        raise SpecError(f"{path}: its runtime was ended by {signal_name(-done.returncode)} while it opened the file")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SpecError(f"{path}: its runtime cannot open it ({lines[-1][:300]})")


def _network_of(request: ExportRequest) -> tuple[nn.Module | None, str]:
    """The PyTorch network that a file was made of; None with the reason if it is not here."""
    saved = request.saved
    try:
        if request.weights_file is None:
            torch.manual_seed(request.seed)
            network = build_model(saved.architecture, saved.num_classes, saved.input_size)
        else:
            path = Path(request.weights_file)
            if not path.is_file():
                return None, f"the weights are not at {path}"
            if digest_of(path) != request.weights:
                return None, f"{path} holds other weights than those that were exported"
            network = load_weights(path)[0]
    except JetbenchError as error:
        return None, str(error)
    return without_training_heads(network).eval(), ""


def score_beside(
    network: nn.Module,
    files: Sequence[FileNetwork],
    saved: SavedNetwork,
    data: SegmentationData,
    split: Split,
    report: Report = lambda share, text: None,
) -> list[DeployedScore]:
    """The score of each file on a split, beside PyTorch's network, which runs once per image for all of them.

    Args:
        network: in eval mode, on the CPU.
        files: forms of that network.
        saved: the metadata of its weights.
        data: decoded images and labels, of the size that the network takes.
        split: a split with labelled images.
        report: called with the finished share.

    Raises:
        DivergedError: an output was not finite.
    """
    cpu = torch.device("cpu")
    (theirs, *ours), (_, *changed) = evaluate_together(
        [network, *files], saved, data, split, cpu, report, has_boundaries=False
    )
    scores = []
    for own, count in zip(ours, changed, strict=True):
        change = mean_change(own, theirs)
        scores.append(
            DeployedScore(
                split=split,
                dataset=data.info.name,
                digest=data.info.digest,
                images=len(own.images),
                deployed=own.counts,
                torch=theirs.counts,
                changed=count,
                pixels=pixels_of(own, data),
                image_change=(change.mean, change.half) if change is not None else None,
            )
        )
    return scores


def pixels_of(scored: Evaluated, data: SegmentationData) -> int:
    """All pixels of the images that were scored, void ones included."""
    height, width = data.info.size
    return len(scored.images) * height * width
