"""A network as an ONNX or TorchScript file, at an opset that every JetPack reads.

Where ONNX, or a TensorRT before 10.3, lacks an operation of a network, the file holds another one with the same
result: only while it is exported, so that the network itself, its counts and its times stay as they are.
"""

import copy
import hashlib
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.deploy.quantise import quantise_onnx, quantise_openvino
from jetbench.errors import SpecError
from jetbench.files import digest_of
from jetbench.models.build import to_torchscript
from jetbench.models.parts import LOGITS
from jetbench.probe.passes import Normalise
from jetbench.records.deployment import Format, ModelFile
from jetbench.spec.profiling import DType

Included = Literal["normalise", "argmax"]
FILES: dict[Format, str] = {"onnx": "model.onnx", "torchscript": "model.ts", "openvino": "model.xml"}
OPSET = 13
"""The default: TensorRT 8.2 of JetPack 4 reads no later one."""
OPSETS = range(11, 21)
"""What torch's exporter by tracing can write."""
INPUT, CLASSES = "images", "classes"


class Deployed(nn.Module):
    """A network with what a file includes beside it.

    (N, 3, H, W) -> logits (N, K, H, W), or with `argmax` class ids (N, H, W), int32. With `normalise` the input holds
    RGB from 0 to 255, else (RGB - mean) / std.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        include: Sequence[Included] = (),
    ) -> None:
        super().__init__()
        self.network, self.include = network, tuple(include)
        self._normalise = Normalise(mean, std, torch.device("cpu"))
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if "normalise" in self.include:
            images = (images - self.mean) / self.std
        logits: Tensor = self.network(images)
        return logits.argmax(dim=1).to(torch.int32) if "argmax" in self.include else logits

    def feed(self, pixels: Tensor) -> Tensor:
        """The input for uint8 pixels (N, H, W, 3): float32 (N, 3, H, W)."""
        if "normalise" in self.include:
            return pixels.permute(0, 3, 1, 2).float().contiguous()
        return self._normalise(pixels)


def export(
    model: Deployed,
    images: Tensor,
    folder: Path,
    to: Format,
    opset: int = OPSET,
    precision: DType = "fp32",
    calibration: Sequence[Tensor] = (),
) -> ModelFile:
    """Write a model for a batch like `images`, and read it back.

    Args:
        model: in eval mode, on the CPU, in float32.
        images: (N, 3, H, W); the file takes batches of this size only.
        folder: where the file is written.
        to: its format.
        opset: of an ONNX file.
        precision: number format of the file: fp32, fp16 or int8. Its input and output stay float32.
        calibration: batches like `images` from which the ranges of an int8 file follow.

    Raises:
        SpecError: the exporter lacks an operation of the network, or what it wrote is no valid model of that opset.
    """
    path, begin = folder / FILES[to], time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the legacy exporter, and of sizes that are constants in a trace
        if to == "torchscript":
            torch.jit.save(to_torchscript(model, images), str(path))
        else:
            _write_graph(model, images, path, to, opset, precision, calibration)
    seconds = time.process_time() - begin
    read_back, ir = _check_onnx(path, opset) if to == "onnx" else (None, None)
    by = "tracing (torch.jit)" if to == "torchscript" else "tracing (torch.onnx, dynamo=False)"
    return ModelFile(
        format=to,
        name=path.name,
        bytes=sum(each.stat().st_size for each in files_of(path)),
        sha256=digest_of_model(path),
        exporter=f"torch {torch.__version__}, {by}",
        opset=read_back,
        ir=ir,
        seconds=seconds,
    )


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of a model: OpenVINO's .xml has its weights in a .bin beside it."""
    return (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,)


