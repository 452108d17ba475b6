"""How long passes take: warm-up until stable, interleaved rounds until the median is precise, paced frames, a soak.

The clock is read with the device idle before and after every pass, so a sample is launch overhead plus computation plus
synchronisation. Every function here takes its clock as an argument and returns raw samples.
"""

import math
import statistics
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

Clock = Callable[[], float]
CONFIDENCE = 0.95


class Pass(NamedTuple):
    """Something to time: `run` starts one pass, `wait` returns when the device is idle."""

    run: Callable[[], Any]
    wait: Callable[[], None]


class Stop(NamedTuple):
    """When sampling ends: the median's interval is within `precision`, or at `max_seconds`; not before the minimums."""

    precision: float = 0.02
    min_passes: int = 30
    min_seconds: float = 1.0
    max_seconds: float = 30.0


class Rounds(NamedTuple):
    """Samples of several passes taken in turn: `wall_s[i][k]` is pass i in round k, `cpu_s` the process's CPU time."""

    wall_s: List[List[float]]
    cpu_s: List[List[float]]
    stopped_by: str


def time_pass(timed: Pass, clock: Clock = time.perf_counter) -> float:
    """Seconds of one pass, with the device idle before and after."""
    timed.wait()
    start = clock()
    timed.run()
    timed.wait()
    return clock() - start


def warm_up(
    timed: Pass,
    min_passes: int = 5,
    max_seconds: float = 10.0,
    window: int = 5,
    tolerance: float = 0.05,
    clock: Clock = time.perf_counter,
) -> Tuple[List[float], bool]:
    """Run until the medians of the last two windows agree within `tolerance`; returns the samples, and if they agree.

    When two windows agree, caches, clocks and autotuning have settled to within `tolerance`.
    """
    samples: List[float] = []
    begin = clock()
    while True:
        samples.append(time_pass(timed, clock))
        if len(samples) >= max(min_passes, 2 * window):
            last, before = samples[-window:], samples[-2 * window : -window]
            if abs(statistics.median(last) / statistics.median(before) - 1) <= tolerance:
                return samples, True
        if len(samples) >= min_passes and clock() - begin >= max_seconds:
            return samples, False


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Optional[Tuple[float, float]]:
    """The narrowest interval of order statistics that contains the median with at least `confidence`.

    None if there are too few samples. It assumes independent samples and nothing about their distribution: sample k
    and sample n + 1 - k enclose the median unless fewer than k of n samples fall on one side, which has the binomial
    distribution of n fair coin tosses.
    """
    rank = _rank(len(samples), confidence)
    if rank is None:
        return None
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[-rank]


_RANKS: Dict[Tuple[int, float], Optional[int]] = {}


def _rank(count: int, confidence: float) -> Optional[int]:
    """The largest k for which samples k and n + 1 - k enclose the median with `confidence`."""
    if (count, confidence) not in _RANKS:
        tail, rank = 0.0, 0
        for below in range(count // 2):
            tail += math.exp(
                math.lgamma(count + 1) - math.lgamma(below + 1) - math.lgamma(count - below + 1) - count * math.log(2)
            )
            if 1 - 2 * tail < confidence:
                break
            rank = below + 1
        _RANKS[count, confidence] = rank or None
    return _RANKS[count, confidence]


def is_precise(samples: Sequence[float], precision: float) -> bool:
    """True if half the width of the median's interval is at most `precision` times the median."""
    interval = median_interval(samples)
    return interval is not None and interval[1] - interval[0] <= 2 * precision * statistics.median(samples)


def sample_rounds(
    passes: Sequence[Pass],
    stop: Stop,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
    between: Callable[[float], None] = lambda now: None,
    judged: Optional[int] = None,
) -> Rounds:
    """Time `passes` in turn, forwards in one round and backwards in the next, until every median is precise.

    Because they run in turn, drift (clocks, other programs, temperature) affects all of them alike, and their ratios
    within a round are more precise than those of their medians. `between` is called with the time (s) after each
    round, outside every timed region. Only the first `judged` passes must be precise; None: all.
    """
    wall: List[List[float]] = [[] for _ in passes]
    cpu: List[List[float]] = [[] for _ in passes]
    begin, check = clock(), stop.min_passes
    while True:
        order = range(len(passes)) if len(wall[0]) % 2 == 0 else range(len(passes) - 1, -1, -1)
        for number in order:
            cpu_start = cpu_clock()
            wall[number].append(time_pass(passes[number], clock))
            cpu[number].append(cpu_clock() - cpu_start)
        now, count = clock(), len(wall[0])
        between(now)
        if (count < stop.min_passes or now - begin < stop.min_seconds) and now - begin < stop.max_seconds:
            continue
        if now - begin >= stop.max_seconds:
            return Rounds(wall, cpu, "limit")
        if count >= check:
            if all(is_precise(samples, stop.precision) for samples in wall[:judged]):
                return Rounds(wall, cpu, "precision")
            check = count + max(1, count // 20)  # sorting takes time: check again after 5 % more passes


def run_paced(
    timed: Pass,
    rate: float,
    seconds: float,
    clock: Clock = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Serve a camera that delivers a frame every 1 / rate seconds: always the newest frame, one at a time.

    A frame is dropped when a newer one arrives before the network is free, and late when its result comes after the
    next frame was due. Latency runs from the frame's arrival to its result, waiting included.

    Returns:
        `frames` that arrived, frames `dropped`, and `latency_s` of each frame that was served.
    """
    period = 1.0 / rate
    frames = max(1, int(seconds * rate))
    latencies: List[float] = []
    dropped = frame = 0
    timed.wait()
    begin = clock()
    while frame < frames:
        due = begin + frame * period
        now = clock()
        if now < due:
            sleep(due - now)
        timed.run()
        timed.wait()
        done = clock()
        latencies.append(done - due)
        # The newest frame that has arrived by now is served next; older ones are dropped.
        newest = max(frame + 1, math.floor((done - begin) / period + 1e-9))
        dropped += min(newest, frames) - (frame + 1)
        frame = newest
    return {"rate": rate, "seconds": seconds, "frames": frames, "dropped": dropped, "latency_s": latencies}


def run_soak(
    timed: Pass,
    seconds: float,
    bin_seconds: float = 1.0,
    clock: Clock = time.perf_counter,
    between: Callable[[float], None] = lambda now: None,
) -> Dict[str, Any]:
    """Run without a pause for `seconds`: `bins` holds (seconds, passes) of each stretch of about `bin_seconds`."""
    bins: List[Tuple[float, int]] = []
    timed.wait()
    begin = start = clock()
    count = 0
    while True:
        timed.run()
        timed.wait()
        count += 1
        now = clock()
        if now - start >= bin_seconds or now - begin >= seconds:
            bins.append((now - start, count))
            between(now)
            start, count = clock(), 0
        if now - begin >= seconds:
            return {"seconds": now - begin, "bins": bins}
