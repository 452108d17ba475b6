"""Ledger: the records of a search, the outcome of each proposal, and the front. It calls no sampler."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from jetbench.network.plan import AnyPlan, plan_network
from jetbench.profiling.latency_model import LatencyModel
from jetbench.profiling.latency_predict import Predictor
from jetbench.profiling.listing import list_network
from jetbench.profiling.roofline import estimate, least_seconds
from jetbench.records.folder import is_worth_a_retry
from jetbench.records.record import Profile, Record
from jetbench.search.answer import Fate
from jetbench.search.space import Quantities, SearchSpace, describe_amount, describe_quantity, excesses, over_limit
from jetbench.search.stopping import curve_of, floors_of, miou_of
from jetbench.spec.architecture import AnyArchitecture, Architecture
from jetbench.spec.device import Device
from jetbench.spec.search import Objective
from jetbench.spec.training import Floor
from jetbench.stats import front_of
from jetbench.study.trials import Goal

MOST_OVER = 60  # measured networks in a row over a limit, after which the search ends
MOST_COUNTED = 2_000  # the same for networks that counting alone puts over a limit
MOST_FAILED = 5  # networks in a row that failed, after which the search ends
UNMEASURED: tuple[Objective, ...] = ("latency", "energy", "power")
COSTLY = (*UNMEASURED, "estimated latency", "predicted latency")  # limits that counting cannot check


class Ledger:
    """The records of a search.

    `counts` are the numbers of proposals by outcome: `trained`, `stopped` early, `failed`, `repeated`, `unbuildable`,
    `taken over` from another study, `over` a limit. `over` are the numbers of the latter by limit.
    """

    def __init__(
        self,
        space: SearchSpace,
        board: Device | None = None,
        is_here: bool = True,
        model: LatencyModel | None = None,
    ) -> None:
        """An empty ledger.

        Args:
            space: the networks that may be proposed.
            board: the device that is searched for; its data sheet bounds a network's latency from below.
            is_here: True if this machine is that device; otherwise nothing is measured.
            model: predicts latencies on that device; before they are measured, or in their place.
        """
        self.space, self.search, self.board = space, space.search, board
        self.goals: dict[Objective, Goal] = {
            name: "maximize" if name == "miou" else "minimize" for name in self.search.objectives
        }
        # Profile proposals only for an objective or limit that needs it; the final networks are profiled in any case.
        wanted = (*self.goals, *self.search.limits.given)
        self.measures = is_here and any(name in UNMEASURED for name in wanted)
        self.model = model if "latency" in wanted else None
        self._predictor = Predictor(self.model) if self.model is not None else None
        # Where the device is elsewhere, a model or its data sheet stands for a latency that is asked for.
        self.estimates = board is not None and not is_here and "latency" in wanted
        self._at_best: dict[str, float | None] = {}
        self.counts: Counter[str] = Counter()
        self.over: Counter[str] = Counter()
        self.landed: list[Record] = []
        self.known: dict[str, Record] = {}
        self._in_a_row: Counter[str] = Counter()

    def enter(self, record: Record) -> bool:
        """Enter a record; False if its network has a record already."""
        if record.fingerprint in self.known:
            return False
        self.known[record.fingerprint] = record
        self.landed.append(record)
        limit, outcome = limit_of(record), outcome_of(record)
        if limit is None:
            self._in_a_row["measured"] = self._in_a_row["counted"] = 0
            self._in_a_row["failed"] = self._in_a_row["failed"] + 1 if outcome == "failed" else 0
        elif limit in COSTLY:
            self._in_a_row["measured"] += 1
        else:
            self._in_a_row["counted"] += 1
        is_own = self.own_number(record.variant) is not None
        self.counts[outcome if is_own else "taken over"] += 1
        if is_own and limit is not None:
            self.over[limit] += 1
        return True

    def enter_all(self, records: Sequence[Record], retry_failed: bool = False) -> "Ledger":
        """Enter records of earlier runs, with `retry_failed` without failed ones; returns itself."""
        for record in records:
            if not (retry_failed and is_worth_a_retry(record)):
                self.enter(record)
        return self

    def own_number(self, variant: str) -> int | None:
        """The number in the name of a network of this search; None for a network that was taken over."""
        named = re.fullmatch(rf"{re.escape(self.search.name)}-(\d{{3,}})", variant)
        return int(named[1]) if named else None

    @property
    def finished(self) -> int:
        """Trainings that have ended."""
        return self.counts["trained"] + self.counts["stopped"] + self.counts["failed"]

    def describe(self) -> str:
        """One line about the outcomes of the proposals so far."""
        over = self.counts["over"]
        by = ", ".join(f"{limit} {count}" for limit, count in self.over.most_common())
        parts = [f"{self.counts['trained']} trained"]
        parts += [f"{self.counts['stopped']} stopped early"] * (self.counts["stopped"] > 0)
        parts += [f"{over} over a limit ({by})"] * (over > 0)
        parts += [f"{self.counts[what]} {what}" for what in ("failed", "unbuildable", "repeated") if self.counts[what]]
        parts += [f"{self.counts['taken over']} taken over"] * (self.counts["taken over"] > 0)
        front = self.front()
        best = f", best {miou_of(front[0]):.1%}" if front else ""
        return f"{', '.join(parts)}; front of {len(front)}{best}"

    def describe_point(self, record: Record) -> str:
        """`39.7 % at 83.4 M MACs`: a record's mIoU and its costs among the search's objectives."""
        costs = [
            (name, value)
            for name, value in zip(
                [name for name in self.goals if name != "miou"],
                self._costs(record.architecture, record.profile),
                strict=True,
            )
        ]
        at = ", ".join(describe_amount(name, value) for name, value in costs if value is not None)
        return f"{describe_quantity('miou', miou_of(record))} at {at}"

    def state(self) -> list[str]:
        """The outcomes of the proposals, and the front: `front: 39.7 % at 83.4 M, 36.4 % at 29.0 M and 3 more`."""
        points = [self.describe_point(record) for record in self.front()[:4]]
        more = len(self.front()) - len(points)
        front = f"front: {', '.join(points)}" + (f" and {more} more" if more else "")
        return [self.describe(), *([front] if points else [])]

    def why_ended(self) -> str | None:
        """Why the search ends before its trainings are spent; None while it continues."""
        if self._in_a_row["failed"] >= MOST_FAILED:
            last = next(record for record in reversed(self.landed) if outcome_of(record) == "failed")
            return (
                f"the last {MOST_FAILED} networks failed, the most recent one: "
                f"{last.failure.reason if last.failure else ''}. Fix the cause, then use --retry-failed to retry them"
            )
        if self._in_a_row["measured"] >= MOST_OVER:
            return (
                f"the last {MOST_OVER} networks whose latency or energy was measured, estimated or predicted are over "
                f"a limit; {self._nearest()}"
            )
        if self._in_a_row["counted"] >= MOST_COUNTED:
            return f"the last {MOST_COUNTED:,} networks are over a limit; {self._nearest()}"
        return None

    def _nearest(self) -> str:
        over = [record for record in self.landed if limit_of(record) is not None]
        nearest = min(over, key=lambda record: self.worst_excess(record)[1])
        reason = nearest.failure.reason if nearest.failure else ""
        return f"the nearest is {nearest.variant}, {reason}"

    def lacking(self, known: Quantities) -> list[Objective]:
        """The quantities that this search needs and that `known` lacks."""
        wanted = [name for name in (*self.goals, *self.search.limits.given) if name in UNMEASURED]
        return [name for name in wanted if known.get(name) is None] if self.measures else []

    def quantities(self, architecture: AnyArchitecture, plan: AnyPlan | None, profile: Profile | None) -> Quantities:
        """All quantities that are known without a training; the estimated latency only where it is needed.

        If the latency will be measured, the estimate is a lower bound for any program, so that it excludes no network
        that could fit.
        """
        at_best = self.estimated_latency(architecture, plan)
        predicted, reason = self._predicted(architecture)
        if self.board is not None and self.measures and self.search.limits.latency is not None:
            plan = plan or plan_network(architecture, self.space.num_classes, self.space.input_size)
            at_best = least_seconds(list_network(plan), self.board)
        known = Quantities.of(self.space.cost(architecture), profile, at_best, self.board.name if self.board else "")
        if self.model is None:
            return known
        if self.measures:  # only what is over the limit for sure is not measured
            return replace(known, predicted_latency=None if predicted is None else predicted * (1 - self.model.half))
        return replace(known, predicted_latency=predicted, unpredicted=reason if self.estimates else "")

    def floors(self, architecture: AnyArchitecture, profile: Profile | None, evaluations: int) -> tuple[Floor, ...]:
        """The mIoU that a training must reach to continue (see `floors_of`)."""
        if not self.search.early_stop:
            return ()
        own = self._costs(architecture, profile)
        done = [record for record, _ in self.points()]
        beaten_by = [
            miou_of(record)
            for record in done
            if all(
                theirs is not None and mine is not None and theirs <= mine
                for theirs, mine in zip(self._costs(record.architecture, record.profile), own, strict=True)
            )
        ]
        return floors_of([curve_of(record) for record in done], beaten_by, evaluations)

    def _costs(self, architecture: AnyArchitecture, profile: Profile | None) -> list[float | None]:
        """The costs among the objectives, in their order."""
        quantities = Quantities.of(self.space.cost(architecture), profile)
        return [
            self.assumed_latency(architecture) if name == "latency" and self.estimates else quantities.get(name)
            for name in self.goals
            if name != "miou"
        ]

    def assumed_latency(self, architecture: AnyArchitecture) -> float | None:
        """Seconds of one image on a device that is elsewhere: predicted by a model, or estimated by its data sheet."""
        if self.model is not None:
            return self.predicted_latency(architecture)
        return self.estimated_latency(architecture)

    def predicted_latency(self, architecture: AnyArchitecture) -> float | None:
        """Seconds of one image by the latency model, where it stands for a measurement; None where it gives none."""
        return self._predicted(architecture)[0] if self.estimates else None

    def _predicted(self, architecture: AnyArchitecture) -> tuple[float | None, str]:
        """Seconds of one image by the latency model, or why it gives none."""
        if self._predictor is None or not isinstance(architecture, Architecture):
            return None, "" if self._predictor is None else "it is no JetSeg network"
        seconds, reason = self._predictor.predict(architecture)
        return (None, reason) if reason else (seconds / self.search.profiling.batch_size, "")

    def estimated_latency(self, architecture: AnyArchitecture, plan: AnyPlan | None = None) -> float | None:
        """Seconds of one image on a device that is elsewhere, by its data sheet; None where nothing is estimated."""
        if self.board is None or not self.estimates or self.model is not None:
            return None
        plan = plan or plan_network(architecture, self.space.num_classes, self.space.input_size)
        if plan.fingerprint not in self._at_best:
            config = self.search.profiling
            mode = self.search.power_mode
            share = self.board.clock_share(mode) if mode is not None else None
            roof = estimate(list_network(plan), self.board, config.dtype, config.batch_size, None, share)
            self._at_best[plan.fingerprint] = None if isinstance(roof, str) else roof.seconds / config.batch_size
        return self._at_best[plan.fingerprint]

    def values(self, record: Record) -> list[float] | None:
        """The objectives of a record in their order; None if one of them is missing."""
        if record.training is None:
            return None
        costs = iter(self._costs(record.architecture, record.profile))
        values = [miou_of(record) if name == "miou" else next(costs) for name in self.goals]
        present = [value for value in values if value is not None]
        return present if len(present) == len(values) else None

    def worst_excess(self, record: Record) -> tuple[str, float]:
        """The limit that a network exceeds most, and the share by which it exceeds it."""
        quantities = self.quantities(record.architecture, None, record.profile)
        over = [(what, excess) for what, excess, _ in excesses(self.search.limits, quantities)]
        # The limit may have been lifted since; then the network counts as just over it.
        return max(over, key=lambda item: item[1]) if over else ("limit", 0.0)

    def front(self) -> list[Record]:
        """The Pareto-optimal networks in all objectives, the best mIoU first."""
        rows = list(self.points())
        kept = front_of([values for _, values in rows])
        return sorted((rows[number][0] for number in kept), key=miou_of, reverse=True)

    def tried(self) -> Iterator[tuple[Record, list[float]]]:
        """Each training in order, also those that were ended early, with its objectives; less is better."""
        for record in self.landed:
            values = self.values(record)
            if values is not None:
                signs = (-1 if goal == "maximize" else 1 for goal in self.goals.values())
                yield record, [sign * value for sign, value in zip(signs, values, strict=True)]

    def points(self) -> Iterator[tuple[Record, list[float]]]:
        """Finished trainings only, as in `tried`."""
        return ((record, values) for record, values in self.tried() if record.failure is None)

    def fates(self) -> list[Fate]:
        """The outcome and the known quantities of every proposal with a record."""
        fates = []
        for record in self.landed:
            quantities = self.quantities(record.architecture, None, record.profile)
            limit = limit_of(record)
            excess = next((by for what, by, _ in excesses(self.search.limits, quantities) if what == limit), None)
            miou = miou_of(record) if record.training else None
            fates.append(Fate(record, limit, excess, {**vars(quantities), "val_miou": miou}))
        return fates

    def take_over(self, record: Record) -> Record | None:
        """A finished record of another study as a record of this search; None if this search cannot use it.

        The network must be in this space and within all limits, and have all quantities that this search measures.
        """
        variant = self.space.variant_of(record)
        if variant is None or variant.plan.fingerprint != record.fingerprint:
            return None
        quantities = self.quantities(record.architecture, None, record.profile)
        if record.failure is not None or self.values(record) is None:
            return None
        if self.lacking(quantities) or over_limit(self.search.limits, quantities):
            return None
        return record.model_copy(update={"changes": variant.changes, "architecture": variant.architecture})

    def trained_params(self) -> list[tuple[Mapping[str, str], list[float]]]:
        """The assignments that were trained, with their objectives; less is better."""
        return [
            (params, values)
            for record, values in self.tried()
            if (params := self.space.params(record.changes)) is not None
        ]


def outcome_of(record: Record) -> str:
    """`trained`, `stopped`, `failed`, or `over` a limit."""
    if record.failure is None:
        return "trained"
    if record.failure.status == "stopped":
        return "stopped"
    return "failed" if limit_of(record) is None else "over"


def limit_of(record: Record) -> str | None:
    """The limit because of which a network was not trained; None if there is no such limit."""
    return record.failure.limit if record.failure is not None else None
