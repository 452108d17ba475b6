"""What was measured of one network: latency, frames at a rate, a soak, memory, energy and the machine's state.

Raw samples are kept; medians, intervals, watts and joules are properties, so that nothing can disagree. SI units.
"""

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field

from jetbench.probe.timing import median_interval
from jetbench.spec import Spec

# A window's mean leaves out so many of the sensor's intervals at its beginning: that reading may be from before it.
GUARD_INTERVALS = 1.0
MIN_COVERAGE = 0.7
MAX_GAP_INTERVALS = 3.0
MIN_SAMPLES = 5


class LatencyRun(Spec):
    """One process's passes. Seconds per batch, in the order in which they ran."""

    samples_s: tuple[float, ...]
    cpu_s: tuple[float, ...] = ()
    warmup_s: tuple[float, ...] = ()
    settled: bool | None = None
    stopped_by: Literal["precision", "limit"] | None = None

    @property
    def median_s(self) -> float:
        """Median seconds per batch."""
        return statistics.median(self.samples_s)

    @property
    def interval_s(self) -> tuple[float, float] | None:
        """95 % interval of the median within this process; None with too few passes."""
        return median_interval(self.samples_s)


class Latency(Spec):
    """Seconds per batch over one or more fresh processes; the headline is the median of the processes' medians."""

    batch_size: int
    runs: tuple[LatencyRun, ...]

    @property
    def samples_s(self) -> tuple[float, ...]:
        """All samples of all processes."""
        return tuple(sample for run in self.runs for sample in run.samples_s)

    @property
    def medians_s(self) -> tuple[float, ...]:
        """The median of each process."""
        return tuple(run.median_s for run in self.runs)

    @property
    def median_s(self) -> float:
        """Median of the processes' medians, seconds per batch."""
        return statistics.median(self.medians_s)

    @property
    def interval_s(self) -> tuple[float, float] | None:
        """95 % interval of the median over processes, by order statistics; None with fewer than six processes."""
        return median_interval(self.medians_s)

    @property
    def spread(self) -> float | None:
        """(largest - smallest) / median of the processes' medians; None of one process."""
        medians = self.medians_s
        return (max(medians) - min(medians)) / self.median_s if len(medians) > 1 else None

    def percentile_s(self, percent: float) -> float:
        """The sample below which `percent` of all samples lie (nearest rank)."""
        ordered = sorted(self.samples_s)
        rank = max(1, -(-len(ordered) * percent // 100))
        return ordered[int(rank) - 1]

    @property
    def worst_s(self) -> float:
        """The longest pass."""
        return max(self.samples_s)

    @property
    def throughput_fps(self) -> float:
        """Images per second at the median latency."""
        return self.batch_size / self.median_s


class Comparison(Spec):
    """One network's time over the reference's, pass by pass in the same rounds; a tuple of ratios for each process.

    `control` is the same of a second copy of the reference: what it differs from 1 by is what cannot be told apart.
    """

    reference: str
    ratios: tuple[tuple[float, ...], ...]
    control: tuple[tuple[float, ...], ...]

    @property
    def medians(self) -> tuple[float, ...]:
        """The median ratio of each process."""
        return tuple(statistics.median(ratios) for ratios in self.ratios)

    @property
    def median(self) -> float:
        """Median over processes of the median paired ratio."""
        return statistics.median(self.medians)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval over processes; of one process, within it; None with two to five processes."""
        return median_interval(self.ratios[0] if len(self.ratios) == 1 else self.medians)

    @property
    def resolution(self) -> float:
        """The largest difference from 1 that the copy of the reference showed, its own interval included."""
        distances = []
        for ratios in self.control:
            low, high = median_interval(ratios) or (min(ratios), max(ratios))
            distances += [abs(low - 1), abs(high - 1)]
        return max(distances)

    @property
    def is_told_apart(self) -> bool:
        """Does every process find the same sign of difference, and more of it than the copy of the reference shows?"""
        low, high = self.interval or (min(self.medians), max(self.medians))
        return low > 1 + self.resolution or high < 1 - self.resolution


class ColdStart(Spec):
    """Seconds of a fresh process: building the network and moving it to its device, then its very first pass."""

    load_s: float
    first_pass_s: float


class Paced(Spec):
    """Frames served from a camera of `rate` per second, always the newest (probe/timing.py: run_paced)."""

    rate: float
    seconds: float
    frames: int
    dropped: int
    latency_s: tuple[float, ...]

    @property
    def late(self) -> int:
        """Served frames whose result came after the next frame was due."""
        return sum(latency > 1 / self.rate for latency in self.latency_s)

    @property
    def missed(self) -> int:
        """Frames without a result in time: dropped or late."""
        return self.dropped + self.late


class Soak(Spec):
    """Images per second over a long run; `bins` are (seconds, passes) of each stretch."""

    seconds: float
    batch_size: int
    bins: tuple[tuple[float, int], ...]

    def fps(self, start: float, end: float) -> float:
        """Images per second between two shares (0 to 1) of the run's stretches."""
        count = len(self.bins)
        low = min(int(start * count), count - 1)
        chosen = self.bins[low : max(low + 1, round(end * count))]
        return self.batch_size * sum(passes for _, passes in chosen) / sum(seconds for seconds, _ in chosen)

    @property
    def first_fps(self) -> float:
        """Over the first tenth of the run."""
        return self.fps(0.0, 0.1)

    @property
    def steady_fps(self) -> float:
        """Over the last fifth of the run."""
        return self.fps(0.8, 1.0)


class Memory(Spec):
    """Bytes. `allocator_peak` has weights, input and the most that torch held at once in one pass.

    The process's high-water mark is of passes only, `process_baseline` what the process had before the network was
    built; likewise the shared memory of a board (NvMap) and what the whole machine had available.
    """

    weights_bytes: int
    image_bytes: int
    allocator_peak_bytes: int | None = None
    reserved_bytes: int | None = None
    process_baseline_bytes: int | None = None
    process_peak_bytes: int | None = None
    nvmap_baseline_bytes: int | None = None
    nvmap_peak_bytes: int | None = None
    available_baseline_bytes: int | None = None
    available_least_bytes: int | None = None

    @property
    def activations_peak_bytes(self) -> int | None:
        """What the allocator held beside weights and input."""
        peak = self.allocator_peak_bytes
        return None if peak is None else peak - self.weights_bytes - self.image_bytes

    @property
    def process_growth_bytes(self) -> int | None:
        """High-water mark less what the process had before the network."""
        return _less(self.process_peak_bytes, self.process_baseline_bytes)

    @property
    def nvmap_growth_bytes(self) -> int | None:
        """A board's shared GPU memory: peak less baseline, of the whole board, CUDA's own context included."""
        return _less(self.nvmap_peak_bytes, self.nvmap_baseline_bytes)

    @property
    def unified_growth_bytes(self) -> int | None:
        """By how much the machine's available memory fell at most: CPU and GPU of a board share it."""
        return _less(self.available_baseline_bytes, self.available_least_bytes)


def _less(value: int | None, baseline: int | None) -> int | None:
    return None if value is None or baseline is None else max(0, value - baseline)


class PowerSample(Spec):
    """One reading: watts of each rail, or joules since some start; `fresh` unless the sensor repeated an old one."""

    at_s: float
    power_w: dict[str, float] = Field(default_factory=dict)
    energy_j: dict[str, float] = Field(default_factory=dict)
    fresh: bool = True
    sampler_cpu_s: float | None = None


class Energy(Spec):
    """Power of idle and load windows, from raw samples; the total is the sum of `total_rails`, the board's rule.

    A window's power is the mean of the fresh samples in it after a guard of one interval, or the counter's joules
    between its ends over its seconds. Gross is all that the rails carry, net what is above idle.
    """

    sensor: str
    interval_s: float
    averaging_s: float = 0.0
    scope: str
    total_rails: tuple[str, ...] | None
    images_per_pass: int
    samples: tuple[PowerSample, ...]
    idle: tuple[tuple[float, float], ...]
    load: tuple[tuple[float, float, int], ...]
    meta: dict[str, Any] = Field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @property
    def is_counter(self) -> bool:
        """Does the sensor count joules?"""
        return any(sample.energy_j for sample in self.samples)

    @property
    def problem(self) -> str | None:
        """Why there is no energy here, though a sensor was read; None if there is."""
        if self.errors:
            return f"{self.sensor} ended in the middle: {self.errors[0]}"
        if self.total_rails is None:
            rails = ", ".join(self.meta.get("rails", ())) or "none"
            return f"no rule says which rails make the total on this board (its rails: {rails}); a device's YAML can"
        if not self.load:
            return "the load was never measured"
        for start, end, *_ in (*self.idle, *self.load):
            reason = self._window_problem(start, end)
            if reason:
                return reason
        return None

    def _window_problem(self, start: float, end: float) -> str | None:
        inside = self._inside(start, end)
        stale = sum(start <= sample.at_s <= end and not sample.fresh for sample in self.samples)
        seconds = end - start - self._guard_s
        also = f", {stale} more were stale" if stale else ""
        if self.is_counter:
            before = [s.at_s for s in self.samples if s.at_s <= start + self.interval_s]
            after = [s.at_s for s in self.samples if s.at_s >= end - self.interval_s]
            if not before or not after:
                return f"{self.sensor} has no reading at an end of a window of {end - start:.1f} s"
        if len(inside) < MIN_SAMPLES:
            return f"{self.sensor} gave {len(inside)} fresh samples in a window of {end - start:.1f} s{also}"
        coverage = len(inside) * self.interval_s / seconds
        if coverage < MIN_COVERAGE:
            return (
                f"{self.sensor} was stale or silent: {len(inside)} fresh samples in {end - start:.1f} s at an interval "
                f"of {self.interval_s:g} s cover {coverage:.0%} of it{also}; at least {MIN_COVERAGE:.0%} are needed"
            )
        times = [start + self._guard_s, *(sample.at_s for sample in inside), end]
        gap = max(late - early for early, late in pairwise(times))
        if gap > (MAX_GAP_INTERVALS + 1) * self.interval_s:
            return f"{self.sensor} was silent for {gap:.1f} s at an interval of {self.interval_s:g} s"
        expected = set(self.meta.get("rails") or self._values(inside[0]))
        for sample in inside:
            gone = expected - set(self._values(sample))
            if gone:
                return f"rail {', '.join(sorted(gone))} vanished while {self.sensor} was read"
        lacking = set(self.total_rails or ()) - set(self._values(inside[0]))
        if lacking:
            return f"the board's total needs rail {', '.join(sorted(lacking))}, which {self.sensor} does not show"
        return None

    @property
    def _guard_s(self) -> float:
        return 0.0 if self.is_counter else max(GUARD_INTERVALS * self.interval_s, self.averaging_s)

    def _inside(self, start: float, end: float) -> list[PowerSample]:
        return [s for s in self.samples if s.fresh and start + self._guard_s <= s.at_s <= end]

    def _values(self, sample: PowerSample) -> Mapping[str, float]:
        return sample.energy_j if self.is_counter else sample.power_w

    def rail_w(self, rail: str, start: float, end: float) -> float:
        """Mean watts of one rail over a window."""
        if self.is_counter:
            points = [(s.at_s, s.energy_j[rail]) for s in self.samples if rail in s.energy_j]
            return (_at(points, end) - _at(points, start)) / (end - start)
        return statistics.fmean(sample.power_w[rail] for sample in self._inside(start, end))

    def _total_w(self, start: float, end: float) -> float:
        return sum(self.rail_w(rail, start, end) for rail in self.total_rails or ())

    @property
    def idle_w(self) -> float | None:
        """Mean of the idle windows, the network loaded."""
        return None if self.problem else statistics.fmean(self._total_w(*window) for window in self.idle)

    @property
    def idle_drift_w(self) -> float | None:
        """Idle after less idle before."""
        if self.problem or len(self.idle) < 2:
            return None
        return self._total_w(*self.idle[-1]) - self._total_w(*self.idle[0])

    @property
    def windows_w(self) -> tuple[float, ...]:
        """Watts of each load window, gross."""
        return () if self.problem else tuple(self._total_w(start, end) for start, end, _ in self.load)

    @property
    def power_w(self) -> float | None:
        """Watts under load, gross: the mean of the load windows, each weighing by its seconds."""
        if self.problem:
            return None
        seconds = [end - start for start, end, _ in self.load]
        joules = sum(w * s for w, s in zip(self.windows_w, seconds, strict=True))
        return joules / sum(seconds)

    @property
    def rails_w(self) -> dict[str, float] | None:
        """Watts under load of every rail, those outside the total too."""
        if self.problem:
            return None
        names = self._values(self._inside(*self.load[0][:2])[0])
        return {n: statistics.fmean(self.rail_w(n, start, end) for start, end, _ in self.load) for n in names}

    @property
    def energy_j_per_image(self) -> float | None:
        """Joules per image, gross."""
        return self._per_image(0.0)

    @property
    def net_energy_j_per_image(self) -> float | None:
        """Joules per image above idle."""
        return self._per_image(self.idle_w or 0.0)

    def _per_image(self, idle_w: float) -> float | None:
        if self.problem:
            return None
        seconds = sum(end - start for start, end, _ in self.load)
        images = self.images_per_pass * sum(passes for _, _, passes in self.load)
        return ((self.power_w or 0.0) - idle_w) * seconds / images

    @property
    def window_energies_j(self) -> tuple[float, ...]:
        """Joules per image of each load window, gross."""
        rows = zip(self.windows_w, self.load, strict=True) if not self.problem else ()
        return tuple(w * (end - start) / (passes * self.images_per_pass) for w, (start, end, passes) in rows)

    @property
    def sample_count(self) -> int:
        """Fresh samples in the load windows."""
        return sum(len(self._inside(start, end)) for start, end, _ in self.load)

    @property
    def coverage(self) -> float:
        """Share of the load windows that fresh samples cover."""
        seconds = sum(end - start - self._guard_s for start, end, _ in self.load)
        return min(1.0, self.sample_count * self.interval_s / seconds)

    @property
    def cross_check_w(self) -> float | None:
        """Watts under load by the same sensor's other figure: its power readings, where joules were counted."""
        if self.problem or not self.is_counter:
            return None
        readings = [
            sum(sample.power_w.values())
            for start, end, _ in self.load
            for sample in self._inside(start, end)
            if sample.power_w
        ]
        return statistics.fmean(readings) if readings else None

    @property
    def sampler_load(self) -> float | None:
        """Cores that the sampler's own process used while it ran."""
        told = [(s.at_s, s.sampler_cpu_s) for s in self.samples if s.sampler_cpu_s is not None]
        if len(told) < 2 or told[-1][0] <= told[0][0]:
            return None
        return (told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0])


def _at(points: Sequence[tuple[float, float]], time_s: float) -> float:
    """A counter between its readings: a straight line; before the first and after the last, the line goes on."""
    for (t0, e0), (t1, e1) in pairwise(points):
        if t1 >= time_s or t1 == points[-1][0]:
            return e0 + (e1 - e0) * (time_s - t0) / (t1 - t0)
    return points[0][1]


class MachineState(Spec):
    """The machine at one moment (probe/machine.py: read_state); what it does not tell is None."""

    at_s: float
    cpu_hz: tuple[float, ...] | None = None
    cpu_governor: str | None = None
    gpu_hz: float | None = None
    gpu_min_hz: float | None = None
    gpu_max_hz: float | None = None
    gpu_governor: str | None = None
    temperatures_c: dict[str, float] = Field(default_factory=dict)
    throttle_events: int | None = None
    load_average: float | None = None
    busy_s: float | None = None
    own_s: float | None = None
    swapped_pages: int | None = None
    available_bytes: int | None = None
    nvmap_bytes: int | None = None
    on_battery: bool | None = None
    power_mode: str | None = None


class Watch(Spec):
    """What was seen of the machine before, during and after the measurement of one process."""

    before: MachineState
    after: MachineState
    gpu_hz: tuple[float, ...] = ()
    cpu_hz: tuple[float, ...] = ()
    hottest_c: dict[str, float] = Field(default_factory=dict)
    throttled: tuple[str, ...] = ()
    gpu_processes: tuple[int, ...] = ()
    own_pids: tuple[int, ...] = ()

    @property
    def foreign_load(self) -> float | None:
        """Cores that other programs used meanwhile; None where it cannot be told."""
        values = (self.before.busy_s, self.after.busy_s, self.before.own_s, self.after.own_s)
        if any(value is None for value in values):
            return None
        busy_before, busy_after, own_before, own_after = (value or 0.0 for value in values)
        seconds = self.after.at_s - self.before.at_s
        foreign = (busy_after - busy_before) - (own_after - own_before)
        # A count that stands still is no count: some containers and boards show a fixed one.
        return max(0.0, foreign / seconds) if seconds > 0 and busy_after > busy_before else None
