"""export_network: a network as files for other runtimes, with a manifest, a reference, and how to feed them.

The files are made and compared in a process of its own: exporters and runtimes may crash, and leave memory behind.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

import jetbench
from jetbench.deploy.backends import RUNTIMES
from jetbench.deploy.export import INPUT, OPSET, OPSETS, Included
from jetbench.errors import SpecError
from jetbench.files import digest_of, read_json, write_json
from jetbench.models.weights import GREY_MEAN, GREY_STD, SavedNetwork, load_weights
from jetbench.network.plan import plan_network
from jetbench.probe.alone import signal_name
from jetbench.records.deployment import Calibration, Format, ModelFile, Parity, PartError
from jetbench.spec.base import Spec, later, parse_spec
from jetbench.spec.bounds import Count
from jetbench.spec.catalog import read_architecture
from jetbench.spec.dataset import DatasetConfig, StreetsConfig
from jetbench.spec.profiling import DType, FileBackend

MANIFEST, README, REFERENCE = "manifest.json", "README.md", "reference.npz"
IMAGES, CALIBRATE = 8, 100


class ExportRequest(Spec):
    """What the process that exports is asked: a network, its files, and the images on which they are compared.

    `backend` is the runtime that runs an ONNX file, in the number format `dtype`. `precision` is that of the file; an
    int8 file is calibrated on `calibrate` images of train.
    """

    label: str
    saved: SavedNetwork
    weights_file: str | None = None
    weights: str | None = None
    seed: int = 0
    formats: tuple[Format, ...] = ("onnx",)
    opset: int = OPSET
    include: tuple[Included, ...] = ()
    batch_size: Count = 1
    dataset: DatasetConfig | None = None
    images: int = Field(default=IMAGES, ge=1, le=10_000)
    backend: FileBackend = later("onnxruntime")
    dtype: DType = later("fp32")
    precision: DType = later("fp32")
    calibrate: Annotated[int, Field(ge=1, le=10_000)] = later(CALIBRATE)

    def data(self) -> DatasetConfig | None:
        """The data on which files are compared: by default generated streets; None for a size that they lack."""
        if self.dataset is not None:
            return self.dataset
        train = self.calibrate if self.precision == "int8" else 1
        raw = {"size": self.saved.input_size, "train": train, "val": self.images, "test": 1}
        try:
            return parse_spec(StreetsConfig, raw, "streets")
        except SpecError:
            return None


class ExportedFile(Spec):
    """A file with what ran it, and how far its output is from the network's; `differs` is the first such module.

    `precision` is its number format. Of an int8 file, `calibration` says what it was made of, `in_float` names the
    convolutions that it leaves in float, and `part_errors` how much each part hurts.
    """

    file: ModelFile
    runtime: str
    parities: tuple[Parity, ...]
    differs: str | None = None
    precision: DType = later("fp32")
    calibration: Calibration | None = later(None)
    in_float: tuple[str, ...] = later(())
    part_errors: tuple[PartError, ...] = later(())

    @property
    def verdict(self) -> str:
        """`passes`, `differs`, or that only a score decides."""
        if self.precision != "fp32":
            return "not judged: score it"
        return "passes" if self.passes else "differs"

    @property
    def passes(self) -> bool:
        """True if the file may stand for the network; a file of another precision is judged by its score instead."""
        return self.precision != "fp32" or all(parity.passes for parity in self.parities)


class Exported(Spec):
    """The files of a network."""

    request: ExportRequest
    fingerprint: str
    files: tuple[ExportedFile, ...]

    @property
    def passes(self) -> bool:
        """True if every file may stand for the network."""
        return all(file.passes for file in self.files)


def request_export(
    network: str,
    formats: Sequence[Format] = ("onnx",),
    opset: int = OPSET,
    include: Sequence[Included] = (),
    batch_size: int = 1,
    size: tuple[int, int] = (512, 512),
    num_classes: int = 11,
    images: int = IMAGES,
    dataset: DatasetConfig | None = None,
    precision: DType = "fp32",
    calibrate: int = CALIBRATE,
) -> ExportRequest:
    """A checked request; see `export_network`.

    Raises:
        SpecError: the network does not exist or cannot be built, or a format needs a package that is not installed.
    """
    if opset not in OPSETS:
        raise SpecError(
            f"--opset {opset}: torch writes {OPSETS.start} to {OPSETS.stop - 1} here; TensorRT 8.2 reads 13"
        )
    for name, runtime in (("onnx", RUNTIMES["onnxruntime"]), ("openvino", RUNTIMES["openvino"])):
        if name in formats and (missing := runtime.missing()) is not None:
            raise SpecError(f"--to {name}: {missing.reason}: {missing.remedy}")
    if precision not in ("fp32", "fp16", "int8") or (precision != "fp32" and "torchscript" in formats):
        raise SpecError(f"--dtype {precision}: files of onnx and openvino are fp32, fp16 or int8; TorchScript is fp32")
    is_file = network.endswith(".safetensors")
    if is_file:
        _, saved = load_weights(Path(network))
    else:
        architecture = read_architecture(network, {})
        plan_network(architecture, num_classes, size)
        saved = SavedNetwork(
            architecture=architecture, num_classes=num_classes, input_size=size, mean=GREY_MEAN, std=GREY_STD
        )
    return ExportRequest(
        label=Path(network).stem if is_file or network.endswith((".yaml", ".yml")) else network,
        saved=saved,
        weights_file=str(Path(network).resolve()) if is_file else None,
        weights=digest_of(Path(network)) if is_file else None,
        formats=tuple(dict.fromkeys(formats)),
        opset=opset,
        include=tuple(dict.fromkeys(include)),
        batch_size=batch_size,
        dataset=dataset,
        images=images,
        precision=precision,
        calibrate=calibrate,
    )


def export_network(request: ExportRequest, out: Path) -> Exported:
    """Export a network, compare each file with it, and write a folder: files, manifest, reference, README.

    Args:
        request: from `request_export`.
        out: the folder, which must not exist.

    Raises:
        SpecError: the folder exists, or the exporter or the runtime fails; nothing is left then.
    """
    if out.exists():
        raise SpecError(f"--out {out}: already exists; choose another folder, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        exported = _run(request, building)
        saved = request.saved
        manifest = {
            **exported.model_dump(mode="json"),
            "jetbench": jetbench.__version__,
            "input": {
                "name": INPUT,
                "shape": [request.batch_size, 3, *saved.input_size],
                "type": "float32",
                "channels": "RGB",
                "values": "0 to 255" if "normalise" in request.include else "(RGB from 0 to 255 - mean) / std",
                "mean": saved.mean,
                "std": saved.std,
            },
            "output": _output_of(request),
            "passes": exported.passes,
        }
        write_json(building / MANIFEST, manifest)
        (building / README).write_text(how_to_feed(exported), encoding="utf-8")
        building.chmod(0o755)
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return exported


def _output_of(request: ExportRequest) -> dict[str, object]:
    saved, batch = request.saved, request.batch_size
    if "argmax" in request.include:
        return {"name": "classes", "shape": [batch, *saved.input_size], "type": "int32"}
    return {"name": "logits", "shape": [batch, saved.num_classes, *saved.input_size], "type": "float32"}


def _run(request: ExportRequest, folder: Path) -> Exported:
    """The answer of the process that exports.

    Raises:
        SpecError: it says why, or it ended without an answer.
    """
    write_json(folder / "request.json", request.model_dump(mode="json"))
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "jetbench.deploy.worker", str(folder), str(os.getpid())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        _, errors = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    answer = read_json(folder / "answer.json")
    (folder / "request.json").unlink()
    if answer is None:
        code = process.returncode
        how = f"was ended by {signal_name(-code)}" if code < 0 else f"ended with code {code}"
        last = " | ".join(errors.strip().splitlines()[-2:])[:400]
        raise SpecError(f"{request.label}: the process that exported it {how}: {last or 'it said nothing'}")
    (folder / "answer.json").unlink()
    if "error" in answer:
        raise SpecError(f"{request.label}: {answer['error']}")
    return Exported.model_validate(answer)


def how_to_feed(exported: Exported) -> str:
    """README.md of the folder: what the files are, and how an image gets into them."""
    request, saved = exported.request, exported.request.saved
    height, width = saved.input_size
    numbers = [", ".join(f"{value:.6g}" for value in each) for each in (saved.mean, saved.std)]
    scaled = "" if "normalise" in request.include else f", minus mean ({numbers[0]}), divided by std ({numbers[1]})"
    gives = (
        f"`classes`, int32 ({request.batch_size}, {height}, {width}): the class of each pixel"
        if "argmax" in request.include
        else f"`logits`, float32 ({request.batch_size}, {saved.num_classes}, {height}, {width}); the class of a pixel "
        "is the largest of its logits"
    )
    names = ", ".join(saved.class_names) or "the network does not know its classes' names"
    weights = f"weights {request.weights[:12]}" if request.weights else f"random weights, seed {request.seed}"
    lines = [
        f"# {request.label}",
        "",
        f"{saved.architecture.name}, {weights}; exported by jetbench {jetbench.__version__}. `{MANIFEST}` has more.",
        "",
        f"**How to feed it**: `{INPUT}`, float32 ({request.batch_size}, 3, {height}, {width}): an image scaled to "
        f"{height} rows and {width} columns, RGB, from 0 to 255{scaled}. It gives {gives}.",
        "",
        f"**Classes**: {names}.",
        "",
        f"`{REFERENCE}` holds an image (`pixels`, uint8 HWC), the `input` made of it, and PyTorch's `output`.",
        "",
        "| file | size | format | run by | compared with PyTorch |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in exported.files:
        file = each.file
        form = describe_format(each)
        verdict = (
            each.verdict if each.passes else f"**FAILS**, first at {each.differs or 'no module that can be found'}"
        )
        compared = ". ".join([verdict, *(parity.describe() for parity in each.parities)])
        lines.append(f"| {file.name} | {file.bytes / 1e6:.2f} MB | {form} | {each.runtime} | {compared} |")
        if each.calibration is not None:
            lines += ["", *describe_int8(each)]
    return "\n".join(lines) + "\n"


def describe_format(each: ExportedFile) -> str:
    """`ONNX, opset 13, IR 7, int8`."""
    file = each.file
    name = {"onnx": f"ONNX, opset {file.opset}, IR {file.ir}", "openvino": "OpenVINO"}.get(file.format, "TorchScript")
    return name if each.precision == "fp32" else f"{name}, {each.precision}"


def describe_int8(each: ExportedFile) -> list[str]:
    """What an int8 file was made of, and which parts of the network hurt, as Markdown."""
    assert each.calibration
    in_float = ", ".join(each.in_float[:8]) + (", ..." if len(each.in_float) > 8 else "") or "none"
    lines = [
        f"**{each.file.name}**: ranges from {each.calibration.describe()}. Convolutions left in float: {in_float}. "
        "Score it before you ship it: `jetbench evaluate`.",
    ]
    if each.part_errors:
        lines += ["", "| part in int8, alone | nodes | RMS error of the output |", "| --- | ---: | ---: |"]
        lines += [f"| {part.part} | {part.quantised} | {100 * part.error:.2f} % |" for part in each.part_errors]
    return lines
