"""Specs of devices: a board's preset, input size, sensors, power rails and peaks, each figure with its source.

The YAML of a device only describes it. `is_device` recognises a board by the identity that the machine reports.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from jetbench.errors import SpecError
from jetbench.spec.base import Spec, parse_spec, read_yaml
from jetbench.spec.bounds import Name, Positive, Whole
from jetbench.spec.catalog import PACKAGE, find_yaml
from jetbench.spec.profiling import DType
from jetbench.spec.values import Size, check_folder_name

Accelerator = Literal["cuda", "cpu"]
SensorName = Literal["jtop", "ina3221", "nvml", "rapl"]
PeakName = Literal["fp32", "fp16", "fp16_tensor", "bandwidth"]
DEVICES = PACKAGE / "devices"
ALIASES = {"cuda": "workstation"}


class Peak(Spec):
    """A device's peak rate: FLOP/s or bytes/s, how it was derived (empty: stated by the source), and the source."""

    value: Positive
    derived: str = ""
    source: str


class Gpu(Spec):
    """Peaks of one graphics card, recognised by a part of the name that its driver reports."""

    name: str
    peaks: dict[PeakName, Peak]


class PowerRule(Spec):
    """The rails that sum to a board's total power, and what it covers. No total rails: all that the sensor counts."""

    rails: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    scope: str
    source: str


class PowerMode(Spec):
    """A power mode of a board as its nvpmodel lists it: it caps clocks, not power. `gpu_clock_hz` is the GPU's cap."""

    id: Annotated[int, Field(ge=0)]
    name: Name
    gpu_clock_hz: Positive | None = None
    is_default: bool = False

    def describe(self) -> str:
        """`0 MAXN (GPU to 922 MHz, default)`."""
        clock = f"GPU to {self.gpu_clock_hz / 1e6:.0f} MHz" if self.gpu_clock_hz else ""
        facts = ", ".join(filter(None, (clock, "default" if self.is_default else "")))
        return f"{self.id} {self.name}" + (f" ({facts})" if facts else "")


class DeviceFigure(Spec):
    """A figure that others published for this device."""

    network: str
    quantity: str
    value: Positive
    source: str
    protocol: str


class Device(Spec):
    """A board or machine that networks are profiled on or estimated for."""

    name: str
    title: Name
    preset: str
    preset_reason: str = ""
    size: Size = (512, 512)
    dtype: DType = "fp32"
    accelerator: Accelerator
    modules: Annotated[tuple[str, ...], Field(description="numbers such as 3767-0005 or 2888")] = ()
    sensors: tuple[SensorName, ...] = ()
    power: PowerRule | None = None
    gpu_clock_hz: Positive | None = None
    peaks: dict[PeakName, Peak] = Field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    memory_bytes: Whole | None = None
    power_modes: tuple[PowerMode, ...] = ()
    power_modes_source: str = ""
    jetpack: str | None = None
    tensorrt: str | None = None
    precisions: Annotated[tuple[DType, ...], Field(description="number formats that TensorRT builds there")] = ()
    container: str | None = None
    reported: tuple[DeviceFigure, ...] = ()

    _names_a_folder = field_validator("name")(check_folder_name)

    @model_validator(mode="after")
    def _modes_differ(self) -> "Device":
        for what in ("id", "name"):
            values = [getattr(mode, what) for mode in self.power_modes]
            if len(set(values)) < len(values):
                raise ValueError(f"power_modes: two modes have the same {what}")
        if self.power_modes and not self.power_modes_source:
            raise ValueError("power_modes_source: say where the modes were read")
        return self

    @property
    def is_board(self) -> bool:
        """True if the device is one particular board, recognised by its module number."""
        return bool(self.modules)

    def check_mode(self, mode: str) -> None:
        """Raise if the device has no such power mode in its file.

        Raises:
            SpecError: the message names the modes that it has.
        """
        if all(each.name != mode for each in self.power_modes):
            names = ", ".join(each.name for each in self.power_modes) or "none in its file"
            raise SpecError(f"--power-mode {mode}: {self.title} has {names}")

    def clock_share(self, mode: str) -> float | None:
        """The GPU's clock in a power mode over the clock that the peaks are for; None if either is unknown."""
        clock = next((each.gpu_clock_hz for each in self.power_modes if each.name == mode), None)
        return clock / self.gpu_clock_hz if clock is not None and self.gpu_clock_hz is not None else None

    def peaks_of(self, gpu: str | None) -> tuple[str, dict[PeakName, Peak]]:
        """The name of the hardware that the peaks belong to, and its peaks.

        A device that lists graphics cards gives those of the card named `gpu`, or of its first card if `gpu` is None.
        A card that is not in the list has no peaks.
        """
        if not self.gpus:
            return self.title, self.peaks
        if gpu is None:
            return self.gpus[0].name, self.gpus[0].peaks
        found = next((card for card in self.gpus if _is_card(card.name, gpu)), None)
        return (gpu, found.peaks) if found else (gpu, {})


def _is_card(name: str, gpu: str) -> bool:
    """True if `gpu` (the driver's name) is that card and not a relative: a 3090 Ti is no 3090, a GH200 no H200."""
    relatives = r"(?! *(?:Ti|SUPER|NVL|MIG|Laptop|Max-Q))"
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9]){relatives}", gpu, re.IGNORECASE) is not None


def load_device(name: str) -> Device:
    """The device of that name, or of the path of a YAML file; `cuda` is an alias of `workstation`.

    Raises:
        SpecError: no such device exists, or a value breaks a rule.
    """
    known = sorted(path.stem for path in DEVICES.glob("*.yaml"))
    path = find_yaml(DEVICES, ALIASES.get(name, name), "device", known)
    return parse_spec(Device, {"name": path.stem, **read_yaml(path)}, str(path))


def device_names() -> list[str]:
    """Names of the bundled devices: boards by their peak fp32 rate, then the rest."""
    devices = [load_device(path.stem) for path in DEVICES.glob("*.yaml")]
    fp32 = {d.name: d.peaks["fp32"].value if "fp32" in d.peaks else float("inf") for d in devices}
    last = ("workstation", "jetson", "cpu")
    devices.sort(key=lambda d: (not d.is_board, last.index(d.name) if d.name in last else 0, fp32[d.name]))
    return [d.name for d in devices]


def module_numbers(identity: Mapping[str, str]) -> set[str]:
    """The module numbers in the identity that a board reports: {"3767", "3767-0005"} from nvidia,p3767-0005."""
    text = " ".join(identity.values())
    pairs = re.findall(r"(?<!\d)(\d{4})[-:](\d{4})(?!\d)", text)
    return {first for first, _ in pairs} | {f"{first}-{second}" for first, second in pairs}


def is_device(device: Device, identity: Mapping[str, str]) -> bool:
    """True if a machine that reports `identity` carries this board's module."""
    return bool(set(device.modules) & module_numbers(identity))
