"""Ledger: what has landed in a search, what became of each proposal, and the front. No sampler is asked here."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from jetbench.network.plan import AnyPlan, plan_architecture
from jetbench.profiling.listing import list_network
from jetbench.profiling.roofline import estimate, least_seconds
from jetbench.records.folder import is_worth_a_retry
from jetbench.records.record import Profile, Record
from jetbench.search.answer import Fate
from jetbench.search.space import Quantities, SearchSpace, describe_amount, describe_quantity, excesses, over_limit
from jetbench.search.stopping import curve_of, floors_of, miou_of
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.device import Device
from jetbench.spec.search import Objective
from jetbench.spec.training import Floor
from jetbench.stats import front_of
from jetbench.study.trials import Goal

MOST_OVER = 60  # networks in a row that were measured and found over a limit: then nothing within it is expected
MOST_COUNTED = 2_000  # the same for what counting alone tells
MOST_FAILED = 5  # networks in a row that failed: then the next will fail too
UNMEASURED: tuple[Objective, ...] = ("latency", "energy")
COSTLY = (*UNMEASURED, "estimated latency")  # what counting cannot tell


class Ledger:
    """What has landed in a search.

    `counts` are what became of proposals: `trained`, `stopped` early, `failed`, `repeated`, `unbuildable`, `taken over`
    from another study, and `over LIMIT`.
    """

    def __init__(self, space: SearchSpace, board: Device | None = None, is_here: bool = True) -> None:
        """An empty ledger.

        Args:
            space: what may be proposed.
            board: what is searched for; its data sheet says what a network takes at best.
            is_here: whether this machine is that; else nothing is measured.
        """
        self.space, self.search, self.board = space, space.search, board
        self.goals: dict[Objective, Goal] = {
            name: "maximize" if name == "miou" else "minimize" for name in self.search.objectives
        }
        # What nobody asked for is not measured here: the final networks are.
        wanted = (*self.goals, *self.search.limits.given)
        self.measures = is_here and any(name in UNMEASURED for name in wanted)
        self.counts: Counter[str] = Counter()
        self.landed: list[Record] = []
        self.known: dict[str, Record] = {}
        self._in_a_row: Counter[str] = Counter()

    def enter(self, record: Record) -> bool:
        """Enter a record; False if its network is known already."""
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
        self.counts["taken over" if self.own_number(record.variant) is None else outcome] += 1
        return True

    def enter_all(self, records: Sequence[Record], retry_failed: bool = False) -> "Ledger":
        """Enter records of earlier runs; with `retry_failed` not those that failed. Returns itself."""
        for record in records:
            if not (retry_failed and is_worth_a_retry(record)):
                self.enter(record)
        return self

    def own_number(self, variant: str) -> int | None:
        """Which network of this search it is; None for one that was taken over."""
        named = re.fullmatch(rf"{re.escape(self.search.name)}-(\d{{3,}})", variant)
        return int(named[1]) if named else None

    @property
    def finished(self) -> int:
        """Trainings that have ended."""
        return self.counts["trained"] + self.counts["stopped"] + self.counts["failed"]

    def describe(self) -> str:
        """What became of the proposals so far, in a line."""
        over = sum(count for what, count in self.counts.items() if what.startswith("over "))
        by = ", ".join(f"{w.removeprefix('over ')} {n}" for w, n in self.counts.most_common() if w.startswith("over "))
        parts = [f"{self.counts['trained']} trained"]
        parts += [f"{self.counts['stopped']} stopped early"] * (self.counts["stopped"] > 0)
        parts += [f"{over} over a limit ({by})"] * (over > 0)
        parts += [f"{self.counts[what]} {what}" for what in ("failed", "unbuildable", "repeated") if self.counts[what]]
        parts += [f"{self.counts['taken over']} taken over"] * (self.counts["taken over"] > 0)
        front = self.front()
        best = f", best {miou_of(front[0]):.1%}" if front else ""
        return f"{', '.join(parts)}; front of {len(front)}{best}"

    def describe_point(self, record: Record) -> str:
        """`39.7 % at 83.4 M MACs`: its mIoU and what the search keeps down."""
        known = Quantities.of(self.space.cost(record.architecture), record.profile)
        costs = [(name, known.get(name)) for name in self.goals if name != "miou"]
        at = ", ".join(describe_amount(name, value) for name, value in costs if value is not None)
        return f"{describe_quantity('miou', miou_of(record))} at {at}"

    def state(self) -> list[str]:
        """What became of the proposals, and the front: `front: 39.7 % at 83.4 M, 36.4 % at 29.0 M and 3 more`."""
        points = [self.describe_point(record) for record in self.front()[:4]]
        more = len(self.front()) - len(points)
        front = f"front: {', '.join(points)}" + (f" and {more} more" if more else "")
        return [self.describe(), *([front] if points else [])]

    def why_ended(self) -> str | None:
        """Why it makes no sense to propose any more; None while it does."""
        if self._in_a_row["failed"] >= MOST_FAILED:
            last = next(record for record in reversed(self.landed) if outcome_of(record) == "failed")
            return (
                f"the last {MOST_FAILED} networks failed, the last of them: "
                f"{last.failure.reason if last.failure else ''}. When that is mended, --retry-failed tries them again"
            )
        if self._in_a_row["measured"] >= MOST_OVER:
            return (
                f"the last {MOST_OVER} networks whose latency or energy was measured or estimated are over a limit; "
                f"{self._nearest()}"
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
        """What this search must know of a network and does not."""
        wanted = [name for name in (*self.goals, *self.search.limits.given) if name in UNMEASURED]
        return [name for name in wanted if known.get(name) is None] if self.measures else []

    def quantities(self, architecture: AnyArchitecture, plan: AnyPlan | None, profile: Profile | None) -> Quantities:
        """All that is known without a training; what the device takes at best only where a limit asks for it.

        Where the latency will be measured, only what no program could undercut may rule it out.
        """
        at_best = None
        if self.board is not None and self.search.limits.latency is not None:
            plan = plan or plan_architecture(architecture, self.space.num_classes, self.space.input_size)
            config = self.search.profiling
            operations = list_network(plan)
            if self.measures:
                at_best = least_seconds(operations, self.board)
            else:
                roof = estimate(operations, self.board, config.dtype, config.batch_size)
                at_best = None if isinstance(roof, str) else roof.seconds / config.batch_size
        return Quantities.of(self.space.cost(architecture), profile, at_best)

    def floors(self, architecture: AnyArchitecture, profile: Profile | None, evaluations: int) -> tuple[Floor, ...]:
        """What a training must reach to go on (see `floors_of`)."""
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
        known = Quantities.of(self.space.cost(architecture), profile)
        return [known.get(name) for name in self.goals if name != "miou"]

    def values(self, record: Record) -> list[float] | None:
        """The objectives of a record in their order; None if it has not all of them."""
        if record.training is None:
            return None
        known = Quantities.of(self.space.cost(record.architecture), record.profile)
        values = [miou_of(record) if name == "miou" else known.get(name) for name in self.goals]
        present = [value for value in values if value is not None]
        return present if len(present) == len(values) else None

    def worst_excess(self, record: Record) -> tuple[str, float]:
        """The limit that a network exceeds most, and by what share."""
        known = self.quantities(record.architecture, None, record.profile)
        over = [(what, excess) for what, excess, _ in excesses(self.search.limits, known)]
        # A limit may have been lifted since; then what it had stopped is only just over.
        return max(over, key=lambda item: item[1]) if over else ("limit", 0.0)

    def front(self) -> list[Record]:
        """The Pareto-optimal networks in all objectives, the best mIoU first."""
        rows = list(self.points())
        kept = front_of([values for _, values in rows])
        return sorted((rows[number][0] for number in kept), key=miou_of, reverse=True)

    def tried(self) -> Iterator[tuple[Record, list[float]]]:
        """Each training in its order with its objectives, less being better; those that were ended early too."""
        for record in self.landed:
            values = self.values(record)
            if values is not None:
                signs = (-1 if goal == "maximize" else 1 for goal in self.goals.values())
                yield record, [sign * value for sign, value in zip(signs, values, strict=True)]

    def points(self) -> Iterator[tuple[Record, list[float]]]:
        """The same of finished trainings only."""
        return ((record, values) for record, values in self.tried() if record.failure is None)

    def fates(self) -> list[Fate]:
        """Every landed proposal, what became of it, and what is known of it."""
        fates = []
        for record in self.landed:
            known = self.quantities(record.architecture, None, record.profile)
            limit = limit_of(record)
            excess = next((by for what, by, _ in excesses(self.search.limits, known) if what == limit), None)
            miou = miou_of(record) if record.training else None
            fates.append(Fate(record, limit, excess, {**vars(known), "val_miou": miou}))
        return fates

    def take_over(self, record: Record) -> Record | None:
        """A finished record of another study as one of this space, if its network is one that this search would train.

        It must be within all limits, and everything that this search measures must be known of it.
        """
        known = self.quantities(record.architecture, None, record.profile)
        if record.failure is not None or self.values(record) is None:
            return None
        if self.lacking(known) or over_limit(self.search.limits, known):
            return None
        variant = self.space.variant_of(record)
        if variant is None or variant.plan.fingerprint != record.fingerprint:
            return None
        return record.model_copy(update={"changes": variant.changes, "architecture": variant.architecture})

    def trained_params(self) -> list[tuple[Mapping[str, str], list[float]]]:
        """The assignments that were trained, with their objectives, less being better."""
        return [
            (params, values)
            for record, values in self.tried()
            if (params := self.space.params(record.changes)) is not None
        ]


def outcome_of(record: Record) -> str:
    """trained, stopped, failed, or the limit that it was over."""
    if record.failure is None:
        return "trained"
    if record.failure.status == "stopped":
        return "stopped"
    limit = limit_of(record)
    return f"over {limit}" if limit else "failed"


def limit_of(record: Record) -> str | None:
    """The limit that kept a network from being trained; None if none did."""
    return record.failure.limit if record.failure is not None else None
