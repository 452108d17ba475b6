"""Screening: counts all variants of a Space, or a sample, and keeps those within limits. Needs no training, no device.

Every variant is validated like any architecture, then counted in closed form; nothing is built.
"""

import gc
import math
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from multiprocessing import get_context
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from jetbench.errors import SpecError
from jetbench.network.closed_form import QuickCost, cost_of
from jetbench.network.operations import BYTES
from jetbench.network.plan import plan_architecture
from jetbench.network.rules import format_size
from jetbench.probe.alone import die_with
from jetbench.profiling.latency_model import LatencyModel
from jetbench.profiling.latency_predict import Predictor
from jetbench.spec.architecture import Architecture, Foreign, is_foreign
from jetbench.spec.base import describe_value, override, parse_spec, plain_rule, read_yaml
from jetbench.spec.catalog import find, load_jetseg, read_base
from jetbench.spec.search import Space

MOST = 5_000_000  # a larger space is sampled unless a full walk is requested
WALKABLE = 10**10  # eleven days on one core; walking a larger space must be a mistake
SAMPLES = 200_000
CHUNK = 4_000

CountedQuantity = Literal["parameters", "macs", "eq2", "memory", "latency"]
"""What screening knows of a network; `latency` is predicted by a latency model, in seconds, the others are counted."""
COUNTED_QUANTITIES: tuple[CountedQuantity, ...] = ("parameters", "macs", "eq2", "memory", "latency")
ScreenLimits = Mapping[CountedQuantity, float]
Base = Mapping[str, Any]

TellCounts = Callable[[int, int, int], None]
"""Called with the number of counted variants, the total, and the number that fit."""


def read_space(name: str, changes: Mapping[str, Any] | None = None) -> Space:
    """The space of that bundled name or .yaml path, with fields replaced; each value of each axis is checked.

    Raises:
        SpecError: the space does not exist, or an axis has an unknown field or a value that its field cannot have.
    """
    path = find("space", name)
    raw = {"name": path.stem, **read_yaml(path)}
    if "variants" in raw:
        raise SpecError(
            f"{path}: is a sweep, not a space with axes:. `jetbench sweep --dry-run` counts a sweep's variants"
        )

    space = parse_spec(Space, override(raw, changes or {}), str(path))
    load_jetseg(space.base)
    base = read_base(space.base)
    problems = axis_problems(base, space.axes)
    if problems:
        raise SpecError("\n  ".join([f"{path}:", *problems]))
    return space


