"""Forecast: how long the rest of a study takes, by the measured seconds of its finished jobs.

A training takes its variant's amount of work times the pace of the finished trainings; a profile takes as long as the
mean of the finished ones. There is no forecast before one job of each phase has finished, here or in an earlier run.
"""

import heapq
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from jetbench.execution.executor import Progress
from jetbench.execution.requests import Phase
from jetbench.network.operations import add_up
from jetbench.network.plan import AnyPlan
from jetbench.network.variants import Variant
from jetbench.profiling.listing import list_network
from jetbench.spec.profiling import ProfilingConfig

BYTES_PER_S, MACS_PER_S = 8e9, 60e9
"""Fit to the trainings of 28 networks (reports/paper/realtime): seconds are proportional to the bytes moved at this
rate plus the MACs at that rate, with a standard deviation of 23 %; to the MACs alone, of 110 %."""

USUAL_PACE = 3.7
"""Median seconds of those trainings for one unit of work, on one thread of an Intel Xeon at 2.6 GHz."""

USUAL_MACHINE = "one thread of an Intel Xeon at 2.6 GHz for each training"
FORWARD_SHARE = 0.25  # of a training step, for an image that is only evaluated
MOST_LISTED = 1000  # variants; a network takes milliseconds to list, so those of a longer sweep count as equal
MODEST_PRECISION, USUAL_WEIGHT = 0.1, 2
TRUSTED_SHARE = 0.3  # of a job: from here on its own pace counts


@dataclass(frozen=True)
class Work:
    """The training of one variant: `amount` in units of the pace, and the `seconds` that a budget in seconds fixes."""

    amount: float
    seconds: float = 0.0


class Forecaster(Protocol):
    """Estimates the time left of a study from the seconds of its finished jobs."""

    def took(self, key: str, phase: Phase, seconds: float | None) -> None:
        """A job has finished after so many seconds; None if that is not known."""

    def drop(self, key: str) -> None:
        """Nothing more is run for a variant."""

    def again(self, key: str, phase: Phase) -> None:
        """A finished phase of a variant is run again."""

    def left(self, running: Sequence[Progress]) -> float | None:
        """Seconds until all has finished; None while that is unknown."""


