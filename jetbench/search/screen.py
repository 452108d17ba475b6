"""Chooser 2: walks or samples a Space, and keeps what fits under limits that need no training and no device.

Every variant is read and checked as any architecture is, then counted in closed form; nothing is built.
"""

import gc
import math
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
from jetbench.spec.architecture import Architecture
from jetbench.spec.base import describe_value, override, parse_spec, read_yaml
from jetbench.spec.catalog import find, load_jetseg
from jetbench.spec.search import Space

SPACES = "sweeps/spaces"
MOST = 5_000_000  # a larger space is sampled unless it is asked for whole
WALKABLE = 10**10  # eleven days of one core; beyond, a walk is a mistake
SAMPLES = 200_000
CHUNK = 4_000

CountedQuantity = Literal["parameters", "macs", "eq2", "memory"]
COUNTED_QUANTITIES: tuple[CountedQuantity, ...] = ("parameters", "macs", "eq2", "memory")
ScreenLimits = Mapping[CountedQuantity, int]
Base = Mapping[str, Any]

TellCounts = Callable[[int, int, int], None]
"""Told how many variants have been looked at, of how many, and how many of them fit."""


def read_space(name: str, changes: Mapping[str, Any] | None = None) -> Space:
    """The space of that bundled name or .yaml path, with fields replaced; each value of each axis is checked.

    Raises:
        SpecError: no such space, a field that architectures do not have, or a value that it cannot have.
    """
    path = find(SPACES, name)
    raw = {"name": path.stem, **read_yaml(path)}
    if "variants" in raw:
        raise SpecError(f"{path}: is a sweep; a space has axes:. `jetbench sweep --dry-run` counts a sweep's variants")

    space = parse_spec(Space, override(raw, changes or {}), str(path))
    base = _read_base(space)
    load_jetseg(space.base)
    problems = axis_problems(base, space.axes)
    if problems:
        raise SpecError("\n  ".join([f"{path}:", *problems]))
    return space


