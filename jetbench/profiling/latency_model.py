"""A latency model: seconds of a network that was never measured, from the costs of kernels that were; no torch.

The costs are non-negative seconds for each feature of each class of kernel (latency_features.py), fitted to the times
of kernels that a profile has, or to whole latencies where it has none. A last fit turns their sum into latencies. Every
time is divided by that of the standard network, which ran in the same rounds. A network with a kernel, a map or a
number of groups that no learnt network had gets no number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from jetbench.errors import SpecError
from jetbench.network.kernels import kernel_class
from jetbench.network.operations import Operation
from jetbench.network.rules import format_size
from jetbench.profiling.latency_features import Features, add_features, features_by_class
from jetbench.records.record import Environment
from jetbench.spec.base import Spec
from jetbench.spec.bounds import MOST_SECONDS, Amount, Duration, Seconds
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.values import Size
from jetbench.stats import kendall_tau

FOLDS = 10
BLOCKS = (16, 8)
"""Channels in a block of a runtime's layout: with AVX-512, and without."""
CONFIDENCE = 0.95
FEWEST = 12  # networks: fewer cannot be cross-validated
SWEEPS, TOLERANCE = 3000, 1e-12
Cost = Annotated[float, Field(ge=0, le=1)]
"""Seconds for one of a feature: a byte, a MAC, a kernel."""
Costs = dict[str, dict[str, Cost]]
KernelSeconds = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Sample:
    """A measured network: its operations, its latency and its kernels' seconds by part and class.

    `seconds` and `kernels` are those of a machine on which the standard network takes its usual time. `repeats` are the
    latencies of each process.
    """

    name: str
    fingerprint: str
    changes: Mapping[str, Any]
    operations: tuple[Operation, ...]
    seconds: float
    kernels: KernelSeconds
    repeats: tuple[float, ...]
    roofline_s: float | None = None


class Learnt(Spec):
    """A network that was measured: what it took, and what a model that never saw it predicts."""

    name: str
    fingerprint: str
    changes: dict[str, Any]
    macs: Amount
    bytes_moved: Amount
    roofline_s: Duration | None = None
    seconds: Seconds
    predicted_s: Duration
    repeats_s: tuple[Seconds, ...] = ()

    @property
    def error(self) -> float:
        """Prediction over measurement, less 1."""
        return self.predicted_s / self.seconds - 1


class Range(Spec):
    """What was seen of a class of kernels: channels from least to most, the numbers of groups, the maps."""

    ins: tuple[int, int]
    outs: tuple[int, int]
    groups: tuple[int, ...]
    sizes: tuple[Size, ...]


class Errors(Spec):
    """How far predictions lie from measurements: median and 90th percentile of |error|, and the order (Kendall)."""

    median: float
    p90: float
    tau: float | None


class LatencyModel(Spec):
    """What was learnt of one device in one setting, as plain data.

    `costs` are seconds by class and feature, `constant_s`, `kernel_s` and `scale` turn their sum into a latency.
    `domain` is what was seen. `learnt` are the networks of the fit, each with the prediction of a fit without it;
    `held_out` are networks that were never fitted. `standard_s` is the usual time of the standard network.
    """

    kind: Literal["latency model"] = "latency model"
    version: Literal[1] = 1
    jetbench: str
    space: str
    device: str
    environment: Environment
    runtime: str
    config: ProfilingConfig
    input_size: Size
    num_classes: Annotated[int, Field(ge=2)]
    standard: str
    standard_s: Seconds
    block: Annotated[int, Field(ge=0, le=64)]
    costs: Costs
    constant_s: Annotated[float, Field(ge=0, le=MOST_SECONDS)]
    kernel_s: Cost
    scale: Annotated[float, Field(ge=0, le=1000)]
    domain: dict[str, Range]
    kernels: tuple[str, ...]
    learnt: Annotated[tuple[Learnt, ...], Field(min_length=FEWEST)]
    held_out: tuple[Learnt, ...] = ()

    @property
    def half(self) -> float:
        """Relative half width of the 95 % interval of a prediction: of |error| of networks that a fit never saw."""
        errors = sorted(abs(each.error) for each in (*self.learnt, *self.held_out))
        rank = min(len(errors) - 1, int(np.ceil(CONFIDENCE * (len(errors) + 1))) - 1)
        return float(errors[rank])

    def describe_setting(self) -> str:
        """`agx, MODE_15W: batch 1, fp32, 1 thread, eager at 288x512`."""
        mode = f", {self.environment.power_mode}" if self.environment.power_mode else ""
        return f"{self.device}{mode}: {self.config.describe()} at {format_size(self.input_size)}"