class Forecast:
    """The time left of a sweep, in seconds; see `Forecaster`."""

    def __init__(
        self,
        works: Mapping[str, Work],
        phases: Sequence[Phase],
        width: int,
        is_alone: bool,
        usual_profile_s: float | None = None,
    ) -> None:
        """A forecast that knows no finished job.

        Args:
            works: the training of each variant, by key.
            phases: the phases of each variant.
            width: number of trainings at once.
            is_alone: True if no training runs during a profile: they share a machine.
            usual_profile_s: seconds that a profile usually takes; they count like a few finished ones.
        """
        self._usual_profile = usual_profile_s
        self._works, self._phases, self._width, self._is_alone = dict(works), phases, max(1, width), is_alone
        self._done: dict[Phase, set[str]] = {"train": set(), "profile": set()}
        self._trained: list[tuple[Work, float]] = []
        self._profiled: list[float] = []

    def took(self, key: str, phase: Phase, seconds: float | None) -> None:
        """A job has finished after so many seconds; None if that is not known."""
        if key not in self._works:
            return
        self._done[phase].add(key)
        if seconds is None:
            return
        if phase == "train":
            self._trained.append((self._works[key], seconds))
        else:
            self._profiled.append(seconds)

    def guess(self, profiling: ProfilingConfig) -> None:
        """Assume the pace of a machine that is known, where no job has finished yet."""
        if not self._trained:
            self._trained.append((Work(1.0), USUAL_PACE))
        if not self._profiled:
            self._profiled.append(profile_guess(profiling))

    def drop(self, key: str) -> None:
        """Nothing more is run for a variant."""
        for done in self._done.values():
            done.add(key)

    def again(self, key: str, phase: Phase) -> None:
        """A finished phase of a variant is run again."""
        self._done[phase].discard(key)

    def left(self, running: Sequence[Progress]) -> float | None:
        """Seconds until all variants have finished; None while that is unknown."""
        under_way = {(job.job.key, job.job.phase): job for job in running if job.has_begun}
        totals: dict[Phase, float] = {"train": 0.0, "profile": 0.0}
        for phase in self._phases:
            rest = [key for key in self._works if key not in self._done[phase]]
            rest.sort(key=lambda key: (key, phase) not in under_way)  # stable: running ones hold their slots
            expected = (
                self._expected(phase, [job for (_, of), job in under_way.items() if of == phase]) if rest else None
            )
            if rest and expected is None:
                return None
            times = [_rest_of(under_way.get((key, phase)), expected(key)) for key in rest if expected is not None]
            totals[phase] = _makespan(times, self._width) if phase == "train" else sum(times)
        return sum(totals.values()) if self._is_alone else max(totals.values())

    def _expected(self, phase: Phase, running: Sequence[Progress]) -> Callable[[str], float] | None:
        """The seconds of that phase of a variant; None if no such job has finished."""
        if phase == "profile":
            if not self._profiled:
                return None
            # One in several profiles needs much longer until its median is precise. Few profiles hold none of those,
            # or too many: so what is usual counts, too, and a single long one counts less.
            usual = [self._usual_profile] * USUAL_WEIGHT if self._usual_profile is not None else []
            seconds = [*self._profiled, *usual]
            most = 2 * statistics.median(seconds)
            mean = statistics.fmean(min(each, most) for each in seconds)
            return lambda key: mean
        if not self._trained:
            return None
        done = [(work.amount, max(0.0, seconds - work.seconds)) for work, seconds in self._trained]
        for job in running:  # as far as they are, trainings under way count like finished ones
            work = self._works[job.job.key]
            if job.share >= TRUSTED_SHARE and work.seconds == 0:
                done.append((job.share * work.amount, job.seconds))
        amount = sum(each for each, _ in done)
        pace = sum(seconds for _, seconds in done) / amount if amount else 0.0
        return lambda key: self._works[key].seconds + pace * self._works[key].amount


def _rest_of(job: Progress | None, expected: float) -> float:
    """Seconds that a job still takes: by its own pace once much of it is done."""
    if job is None:
        return expected
    if job.share >= TRUSTED_SHARE:
        return job.seconds * (1 - job.share) / job.share
    return max(expected - job.seconds, 0.1 * expected)


def _makespan(times: Sequence[float], width: int) -> float:
    """Seconds until jobs have ended that start in order, each in the slot that is free first."""
    slots = [0.0] * width
    for seconds in times:
        heapq.heapreplace(slots, slots[0] + seconds)
    return max(slots)


def list_work(variants: Sequence[Variant], images: Mapping[str, int]) -> list[Work]:
    """The training of each variant, on so many images of each split."""
    plans = {variant.plan.fingerprint: variant.plan for variant in variants}
    costs = {name: _seconds_of(plan) for name, plan in plans.items()} if len(plans) <= MOST_LISTED else {}
    works = []
    for variant in variants:
        steps, seconds = variant.training.total_steps(images["train"]), 0.0
        if steps is None:
            steps, seconds = 0, variant.training.budget.amount
        evaluated = variant.training.evaluations * images["val"] + images["test"]
        seen = steps * variant.training.batch_size + FORWARD_SHARE * evaluated
        works.append(Work(seen * costs.get(variant.plan.fingerprint, 1.0), seconds))
    return works


def profile_guess(profiling: ProfilingConfig) -> float:
    """Seconds of a profile of a small network: its start-up, and for each process loading and timing.

    A precise median may take until `max_seconds`; a quarter of that is the mean of our machines.
    """
    until_precise = profiling.max_seconds / 4 if profiling.precision < MODEST_PRECISION else 0.0
    return 5.0 + profiling.processes * (2.0 + profiling.min_seconds + until_precise)


@lru_cache(maxsize=MOST_LISTED)
def _seconds_of(plan: AnyPlan) -> float:
    cost = add_up(list_network(plan))
    return cost.bytes_moved / BYTES_PER_S + cost.macs / MACS_PER_S