def axis_problems(base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> list[str]:
    """What is wrong with axes of an architecture: fields that it has not, values that no network can have, repeats."""
    known = [field for field in list_fields(Architecture) if field not in ("name", "description", "paper", "reported")]
    problems = []
    for axis, values in axes.items():
        if axis not in known:
            close = get_close_matches(axis, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"axes.{axis}: an architecture has no such field{hint}")
            continue
        wrong = [f"axes.{axis}: {text}" for value in values if (text := _field_problem(base, axis, value))]
        if not wrong and _has_equal_values(base, axis, values):
            wrong.append(f"axes.{axis}: gives a value twice")
        problems += wrong
    return problems


def list_fields(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all fields of a spec, those of the specs within it too."""
    found = []
    for name, info in kind.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += list_fields(inner, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def _read_base(space: Space) -> dict[str, Any]:
    return {"name": space.base, **read_yaml(find("architectures", space.base))}


def _field_problem(base: Mapping[str, Any], axis: str, value: Any) -> str | None:
    """What is wrong with a value whatever the others are; rules between fields are left to each combination."""
    try:
        Architecture.model_validate(override(base, {axis: value}))
    except ValidationError as error:
        for detail in error.errors():
            if ".".join(map(str, detail["loc"])).startswith(axis):
                return f"{detail['msg'].removeprefix('Value error, ')} (given: {describe_value(value)})"
    return None


def _has_equal_values(base: Mapping[str, Any], axis: str, values: Sequence[Any]) -> bool:
    """Whether two values of an axis mean the same, such as "3a 5a" and [3a, 5a]."""
    meant = []
    for value in values:
        try:
            architecture = Architecture.model_validate(override(base, {axis: value}))
        except ValidationError:
            meant.append(repr(value))  # only some combination with another axis is valid
            continue
        meant.append(architecture.model_dump_json())
    return len(set(meant)) < len(meant)


def count_variants(space: Space) -> int:
    """How many combinations a space has."""
    return math.prod(len(values) for values in space.axes.values())


def changes_at(space: Space, index: int) -> dict[str, Any]:
    """The combination of that number; the last axis turns fastest."""
    digits = []
    for values in reversed(space.axes.values()):
        index, digit = divmod(index, len(values))
        digits.append(digit)
    return {axis: values[digit] for (axis, values), digit in zip(space.axes.items(), reversed(digits), strict=True)}


@dataclass(frozen=True)
class Survivors:
    """Variants under the limits, in the order of the space: their numbers in it, and their costs, one row each."""

    indices: list[int]
    parameters: np.ndarray
    macs: np.ndarray
    eq2: np.ndarray
    peak_activation_bytes: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def values(self, quantity: CountedQuantity) -> np.ndarray:
        """What is limited and sorted by: `memory` is weights and peak activations."""
        if quantity == "memory":
            return np.asarray(BYTES * self.parameters + self.peak_activation_bytes)
        return {"parameters": self.parameters, "macs": self.macs, "eq2": self.eq2}[quantity]

    def take(self, order: Sequence[int]) -> "Survivors":
        """Those rows, in that order."""
        columns = (self.parameters, self.macs, self.eq2, self.peak_activation_bytes)
        return Survivors([self.indices[row] for row in order], *(column[list(order)] for column in columns))


@dataclass(kw_only=True)
class Tally:
    """What came of looking at some variants. `over` counts those over each limit, of which one may be over several.

    `smallest` is the least of each quantity that was seen, fit or not.
    """

    looked_at: int = 0
    unbuildable: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    over: Counter[CountedQuantity] = field(default_factory=Counter)
    smallest: dict[CountedQuantity, float] = field(default_factory=dict)
    survivors: Survivors = field(default_factory=lambda: _gather([]))


@dataclass(kw_only=True)
class Screening(Tally):
    """What came of a whole screening; `seed` is None where all variants were looked at."""

    space: Space
    limits: dict[CountedQuantity, int]
    total: int
    seed: int | None

    @property
    def walked(self) -> bool:
        """Whether every variant was looked at, so that counts are exact."""
        return self.looked_at == self.total

    @property
    def share(self) -> float:
        """The feasible share of what was looked at."""
        return len(self.survivors) / self.looked_at if self.looked_at else 0.0

    @property
    def share_interval(self) -> tuple[float, float]:
        """95 % interval of the feasible share of the whole space (Wilson); a point where all was looked at."""
        if self.walked:
            return self.share, self.share
        n, z = self.looked_at, 1.959964
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(self.share * (1 - self.share) / n + z * z / (4 * n * n))
        # What was seen bounds the whole space too.
        fit, rest = len(self.survivors), n - len(self.survivors)
        return max(fit / self.total, middle - half), min(1 - rest / self.total, middle + half)


def screen(
    space: Space,
    limits: ScreenLimits,
    samples: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    report: TellCounts = lambda done, total, feasible: None,
) -> Screening:
    """Look at all variants of `space`, or at `samples` distinct random ones, and keep those under all `limits`.

    Args:
        space: from `read_space`.
        limits: the most that each quantity may be; bytes for memory.
        samples: None walks the whole space. As many as there are, or more, walk it too.
        seed: of the sample; the same seed gives the same variants.
        jobs: processes; the result does not depend on it.
        report: told of progress.

    Raises:
        SpecError: a walk of more than 10 billion variants.
    """
    total = count_variants(space)
    if samples is None and total > WALKABLE:
        raise SpecError(f"{space.name}: {total:,} variants are too many to walk; sample it (--samples {SAMPLES})")
    sampled = samples is not None and samples < total
    indices = _sample(total, samples, seed) if samples is not None and sampled else range(total)
    result = Screening(space=space, limits=dict(limits), total=total, seed=seed if sampled else None)
    parts: dict[int, Survivors] = {}
    for number, found in _look_at_chunks(_read_base(space), space, dict(limits), indices, jobs):
        parts[number] = found.survivors
        result.looked_at += found.looked_at
        result.unbuildable += found.unbuildable
        result.reasons.update(found.reasons)
        result.over.update(found.over)
        for quantity, value in found.smallest.items():
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


_Row = tuple[int, QuickCost]


def _look_at_chunks(
    base: Base, space: Space, limits: ScreenLimits, indices: Sequence[int], jobs: int
) -> Iterator[tuple[int, Tally]]:
    chunks = [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]
    if jobs == 1 or len(chunks) == 1:
        for number, chunk in enumerate(chunks):
            yield number, _look_at(base, space, limits, chunk)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start_worker) as pool:
        numbers = iter(range(len(chunks)))
        with _interrupts_ignored():  # by the processes that start now, also before their initializer runs
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


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops its workers
    # Specs hold no cycles, and walking the kept results of each collection takes a third of the time.
    gc.freeze()
    gc.disable()


def _look_at(base: Base, space: Space, limits: ScreenLimits, indices: Iterable[int]) -> Tally:
    looked = Tally()
    rows: list[_Row] = []
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
        for quantity, value in values.items():
            if value < looked.smallest.get(quantity, math.inf):
                looked.smallest[quantity] = value
        over = [quantity for quantity, limit in limits.items() if values[quantity] > limit]
        looked.over.update(over)
        if not over:
            rows.append((index, cost))
    try:
        looked.survivors = _gather(rows)
    except OverflowError:
        size = format_size(space.size)
        raise SpecError(f"{space.name}: counts at {size} with {space.classes} classes do not fit 64 bits") from None
    return looked


def _reason(error: SpecError | ValidationError) -> str:
    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return str(error)


def _gather(rows: Sequence[_Row]) -> Survivors:
    def column(values: Iterable[float], kind: Any) -> np.ndarray:
        return np.fromiter(values, dtype=kind, count=len(rows))

    return Survivors(
        [index for index, _ in rows],
        column((cost.parameters for _, cost in rows), np.int64),
        column((cost.macs for _, cost in rows), np.int64),
        column((cost.eq2_flops for _, cost in rows), np.float64),
        column((cost.peak_activation_bytes for _, cost in rows), np.int64),
    )


def _join(parts: Sequence[Survivors]) -> Survivors:
    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    indices = [index for part in parts for index in part.indices]
    return Survivors(indices, *map(column, ("parameters", "macs", "eq2", "peak_activation_bytes")))


def rank_survivors(survivors: Survivors, by: CountedQuantity, largest: bool) -> Survivors:
    """Survivors in the order of a quantity, the smallest or the largest first; equals in the order of the space."""
    values = survivors.values(by)
    order = np.argsort(-values if largest else values, kind="stable")
    return survivors.take(order.tolist())


def distinct(space: Space, survivors: Survivors, most: int) -> list[tuple[int, dict[str, Any]]]:
    """The first `most` survivors that are different networks, with their changes of the base."""
    seen: set[str] = set()
    found: list[tuple[int, dict[str, Any]]] = []
    base = _read_base(space)
    for index in survivors.indices:
        if len(found) == most:
            break
        changes = changes_at(space, index)
        architecture = Architecture.model_validate(override(base, changes))
        fingerprint = plan_architecture(architecture, space.classes, space.size).fingerprint
        if fingerprint not in seen:
            seen.add(fingerprint)
            found.append((index, changes))
    return found


def describe_space(space: Space) -> str:
    """One line: how many combinations of how many axes, at which size."""
    axes = " x ".join(str(len(values)) for values in space.axes.values())
    size, total = format_size(space.size), count_variants(space)
    return f"{total:,} variants of {space.base} ({axes}) at {size}, {space.classes} classes"
