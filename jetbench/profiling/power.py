"""Watts and joules while a network runs, from the best sensor that can be read here, or why none can be read."""

from collections.abc import Callable, Mapping
from typing import Any

from jetbench.errors import ProfilingError
from jetbench.probe.energy import EnergyPlan, capture
from jetbench.probe.sensors import SENSORS
from jetbench.probe.timing import Pass
from jetbench.records.energy import Energy, PowerSample
from jetbench.spec.device import Device
from jetbench.spec.profiling import ProfilingConfig

LONG_WINDOW_S = 15.0


def plan_of(config: ProfilingConfig) -> EnergyPlan:
    """How long the windows are, and how many samples and passes they need.

    A load window shorter than the default is a deliberate choice, so it needs only a few samples.
    """
    windows = (config.idle_seconds, config.window_seconds, config.windows)
    if config.window_seconds >= LONG_WINDOW_S:
        return EnergyPlan(*windows)
    return EnergyPlan(*windows, min_samples=10, min_passes=1)


def check_sensor(power: str) -> None:
    """Raise if a sensor is requested by name and cannot be read here.

    Raises:
        ProfilingError: the sensor cannot be read; the message says why, and how to fix it.
    """
    if power not in ("auto", "none") and (reason := SENSORS[power].missing()) is not None:
        raise ProfilingError(f"--power {power}: {reason}")


def capture_energy(
    timed: Pass, device: Device, config: ProfilingConfig, report: Callable[[str], None]
) -> tuple[dict[str, Any] | None, str]:
    """Raw samples and windows (probe/energy.py: capture), and a note about them; or None, and the reason.

    Args:
        timed: one pass over a batch.
        device: lists the sensors that it may have, the best first.
        config: which sensor to read, and how long the windows are.
        report: called with a text about what is being measured.

    Raises:
        ProfilingError: a sensor is requested by name and cannot be read here.
    """
    if config.power == "none":
        return None, "not measured: --power none"
    names = device.sensors if config.power == "auto" else (config.power,)
    raw, reasons = capture(names, config.power_interval, timed, plan_of(config), report)
    if raw is None and config.power != "auto":
        raise ProfilingError(f"--power {config.power}: {reasons[0].split(': ', 1)[1]}")
    if raw is None:
        return None, "; ".join(["no power sensor can be read here, and power is never guessed", *reasons])
    return raw, "; ".join(reasons)


def read_energy(raw: Mapping[str, Any], device: Device, images_per_pass: int) -> Energy:
    """The Energy of raw samples and windows; the device's rule says which rails make up the total."""
    name, meta = raw["sensor"], raw["meta"]
    rule = device.power if name in device.sensors else None
    rails = tuple(rule.total) if rule else ()
    if name in ("nvml", "rapl"):
        # Their rails do not overlap, and the machine decides which rails exist.
        rails = tuple(meta["rails"])
    return Energy(
        sensor=name,
        interval_s=meta["interval_s"],
        averaging_s=meta.get("averaging_s", 0.0),
        scope=rule.scope if rule else (SENSORS[name].__doc__ or name).splitlines()[0],
        total_rails=rails or None,
        images_per_pass=images_per_pass,
        samples=tuple(
            PowerSample(
                at_s=sample["t"],
                power_w=sample.get("power_w", {}),
                energy_j=sample.get("energy_j", {}),
                fresh=sample["fresh"],
                sampler_cpu_s=sample.get("cpu_s"),
            )
            for sample in raw["samples"]
        ),
        idle=tuple((start, end) for start, end in raw["idle"]),
        load=tuple((start, end, int(passes)) for start, end, passes in raw["load"]),
        meta=meta,
        errors=tuple(raw["errors"]),
    )
