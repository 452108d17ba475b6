"""measure_energy: watts and joules while a network runs, by the best sensor that is here, or why there are none."""

import time
from collections.abc import Callable

from jetbench.device import Device
from jetbench.errors import ProfilingError
from jetbench.experiment import ProfilingConfig
from jetbench.measurement import Energy, PowerSample
from jetbench.probe.energy import EnergyPlan, run_windows
from jetbench.probe.sampler import Sampler, SamplerError
from jetbench.probe.sensors import SENSORS
from jetbench.probe.timing import Pass

MIN_SAMPLES_PER_WINDOW = 30
MIN_PASSES_PER_WINDOW = 200
LEAST_SAMPLES = 7
# JetPack 4's driver lets the chip average 64 conversions of three channels: what is read is up to 0.42 s old.
IIO_AVERAGING_S = 0.42


def measure_energy(
    timed: Pass, device: Device, config: ProfilingConfig, report: Callable[[str], None]
) -> tuple[Energy | None, list[dict[str, object]], str]:
    """Energy of `timed`, the sensor's raw samples, and what to know about it (the reason, where there is none).

    Args:
        timed: one pass over a batch.
        device: whose sensors and total rule apply.
        config: which sensor, and how long the windows are.
        report: told what is being measured.

    Raises:
        ProfilingError: one sensor was asked for by name and cannot be read here.
    """
    if config.power == "none":
        return None, [], "not measured: --power none"
    names = device.sensors if config.power == "auto" else (config.power,)
    reasons: list[str] = []
    for name in names:
        reason = SENSORS[name].missing()
        if reason is None:
            try:
                return *_measure(name, timed, device, config, report), "; ".join(reasons)
            except SamplerError as error:
                reason = str(error)
        reasons.append(f"{name}: {reason}")
    if config.power != "auto":
        raise ProfilingError(f"--power {config.power}: {reasons[0].split(': ', 1)[1]}")
    return None, [], "no power sensor can be read here, and none is guessed. " + "; ".join(reasons)


def _measure(
    name: str, timed: Pass, device: Device, config: ProfilingConfig, report: Callable[[str], None]
) -> tuple[Energy, list[dict[str, object]]]:
    plan = EnergyPlan(
        idle_s=config.idle_seconds,
        window_s=config.window_seconds,
        windows=config.windows,
        # A window shorter than the default is asked for by someone who knows; it still has to hold enough samples.
        min_samples=MIN_SAMPLES_PER_WINDOW if config.window_seconds >= 15 else LEAST_SAMPLES,
        min_passes=MIN_PASSES_PER_WINDOW if config.window_seconds >= 15 else 1,
    )
    with Sampler(name, config.power_interval) as sampler:
        windows = run_windows(sampler, timed, plan, report)
        interval = float(sampler.meta["interval_s"])
        # Counters are read between two samples: one must lie behind the last window's end.
        time.sleep(2 * interval if sampler.is_alive else 0)
    meta, raw = dict(sampler.meta), [dict(sample) for sample in sampler.samples]
    rule = device.power if name in device.sensors else None
    rails = tuple(rule.total) if rule else ()
    if name in ("nvml", "rapl"):
        # Their rails do not overlap, and which there are depends on the machine.
        rails = tuple(meta["rails"])
    energy = Energy(
        sensor=name,
        interval_s=interval,
        averaging_s=_averaging_s(meta),
        scope=rule.scope if rule else (SENSORS[name].__doc__ or name).splitlines()[0],
        total_rails=rails or None,
        images_per_pass=config.batch_size,
        samples=tuple(
            PowerSample(
                at_s=sample["t"],
                power_w=sample.get("power_w", {}),
                energy_j=sample.get("energy_j", {}),
                fresh=sample["fresh"],
                sampler_cpu_s=sample.get("cpu_s"),
            )
            for sample in raw
        ),
        idle=tuple((start, end) for start, end in windows["idle"]),
        load=tuple((start, end, int(passes)) for start, end, passes in windows["load"]),
        meta=meta,
        errors=tuple(sampler.errors),
    )
    return energy, raw


def _averaging_s(meta: dict[str, object]) -> float:
    rails = meta.get("rails")
    is_iio = isinstance(rails, list) and any(str(rail).startswith("POM_") for rail in rails)
    return IIO_AVERAGING_S if is_iio else 0.0
