"""Idle and load windows beside a running sampler: when each began and ended, and how many passes ran in it.

Power and energy are computed afterwards from the raw samples and the windows, in `records.energy.Energy`.
"""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .sampler import Sampler, SamplerError
from .sensors import SENSORS
from .sensors.missing import Missing
from .timing import Pass

PATIENCE_S = 5.0
SETTLE_S = 5.0


class EnergyPlan(NamedTuple):
    """Seconds of each idle and each load window, and the samples and passes that a window needs before it may end."""

    idle_s: float = 10.0
    window_s: float = 15.0
    windows: int = 3
    min_idle_samples: int = 10
    min_samples: int = 30
    min_passes: int = 200


def capture(
    names: Sequence[str],
    interval_s: Optional[float],
    timed: Pass,
    plan: EnergyPlan,
    report: Callable[[str], None] = lambda text: None,
) -> Tuple[Optional[Dict[str, Any]], List[str]]:
    """Windows and samples of the first sensor in `names` that can be read here.

    Returns:
        `sensor`, the sampler's `meta`, `samples` and `errors`, and the windows; None if no sensor can be read. Then
        the reasons why the sensors that were tried before could not be read.
    """
    reasons: List[str] = []
    for name in names:
        missing = SENSORS[name].missing()
        if missing is None:
            try:
                with Sampler(name, interval_s) as sampler:
                    raw = run_windows(sampler, timed, plan, report)
                    # Counters are interpolated between two samples: one sample must come after the last window's end.
                    time.sleep(2 * sampler.meta["interval_s"] if sampler.is_alive else 0)
            except SamplerError as error:
                missing = Missing(str(error))
            else:
                raw.update(sensor=name, meta=sampler.meta, samples=sampler.samples, errors=sampler.errors)
                return raw, reasons
        reasons.append("{}: {}".format(name, missing))
    return None, reasons


def run_windows(
    sampler: Sampler,
    timed: Pass,
    plan: EnergyPlan,
    report: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> Dict[str, Any]:
    """Run an idle window with the network loaded, the load windows, and a second idle window.

    A window lasts longer than planned until it has its samples and passes, but at most three times the planned
    seconds plus `PATIENCE_S`.

    Returns:
        `idle`: [start, end] of the two idle windows; `load`: [start, end, passes] of each load window. In seconds of
        `clock`, which must be the sampler's clock.
    """
    # Clock frequencies and the chip's averages need a moment to settle after whatever ran before.
    settle = min(SETTLE_S, plan.idle_s / 2)
    report("power, idle")
    time.sleep(settle)
    idle = [_rest(sampler, plan, clock)]
    _run_for(timed, min(SETTLE_S, plan.window_s / 2))
    load: List[List[float]] = []
    for number in range(plan.windows):
        report("power, load {} of {}".format(number + 1, plan.windows))
        load.append(_work(sampler, timed, plan, clock))
        if not sampler.is_alive:
            break
    report("power, idle again")
    time.sleep(settle)
    idle.append(_rest(sampler, plan, clock))
    return {"idle": idle, "load": load}


def _run_for(timed: Pass, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        timed.run()
        timed.wait()


def _rest(sampler: Sampler, plan: EnergyPlan, clock: Callable[[], float]) -> List[float]:
    before, start = len(sampler.samples), clock()
    while sampler.is_alive:
        seconds = clock() - start
        enough = len(sampler.samples) - before >= plan.min_idle_samples
        if (seconds >= plan.idle_s and enough) or seconds >= 3 * plan.idle_s + PATIENCE_S:
            break
        time.sleep(0.05)
    return [start, clock()]


def _work(sampler: Sampler, timed: Pass, plan: EnergyPlan, clock: Callable[[], float]) -> List[float]:
    before, passes = len(sampler.samples), 0
    timed.wait()
    start = now = clock()
    while True:
        timed.run()
        timed.wait()
        passes += 1
        now = clock()
        seconds = now - start
        enough = passes >= plan.min_passes and len(sampler.samples) - before >= plan.min_samples
        if (seconds >= plan.window_s and enough) or seconds >= 3 * plan.window_s + PATIENCE_S or not sampler.is_alive:
            return [start, now, passes]
