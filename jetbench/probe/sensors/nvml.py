"""NVIDIA's management library through nvidia-ml-py: the energy counter of a GPU, its power as a cross-check, its state.

The whole board of a discrete GPU, whoever uses it; there is no NVML power on a Jetson. The counter exists since Volta
and refreshes every 10 to 100 ms.
"""

import os
import threading
import time
from typing import Any, Callable, Dict, Optional

DEFAULT_INTERVAL_S = 0.1
# nvmlClocksThrottleReason...: software and hardware thermal slowdown, hardware slowdown, power brake.
THROTTLES = {0x8: "hardware slowdown", 0x20: "thermal", 0x40: "thermal, by hardware", 0x80: "power brake"}
POWER_CAP = 0x4


def missing() -> Optional[str]:
    """Why nothing can be read here, with what would mend it; None if it can."""
    try:
        import pynvml
    except ImportError:
        return "NVML needs nvidia-ml-py: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return "no NVIDIA driver answers ({}); on a machine with a GPU install its driver".format(error)
    try:
        handle = _handle(pynvml)
        try:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except pynvml.NVMLError:
            try:
                pynvml.nvmlDeviceGetPowerUsage(handle)
            except pynvml.NVMLError as error:
                return "this GPU tells neither energy nor power ({})".format(error)
        return None
    except (pynvml.NVMLError, IndexError, ValueError) as error:
        return "NVML finds no such GPU ({})".format(error)
    finally:
        pynvml.nvmlShutdown()


def stream(interval: float, emit: Callable[[Dict[str, Any]], None], stopped: threading.Event) -> None:
    """Emit the counter's joules and the watts of now, every `interval` seconds; what is not told is left out."""
    import pynvml

    pynvml.nvmlInit()
    handle = _handle(pynvml)

    # An old driver has not all that a new binding asks for; the binding has an error of its own for some of that.
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
    """The first GPU that CUDA would see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() or "0"
    if visible.isdigit():
        if int(visible) >= pynvml.nvmlDeviceGetCount():
            raise IndexError("CUDA_VISIBLE_DEVICES names GPU {}".format(visible))
        return pynvml.nvmlDeviceGetHandleByIndex(int(visible))
    return pynvml.nvmlDeviceGetHandleByUUID(visible)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
