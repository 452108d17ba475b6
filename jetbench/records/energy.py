"""Power and energy of one network: raw sensor samples, idle and load windows, and their totals, in SI units."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, model_validator

from jetbench.spec.base import Spec
from jetbench.spec.bounds import Duration

# The mean of a window skips this many sensor intervals at its start, because such a reading may predate the window.
GUARD_INTERVALS = 1.0
MIN_COVERAGE = 0.7
MAX_GAP_INTERVALS = 3.0
MIN_SAMPLES = 5


class PowerSample(Spec):
    """One reading: watts or accumulated joules of each rail; `fresh` is False if the sensor repeated an old reading."""

    at_s: float
    power_w: dict[str, float] = Field(default_factory=dict)
    energy_j: dict[str, float] = Field(default_factory=dict)
    fresh: bool = True
    sampler_cpu_s: float | None = None


class Energy(Spec):
    """Power of idle and load windows, from raw samples; the total is the sum of `total_rails`, which the board defines.

    The power of a window is the mean of its fresh samples after a guard of one interval or, for an energy counter, the
    joules between its ends over its seconds. Gross power is the total of the rails; net power is the part above idle.
    """

    sensor: str
    interval_s: Annotated[float, Field(gt=0)]
    averaging_s: Duration = 0.0
    scope: str
    total_rails: tuple[str, ...] | None
    images_per_pass: Annotated[int, Field(ge=1)]
    samples: tuple[PowerSample, ...]
    idle: tuple[tuple[float, float], ...]
    load: tuple[tuple[float, float, int], ...]
    meta: dict[str, Any] = Field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _windows_last(self) -> "Energy":
        if any(end <= start for start, end, *_ in (*self.idle, *self.load)) or any(w[2] < 1 for w in self.load):
            raise ValueError("a window ends before it begins, or has no pass")
        return self

    @property
    def is_counter(self) -> bool:
        """True if the sensor is an energy counter (joules)."""
        return any(sample.energy_j for sample in self.samples)

    @property
    def problem(self) -> str | None:
        """Why the samples give no energy, although a sensor was read; None if they do."""
        if self.errors:
            return f"{self.sensor} failed during the measurement: {self.errors[0]}"
        if self.total_rails is None:
            rails = ", ".join(self.meta.get("rails", ())) or "none"
            return (
                f"no rule says which rails make up the total on this board (its rails: {rails}); name them under "
                "power.total in the device's YAML"
            )
        if not self.load:
            return "no load window was measured"
        for start, end, *_ in (*self.idle, *self.load):
            reason = self._window_problem(start, end)
            if reason:
                return reason
        return self._standstill() if self.is_counter else None

    def _standstill(self) -> str | None:
        """The counter that stood still while a network ran, as in virtual machines; None if all moved."""
        for start, end, _ in self.load:
            for rail in self.total_rails or ():
                if self.rail_w(rail, start, end) <= 0:
                    return f"the counter of {rail} did not move in a load window of {end - start:.1f} s"
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
                return f"{self.sensor} has no reading near the start or the end of a window of {end - start:.1f} s"
        if len(inside) < MIN_SAMPLES:
            return f"{self.sensor} gave {len(inside)} fresh samples in a window of {end - start:.1f} s{also}"
        coverage = len(inside) * self.interval_s / seconds
        if coverage < MIN_COVERAGE:
            return (
                f"{self.sensor} was stale or silent: {len(inside)} fresh samples in {end - start:.1f} s at an interval "
                f"of {self.interval_s:g} s cover {coverage:.0%} of the window{also}; at least {MIN_COVERAGE:.0%} is "
                "needed"
            )
        times = [start + self._guard_s, *(sample.at_s for sample in inside), end]
        gap = max(late - early for early, late in pairwise(times))
        if gap > (MAX_GAP_INTERVALS + 1) * self.interval_s:
            return f"{self.sensor} was silent for {gap:.1f} s at an interval of {self.interval_s:g} s"
        expected = set(self.meta.get("rails") or self._values(inside[0]))
        for sample in inside:
            gone = expected - set(self._values(sample))
            if gone:
                return f"rail {', '.join(sorted(gone))} disappeared while {self.sensor} was read"
        missing = set(self.total_rails or ()) - set(self._values(inside[0]))
        if missing:
            return f"the board's total needs rail {', '.join(sorted(missing))}, which {self.sensor} does not report"
        return None

    @property
    def _guard_s(self) -> float:
        return 0.0 if self.is_counter else max(GUARD_INTERVALS * self.interval_s, self.averaging_s)

    def _inside(self, start: float, end: float) -> list[PowerSample]:
        return [s for s in self.samples if s.fresh and start + self._guard_s <= s.at_s <= end]

    def _values(self, sample: PowerSample) -> Mapping[str, float]:
        return sample.energy_j if self.is_counter else sample.power_w

    def rail_w(self, rail: str, start: float, end: float) -> float:
        """Mean power of one rail over a window, in watts."""
        if self.is_counter:
            points = [(s.at_s, s.energy_j[rail]) for s in self.samples if rail in s.energy_j]
            return (_at(points, end) - _at(points, start)) / (end - start)
        return statistics.fmean(sample.power_w[rail] for sample in self._inside(start, end))

    def _total_w(self, start: float, end: float) -> float:
        return sum(self.rail_w(rail, start, end) for rail in self.total_rails or ())

    @property
    def idle_w(self) -> float | None:
        """Mean power of the idle windows in watts, with the network loaded."""
        if self.problem or not self.idle:
            return None
        return statistics.fmean(self._total_w(*window) for window in self.idle)

    @property
    def idle_drift_w(self) -> float | None:
        """Idle power after the load minus idle power before it, in watts."""
        if self.problem or len(self.idle) < 2:
            return None
        return self._total_w(*self.idle[-1]) - self._total_w(*self.idle[0])

    @property
    def windows_w(self) -> tuple[float, ...]:
        """Gross power of each load window, in watts."""
        return () if self.problem else tuple(self._total_w(start, end) for start, end, _ in self.load)

    @property
    def power_w(self) -> float | None:
        """Gross power under load in watts: the mean of the load windows, weighted by their seconds."""
        if self.problem:
            return None
        seconds = [end - start for start, end, _ in self.load]
        joules = sum(w * s for w, s in zip(self.windows_w, seconds, strict=True))
        return joules / sum(seconds)

    @property
    def rails_w(self) -> dict[str, float] | None:
        """Power under load of every rail in watts, including rails outside the total."""
        if self.problem:
            return None
        names = self._values(self._inside(*self.load[0][:2])[0])
        return {n: statistics.fmean(self.rail_w(n, start, end) for start, end, _ in self.load) for n in names}

    @property
    def energy_j_per_image(self) -> float | None:
        """Gross energy per image, in joules."""
        return self._per_image(0.0)

    @property
    def net_energy_j_per_image(self) -> float | None:
        """Net energy per image (above idle), in joules."""
        return None if self.idle_w is None else self._per_image(self.idle_w)

    def _per_image(self, idle_w: float) -> float | None:
        if self.problem:
            return None
        seconds = sum(end - start for start, end, _ in self.load)
        images = self.images_per_pass * sum(passes for _, _, passes in self.load)
        return ((self.power_w or 0.0) - idle_w) * seconds / images

    @property
    def window_energies_j(self) -> tuple[float, ...]:
        """Gross energy per image of each load window, in joules."""
        rows = zip(self.windows_w, self.load, strict=True) if not self.problem else ()
        return tuple(w * (end - start) / (passes * self.images_per_pass) for w, (start, end, passes) in rows)

    @property
    def sample_count(self) -> int:
        """Number of fresh samples in the load windows."""
        return sum(len(self._inside(start, end)) for start, end, _ in self.load)

    @property
    def coverage(self) -> float:
        """Share of the load windows that fresh samples cover, 0 to 1."""
        seconds = sum(end - start - self._guard_s for start, end, _ in self.load)
        return min(1.0, self.sample_count * self.interval_s / seconds)

    @property
    def cross_check_w(self) -> float | None:
        """Power under load in watts, from the power readings of an energy counter; None for other sensors."""
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
        """Mean number of CPU cores that the sampler's own process used; None if unknown."""
        readings = [(s.at_s, s.sampler_cpu_s) for s in self.samples if s.sampler_cpu_s is not None]
        if len(readings) < 2 or readings[-1][0] <= readings[0][0]:
            return None
        return (readings[-1][1] - readings[0][1]) / (readings[-1][0] - readings[0][0])


def _at(points: Sequence[tuple[float, float]], time_s: float) -> float:
    """The value of a counter at a time, interpolated linearly, and extrapolated beyond the first and last reading."""
    for (t0, e0), (t1, e1) in pairwise(points):
        if t1 >= time_s or t1 == points[-1][0]:
            return e0 + (e1 - e0) * (time_s - t0) / (t1 - t0)
    return points[0][1]
