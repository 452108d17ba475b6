"""Identifies this machine: which device of the registry it is, and whether torch can use its GPU."""

from dataclasses import dataclass

import torch

from jetbench.probe.machine import board_identity, is_tegra
from jetbench.probe.sampler import Sampler, SamplerError
from jetbench.probe.sensors import jtop
from jetbench.profiling.environment import cpu_name
from jetbench.spec.device import Device, device_names, is_device, load_device, module_numbers


def read_identity() -> dict[str, str]:
    """This machine's names in its device tree; in a container, which has none, the names that jtop reports."""
    identity = board_identity()
    if not identity["model"] and jtop.missing() is None:
        try:
            with Sampler("jtop") as sampler:
                identity |= {str(key): str(value) for key, value in sampler.meta.get("board", {}).items()}
                identity["model"] = identity.get("Module") or identity.get("Model", "")
        except SamplerError:
            pass  # the sensors report the reason themselves
    return identity


def host_device(identity: dict[str, str] | None = None) -> Device:
    """The device that this machine is: a board with a file, another Jetson, workstation if torch has a GPU, or cpu."""
    identity = read_identity() if identity is None else identity
    for name in device_names():
        device = load_device(name)
        if device.is_board and is_device(device, identity):
            return device
    if is_tegra():
        return load_device("jetson").model_copy(update={"title": _unlisted(identity)})
    return load_device("workstation" if torch.cuda.is_available() else "cpu")


def _unlisted(identity: dict[str, str]) -> str:
    """What a Jetson without a file of its own says it is, and which device is nearest to it."""
    numbers = module_numbers(identity)
    named = ", ".join(sorted(number for number in numbers if "-" in number)) or "no module number"
    families = {number[:4] for number in numbers}
    near = [name for name in device_names() if families & {module[:4] for module in load_device(name).modules}]
    nearest = f"; nearest: {' or '.join(near)}" if near else ""
    return f"{identity['model'] or 'a Jetson'} ({named}), which has no file of its own{nearest}"


def with_card(device: Device) -> Device:
    """The device with the peaks of this machine's graphics card, if its YAML lists several cards."""
    if not device.gpus or not torch.cuda.is_available():
        return device
    title, peaks = device.peaks_of(torch.cuda.get_device_name())
    return device.model_copy(update={"title": title, "peaks": peaks, "gpus": ()})


def is_here(device: Device, identity: dict[str, str]) -> bool:
    """True if this machine is that device."""
    if device.is_board:
        return is_device(device, identity)
    if device.name == "jetson":
        return is_tegra()
    return device.accelerator == "cpu" or (torch.cuda.is_available() and not is_tegra())


def describe_host(identity: dict[str, str]) -> str:
    """A short description of this machine."""
    if identity["model"]:
        return identity["model"]
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{gpu}{cpu_name()}, {'' if gpu else 'no GPU that torch can use'}".strip(", ")


def torch_device(device: Device) -> torch.device:
    """Where torch runs for that device: on its GPU, or on the processor if it has no GPU that torch can use."""
    has_gpu = device.accelerator == "cuda" and torch.cuda.is_available()
    return torch.device("cuda" if has_gpu else "cpu")


@dataclass(frozen=True)
class Site:
    """Where networks are profiled.

    `torch_device` is None if this machine is not the device: then costs are counted and the latency is estimated.
    `remark` says so, or says that the device's processor is measured instead of its GPU.
    """

    device: Device
    torch_device: str | None
    remark: str = ""


def find_site(device: str = "auto") -> Site:
    """The Site for profiling `device` from this machine; `auto` selects the device that this machine is.

    Raises:
        SpecError: the device does not exist.
    """
    identity = read_identity()
    target = host_device(identity) if device == "auto" else load_device(device)
    if not is_here(target, identity):
        return Site(target, None, f"this machine is not a {target.title} (it is: {describe_host(identity)})")
    where = torch_device(target).type
    remark = ""
    if target.accelerator != where:
        remark = f"this torch finds no CUDA device: the processor of {target.title} is measured, not its GPU"
    return Site(target, where, remark)
