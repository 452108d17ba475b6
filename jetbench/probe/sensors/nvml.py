"""NVIDIA's management library through nvidia-ml-py: the energy counter of a GPU, its power as a cross-check, its state.

It measures the whole board of a discrete GPU, with every program that uses it; a Jetson has no power reading in NVML.
The counter exists since Volta and refreshes every 10 to 100 ms.
"""

import os
import threading
import time
from typing import Any, Callable, Dict, Optional

from .missing import Missing

DEFAULT_INTERVAL_S = 0.1
# nvmlClocksThrottleReason...: software and hardware thermal slowdown, hardware slowdown, power brake.
THROTTLES = {0x8: "hardware slowdown", 0x20: "thermal", 0x40: "thermal, by hardware", 0x80: "power brake"}
POWER_CAP = 0x4


def missing() -> Optional[Missing]:
    """Why this sensor cannot be read here, and how to fix it; None if it can be read."""
    try:
        import pynvml
    except ImportError:
        return Missing("NVML needs nvidia-ml-py", "pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Missing(
            "the NVIDIA driver does not answer ({})".format(error), "on a machine with a GPU install its driver"
        )
    try:
        handle = _handle(pynvml)
        try:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except pynvml.NVMLError:
            try:
                pynvml.nvmlDeviceGetPowerUsage(handle)
            except pynvml.NVMLError as error:
                return Missing("this GPU reports no energy and no power ({})".format(error))
        return None
    except (pynvml.NVMLError, IndexError, ValueError) as error:
        return Missing("NVML does not find the GPU of CUDA_VISIBLE_DEVICES ({})".format(error))
    finally:
        pynvml.nvmlShutdown()


def stream(interval: float, emit: Callable[[Dict[str, Any]], None], stopped: threading.Event) -> None:
    """Emit the counter's joules and the present watts every `interval` seconds, as far as the GPU reports them."""
    import pynvml

    pynvml.nvmlInit()
    handle = _handle(pynvml)

    # An old driver lacks some functions of a new binding, and the binding raises another class for some of these.
    unknown = (pynvml.NVMLError, AttributeError, getattr(pynvml, "NVMLLibraryMismatchError", AttributeError))

    def ask(function: str, *arguments: Any) -> Any:
        try:
            return getattr(pynvml, function)(handle, *arguments)
        except unknown:
            return None

    name = _text(ask("nvmlDeviceGetName"))
    emit({"meta": {"sensor": "nvml", "interval_s": interval, "rails": ["gpu"], "device": name}})
    due = time.monotonic()
    while not stopped.is_set():
        energy, power = ask("nvmlDeviceGetTotalEnergyConsumption"), ask("nvmlDeviceGetPowerUsage")
        sample: Dict[str, Any] = {"t": time.monotonic(), "fresh": True}
        if energy is not None:
            sample["energy_j"] = {"gpu": energy / 1e3}
        if power is not None:
            sample["power_w"] = {"gpu": power / 1e3}
        clock, heat = ask("nvmlDeviceGetClockInfo", 1), ask("nvmlDeviceGetTemperature", 0)
        if clock is not None:
            sample["gpu_hz"] = 1e6 * clock
        if heat is not None:
            sample["temperatures_c"] = {"gpu": float(heat)}
        reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if reasons is not None:
            sample["throttled"] = [text for bit, text in THROTTLES.items() if reasons & bit]
            sample["power_capped"] = bool(reasons & POWER_CAP)
        others = ask("nvmlDeviceGetComputeRunningProcesses")
        if others is not None:
            sample["gpu_processes"] = [process.pid for process in others]
        emit(sample)
        due += interval
        stopped.wait(max(0.0, due - time.monotonic()))
    pynvml.nvmlShutdown()


def _handle(pynvml: Any) -> Any:
    """The first GPU that CUDA sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() or "0"
    if visible.isdigit():
        if int(visible) >= pynvml.nvmlDeviceGetCount():
            raise IndexError("CUDA_VISIBLE_DEVICES names GPU {}".format(visible))
        return pynvml.nvmlDeviceGetHandleByIndex(int(visible))
    return pynvml.nvmlDeviceGetHandleByUUID(visible)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
