"""Measurements of one network: latency, paced frames, a soak, memory, and the state of the machine meanwhile.

Raw samples are stored; medians and intervals are properties, so they always agree with the samples. SI units.
"""

import statistics
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from jetbench.probe.timing import median_interval
from jetbench.spec.base import Spec, later
from jetbench.spec.bounds import Amount, Duration, Side


class LatencyRun(Spec):
    """The passes of one process: seconds per batch, in the order in which they ran."""

    samples_s: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    cpu_s: tuple[Duration, ...] = ()
    warmup_s: tuple[Duration, ...] = ()
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
    """Seconds per batch over one or more fresh processes; the main figure is the median of the process medians."""

    batch_size: Annotated[int, Field(ge=1)]
    runs: Annotated[tuple[LatencyRun, ...], Field(min_length=1)]

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
        """Median of the process medians, in seconds per batch."""
        return statistics.median(self.medians_s)

    @property
    def interval_s(self) -> tuple[float, float] | None:
        """95 % interval of the median over processes, by order statistics; None with fewer than six processes."""
        return median_interval(self.medians_s)

    @property
    def spread(self) -> float | None:
        """(largest - smallest) / median of the process medians; None for one process."""
        medians = self.medians_s
        return (max(medians) - min(medians)) / self.median_s if len(medians) > 1 else None

    def percentile_s(self, percent: float) -> float:
        """The sample below which `percent` of all samples lie (nearest rank)."""
        ordered = sorted(self.samples_s)
        rank = max(1, -(-len(ordered) * percent // 100))
        return ordered[int(rank) - 1]

    @property
    def worst_s(self) -> float:
        """The longest pass, in seconds per batch."""
        return max(self.samples_s)

    @property
    def throughput_fps(self) -> float:
        """Images per second at the median latency."""
        return self.batch_size / self.median_s


class NetworkPart(Spec):
    """One part of a network: its counts for one image, and its seconds per batch, synchronised before and after."""

    name: str
    parameters: Amount
    macs: Amount
    bytes_moved: Amount
    samples_s: tuple[Duration, ...] = ()

    @property
    def median_s(self) -> float | None:
        """Median seconds per batch; None if the part was not timed."""
        return statistics.median(self.samples_s) if self.samples_s else None


class KernelTime(Spec):
    """The kernels of one class in one part of a network, as `network/kernels.py` names the classes.

    All is for one image; with more in a batch, kernels are not timed. `count` is the number of PyTorch's kernels, or of
    a runtime's layers. `bytes_moved` is a lower bound, in the number format that was asked for. A row without seconds
    holds the operations that a runtime fused into layers of other classes.
    """

    part: str
    kernel: str
    count: Amount
    macs: Amount
    bytes_moved: Amount
    samples_s: tuple[Duration, ...] = ()

    @property
    def median_s(self) -> float | None:
        """Median seconds of a pass; None if they were not timed."""
        return statistics.median(self.samples_s) if self.samples_s else None


class Peaks(Spec):
    """What the machine reached in a short calibration of its own beside a profile (probe/peaks.py): no data sheet.

    `macs_per_s` is the most of several dense convolutions, `bytes_per_s` that of a large copy (read and written).
    `launch_s` is how long an addition of a single number takes, `depthwise_launch_s` a
    depthwise convolution of one pixel, whose libraries prepare more before they begin.
    """

    dtype: Literal["fp32", "fp16", "bf16"]
    macs_per_s: Annotated[float, Field(gt=0)]
    bytes_per_s: Annotated[float, Field(gt=0)]
    launch_s: Annotated[float, Field(gt=0)]
    depthwise_launch_s: Annotated[float, Field(gt=0)]


Ratios = Annotated[
    tuple[Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)], ...], Field(min_length=1)
]


class Comparison(Spec):
    """Ratios of a network's time to the reference's time, pass by pass in the same rounds, one tuple per process.

    `control` holds the ratios of a second copy of the reference: its difference from 1 is the smallest difference that
    the measurement can resolve.
    """

    reference: str
    ratios: Ratios
    control: Ratios

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
        """95 % interval over processes, or within the process if there is only one; None for two to five processes."""
        return median_interval(self.ratios[0] if len(self.ratios) == 1 else self.medians)

    @property
    def resolution(self) -> float:
        """The largest difference from 1 of the copy of the reference, its interval included."""
        distances = []
        for ratios in self.control:
            low, high = median_interval(ratios) or (min(ratios), max(ratios))
            distances += [abs(low - 1), abs(high - 1)]
        return max(distances)

    @property
    def is_significant(self) -> bool:
        """True if the whole interval of the ratio differs from 1, in one direction, by more than `resolution`."""
        low, high = self.interval or (min(self.medians), max(self.medians))
        return low > 1 + self.resolution or high < 1 - self.resolution


class Standard(Spec):
    """The passes of the standard network, in the same rounds and processes as those of a network.

    `digest` is the SHA-256 of its file, `form` what ran it.
    """

    name: str
    digest: str
    form: str
    input_size: tuple[Side, Side]
    runs: Annotated[tuple[LatencyRun, ...], Field(min_length=1)]

    @property
    def identity(self) -> str:
        """What two times must share to be divided by the same: `name digest, form, HxW`."""
        height, width = self.input_size
        return f"{self.name} {self.digest[:12]}, {self.form}, {height}x{width}"

    @property
    def median_s(self) -> float:
        """Median over processes of the median seconds of a pass."""
        return statistics.median(run.median_s for run in self.runs)


