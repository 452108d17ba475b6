"""A file that another exporter wrote, ONNX, OpenVINO or TorchScript, profiled as it is."""

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError

from jetbench.deploy.artefact import Artefact
from jetbench.deploy.export import digest_of_model
from jetbench.deploy.graph import Shape, read_graph
from jetbench.deploy.pack import ExportedFile, ExportRequest
from jetbench.deploy.score import read_exported
from jetbench.errors import SpecError
from jetbench.models.weights import GREY_MEAN, GREY_STD
from jetbench.profiling.case import Case
from jetbench.records.deployment import FORMAT_OF, Format, ModelFile
from jetbench.spec.architecture import Foreign
from jetbench.spec.base import first_problem
from jetbench.spec.profiling import Backend, ProfilingConfig

BACKENDS: dict[Format, tuple[Backend, ...]] = {
    "onnx": ("onnxruntime", "openvino", "tensorrt"),
    "openvino": ("openvino",),
    "torchscript": ("traced",),
}
"""What runs a file of each format, the first by default."""


def is_model_file(name: str) -> bool:
    """True for the name of a file that `file_case` takes."""
    return Path(name).suffix in FORMAT_OF


def default_backend(name: str) -> Backend:
    """The backend of a file that none is named for."""
    return BACKENDS[FORMAT_OF[Path(name).suffix]][0]


def file_case(
    name: str,
    config: ProfilingConfig,
    size: tuple[int, int] | None = None,
    classes: int | None = None,
    default_size: tuple[int, int] = (512, 512),
) -> Case:
    """The case of an ONNX or TorchScript file.

    Args:
        name: its path.
        config: its backend must be one of its format.
        size: (height, width) of its images, if that was chosen; the file may fix it.
        classes: number of classes, if its output does not say it.
        default_size: the size if neither says it.

    Raises:
        SpecError: there is no such file, it does not map images to logits, or the backend cannot run it.
    """
    path = Path(name)
    format_ = FORMAT_OF[path.suffix]
    if format_ == "openvino":
        raise SpecError(f"{name}: OpenVINO's own file; give the ONNX file that it is made of, with --backend openvino")
    if config.backend not in BACKENDS[format_]:
        raise SpecError(f"{name}: {config.backend} cannot run it; choose {' or '.join(BACKENDS[format_])} (--backend)")
    if not path.is_file():
        raise SpecError(f"{name}: no such file")
    try:
        if format_ == "onnx":
            return _onnx_case(path, config, size, classes, default_size)
        case = _script_case(path, config, size or default_size)
    except ValidationError as error:  # the file gives a size or a number of classes that no network has
        raise SpecError(f"{name}: {first_problem(error)}") from None
    if classes not in (None, case.num_classes):
        raise SpecError(f"{name}: gives logits of {case.num_classes} classes; leave out --classes")
    return case


def _onnx_case(
    path: Path,
    config: ProfilingConfig,
    size: tuple[int, int] | None,
    classes: int | None,
    default_size: tuple[int, int],
) -> Case:
    graph = read_graph(path)
    shape = graph.shapes.get(graph.inputs[0], ()) if len(graph.inputs) == 1 else ()
    if len(shape) != 4 or shape[1] not in (3, None):
        given = _describe(graph.inputs, graph.shapes)
        raise SpecError(f"{path}: expected one input, images (N, 3, H, W); it has {given}")
    batch, _, height, width = shape
    if batch not in (None, config.batch_size):
        raise SpecError(f"{path}: takes {batch} images at once; give --batch {batch}")
    fixed = (height, width) if height is not None and width is not None else None
    if fixed is not None and size not in (None, fixed):
        raise SpecError(f"{path}: takes images of {fixed[0]}x{fixed[1]}; leave out --size")
    if fixed is None:
        graph = read_graph(path, size or default_size)
    own = _exported(path)
    output = graph.shapes.get(graph.outputs[0], ()) if graph.outputs else ()
    if own is not None:
        classes = classes or own[1].saved.num_classes
    channels = output[1] if len(output) == 4 else classes
    if channels is None:
        raise SpecError(f"{path}: its output does not say how many classes it has; say it with --classes")
    if classes not in (None, channels):
        raise SpecError(f"{path}: gives logits of {channels} classes; leave out --classes")
    if own is None:
        file = ModelFile(
            format="onnx", name=path.name, bytes=path.stat().st_size, sha256=digest_of_model(path),
            exporter=graph.producer, opset=graph.opset, ir=graph.ir, seconds=None,
        )  # fmt: skip
        exported, mean, std = ExportedFile(file=file, runtime="", parities=()), GREY_MEAN, GREY_STD
    else:
        exported, request = own
        is_inside = "normalise" in request.include  # it takes pixels as they are
        mean, std = ((0.0,) * 3, (1.0,) * 3) if is_inside else (request.saved.mean, request.saved.std)
    return Case(
        label=path.stem,
        architecture=Foreign(name=path.stem, model="onnx:file", digest=exported.file.sha256[:12]),
        num_classes=channels,
        input_size=fixed or size or default_size,
        config=config,
        weights=exported.file.sha256,
        mean=mean,
        std=std,
        file=str(path.resolve()),
        artefact=Artefact(path=str(path.resolve()), exported=exported),
    )


def _exported(path: Path) -> tuple[ExportedFile, ExportRequest] | None:
    """What `jetbench export` says of its own file; None for a file of another exporter."""
    try:
        return read_exported(path)
    except SpecError:
        return None


def _describe(names: tuple[str, ...], shapes: Mapping[str, Shape]) -> str:
    """`a (1, 3, ?, ?), b (1)`."""
    return ", ".join(
        f"{name} ({', '.join('?' if side is None else str(side) for side in shapes.get(name, ()))})" for name in names
    )


def _script_case(path: Path, config: ProfilingConfig, size: tuple[int, int]) -> Case:
    try:
        module: torch.nn.Module = torch.jit.load(str(path)).eval()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise SpecError(f"{path}: is no TorchScript file ({first_line(error)})") from None
    try:
        with torch.inference_mode():
            logits = module(torch.zeros(config.batch_size, 3, *size))
    except Exception as error:  # whatever the code in the file raises
        raise SpecError(f"{path}: fails on images of {size[0]}x{size[1]} ({first_line(error)})") from None
    if not isinstance(logits, torch.Tensor) or logits.dim() != 4:
        raise SpecError(f"{path}: expected logits (N, K, h, w); it gives something else")
    digest = digest_of_model(path)
    return Case(
        label=path.stem,
        architecture=Foreign(name=path.stem, model="torchscript:file", digest=digest[:12]),
        num_classes=logits.shape[1],
        input_size=size,
        config=config,
        weights=digest,
        file=str(path.resolve()),
    )


def first_line(error: Exception) -> str:
    """The type of an error with the first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
