"""Watts and joules while a network runs, by the best sensor that is here, or why there are none."""

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
    """How long the windows are, and what they must hold.

    A load window shorter than the default is asked for by someone who knows; it still has to hold a few samples.
    """
    windows = (config.idle_seconds, config.window_seconds, config.windows)
    if config.window_seconds >= LONG_WINDOW_S:
        return EnergyPlan(*windows)
    return EnergyPlan(*windows, min_samples=10, min_passes=1)


def check_sensor(power: str) -> None:
    """Refuse a sensor that was asked for by name and that is not here.

    Raises:
        ProfilingError: why, and what would mend it.
    """
    if power not in ("auto", "none") and (reason := SENSORS[power].missing()) is not None:
        raise ProfilingError(f"--power {power}: {reason}")


def capture_energy(
    timed: Pass, device: Device, config: ProfilingConfig, report: Callable[[str], None]
) -> tuple[dict[str, Any] | None, str]:
    """Raw samples and windows (probe/energy.py: capture), and what to know about them: the reason, if there are none.

    Args:
        timed: one pass over a batch.
        device: which sensors it may have, the best first.
        config: which sensor, and how long the windows are.
        report: told what is being measured.

    Raises:
        ProfilingError: one sensor was asked for by name and cannot be read here.
    """
    if config.power == "none":
        return None, "not measured: --power none"
    names = device.sensors if config.power == "auto" else (config.power,)
    raw, reasons = capture(names, config.power_interval, timed, plan_of(config), report)
    if raw is None and config.power != "auto":
        raise ProfilingError(f"--power {config.power}: {reasons[0].split(': ', 1)[1]}")
    if raw is None:
        return None, "; ".join(["no power sensor can be read here, and none is guessed", *reasons])
    return raw, "; ".join(reasons)


def read_energy(raw: Mapping[str, Any], device: Device, images_per_pass: int) -> Energy:
    """The Energy of raw samples and windows, with the total rule of the device that they are from."""
    name, meta = raw["sensor"], raw["meta"]
    rule = device.power if name in device.sensors else None
    rails = tuple(rule.total) if rule else ()
    if name in ("nvml", "rapl"):
        # Their rails do not overlap, and which there are depends on the machine.
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
