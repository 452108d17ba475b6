"""Deployment: the file that ran in place of PyTorch's module, what of it ran how, and what that form scores."""

import math
import statistics
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from jetbench.records.scores import ClassCounts
from jetbench.spec.base import Spec, later
from jetbench.spec.bounds import Amount
from jetbench.spec.dataset import Split
from jetbench.spec.profiling import DType

Format = Literal["onnx", "torchscript", "openvino"]
FORMAT_OF: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino", ".pt": "torchscript", ".ts": "torchscript"}
"""The format of a model file by the end of its name."""
MOST_RMS, MOST_CHANGED = 1e-3, 1e-3
"""Bounds of the RMS difference, as a share of the largest output, and of the share of pixels that change class."""


class ModelFile(Spec):
    """A file that holds a network, as it was read back: its opset and IR version if it is ONNX, and its digest.

    `seconds` is the processor time of its export; None for a file that others wrote.
    """

    format: Format
    name: str
    bytes: Amount
    sha256: str
    exporter: str
    opset: int | None = None
    ir: int | None = None
    seconds: float | None


class EngineFile(Spec):
    """A TensorRT engine, and its build on the machine that runs it: it runs on no other.

    `peak_bytes` is the most of the processor's memory that the build held, `skipped_tactics` counts those that needed
    more memory than there was: the engine is then slower than it could be. `warnings` are the last lines of its log.
    """

    tensorrt: str
    gpu: str
    capability: str
    dtype: DType
    seconds: float
    peak_bytes: Amount
    bytes: Amount
    sha256: str
    workspace_mib: Amount
    skipped_tactics: Amount = 0
    warnings: tuple[str, ...] = ()

    def describe(self) -> str:
        """`built in 12.0 s with at most 812 MiB; 2 tactics skipped for want of memory`."""
        skipped = f"; {self.skipped_tactics} tactics skipped for want of memory" if self.skipped_tactics else ""
        return f"built in {self.seconds:.1f} s with at most {self.peak_bytes / 2**20:.0f} MiB{skipped}"


class Trtexec(Spec):
    """What NVIDIA's trtexec measured: the GPU's own time of each query, with two of them in flight.

    It is a quantity of its own: launches are hidden, and the device is not idle before it. It is never ranked beside a
    latency. `build_s` is how long the engine took to build.
    """

    version: Annotated[str, Field(max_length=200)]
    command: Annotated[str, Field(max_length=10_000)] = ""
    build_s: Annotated[float, Field(ge=0)] | None = None
    compute_s: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=1_000_000)]

    @property
    def median_s(self) -> float:
        """The median of the GPU compute times."""
        return statistics.median(self.compute_s)

    def describe(self) -> str:
        """`median of 3,200 queries by trtexec 10.3.0; 99 % within 3.15 ms` and the command."""
        ordered = sorted(self.compute_s)
        most = ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)]
        command = f"; {self.command}" if self.command else ""
        return (
            f"median of {len(ordered):,} queries by trtexec of TensorRT {self.version}, 99 % within {most * 1e3:.4g} "
            f"ms; two in flight, launches hidden: no latency{command}"
        )


class Parity(Spec):
    """How a file's output differs from the network's on some images.

    `largest` and `rms` are absolute, `scale` is the network's largest output; all three are None for class ids.
    `changed` counts the pixels with another class.
    """

    on: str
    images: int
    pixels: int
    changed: int
    largest: float | None = None
    rms: float | None = None
    scale: float | None = None
    is_finite: bool = True

    @property
    def passes(self) -> bool:
        """True if the file may stand for the network."""
        if not self.is_finite or self.changed > MOST_CHANGED * self.pixels:
            return False
        return self.rms is None or self.scale is None or self.rms <= MOST_RMS * self.scale

    def describe(self) -> str:
        """`8 images of val of streets: 0 of 98,304 pixels change class`, then the differences of the output."""
        parts = []
        if self.rms is not None and self.scale:
            largest = (self.largest or 0.0) / self.scale
            parts = [
                f"of the largest output the RMS difference is {self.rms / self.scale:.0e}, the largest {largest:.0e}"
            ]
        if not self.is_finite:
            parts = ["the file's output is not finite"]
        changed = f"{self.changed:,} of {self.pixels:,} pixels change class"
        where = self.on if self.images == 1 else f"{self.images} images of {self.on}"
        return f"{where}: {'; '.join([changed, *parts])}"


class Calibration(Spec):
    """The training images from which the ranges of an int8 file follow; `digest` is the SHA-256 of their pixels."""

    dataset: str
    indices: tuple[Amount, ...]
    digest: str
    method: str

    def describe(self) -> str:
        """`100 images of train of camvid, MinMax`."""
        return f"{len(self.indices)} images of train of {self.dataset}, {self.method}"