def digest_of_model(path: Path) -> str:
    """The SHA-256 of a model's file; of several, that of their digests.

    Raises:
        OSError: one cannot be read.
    """
    digests = [digest_of(each) for each in files_of(path)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _write_graph(
    model: Deployed,
    images: Tensor,
    path: Path,
    to: Format,
    opset: int,
    precision: DType,
    calibration: Sequence[Tensor],
) -> None:
    """Write an ONNX file, or OpenVINO's of one, in a number format."""
    is_plain = to == "onnx" and precision != "int8"
    first = path if is_plain else path.with_name("float.onnx")
    shipped = _InHalf(model) if precision == "fp16" and to == "onnx" else model
    _write_onnx(shipped, images, first, opset, CLASSES if "argmax" in model.include else LOGITS)
    if precision == "int8":
        write = quantise_onnx if to == "onnx" else quantise_openvino
        write(first, path, calibration)
    elif to == "openvino":
        import openvino

        openvino.save_model(openvino.Core().read_model(str(first)), str(path), compress_to_fp16=precision == "fp16")
    if not is_plain:
        first.unlink()


class _InHalf(nn.Module):
    """A model with weights and maps in fp16, and input and output in float32."""

    def __init__(self, model: Deployed) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).half()

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.model(images.half())
        return output.float() if output.is_floating_point() else output


def _write_onnx(model: nn.Module, images: Tensor, path: Path, opset: int, output: str) -> None:
    # The newer exporter writes opset 18 at least, and its conversions downwards are wrong or fail.
    try:
        with torch.no_grad(), exportable():
            torch.onnx.export(
                model, (images,), str(path), dynamo=False, opset_version=opset, input_names=[INPUT],
                output_names=[output],
            )  # fmt: skip
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        reason = lines[0][:300] if lines else type(error).__name__
        raise SpecError(f"--to onnx: torch cannot export this network at opset {opset} ({reason})") from None


def _check_onnx(path: Path, opset: int) -> tuple[int, int]:
    """The opset and the IR version of a file, which the checker has passed.

    Raises:
        SpecError: it is no valid model, or has another opset than was asked for.
    """
    import onnx

    model = onnx.load(str(path))
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # its errors have no common class
        raise SpecError(f"{path.name}: the ONNX checker refuses what was exported ({error})") from None
    written = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    others = sorted(each.domain for each in model.opset_import if each.domain not in ("", "ai.onnx"))
    if others:
        raise SpecError(f"{path.name}: holds operators of {', '.join(others)}, which other runtimes lack")
    if written != opset:
        raise SpecError(f"{path.name}: has opset {written}, and {opset} was asked for")
    return written, model.ir_version


@contextmanager
def exportable() -> Iterator[None]:
    """While a network is exported: adaptive pooling as operations that ONNX has, with the same result."""
    own: Any = F.adaptive_avg_pool2d

    def pool(x: Tensor, output_size: Any) -> Tensor:
        return pool_into_bins(x, output_size, own)

    F.adaptive_avg_pool2d = pool  # type: ignore[assignment]
    try:
        yield
    finally:
        F.adaptive_avg_pool2d = own


def pool_into_bins(x: Tensor, output_size: Any, own: Any = F.adaptive_avg_pool2d) -> Tensor:
    """`F.adaptive_avg_pool2d` as two multiplications with constant matrices, unless one bin covers the whole map.

    A bin's mean over rows and columns is the mean over its columns of the means over its rows: (N, C, H, W) ->
    (N, C, *output_size).
    """
    height, width = int(x.shape[-2]), int(x.shape[-1])
    asked = output_size if isinstance(output_size, tuple | list | torch.Size) else (output_size, output_size)
    rows, columns = (side if bins is None else int(bins) for bins, side in zip(asked, (height, width), strict=True))
    if (rows, columns) == (1, 1):
        return own(x, 1)  # type: ignore[no-any-return]
    if (rows, columns) == (height, width):
        return x
    return _averages(height, rows).to(x.dtype) @ x @ _averages(width, columns).t().to(x.dtype)


def _averages(side: int, bins: int) -> Tensor:
    """The matrix (bins, side) that averages a side into bins, as adaptive pooling divides it."""
    edges = [(number * side // bins, -(-(number + 1) * side // bins)) for number in range(bins)]
    return torch.tensor([[float(b <= place < e) / (e - b) for place in range(side)] for b, e in edges])