class Normalised(Spec):
    """A latency over that of the standard network, pass by pass in the same rounds, one tuple of ratios per process."""

    ratios: Ratios

    @property
    def medians(self) -> tuple[float, ...]:
        """The median ratio of each process."""
        return tuple(statistics.median(ratios) for ratios in self.ratios)

    @property
    def median(self) -> float:
        """Median over processes of the median ratio."""
        return statistics.median(self.medians)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval over processes; None with fewer than six."""
        return median_interval(self.medians)


class ColdStart(Spec):
    """Seconds in a fresh process: building the network and moving it to its device, then its first pass."""

    load_s: Duration
    first_pass_s: Duration


class Paced(Spec):
    """Frames processed from a camera of `rate` frames per second, always the newest (probe/timing.py: run_paced)."""

    rate: Annotated[float, Field(gt=0)]
    seconds: Duration
    frames: Amount
    dropped: Amount
    latency_s: tuple[Duration, ...]

    @property
    def late(self) -> int:
        """Number of processed frames whose result came after the next frame was due."""
        return sum(latency > 1 / self.rate for latency in self.latency_s)

    @property
    def missed(self) -> int:
        """Number of frames without a result in time: dropped or late."""
        return self.dropped + self.late


class Soak(Spec):
    """Throughput over a long run; `bins` are (seconds, passes) of consecutive stretches."""

    seconds: Duration
    batch_size: Annotated[int, Field(ge=1)]
    bins: Annotated[tuple[tuple[Annotated[float, Field(gt=0)], Amount], ...], Field(min_length=1)]

    def fps(self, start: float, end: float) -> float:
        """Images per second between two shares (0 to 1) of the stretches."""
        count = len(self.bins)
        low = min(int(start * count), count - 1)
        chosen = self.bins[low : max(low + 1, round(end * count))]
        return self.batch_size * sum(passes for _, passes in chosen) / sum(seconds for seconds, _ in chosen)

    @property
    def first_fps(self) -> float:
        """Images per second over the first tenth of the run."""
        return self.fps(0.0, 0.1)

    @property
    def steady_fps(self) -> float:
        """Images per second over the last fifth of the run."""
        return self.fps(0.8, 1.0)


class Memory(Spec):
    """Memory in bytes. `allocator_peak_bytes` is the peak of torch's allocator in one pass, weights and input included.

    `process_peak_bytes` is the high-water mark of the process after building the network and running its passes, before
    any other measurement. `process_baseline_bytes` is the memory of the process before the network was built. The same
    pairs exist for the shared GPU memory of a board (NvMap) and for the available memory of the whole machine.
    """

    weights_bytes: Amount
    image_bytes: Amount
    allocator_peak_bytes: Amount | None = None
    reserved_bytes: Amount | None = None
    process_baseline_bytes: Amount | None = None
    process_peak_bytes: Amount | None = None
    nvmap_baseline_bytes: Amount | None = None
    nvmap_peak_bytes: Amount | None = None
    available_baseline_bytes: Amount | None = None
    available_least_bytes: Amount | None = None

    @property
    def activations_peak_bytes(self) -> int | None:
        """Peak of the allocator minus weights and input."""
        peak = self.allocator_peak_bytes
        return None if peak is None else peak - self.weights_bytes - self.image_bytes

    @property
    def process_growth_bytes(self) -> int | None:
        """High-water mark of the process minus its baseline."""
        return _less(self.process_peak_bytes, self.process_baseline_bytes)

    @property
    def nvmap_growth_bytes(self) -> int | None:
        """Peak minus baseline of the shared GPU memory of the whole board, CUDA's own context included."""
        return _less(self.nvmap_peak_bytes, self.nvmap_baseline_bytes)

    @property
    def unified_growth_bytes(self) -> int | None:
        """The largest drop of the machine's available memory; on a board, CPU and GPU share it."""
        return _less(self.available_baseline_bytes, self.available_least_bytes)


def _less(value: int | None, baseline: int | None) -> int | None:
    return None if value is None or baseline is None else max(0, value - baseline)


class MachineState(Spec):
    """The machine at one moment (probe/machine.py: read_state); values that it does not report are None.

    `emc_hz` is the clock of a Jetson's memory, which only root reads; `online_cores` is the kernel's list, such as
    `0-3`; `fan_pwm` is 0 to 255.
    """

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
    swap_total_bytes: int | None = later(None)
    swap_used_bytes: int | None = later(None)
    emc_hz: float | None = later(None)
    online_cores: str | None = later(None)
    fan_pwm: float | None = later(None)
    fan_rpm: float | None = later(None)


class Watch(Spec):
    """The state of the machine before, during and after the measurement of one process."""

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
        """Mean number of cores that other programs used during the measurement; None if unknown."""
        values = (self.before.busy_s, self.after.busy_s, self.before.own_s, self.after.own_s)
        if any(value is None for value in values):
            return None
        busy_before, busy_after, own_before, own_after = (value or 0.0 for value in values)
        seconds = self.after.at_s - self.before.at_s
        foreign = (busy_after - busy_before) - (own_after - own_before)
        # A constant count is invalid: some containers and boards report a fixed one.
        return max(0.0, foreign / seconds) if seconds > 0 and busy_after > busy_before else None
