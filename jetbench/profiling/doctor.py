"""What this machine can measure, and how to fix what it cannot measure."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from jetbench.deploy.backends import RUNTIMES, TORCH_FORMS
from jetbench.probe import machine
from jetbench.probe.machine import cores
from jetbench.probe.sampler import Sampler, SamplerError
from jetbench.probe.sensors import SENSORS
from jetbench.probe.sensors.missing import Missing
from jetbench.profiling.host import describe_host, host_device, read_identity
from jetbench.spec.device import Device
from jetbench.spec.profiling import DTYPES_OF

BUSY = 0.5


@dataclass(frozen=True)
class Ability:
    """Something to measure: whether this machine can, and how to fix it if not."""

    what: str
    state: Literal["yes", "no", "partly"]
    text: str
    fix: str = ""


def examine() -> tuple[str, list[Ability]]:
    """A short description of this machine, and what it can measure."""
    identity = read_identity()
    device = host_device(identity)
    state = machine.read_state()
    findings = [
        Ability("device", "yes", f"jetbench profile --device auto selects: {device.name} ({device.title})"),
        _latency(device),
        *_quiet(state),
        _clocks(state),
        _heat(state),
        _memory(state),
        *_power(device),
        _foreign(state),
        _camvid(),
        *_backends(),
    ]
    return describe_host(identity), findings


def _latency(device: Device) -> Ability:
    version = f"torch {torch.__version__}"
    if torch.cuda.is_available():
        return Ability("latency", "yes", f"{version} on {torch.cuda.get_device_name()}")
    if device.accelerator == "cuda":
        wheel = f"install NVIDIA's torch for JetPack {device.jetpack}" if device.jetpack else "install a torch for CUDA"
        return Ability(
            "latency", "partly", f"{version} finds no CUDA device: only the processor can be measured", wheel
        )
    if machine.read_text("/proc/driver/nvidia/version"):
        fix = "pip install torch from the index for your CUDA version (pytorch.org)"
        return Ability("latency", "partly", f"{version} cannot use the NVIDIA GPU of this machine", fix)
    return Ability("latency", "yes", f"{version} on the processor; this machine has no GPU")


def _quiet(state: dict[str, object]) -> list[Ability]:
    load = state["load_average"]
    if not isinstance(load, float):
        return []
    text = f"load average {load:.2f} on {cores()} cores"
    if load > BUSY:
        return [
            Ability(
                "quiet machine",
                "partly",
                f"{text}: another program runs",
                "stop it; otherwise profiles get the verdict suspect",
            )
        ]
    return [Ability("quiet machine", "yes", text)]


def _clocks(state: dict[str, object]) -> Ability:
    governor, mode = state["cpu_governor"], state["power_mode"]
    if state["gpu_hz"]:
        text = f"power mode {mode or 'unknown'}, GPU governor {state['gpu_governor']}"
        if state["gpu_hz"] == state["gpu_min_hz"] == state["gpu_max_hz"]:
            return Ability("clocks", "yes", f"{text}, fixed")
        return Ability("clocks", "partly", f"{text}, not fixed: they follow the load", "sudo jetson_clocks")
    if governor is None:
        return Ability("clocks", "partly", "no frequency control is visible (a virtual machine, or a container)")
    if governor != "performance":
        fix = "sudo cpupower frequency-set -g performance"
        return Ability("clocks", "partly", f"governor {governor}: clocks follow the load", fix)
    return Ability("clocks", "yes", f"governor {governor}")


def _heat(state: dict[str, object]) -> Ability:
    zones = state["temperatures_c"]
    assert isinstance(zones, dict)
    counted = "throttling is counted" if state["throttle_events"] is not None else "throttling is not counted"
    if not zones:
        return Ability("temperature", "no", f"no thermal zone is visible; {counted}")
    text = ", ".join(f"{name} {celsius:.0f} C" for name, celsius in list(zones.items())[:4])
    return Ability("temperature", "yes", f"{text}; {counted}")


def _memory(state: dict[str, object]) -> Ability:
    what = ["torch's allocator", "process high-water mark", "available memory"]
    what += ["GPU memory of the board (NvMap)"] if state["nvmap_bytes"] is not None else []
    return Ability("memory", "yes", ", ".join(what))


def _power(device: Device) -> list[Ability]:
    """Each sensor that this device may have, after an attempt to read it."""
    findings = []
    for name in device.sensors:
        missing = SENSORS[name].missing()
        if missing is None:
            try:
                with Sampler(name) as sampler:
                    rails = ", ".join(sampler.meta.get("rails", ())) or "no rails"
                    findings.append(
                        Ability(f"power: {name}", "yes", f"{rails}, every {sampler.meta['interval_s']:g} s")
                    )
                continue
            except SamplerError as error:
                missing = Missing(str(error))
        findings.append(Ability(f"power: {name}", "no", missing.reason, missing.remedy))
    if not any(finding.state == "yes" for finding in findings):
        findings.append(
            Ability("power", "no", "no sensor can be read: tables show a dash for power and energy, never a guess")
        )
    return findings


def _foreign(state: dict[str, object]) -> Ability:
    if state["busy_s"] is None:
        return Ability("other programs", "no", "/proc/stat does not show how much other programs use the processor")
    return Ability("other programs", "yes", "their use of the processor is recorded and affects the verdict")


def _camvid() -> Ability:
    data = os.environ.get("JETBENCH_DATA")
    if data and (Path(data) / "camvid").is_dir():
        return Ability("accuracy on CamVid", "yes", f"{data}/camvid")
    has_pillow = find_spec("PIL") is not None
    text = "JETBENCH_DATA is not set to a folder that contains camvid" if has_pillow else "pillow is missing"
    return Ability(
        "accuracy on CamVid", "no", text, "export JETBENCH_DATA=/folder/of/camvid; the dataset streets needs no files"
    )


def _backends() -> list[Ability]:
    """Each backend that runs a file; PyTorch's own need nothing more."""
    findings = [Ability("backends of PyTorch", "yes", f"{', '.join(TORCH_FORMS)}: torch {torch.__version__}")]
    for runtime in RUNTIMES.values():
        missing = runtime.missing()
        if missing is not None:
            findings.append(Ability(f"backend: {runtime.name}", "no", missing.reason, missing.remedy))
            continue
        formats, where = ", ".join(DTYPES_OF[runtime.name]), "the processor" if runtime.device == "cpu" else "the GPU"
        findings.append(Ability(f"backend: {runtime.name}", "yes", f"{runtime.describe()}: {formats} on {where}"))
    if find_spec("nncf") is None:
        text = "nncf not installed: openvino has no int8"
        findings.append(Ability("int8 for openvino", "no", text, "pip install 'jetbench[quantise]'"))
    return findings
