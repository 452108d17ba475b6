"""Idle and load windows beside a running sampler: when each began and ended, and how many passes ran in it.

What the windows add up to is derived from the raw samples afterwards, in `measurement.Energy`.
"""

import time
from typing import Any, Callable, Dict, List, NamedTuple

from .sampler import Sampler
from .timing import Pass


class EnergyPlan(NamedTuple):
    """Seconds of idle and of each load window, and what a window must hold before it may end."""

    idle_s: float = 10.0
    window_s: float = 15.0
    windows: int = 3
    min_samples: int = 30
    min_passes: int = 200


def run_windows(
    sampler: Sampler,
    timed: Pass,
    plan: EnergyPlan,
    report: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> Dict[str, Any]:
    """Idle with the network loaded, load windows, idle again.

    A window goes on past its seconds until it has its samples and passes, three times as long at most.

    Returns:
        `idle`: [start, end] of the two idle windows; `load`: [start, end, passes] of each load window. Seconds of the
        clock that the sampler uses too.
    """
    report("power, idle")
    idle = [_rest(sampler, plan.idle_s, clock)]
    load: List[List[float]] = []
    for number in range(plan.windows):
        report("power, load {} of {}".format(number + 1, plan.windows))
        load.append(_work(sampler, timed, plan, clock))
        if not sampler.is_alive:
            break
    report("power, idle again")
    idle.append(_rest(sampler, plan.idle_s, clock))
    return {"idle": idle, "load": load}


def _rest(sampler: Sampler, seconds: float, clock: Callable[[], float]) -> List[float]:
    start = clock()
    while clock() - start < seconds and sampler.is_alive:
        time.sleep(min(0.1, seconds))
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
        if (seconds >= plan.window_s and enough) or seconds >= 3 * plan.window_s or not sampler.is_alive:
            return [start, now, passes]
