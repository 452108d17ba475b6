"""The verdict on a profile: valid, suspect or invalid, with reasons, from the data recorded with its numbers.

The rules apply when a record is read, not when it is made, so a better rule also judges old records.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.probe.timing import is_precise
from jetbench.records.deployment import Deployment
from jetbench.records.energy import Energy
from jetbench.records.measurement import LatencyRun, Watch
from jetbench.records.record import Profile

Level = Literal["valid", "suspect", "invalid", "not measured"]
LEVELS: tuple[Level, ...] = ("valid", "suspect", "invalid")

MAX_OUTPUT_DIFFERENCE = 1e-3  # of the largest value of the reference
MAX_SPREAD = 0.10  # largest minus smallest median of the processes, over their median
PRECISE = 0.02
MAX_LOSS = 0.01  # of mIoU, by an export or a quantisation, where the images agree on it
MAX_CLOCK_CHANGE = 0.05
MAX_FOREIGN_LOAD = 0.2  # cores used by other programs; above it suspect, and invalid if they leave ours too few cores
MAX_CPU_GAP = 0.05  # share of a one-thread pass in which the process did not run
MAX_SWAPPED_PAGES = 1000  # 4 MiB
MAX_SAMPLER_LOAD = 0.01  # of one core
MAX_DISAGREEMENT = 0.10  # between the energy counter and the power readings of a GPU
MAX_IDLE_DRIFT = 0.10
MIN_DENORMAL_SHARE = 1e-4
# The best split explains 2 / pi (0.64) of the variance of a normal distribution, 0.75 of a uniform one, more of a
# bimodal one.
BIMODAL_SHARE = 0.85
BIMODAL_RATIO = 1.10
BIMODAL_MIN_SIDE = 0.1


@dataclass(frozen=True)
class Verdict:
    """A level and its reasons. The level is the worst level of any reason; valid if there are no reasons."""

    level: Level
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.level}: {'; '.join(self.reasons)}" if self.reasons else self.level


_Reason = tuple[Level, str]


def judge(profile: Profile) -> Verdict:
    """The verdict on the measurements of a profile."""
    if profile.model_latency is None:
        return Verdict("not measured", (profile.notes.get("latency", "nothing was measured"),))
    # Several processes may give the same reason; it appears once.
    reasons = dict.fromkeys(_reasons(profile))
    worst = max((LEVELS.index(level) for level, _ in reasons), default=0)
    ordered = sorted(reasons, key=lambda reason: -LEVELS.index(reason[0]))
    return Verdict(LEVELS[worst], tuple(text for _, text in ordered))


def was_busy(profile: Profile) -> bool:
    """True if other programs used the machine while a profile was measured, by more than is harmless."""
    return any((watch.foreign_load or 0.0) > MAX_FOREIGN_LOAD for watch in profile.watches)


def _reasons(profile: Profile) -> Iterator[_Reason]:
    difference = profile.output_difference
    if difference is not None and not difference <= MAX_OUTPUT_DIFFERENCE:
        yield "invalid", f"the board's output differs from the reference by {difference:.1g} of its largest value"
    if profile.runs_on != "device":
        yield (
            "invalid" if profile.runs_on == "another machine" else "suspect",
            profile.notes.get("processor", f"measured on {profile.runs_on}"),
        )
    if profile.deployment is not None:
        yield from _deployment_reasons(profile.deployment)
    if profile.finite is False:
        yield "suspect", "the output contains infinities or NaN in this number format"
    yield from _latency_reasons(profile)
    yield from _watch_reasons(profile)
    yield from _denormal_reasons(profile)
    if profile.energy is not None:
        yield from _energy_reasons(profile.energy)


def _deployment_reasons(deployment: Deployment) -> Iterator[_Reason]:
    if not deployment.is_as_asked:
        counts = ", ".join(f"{name} {count}" for name, count in deployment.convolutions.items())
        counts = counts or "formats that the engine does not say"
        yield "suspect", f"{deployment.asked} was asked for, and the convolutions ran in {counts}"
    for score in deployment.scores:
        change = score.image_change
        if score.change < -MAX_LOSS and change is not None and change[0] + change[1] < 0:
            yield "suspect", f"the file's {score.split} mIoU is {-100 * score.change:.1f} points below PyTorch's"
    if deployment.asked == "fp32" and deployment.is_as_asked:
        for parity in deployment.parities:
            if not parity.passes:
                yield "suspect", f"the file does not compute what PyTorch computes: {parity.describe()}"


def _latency_reasons(profile: Profile) -> Iterator[_Reason]:
    latency, environment = profile.model_latency, profile.environment
    if latency is None:
        return
    if latency.spread is not None and latency.spread > MAX_SPREAD:
        count = len(latency.runs)
        yield "suspect", f"unstable: the medians of {count} processes differ by {100 * latency.spread:.0f} %"
    # The limit ends all networks of a process; a run that was already precise gets no warning.
    limited = sum(run.stopped_by == "limit" and not is_precise(run.samples_s, PRECISE) for run in latency.runs)
    if limited:
        yield (
            "suspect",
            f"{_some(limited, latency.runs)} stopped at the time limit before its median was precise",
        )
    unsettled = sum(run.settled is False for run in latency.runs)
    if unsettled:
        yield "suspect", f"{_some(unsettled, latency.runs)} had not settled when the warm-up ended"
    peaks = [pair for run in latency.runs if (pair := two_peaks(run.samples_s))]
    if peaks:
        low, high = peaks[0]
        yield (
            "suspect",
            f"bimodal: in {_some(len(peaks), latency.runs)} passes take either {1e3 * low:.3g} or {1e3 * high:.3g} ms",
        )
    gap = _cpu_gap(latency.runs)
    if environment.device == "cpu" and environment.threads == 1 and gap is not None and gap > MAX_CPU_GAP:
        yield "suspect", f"the process did not run for {100 * gap:.0f} % of its passes: other programs had its core"


def _some(count: int, runs: Sequence[LatencyRun]) -> str:
    return "the process" if len(runs) == 1 else f"{count} of {len(runs)} processes"


def _cpu_gap(runs: Sequence[LatencyRun]) -> float | None:
    """Share of the time of the passes in which the process used no CPU."""
    wall = sum(sum(run.samples_s) for run in runs if run.cpu_s)
    return 1 - sum(sum(run.cpu_s) for run in runs) / wall if wall else None


def two_peaks(samples: Sequence[float]) -> tuple[float, float] | None:
    """Medians of the two modes of bimodal samples (Otsu's split); None if the samples are not clearly bimodal.

    Clearly bimodal: the split explains at least 85 % of the variance, each side holds at least a tenth of the samples,
    and the medians differ by at least a tenth.
    """
    count = len(samples)
    side = max(3, round(BIMODAL_MIN_SIDE * count))
    if count < 2 * side:
        return None
    ordered = sorted(samples)
    # Clipped to the 2nd and 98th percentile, because single outliers would dominate the variance.
    low, high = ordered[round(0.02 * (count - 1))], ordered[round(0.98 * (count - 1))]
    ordered = [min(max(sample, low), high) for sample in ordered]
    if ordered[0] == ordered[-1]:
        return None
    mean = statistics.fmean(ordered)
    total = math.fsum((sample - mean) ** 2 for sample in ordered) / count  # pvariance is exact, and ten times slower
    best, cut, left = 0.0, 0, 0.0
    for index in range(1, count):
        left += ordered[index - 1]
        if side <= index <= count - side:
            mean_left, mean_right = left / index, (mean * count - left) / (count - index)
            between = index * (count - index) / count**2 * (mean_right - mean_left) ** 2
            if between > best:
                best, cut = between, index
    lower, upper = statistics.median(ordered[:cut] or [mean]), statistics.median(ordered[cut:])
    return (lower, upper) if best >= BIMODAL_SHARE * total and upper >= BIMODAL_RATIO * lower else None


def _watch_reasons(profile: Profile) -> Iterator[_Reason]:
    environment = profile.environment
    level: Level
    modes = list(dict.fromkeys(watch.before.power_mode for watch in profile.watches if watch.before.power_mode))
    if len(modes) > 1:
        yield "invalid", f"the power mode changed between processes: {', '.join(modes)}"
    for watch in profile.watches:
        before, after = watch.before, watch.after
        if watch.throttled:
            yield "invalid", f"throttled: {', '.join(watch.throttled)}"
        if _grew(before.throttle_events, after.throttle_events):
            yield "invalid", "throttled: the count of throttle events of the processor or board grew"
        swapped = (after.swapped_pages or 0) - (before.swapped_pages or 0)
        if before.swapped_pages is not None and swapped > 0:
            level = "invalid" if swapped > MAX_SWAPPED_PAGES else "suspect"
            yield level, f"the machine swapped {swapped} pages of memory during loading and measurement"
        if before.power_mode and after.power_mode and before.power_mode != after.power_mode:
            yield "invalid", f"the power mode changed from {before.power_mode} to {after.power_mode}"
        if before.on_battery or after.on_battery:
            yield "suspect", "the machine ran on battery"
        change = _clock_change(watch)
        if change is not None and change > MAX_CLOCK_CHANGE:
            yield "suspect", f"clocks varied by {_whole_percent(change)} during the measurement"
        foreign = watch.foreign_load
        if foreign is not None and foreign > MAX_FOREIGN_LOAD:
            crowded = foreign + environment.threads > environment.cores
            rounded = f"{max(0.1, round(foreign, 1)):g}"
            level = "invalid" if crowded and foreign > 0.5 else "suspect"
            yield level, f"other programs used about {rounded} of the {environment.cores} cores"
        elif foreign is None and before.load_average is not None and before.load_average > environment.cores:
            yield "suspect", f"load average {before.load_average:.1f} on {environment.cores} cores at the start"
        strangers = set(watch.gpu_processes) - set(watch.own_pids)
        if strangers and set(watch.own_pids) <= set(watch.gpu_processes):
            yield "suspect", f"{len(strangers)} other process(es) used the GPU"


def _grew(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


def _whole_percent(share: float) -> str:
    return f"{5 * round(20 * share)} %" if share >= 0.05 else f"{share:.0%}"


def _clock_change(watch: Watch) -> float | None:
    """Range of the clock between its 5th and 95th percentile over its median; of the GPU where its clock is known."""
    clocks = sorted(watch.gpu_hz or watch.cpu_hz)
    if len(clocks) < 3:
        return None
    low, high = clocks[round(0.05 * (len(clocks) - 1))], clocks[round(0.95 * (len(clocks) - 1))]
    return (high - low) / statistics.median(clocks)


def _denormal_reasons(profile: Profile) -> Iterator[_Reason]:
    if profile.denormals is None or profile.environment.flush_denormals:
        return
    denormal, numbers = profile.denormals
    if numbers and denormal / numbers > MIN_DENORMAL_SHARE:
        share = f"{100 * denormal / numbers:.2g} %"
        yield "suspect", f"{share} of the activations are denormal and not flushed: the latency depends on the weights"


def _energy_reasons(energy: Energy) -> Iterator[_Reason]:
    if energy.problem:
        yield "suspect", f"no power: {energy.problem}"
        return
    drift, idle = energy.idle_drift_w, energy.idle_w
    if drift is not None and idle and abs(drift) > MAX_IDLE_DRIFT * idle:
        yield "suspect", f"idle power changed by {drift:+.2f} W from before to after the load"
    load = energy.sampler_load
    if load is not None and load > MAX_SAMPLER_LOAD:
        yield "suspect", f"reading power took {load:.1%} of a core"
    check, power = energy.cross_check_w, energy.power_w
    if check is not None and power and abs(check / power - 1) > MAX_DISAGREEMENT:
        yield "suspect", f"the energy counter gives {power:.1f} W, the power readings {check:.1f} W"