def axis_problems(base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> list[str]:
    """The problems of an architecture's axes: unknown fields, values that no network can have, repeated values.

    Args:
        base: the mapping of the architecture, from `catalog.read_base`.
        axes: the values of each axis.
    """
    fields = [field for field in list_fields(Architecture) if field not in ("name", "description", "paper", "reported")]
    problems = []
    for axis, values in axes.items():
        if is_foreign(base):
            if axis != "output" and not axis.startswith("arguments."):
                problems.append(f"axes.{axis}: of a network of your own, only arguments.NAME and output vary")
                continue
        elif axis not in fields:
            close = get_close_matches(axis, fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"axes.{axis}: an architecture has no such field{hint}")
            continue
        wrong = [f"axes.{axis}: {text}" for value in values if (text := _field_problem(base, axis, value))]
        if not wrong and _has_equal_values(base, axis, values):
            wrong.append(f"axes.{axis}: has the same value twice")
        problems += wrong
    return problems


def _kind_of(base: Mapping[str, Any]) -> type[Architecture] | type[Foreign]:
    return Foreign if is_foreign(base) else Architecture


def list_fields(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all fields of a spec, including those of nested specs."""
    names = []
    for name, info in kind.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += list_fields(inner, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _field_problem(base: Mapping[str, Any], axis: str, value: Any) -> str | None:
    """Why a value is invalid in every combination, or None. Rules between fields are checked per combination."""
    try:
        _kind_of(base).model_validate(override(base, {axis: value}))
    except ValidationError as error:
        for detail in error.errors():
            if ".".join(map(str, detail["loc"])).startswith(axis):
                return f"{plain_rule(detail)} (given: {describe_value(value)})"
    return None


def _has_equal_values(base: Mapping[str, Any], axis: str, values: Sequence[Any]) -> bool:
    """True if two values of an axis mean the same, such as "3a 5a" and [3a, 5a]."""
    meant = []
    for value in values:
        try:
            architecture = _kind_of(base).model_validate(override(base, {axis: value}))
        except ValidationError:
            meant.append(repr(value))  # valid only in combination with another axis
            continue
        meant.append(architecture.model_dump_json())
    return len(set(meant)) < len(meant)


def count_variants(space: Space) -> int:
    """Number of combinations in a space."""
    return math.prod(len(values) for values in space.axes.values())


def changes_at(space: Space, index: int) -> dict[str, Any]:
    """The combination with that number; the last axis changes fastest."""
    digits = []
    for values in reversed(space.axes.values()):
        index, digit = divmod(index, len(values))
        digits.append(digit)
    return {axis: values[digit] for (axis, values), digit in zip(space.axes.items(), reversed(digits), strict=True)}


@dataclass(frozen=True)
class Survivors:
    """Variants within the limits, in the order of the space: their numbers in it and their costs, one row each.

    `latency` is predicted, in seconds; not a number without a model, or outside of what the model knows.
    """

    indices: list[int]
    parameters: np.ndarray
    macs: np.ndarray
    eq2: np.ndarray
    peak_activation_bytes: np.ndarray
    latency: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def values(self, quantity: CountedQuantity) -> np.ndarray:
        """The values of a quantity, in bytes for `memory` (weights and peak activations)."""
        if quantity == "memory":
            return np.asarray(BYTES * self.parameters + self.peak_activation_bytes)
        columns = {"parameters": self.parameters, "macs": self.macs, "eq2": self.eq2, "latency": self.latency}
        return columns[quantity]

    def take(self, order: Sequence[int]) -> "Survivors":
        """The rows with these positions, in this order."""
        columns = (self.parameters, self.macs, self.eq2, self.peak_activation_bytes, self.latency)
        return Survivors([self.indices[row] for row in order], *(column[list(order)] for column in columns))


@dataclass(kw_only=True)
class Tally:
    """The result of counting some variants. `over` counts the variants over each limit; one may be over several.

    `smallest` is the smallest value of each quantity among all counted variants, within the limits or not. `unknown`
    counts those for which a latency model gives no number; under a limit of latency they do not survive.
    """

    looked_at: int = 0
    unbuildable: int = 0
    unknown: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    over: Counter[CountedQuantity] = field(default_factory=Counter)
    smallest: dict[CountedQuantity, float] = field(default_factory=dict)
    survivors: Survivors = field(default_factory=lambda: _gather([]))


@dataclass(kw_only=True)
class Screening(Tally):
    """The result of a whole screening; `seed` is None if all variants were counted."""

    space: Space
    limits: dict[CountedQuantity, float]
    total: int
    seed: int | None
    model: LatencyModel | None = None

    @property
    def walked(self) -> bool:
        """True if every variant was counted, so that the numbers are exact."""
        return self.looked_at == self.total

    @property
    def share(self) -> float:
        """The share of the counted variants that fit."""
        return len(self.survivors) / self.looked_at if self.looked_at else 0.0

    @property
    def share_interval(self) -> tuple[float, float]:
        """95 % interval (Wilson) of the share of the whole space that fits; a point if all variants were counted."""
        if self.walked:
            return self.share, self.share
        n, z = self.looked_at, 1.959964
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(self.share * (1 - self.share) / n + z * z / (4 * n * n))
        # The counted variants bound the share of the whole space too.
        fit, rest = len(self.survivors), n - len(self.survivors)
        return max(fit / self.total, middle - half), min(1 - rest / self.total, middle + half)


def screen(
    space: Space,
    limits: ScreenLimits,
    samples: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    report: TellCounts = lambda done, total, feasible: None,
    model: LatencyModel | None = None,
) -> Screening:
    """Count all variants of `space`, or `samples` distinct random ones, and keep those within all `limits`.

    Args:
        space: from `read_space`.
        limits: the maximum of each quantity; in bytes for memory, in seconds for latency.
        samples: number of variants; None, or at least the size of the space, walks the whole space.
        seed: seed of the sample; the same seed gives the same variants.
        jobs: number of processes; the result does not depend on it.
        report: called with the progress.
        model: predicts the latency of each variant.

    Raises:
        SpecError: a walk of more than 10 billion variants, a limit of latency without a model, or a model of another
            size or number of classes.
    """
    total = count_variants(space)
    _check_model(space, limits, model)
    if samples is None and total > WALKABLE:
        raise SpecError(
            f"{space.name}: {total:,} variants are too many to walk; sample the space (--samples {SAMPLES})"
        )
    sampled = samples is not None and samples < total
    indices = _sample(total, samples, seed) if samples is not None and sampled else range(total)
    result = Screening(space=space, limits=dict(limits), total=total, seed=seed if sampled else None, model=model)
    parts: dict[int, Survivors] = {}
    for number, tally in _look_at_chunks(read_base(space.base), space, dict(limits), indices, jobs, model):
        parts[number] = tally.survivors
        result.looked_at += tally.looked_at
        result.unbuildable += tally.unbuildable
        result.unknown += tally.unknown
        result.reasons.update(tally.reasons)
        result.over.update(tally.over)
        for quantity, value in tally.smallest.items():
            result.smallest[quantity] = min(value, result.smallest.get(quantity, value))
        report(result.looked_at, len(indices), sum(map(len, parts.values())))
    result.survivors = _join([parts[number] for number in sorted(parts)])
    return result


def _sample(total: int, samples: int, seed: int) -> list[int]:
    generator = random.Random(seed)
    chosen: set[int] = set()
    while len(chosen) < samples:
        chosen.add(generator.randrange(total))
    return sorted(chosen)


def _check_model(space: Space, limits: ScreenLimits, model: LatencyModel | None) -> None:
    if model is None:
        if "latency" in limits:
            raise SpecError("a limit of latency needs a model that predicts it: --latency-model FILE")
        return
    if (model.input_size, model.num_classes) != (space.size, space.classes):
        raise SpecError(
            f"the latency model was learnt at {format_size(model.input_size)} with {model.num_classes} classes, and "
            f"{space.name} is screened at {format_size(space.size)} with {space.classes}; give --size and --classes"
        )


_Row = tuple[int, QuickCost, float]


def _look_at_chunks(
    base: Base, space: Space, limits: ScreenLimits, indices: Sequence[int], jobs: int, model: LatencyModel | None
) -> Iterator[tuple[int, Tally]]:
    chunks = [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]
    if jobs == 1 or len(chunks) == 1:
        _use_model(model)
        for number, chunk in enumerate(chunks):
            yield number, _look_at(base, space, limits, chunk)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(os.getpid(), model)) as pool:
        numbers = iter(range(len(chunks)))
        with _interrupts_ignored():  # in the processes that start now, until their initializer runs
            waiting = {pool.submit(_look_at, base, space, limits, chunks[n]): n for n in islice(numbers, 3 * jobs)}
        try:
            while waiting:
                done = next(as_completed(waiting))
                number = waiting.pop(done)
                for n in islice(numbers, 1):
                    waiting[pool.submit(_look_at, base, space, limits, chunks[n])] = n
                yield number, done.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


_predictors: list[Predictor] = []
"""The predictor of this process, which keeps the blocks that it has computed."""


def _use_model(model: LatencyModel | None) -> None:
    _predictors[:] = [] if model is None else [Predictor(model)]


def _start_worker(parent: int, model: LatencyModel | None) -> None:
    die_with(parent)
    _use_model(model)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C signals the whole process group; the parent stops its workers
    # Specs have no reference cycles, and the collector would take a third of the time to traverse the kept results.
    gc.freeze()
    gc.disable()


def _look_at(base: Base, space: Space, limits: ScreenLimits, indices: Iterable[int]) -> Tally:
    looked = Tally()
    rows: list[_Row] = []
    predictor = next(iter(_predictors), None)
    for index in indices:
        looked.looked_at += 1
        try:
            architecture = Architecture.model_validate(override(base, changes_at(space, index)))
            cost = cost_of(architecture, space.classes, space.size)
        except (SpecError, ValidationError) as error:
            looked.unbuildable += 1
            looked.reasons[_reason(error)] += 1
            continue
        values: dict[CountedQuantity, float] = {
            "parameters": cost.parameters,
            "macs": cost.macs,
            "eq2": cost.eq2_flops,
            "memory": cost.memory_bytes,
        }
        seconds = predictor.seconds(architecture) if predictor else None
        if seconds is not None:
            values["latency"] = seconds
        looked.unknown += predictor is not None and seconds is None
        for quantity, value in values.items():
            if value < looked.smallest.get(quantity, math.inf):
                looked.smallest[quantity] = value
        over = [quantity for quantity, limit in limits.items() if values.get(quantity, 0.0) > limit]
        looked.over.update(over)
        if not over and (seconds is not None or "latency" not in limits):
            rows.append((index, cost, math.nan if seconds is None else seconds))
    try:
        looked.survivors = _gather(rows)
    except OverflowError:
        size = format_size(space.size)
        raise SpecError(f"{space.name}: counts at {size} with {space.classes} classes exceed 64 bits") from None
    return looked


def _reason(error: SpecError | ValidationError) -> str:
    if isinstance(error, ValidationError):
        return plain_rule(error.errors()[0])
    return str(error)


def _gather(rows: Sequence[_Row]) -> Survivors:
    def column(values: Iterable[float], kind: Any) -> np.ndarray:
        return np.fromiter(values, dtype=kind, count=len(rows))

    return Survivors(
        [index for index, *_ in rows],
        column((cost.parameters for _, cost, _ in rows), np.int64),
        column((cost.macs for _, cost, _ in rows), np.int64),
        column((cost.eq2_flops for _, cost, _ in rows), np.float64),
        column((cost.peak_activation_bytes for _, cost, _ in rows), np.int64),
        column((seconds for *_, seconds in rows), np.float64),
    )


def _join(parts: Sequence[Survivors]) -> Survivors:
    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    indices = [index for part in parts for index in part.indices]
    return Survivors(indices, *map(column, ("parameters", "macs", "eq2", "peak_activation_bytes", "latency")))


def rank_survivors(survivors: Survivors, by: CountedQuantity, largest: bool) -> Survivors:
    """Survivors sorted by a quantity, the smallest or the largest first; equal ones in the order of the space."""
    values = survivors.values(by)
    order = np.argsort(-values if largest else values, kind="stable")
    return survivors.take(order.tolist())


def distinct(space: Space, survivors: Survivors, most: int) -> list[tuple[int, dict[str, Any]]]:
    """The numbers and the changes of the first `most` survivors that are different networks."""
    seen: set[str] = set()
    result: list[tuple[int, dict[str, Any]]] = []
    base = read_base(space.base)
    for index in survivors.indices:
        if len(result) == most:
            break
        changes = changes_at(space, index)
        architecture = Architecture.model_validate(override(base, changes))
        fingerprint = plan_architecture(architecture, space.classes, space.size).fingerprint
        if fingerprint not in seen:
            seen.add(fingerprint)
            result.append((index, changes))
    return result


def describe_space(space: Space) -> str:
    """One line: the number of combinations, the values per axis, the image size and the classes."""
    axes = " x ".join(str(len(values)) for values in space.axes.values())
    size, total = format_size(space.size), count_variants(space)
    return f"{total:,} variant{'s' * (total != 1)} of {space.base} ({axes}) at {size}, {space.classes} classes"
