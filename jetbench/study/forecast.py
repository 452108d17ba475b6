"""Forecast: how long the rest of a study takes, by the measured seconds of its finished jobs.

A training takes its variant's amount of work times the pace of the finished trainings; a profile takes as long as the
mean of the finished ones. There is no forecast before one job of each phase has finished, here or in an earlier run.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jetbench.execution.executor import Progress
from jetbench.execution.requests import Phase
from jetbench.network.operations import add_up
from jetbench.network.plan import AnyPlan
from jetbench.network.variants import Variant
from jetbench.profiling.listing import list_network
from jetbench.records.record import DatasetInfo

BYTES_PER_S, MACS_PER_S = 8e9, 60e9
"""Fit to the trainings of 28 networks (reports/paper/realtime): seconds are proportional to the bytes moved at this
rate plus the MACs at that rate, with a standard deviation of 23 %; to the MACs alone, of 110 %."""

FORWARD_SHARE = 0.25  # of a training step, for an image that is only evaluated
MOST_LISTED = 1000  # variants; a network takes milliseconds to list, so those of a longer sweep count as equal
TRUSTED_SHARE = 0.3  # of a job: from here on its own pace counts


@dataclass(frozen=True)
class Work:
    """The training of one variant: `amount` in units of the pace, and the `seconds` that a budget in seconds fixes."""

    amount: float
    seconds: float = 0.0


class Forecast:
    """The time left of a study, in seconds."""

    def __init__(self, works: Mapping[str, Work], phases: Sequence[Phase], width: int, is_alone: bool) -> None:
        """A forecast that knows no finished job.

        Args:
            works: the training of each variant, by key.
            phases: the phases of each variant.
            width: number of trainings at once.
            is_alone: True if no training runs during a profile: they share a machine.
        """
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

    def drop(self, key: str) -> None:
        """Nothing more is run for a variant."""
        for done in self._done.values():
            done.add(key)

    def again(self, key: str, phase: Phase) -> None:
        """A finished phase of a variant is run again."""
        self._done[phase].discard(key)

    def left(self, running: Sequence[Progress]) -> float | None:
        """Seconds until all variants have finished; None while that cannot be told."""
        under_way = {(job.job.key, job.job.phase): job for job in running if job.has_begun}
        totals: dict[Phase, float] = {"train": 0.0, "profile": 0.0}
        for phase in self._phases:
            rest = [key for key in self._works if key not in self._done[phase]]
            rest.sort(key=lambda key: (key, phase) not in under_way)  # stable: running ones hold their slots
            expected = self._expected(phase) if rest else None
            if rest and expected is None:
                return None
            times = [_rest_of(under_way.get((key, phase)), expected(key)) for key in rest if expected is not None]
            totals[phase] = _makespan(times, self._width) if phase == "train" else sum(times)
        return sum(totals.values()) if self._is_alone else max(totals.values())

    def _expected(self, phase: Phase) -> Callable[[str], float] | None:
        """The seconds of that phase of a variant; None if no such job has finished."""
        if phase == "profile":
            if not self._profiled:
                return None
            mean = sum(self._profiled) / len(self._profiled)
            return lambda key: mean
        amounts = sum(work.amount for work, _ in self._trained)
        if not amounts:
            return None
        pace = sum(max(0.0, seconds - work.seconds) for work, seconds in self._trained) / amounts
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


def list_work(variants: Sequence[Variant], dataset: DatasetInfo) -> list[Work]:
    """The training of each variant."""
    plans = {variant.plan.fingerprint: variant.plan for variant in variants}
    costs = {name: _seconds_of(plan) for name, plan in plans.items()} if len(plans) <= MOST_LISTED else {}
    works = []
    for variant in variants:
        steps, seconds = variant.training.total_steps(dataset.images["train"]), 0.0
        if steps is None:
            steps, seconds = 0, variant.training.budget.amount
        evaluated = variant.training.evaluations * dataset.images["val"] + dataset.images["test"]
        images = steps * variant.training.batch_size + FORWARD_SHARE * evaluated
        works.append(Work(images * costs.get(variant.plan.fingerprint, 1.0), seconds))
    return works


@lru_cache(maxsize=MOST_LISTED)
def _seconds_of(plan: AnyPlan) -> float:
    cost = add_up(list_network(plan))
    return cost.bytes_moved / BYTES_PER_S + cost.macs / MACS_PER_S