class PartError(Spec):
    """The RMS error of the output with only one part in int8, as a share of the output's RMS.

    `quantised` counts the nodes of that part that int8 replaces.
    """

    part: str
    quantised: Amount
    error: float


class DeployedScore(Spec):
    """What a deployed form scores on a split, and PyTorch's network on the same images.

    `dataset` and `digest` identify the data. `changed` of `pixels` have another class than PyTorch gives.
    `image_change` is the mean change of an image's mIoU against PyTorch's with the half width of its 95 % interval,
    paired; None below two images.
    """

    split: Split
    dataset: str
    digest: str
    images: Amount
    deployed: ClassCounts
    torch: ClassCounts
    changed: Amount
    pixels: Amount
    image_change: tuple[float, Annotated[float, Field(ge=0)]] | None = None

    @property
    def change(self) -> float:
        """The mIoU of the deployed form less that of PyTorch."""
        return self.deployed.miou - self.torch.miou


class Deployment(Spec):
    """The file that a profile measured in place of PyTorch's module, and how its runtime executed it.

    `asked` is the number format that was asked for, `convolutions` counts those that ran in each format, `layouts`
    those in each order of memory (channels first, channels last, blocked), `layers` all layers by kind and format.
    `executes` is the provider or device that ran them. `parities` compare with PyTorch in float32. Of an int8 file,
    `calibration` says what it was made of, `in_float` names the convolutions that ran in another format, and
    `part_errors` how much each part hurts. `scores` is empty, with the reason in `unscored`, without data.
    """

    runtime: str
    executes: str
    options: dict[str, str]
    file: ModelFile
    parities: tuple[Parity, ...]
    asked: DType
    convolutions: dict[str, Amount]
    layouts: dict[str, Amount] = Field(default_factory=dict)
    layers: dict[str, Amount] = Field(default_factory=dict)
    calibration: Calibration | None = None
    in_float: tuple[str, ...] = ()
    part_errors: tuple[PartError, ...] = ()
    scores: tuple[DeployedScore, ...] = ()
    unscored: str = ""
    engine: EngineFile | None = None
    trtexec: Trtexec | None = later(None)

    @property
    def ran(self) -> str:
        """The number format in which most convolutions ran; `unknown` without one."""
        return most_common(self.convolutions)

    @property
    def share_as_asked(self) -> float:
        """The share of the convolutions that ran in the number format that was asked for; 1 without convolutions."""
        total = sum(self.convolutions.values())
        return self.convolutions.get(self.asked, 0) / total if total else 1.0

    @property
    def is_as_asked(self) -> bool:
        """True if every convolution ran as asked, or half of them where the format is only allowed.

        Quantisers leave some convolutions in float, and TensorRT takes fp32 where fp16 is not faster.
        """
        if self.engine is not None and not self.convolutions:
            return False  # it fused all of them into layers of other names
        is_allowed = self.asked == "int8" or (self.engine is not None and self.asked == "fp16")
        return self.share_as_asked >= (0.5 if is_allowed else 1.0)

    def describe_precision(self) -> str:
        """`fp32`, or `int8 in 67 of 120` convolutions; where others ran, what was asked for, an arrow, and what ran."""
        if not self.convolutions and self.trtexec is not None:
            return f"{self.asked} asked"
        total = sum(self.convolutions.values())
        ran = sorted(self.convolutions.items(), key=lambda each: -each[1])
        if self.asked == "int8" and self.is_as_asked:
            return f"int8 in {self.convolutions.get('int8', 0)} of {total}"
        if len(ran) <= 1:
            return self.asked if self.is_as_asked else f"{self.asked} \N{RIGHTWARDS ARROW} {self.ran}"
        shares = ", ".join(f"{name} {count} of {total}" for name, count in ran)
        return f"{self.asked} \N{RIGHTWARDS ARROW} {shares}"

    def describe_layouts(self) -> str:
        """`channels last 60 of 60`: the convolutions by layout, the most first; empty if the record is older."""
        total = sum(self.layouts.values())
        ordered = sorted(self.layouts.items(), key=lambda each: -each[1])
        return ", ".join(f"{name} {count} of {total}" for name, count in ordered)

    def score_on(self, split: Split) -> DeployedScore | None:
        """The score on a split; None if it was not scored there."""
        return next((score for score in self.scores if score.split == split), None)


def most_common(counts: Mapping[str, int]) -> str:
    """The key with the largest count; `unknown` of no counts."""
    return max(counts, key=lambda key: counts[key]) if counts else "unknown"
