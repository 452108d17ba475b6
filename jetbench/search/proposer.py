"""Chooser 3: proposes networks of a conditional space under limits, and learns from what lands. Optuna chooses.

What is cheap to know is asked first: whether a network can be built, its counts, its latency untrained. Only what
passes is trained, and a training that cannot reach the front any more is ended. Optuna's study here is in memory and
made anew from the records: they are the truth.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec

import optuna
from optuna.trial import TrialState

from jetbench.errors import SpecError
from jetbench.execution.requests import Phase
from jetbench.network.plan import AnyPlan, plan_architecture
from jetbench.network.variants import Variant
from jetbench.profiling.listing import list_network
from jetbench.profiling.roofline import estimate, least_seconds
from jetbench.records.folder import is_worth_a_retry
from jetbench.records.record import Failure, Profile, Record
from jetbench.records.verdict import judge
from jetbench.search.additive import AdditivePicker
from jetbench.search.answer import Fate
from jetbench.search.space import Quantities, SearchSpace, describe_cost, describe_quantity, excesses, over_limit
from jetbench.search.stopping import curve_of, floors_of, miou_of
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.device import Device
from jetbench.spec.search import Objective, Search
from jetbench.spec.training import Floor
from jetbench.stats import front_of
from jetbench.study.trials import Goal

PATIENCE = 500  # proposals in a row that are known or cannot be built: then the space is taken for exhausted
MOST_OVER = 60  # networks in a row that were measured and found over a limit: then nothing within it is expected
MOST_COUNTED = 2_000  # the same for what counting alone tells
MOST_FAILED = 5  # networks in a row that failed: then the next will fail too
STARTUP = 10  # random networks before a sampler that learns takes over
UNMEASURED = ("latency", "energy")
COSTLY = (*UNMEASURED, "estimated latency")  # what counting cannot tell


class Searcher:
    """The chooser of a search (see `driver.Chooser`).

    `counts` are what became of proposals: `trained`, `stopped` early, `failed`, `repeated`, `unbuildable`, `taken over`
    from another study, and the limit that others were over.
    """

    def __init__(
        self,
        space: SearchSpace,
        records: Sequence[Record] = (),
        board: Device | None = None,
        is_here: bool = True,
        tell: Callable[[Record, Mapping[str, str], Sequence[float] | None], None] = lambda *_: None,
        retry_failed: bool = False,
        asked: Mapping[str, Mapping[str, str]] | None = None,
        keep: Callable[[Mapping[str, Mapping[str, str]]], None] = lambda _: None,
    ) -> None:
        """Begin, or go on after `records`.

        Args:
            space: what may be proposed.
            records: what has landed already, in this order.
            board: what is searched for; what it takes at best by its data sheet is held against a latency limit.
            is_here: whether this machine is that; else nothing is measured.
            tell: told every landed record with its parameters and objectives.
            retry_failed: what failed earlier may be proposed again.
            asked: names and assignments that were under way when the search was stopped; they are proposed first.
            keep: told what is under way, each time that changes.
        """
        self.space, self.search, self.board = space, space.search, board
        self._tell_others, self._keep = tell, keep
        self.goals: dict[Objective, Goal] = {
            name: "maximize" if name == "miou" else "minimize" for name in self.search.objectives
        }
        # What nobody asked for is not measured here: the final networks are.
        measures = any(name in UNMEASURED for name in (*self.goals, *self.search.limits.given)) and is_here
        self.phases: tuple[Phase, ...] = ("profile", "train") if measures else ("train",)
        self.counts: Counter[str] = Counter()
        self.landed: list[Record] = []
        self.ended_by: str | None = None
        self._unbuildable = ""
        self._in_a_row: Counter[str] = Counter()
        self._known: dict[str, Record] = {}
        self._waiting: dict[str, list[optuna.Trial]] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Another one after each resume: the same would propose again what has landed.
        self._seed = (self.search.seed + 1_000_003 * len(records)) % 2**32
        names = [*(record.variant for record in records), *(asked or {})]
        self._number = max((self._own_number(name) or 0 for name in names), default=0)
        # NSGA-II knows only the networks of its generations; its first is random anyway.
        learns_at_once = self.search.sampler == "nsga2"
        first = _sampler(self.search, self._seed) if learns_at_once else optuna.samplers.RandomSampler(seed=self._seed)
        self.study = optuna.create_study(directions=list(self.goals.values()), sampler=first)
        self._learns = learns_at_once or self.search.sampler == "random"
        self._picker = (
            AdditivePicker(space, list(self.goals), self._seed) if self.search.sampler == "additive" else None
        )
        for record in records:
            if not (retry_failed and is_worth_a_retry(record)):
                self._add(record)
        self._names: dict[str, str] = {}
        self._under_way: dict[str, tuple[str, dict[str, str]]] = {}
        for name, chosen in (asked or {}).items():
            self._queue(chosen, name)
        if (start := space.start()) is not None:
            self._queue(start)

    def _queue(self, chosen: Mapping[str, str], name: str | None = None) -> None:
        """Propose that network next, under its name, unless it is known."""
        fingerprint = self.space.variant(chosen, "").plan.fingerprint
        if fingerprint in self._known or fingerprint in self._names:
            return
        if name is not None:
            self._names[fingerprint] = name
        self.study.enqueue_trial(dict(chosen))

    def _own_number(self, variant: str) -> int | None:
        """Which network of this search it is; None of one that was taken over."""
        named = re.fullmatch(rf"{re.escape(self.search.name)}-(\d{{3,}})", variant)
        return int(named[1]) if named else None

    @property
    def spent(self) -> int:
        """Trainings that have ended or are under way."""
        return self.counts["trained"] + self.counts["stopped"] + self.counts["failed"] + len(self._waiting)

    @property
    def finished(self) -> int:
        """Trainings that have ended."""
        return self.spent - len(self._waiting)

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
        at = ", ".join(describe_cost(name, value) for name, value in costs if value is not None)
        return f"{describe_quantity('miou', miou_of(record))} at {at}"

    def state(self) -> list[str]:
        """What became of the proposals, and the front: `front: 39.7 % at 83.4 M, 36.4 % at 29.0 M and 3 more`."""
        told = [self.describe_point(record) for record in self.front()[:4]]
        more = len(self.front()) - len(told)
        lines = [self.describe()]
        return [*lines, f"front: {', '.join(told)}" + (f" and {more} more" if more else "")] if told else lines

    def ask(self) -> Variant | None:
        """See `driver.Chooser`."""
        if self.spent >= self.search.trainings or self.ended_by:
            return None
        self.ended_by = self._why_ended()
        if self.ended_by:
            return None
        for _ in range(PATIENCE):
            self._choose_sampler()
            trial = self.study.ask()
            chosen = self.space.suggest(trial)
            try:
                variant = self.space.variant(chosen, f"{self.search.name}-{self._number + 1:03d}")
            except SpecError as error:
                self.counts["unbuildable"] += 1
                self._unbuildable = str(error)
                self._tell_over(trial, "buildable", 1.0)
                continue
            fingerprint = variant.plan.fingerprint
            if fingerprint in self._waiting:
                self._waiting[fingerprint].append(trial)
                self.counts["repeated"] += 1
            elif fingerprint in self._known:
                self.counts["repeated"] += 1
                self._tell(trial, self._known[fingerprint])
            else:
                self._waiting[fingerprint] = [trial]
                if fingerprint in self._names:
                    variant = replace(variant, name=self._names.pop(fingerprint))
                else:
                    self._number += 1
                self._under_way[fingerprint] = variant.name, chosen
                self._keep(dict(self._under_way.values()))
                return variant
        self.ended_by = f"the space is exhausted: {PATIENCE} proposals in a row were known or cannot be built"
        if self._unbuildable:
            self.ended_by += f" (the last that cannot: {self._unbuildable})"
        return None

    def _why_ended(self) -> str | None:
        """Why it makes no sense to propose any more, if it makes none."""
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
        nearest = min(over, key=lambda record: self._worst_excess(record)[1])
        reason = nearest.failure.reason if nearest.failure else ""
        return f"the nearest is {nearest.variant}, {reason}"

    def _choose_sampler(self) -> None:
        """Random networks first, of those that fit: a sampler that learns needs something to learn from."""
        if not self._learns:
            values = [t for t in self.study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
            if len(values) < self.startup:
                return
            if self._picker is None:
                self._learns, self.study.sampler = True, _sampler(self.search, self._seed)
                return
            if self.study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
                return
            trained = [
                (params, values)
                for record, values in self.tried()
                if (params := self.space.params(record.changes)) is not None
            ]
            waiting = [params for trials in self._waiting.values() if (params := dict(trials[0].params))]
            picked = self._picker.pick(trained, waiting, {*self._known, *self._waiting})
            if picked is not None:
                self.study.enqueue_trial(picked)

    @property
    def startup(self) -> int:
        """How many random networks are trained first."""
        return min(STARTUP, max(2, self.search.trainings // 3))

    def stop(self, variant: Variant, profile: Profile | None) -> Failure | None:
        """See `driver.Chooser`."""
        known = self._known_of(variant.architecture, variant.plan, profile)
        failure = over_limit(self.search.limits, known)
        if failure is None and profile is not None:
            verdict = judge(profile)
            if verdict.level == "invalid":
                why = f"its profile is invalid: {'; '.join(verdict.reasons)}"
                return Failure(phase="profile", status="error", reason=why)
            lacking = self._lacking(known)
            if lacking:
                why = profile.notes.get("power_w" if lacking[0] == "energy" else "latency", "not measured")
                failure = Failure(phase="profile", status="error", reason=f"no {lacking[0]}: {why}")
        return failure

    def _lacking(self, known: Quantities) -> list[Objective]:
        """What this search must know of a network and does not."""
        wanted = [name for name in (*self.goals, *self.search.limits.given) if name in UNMEASURED]
        return [name for name in wanted if known.get(name) is None] if "profile" in self.phases else []

    def _known_of(self, architecture: AnyArchitecture, plan: AnyPlan | None, profile: Profile | None) -> Quantities:
        """All that is known without a training; what the device takes at best only where a limit asks for it.

        Where the latency will be measured, only what no program could undercut may rule it out.
        """
        at_best = None
        if self.board is not None and self.search.limits.latency is not None:
            plan = plan or plan_architecture(architecture, self.space.num_classes, self.space.input_size)
            config = self.search.profiling
            operations = list_network(plan)
            if "profile" in self.phases:
                at_best = least_seconds(operations, self.board)
            else:
                told = estimate(operations, self.board, config.dtype, config.batch_size)
                at_best = None if isinstance(told, str) else told.seconds / config.batch_size
        return Quantities.of(self.space.cost(architecture), profile, at_best)

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """What a training must reach to go on (see `floors_of`)."""
        if not self.search.early_stop:
            return ()
        own = self._costs(variant.architecture, profile)
        done = [record for record, _ in self.points()]
        beaten_by = [
            miou_of(record)
            for record in done
            if all(
                theirs is not None and mine is not None and theirs <= mine
                for theirs, mine in zip(self._costs(record.architecture, record.profile), own, strict=True)
            )
        ]
        return floors_of([curve_of(record) for record in done], beaten_by, variant.training.evaluations)

    def _costs(self, architecture: AnyArchitecture, profile: Profile | None) -> list[float | None]:
        known = Quantities.of(self.space.cost(architecture), profile)
        return [known.get(name) for name in self.goals if name != "miou"]

    def values(self, record: Record) -> list[float] | None:
        """The objectives of a record in their order; None if it has not all of them."""
        if record.training is None:
            return None
        known = Quantities.of(self.space.cost(record.architecture), record.profile)
        values = [miou_of(record) if name == "miou" else known.get(name) for name in self.goals]
        there = [value for value in values if value is not None]
        return there if len(there) == len(values) else None

    def learn(self, record: Record) -> None:
        """See `driver.Chooser`."""
        self._remember(record)
        if self._under_way.pop(record.fingerprint, None):
            self._keep(dict(self._under_way.values()))
        for trial in self._waiting.pop(record.fingerprint, []):
            self._tell(trial, record)

    def _remember(self, record: Record) -> None:
        if record.fingerprint in self._known:
            return
        self._known[record.fingerprint] = record
        self.landed.append(record)
        limit, outcome = limit_of(record), outcome_of(record)
        if limit is None:
            self._in_a_row["measured"] = self._in_a_row["counted"] = 0
            self._in_a_row["failed"] = self._in_a_row["failed"] + 1 if outcome == "failed" else 0
        elif limit in COSTLY:
            self._in_a_row["measured"] += 1
        else:
            self._in_a_row["counted"] += 1
        self.counts["taken over" if self._own_number(record.variant) is None else outcome] += 1
        params = self.space.params(record.changes)
        if params is not None:
            self._tell_others(record, params, self.values(record) if record.failure is None else None)

    def _add(self, record: Record) -> None:
        """A record of an earlier run: remembered, and told as a finished trial."""
        self._remember(record)
        params = self.space.params(record.changes)
        if params is None:
            return
        self.study.enqueue_trial(params)
        trial = self.study.ask()
        if isinstance(self.study.sampler, optuna.samplers.NSGAIISampler):
            _ = trial.relative_params  # what is given is put into a generation only when the sampler is asked
        self.space.suggest(trial)
        self._tell(trial, record)

    def _tell(self, trial: optuna.Trial, record: Record) -> None:
        """A landed record's values; over a limit by how much; or a failure, which teaches nothing."""
        values = self.values(record)
        if record.failure is not None and record.failure.phase == "limits":
            name, excess = self._worst_excess(record)
            self._tell_over(trial, name, excess)
        elif values is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            # A training that was ended early is behind the front with what it had reached, so this is no false hope.
            self.study.tell(trial, values)

    def _worst_excess(self, record: Record) -> tuple[str, float]:
        known = self._known_of(record.architecture, None, record.profile)
        over = [(what, excess) for what, excess, _ in excesses(self.search.limits, known)]
        # A limit may have been lifted since; then what it had stopped is only just over.
        return max(over, key=lambda item: item[1]) if over else ("limit", 0.0)

    def _tell_over(self, trial: optuna.Trial, name: str, excess: float) -> None:
        # TPE takes a tenth of all it was told for good ones: told too much of what is out, it takes every finished
        # network for good. So no more of those than of finished ones; the rest teaches nothing.
        states = Counter(told.state for told in self.study.get_trials(deepcopy=False))
        if states[TrialState.PRUNED] > states[TrialState.COMPLETE] + STARTUP:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial.set_constraint(name, excess)
        self.study.tell(trial, state=TrialState.PRUNED)

    def front(self) -> list[Record]:
        """The landed networks that no other beats in all objectives, the best mIoU first."""
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
        told = []
        for record in self.landed:
            known = self._known_of(record.architecture, None, record.profile)
            limit = limit_of(record)
            excess = next((by for what, by, _ in excesses(self.search.limits, known) if what == limit), None)
            miou = miou_of(record) if record.training else None
            told.append(Fate(record, limit, excess, {**vars(known), "val_miou": miou}))
        return told

    def take_over(self, record: Record) -> Record | None:
        """A finished record of another study as one of this space, if its network is one that this search would train.

        It must be within all limits, and everything that this search measures must be known of it.
        """
        known = self._known_of(record.architecture, None, record.profile)
        if record.failure is not None or self.values(record) is None:
            return None
        if self._lacking(known) or over_limit(self.search.limits, known):
            return None
        chosen = self.space.assignment_of(record.architecture)
        if chosen is None:
            return None
        try:
            variant = self.space.variant(chosen, record.variant)
        except SpecError:
            return None
        if variant.plan.fingerprint != record.fingerprint:
            return None
        return record.model_copy(update={"changes": variant.changes, "architecture": variant.architecture})


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
    failure = record.failure
    return failure.reason.split(":")[0] if failure is not None and failure.phase == "limits" else None


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of that name, set for a small budget."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case "random" | "additive":
                return optuna.samplers.RandomSampler(seed=seed)
            case "nsga2":
                return optuna.samplers.NSGAIISampler(population_size=max(6, search.trainings // 4), seed=seed)
            case "gp":
                if find_spec("scipy") is None:
                    raise SpecError("sampler gp needs scipy: pip install 'jetbench[search]'; or take tpe")
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1)
            case "tpe":
                return optuna.samplers.TPESampler(seed=seed, n_startup_trials=1)