def errors_of(pairs: Sequence[tuple[float, float]]) -> Errors:
    """The errors of (predicted, measured) pairs."""
    sizes = np.array([abs(predicted / measured - 1) for predicted, measured in pairs])
    return Errors(
        median=float(np.median(sizes)), p90=float(np.percentile(sizes, 90)), tau=kendall_tau([*map(_plain, pairs)])
    )


def _plain(pair: tuple[float, float]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def errors_of_proxy(networks: Sequence[Learnt], value: Callable[[Learnt], float | None]) -> Errors | None:
    """The errors of a number in proportion to the latency, such as MACs; the factor is the one that fits best."""
    pairs = [(number, each.seconds) for each in networks if (number := value(each))]
    if len(pairs) < len(networks) or not pairs:
        return None
    factor = float(np.median([seconds / number for number, seconds in pairs]))
    return errors_of([(factor * number, seconds) for number, seconds in pairs])


def repeatability(networks: Sequence[Learnt]) -> Errors | None:
    """How far a process repeats: of the first two of each network, one as the other's prediction.

    A latency is the median over the processes, so it repeats better than one of them.
    """
    pairs = [(each.repeats_s[0], each.repeats_s[1]) for each in networks if len(each.repeats_s) > 1]
    return errors_of(pairs) if len(pairs) > 1 else None


@dataclass(frozen=True)
class Fit:
    """Costs by class and feature, and what turns their sum into a latency."""

    block: int
    costs: Costs
    constant_s: float
    kernel_s: float
    scale: float

    def seconds(self, features: Mapping[tuple[str, str], Features], count: int) -> float:
        """The latency of a network with these features and so many kernels."""
        total = sum(cost_of(self.costs, key[1], own) for key, own in features.items())
        return self.constant_s + self.kernel_s * count + self.scale * total

    def predict(self, operations: Sequence[Operation]) -> float:
        """The latency of a network with these operations."""
        return self.seconds(features_by_class(operations, self.block), len(operations))


def cost_of(costs: Costs, name: str, features: Features) -> float:
    """Seconds of kernels of one class."""
    own = costs.get(name, {})
    return sum(own.get(feature, 0.0) * value for feature, value in features.items())


def learn(samples: Sequence[Sample], runs_file: bool) -> tuple[Fit, list[float]]:
    """Fit costs to measured networks; returns the fit, and for each network the prediction of a fit without it.

    Args:
        samples: at least `FEWEST`.
        runs_file: a runtime ran them, which may keep maps in blocks of channels; the size of a block is learnt, too.

    Raises:
        SpecError: too few networks.
    """
    if len(samples) < FEWEST:
        raise SpecError(f"{len(samples)} measured networks are too few to learn from; at least {FEWEST} are needed")
    best: tuple[float, Fit, list[float]] | None = None
    for block in BLOCKS if runs_file else (0,):
        features = [features_by_class(sample.operations, block) for sample in samples]
        predictions = [0.0] * len(samples)
        for fold in range(FOLDS):
            kept = [number for number in range(len(samples)) if number % FOLDS != fold]
            fit = _fit([samples[number] for number in kept], [features[number] for number in kept], block)
            for number in range(fold, len(samples), FOLDS):
                predictions[number] = fit.seconds(features[number], len(samples[number].operations))
        error = float(np.median([abs(p / s.seconds - 1) for p, s in zip(predictions, samples, strict=True)]))
        if best is None or error < best[0]:
            best = error, _fit(samples, features, block), predictions
    assert best is not None
    return best[1], best[2]


def _fit(samples: Sequence[Sample], features: Sequence[Mapping[tuple[str, str], Features]], block: int) -> Fit:
    has_kernels = all(sample.kernels for sample in samples)
    costs = _fit_kernels(samples, features) if has_kernels else _fit_totals(samples, features)
    sums = np.array([sum(cost_of(costs, key[1], own) for key, own in each.items()) for each in features])
    counts = np.array([len(sample.operations) for sample in samples], dtype=float)
    seconds = np.array([sample.seconds for sample in samples])
    rows = np.stack([np.ones_like(sums), counts, sums], axis=1)
    constant, per_kernel, scale = non_negative(rows / seconds[:, None], np.ones_like(sums))
    return Fit(block, costs, float(constant), float(per_kernel), float(scale))


def _fit_kernels(samples: Sequence[Sample], features: Sequence[Mapping[tuple[str, str], Features]]) -> Costs:
    """The costs of each class on its own, from the seconds of its kernels in each part of each network."""
    rows: dict[str, list[tuple[Features, float]]] = {}
    for sample, own in zip(samples, features, strict=True):
        for (part, name), seconds in sample.kernels.items():
            if seconds > 0 and (part, name) in own:
                rows.setdefault(name, []).append((own[part, name], seconds))
    costs = {}
    for name, pairs in rows.items():
        names = sorted({feature for each, _ in pairs for feature in each})
        table = np.array([[each.get(feature, 0.0) for feature in names] for each, _ in pairs])
        measured = np.array([each for _, each in pairs])
        # Between absolute errors, which small kernels would not matter for, and relative ones, which large would not.
        weights = 1 / np.sqrt(measured * measured.mean())
        fitted = non_negative(table * weights[:, None], measured * weights)
        costs[name] = {feature: float(cost) for feature, cost in zip(names, fitted, strict=True) if cost > 0}
    return costs


def _fit_totals(samples: Sequence[Sample], features: Sequence[Mapping[tuple[str, str], Features]]) -> Costs:
    """The costs of all classes together, from whole latencies: where no kernel was timed."""
    sums: list[Features] = []
    for own in features:
        total: Features = {}
        for (_, name), each in own.items():
            add_features(total, {f"{name}|{feature}": value for feature, value in each.items()})
        sums.append(total)
    names = sorted({name for each in sums for name in each})
    seconds = np.array([sample.seconds for sample in samples])
    table = np.array([[each.get(name, 0.0) for name in names] for each in sums])
    fitted = non_negative(table / seconds[:, None], np.ones_like(seconds))
    costs: Costs = {}
    for name, cost in zip(names, fitted, strict=True):
        if cost > 0:
            group, _, feature = name.partition("|")
            costs.setdefault(group, {})[feature] = float(cost)
    return costs


def non_negative(table: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The non-negative numbers x that minimise |table x - target|, by coordinate descent on scaled columns."""
    scales = np.linalg.norm(table, axis=0)
    used = scales > 0
    scaled = table[:, used] / scales[used]
    product, aim = scaled.T @ scaled, scaled.T @ target
    solution = np.zeros(len(aim))
    slope = -aim  # of half the squared error
    for _ in range(SWEEPS):
        largest = 0.0
        for number in range(len(aim)):
            step = max(-slope[number], -solution[number])
            if step:
                solution[number] += step
                slope += step * product[:, number]
                largest = max(largest, abs(step))
        if largest <= TOLERANCE * (1 + float(np.max(solution, initial=0.0))):
            break
    result = np.zeros(table.shape[1])
    result[used] = solution / scales[used]
    return result


def domain_of(networks: Iterable[Sequence[Operation]]) -> tuple[dict[str, Range], tuple[str, ...]]:
    """What networks have of each class of convolution, and the names of all other kernels."""
    seen: dict[str, dict[str, set[Any]]] = {}
    others: set[str] = set()
    for operations in networks:
        for operation in operations:
            shape = operation.convolution
            if shape is None:
                others.add(operation.kernel)
                continue
            own = seen.setdefault(
                kernel_class(operation), {"ins": set(), "outs": set(), "groups": set(), "sizes": set()}
            )
            own["ins"].add(shape.in_channels)
            own["outs"].add(shape.out_channels)
            own["groups"].add(0 if shape.is_depthwise else shape.groups)
            own["sizes"].add(shape.size)
    ranges = {
        name: Range(
            ins=(min(own["ins"]), max(own["ins"])),
            outs=(min(own["outs"]), max(own["outs"])),
            groups=tuple(sorted(own["groups"])),
            sizes=tuple(sorted(own["sizes"])),
        )
        for name, own in sorted(seen.items())
    }
    return ranges, tuple(sorted(others))


def outside(operation: Operation, domain: Mapping[str, Range], kernels: Iterable[str]) -> str | None:
    """Why an operation is outside of what was learnt; None if it is inside."""
    shape = operation.convolution
    if shape is None:
        return None if operation.kernel in kernels else f"the kernel {operation.kernel} was never seen"
    name = kernel_class(operation)
    known = domain.get(name)
    if known is None:
        return f"{name} was never seen"
    groups = 0 if shape.is_depthwise else shape.groups
    if groups not in known.groups:
        return f"{name} with {groups} groups was never seen"
    if shape.size not in known.sizes:
        return f"{name} on a map of {format_size(shape.size)} was never seen"
    for what, channels, (least, most) in (
        ("from", shape.in_channels, known.ins),
        ("to", shape.out_channels, known.outs),
    ):
        if not least <= channels <= most:
            return f"{name} {what} {channels} channels was never seen (seen: {least} to {most})"
    return None
