"""Proposer, the chooser of a search: proposes networks of a conditional space, and learns from their records.

Cheap checks come first: whether a network can be built, its counts, its latency without training. Only networks that
pass are trained, and a training that can no longer reach the front is ended. Optuna chooses; its study here is in
memory and is rebuilt from the records, which are authoritative.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.trial import TrialState

from jetbench.errors import SpecError
from jetbench.execution.requests import Phase
from jetbench.network.variants import Variant
from jetbench.records.folder import is_worth_a_retry
from jetbench.records.record import Failure, Profile, Record
from jetbench.records.verdict import judge
from jetbench.search.ledger import Ledger
from jetbench.search.samplers import SAMPLERS
from jetbench.search.samplers.additive import AdditivePicker
from jetbench.search.space import over_limit
from jetbench.spec.search import SamplerName
from jetbench.spec.training import Floor

PATIENCE = 500  # known or unbuildable proposals in a row, after which the space counts as exhausted
STARTUP = 10  # random networks before a sampler that learns takes over

Params = Mapping[str, str]


class Proposer:
    """The chooser of a search (see `Chooser`): proposes networks and reports their outcomes to Optuna."""

    may_wait = False

    def __init__(
        self,
        ledger: Ledger,
        records: Sequence[Record] = (),
        tell: Callable[[Record, Params, Sequence[float] | None], None] = lambda record, params, values: None,
        retry_failed: bool = False,
        under_way: Mapping[str, Params] | None = None,
        keep: Callable[[Mapping[str, Params]], None] = lambda under_way: None,
    ) -> None:
        """Begin, or continue after `records`.

        Args:
            ledger: takes the records; networks of its space are proposed.
            records: records of earlier runs, in their order.
            tell: called with every record, its parameters and its objectives.
            retry_failed: networks that failed earlier may be proposed again.
            under_way: names and assignments that were under way when the search was stopped; they are proposed first.
            keep: called with the networks under way, each time they change.
        """
        self.ledger, self.space, self.search = ledger, ledger.space, ledger.search
        self._tell_others, self._keep = tell, keep
        self.phases: tuple[Phase, ...] = ("profile", "train") if ledger.measures else ("train",)
        self.ended_by: str | None = None
        self._unbuildable = ""
        self._waiting: dict[str, list[optuna.Trial]] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # A different seed after each resume: with the same one, the sampler would repeat its proposals.
        self._seed = (self.search.seed + 1_000_003 * len(records)) % 2**32
        names = [*(record.variant for record in records), *(under_way or {})]
        self._number = max((ledger.own_number(name) or 0 for name in names), default=0)
        self.study, self._learns = self._begin()
        self._picker = (
            AdditivePicker(self.space, list(ledger.goals), self._seed) if self.search.sampler == "additive" else None
        )
        for record in records:
            if not (retry_failed and is_worth_a_retry(record)):
                self._add(record)
        self._names: dict[str, str] = {}
        self._under_way: dict[str, tuple[str, Params]] = {}
        for name, chosen in (under_way or {}).items():
            self._queue(chosen, name)
        if (start := self.space.start()) is not None:
            self._queue(start)

    def _begin(self) -> tuple[optuna.Study, bool]:
        """Optuna's study, and True if its sampler is the final one from the first network on."""
        # NSGA-II learns only from networks of its own generations, and its first generation is random anyway.
        learns_at_once = self.search.sampler == "nsga2"
        name: SamplerName = "nsga2" if learns_at_once else "random"
        study = optuna.create_study(
            directions=list(self.ledger.goals.values()), sampler=SAMPLERS[name](self.search, self._seed)
        )
        return study, learns_at_once or self.search.sampler == "random"

    def _queue(self, chosen: Params, name: str | None = None) -> None:
        """Propose that network next, under its name, unless it has a record or is queued already."""
        fingerprint = self.space.variant(chosen, "").plan.fingerprint
        if fingerprint in self.ledger.known or fingerprint in self._names:
            return
        if name is not None:
            self._names[fingerprint] = name
        self.study.enqueue_trial(dict(chosen))

    @property
    def spent(self) -> int:
        """Trainings that have ended or are under way."""
        return self.ledger.finished + len(self._waiting)

    def ask(self) -> Variant | None:
        """See `Chooser`."""
        if self.spent >= self.search.trainings or self.ended_by:
            return None
        self.ended_by = self.ledger.why_ended()
        if self.ended_by:
            return None
        for _ in range(PATIENCE):
            self._choose_sampler()
            trial = self.study.ask()
            chosen = self.space.suggest(trial)
            try:
                variant = self.space.variant(chosen, f"{self.search.name}-{self._number + 1:03d}")
                self.space.cost(variant.architecture)  # a user's network is known to be sound when it has been run
            except SpecError as error:
                self.ledger.counts["unbuildable"] += 1
                self._unbuildable = str(error)
                self._tell_over(trial, "buildable", 1.0)
                continue
            if self._is_repeated(trial, variant.plan.fingerprint):
                self.ledger.counts["repeated"] += 1
            else:
                return self._propose(trial, variant, chosen)
        self.ended_by = f"the space is exhausted: {PATIENCE} proposals in a row were repeated or cannot be built"
        if self._unbuildable:
            self.ended_by += f" (the last one that cannot: {self._unbuildable})"
        return None

    def _is_repeated(self, trial: optuna.Trial, fingerprint: str) -> bool:
        """True if that network is under way or has a record; its trial gets the same result."""
        if fingerprint in self._waiting:
            self._waiting[fingerprint].append(trial)
        elif fingerprint in self.ledger.known:
            self._tell(trial, self.ledger.known[fingerprint])
        else:
            return False
        return True

    def _propose(self, trial: optuna.Trial, variant: Variant, chosen: Params) -> Variant:
        fingerprint = variant.plan.fingerprint
        self._waiting[fingerprint] = [trial]
        if fingerprint in self._names:
            variant = replace(variant, name=self._names.pop(fingerprint))
        else:
            self._number += 1
        self._under_way[fingerprint] = variant.name, chosen
        self._keep(dict(self._under_way.values()))
        return variant

    def _choose_sampler(self) -> None:
        """Use random networks until `startup` trials are complete; only then switch to the sampler that learns."""
        if not self._learns:
            values = [t for t in self.study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
            if len(values) < self.startup:
                return
            if self._picker is None:
                self._learns = True
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    self.study.sampler = SAMPLERS[self.search.sampler](self.search, self._seed)
                return
            if self.study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
                return
            waiting = [params for trials in self._waiting.values() if (params := dict(trials[0].params))]
            picked = self._picker.pick(self.ledger.trained_params(), waiting, {*self.ledger.known, *self._waiting})
            if picked is not None:
                self.study.enqueue_trial(picked)

    @property
    def startup(self) -> int:
        """Number of random networks that are trained first."""
        return min(STARTUP, max(2, self.search.trainings // 3))

    def stop(self, variant: Variant, profile: Profile | None) -> Failure | None:
        """See `Chooser`."""
        quantities = self.ledger.quantities(variant.architecture, variant.plan, profile)
        failure = over_limit(self.search.limits, quantities)
        if failure is None and profile is not None:
            verdict = judge(profile)
            if verdict.level == "invalid":
                why = f"its profile is invalid: {'; '.join(verdict.reasons)}"
                return Failure(phase="profile", status="error", reason=why)
            lacking = self.ledger.lacking(quantities)
            if lacking:
                why = profile.notes.get("power_w" if lacking[0] in ("energy", "power") else "latency", "not measured")
                failure = Failure(phase="profile", status="error", reason=f"no {lacking[0]}: {why}")
        return failure

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """See `Chooser`."""
        return self.ledger.floors(variant.architecture, profile, variant.training.evaluations)

    def learn(self, record: Record) -> None:
        """See `Chooser`."""
        self._enter(record)
        if self._under_way.pop(record.fingerprint, None):
            self._keep(dict(self._under_way.values()))
        for trial in self._waiting.pop(record.fingerprint, []):
            self._tell(trial, record)

    def _enter(self, record: Record) -> None:
        if self.ledger.enter(record) and (params := self.space.params(record.changes)) is not None:
            self._tell_others(record, params, self.ledger.values(record) if record.failure is None else None)

    def _add(self, record: Record) -> None:
        """Enter a record of an earlier run, and add it as a finished trial."""
        self._enter(record)
        params = self.space.params(record.changes)
        if params is None:
            return
        self.study.enqueue_trial(params)
        trial = self.study.ask()
        if isinstance(self.study.sampler, optuna.samplers.NSGAIISampler):
            _ = trial.relative_params  # only this call puts the trial into a generation
        self.space.suggest(trial)
        self._tell(trial, record)

    def _tell(self, trial: optuna.Trial, record: Record) -> None:
        """Report a record to Optuna: its values, its excess over a limit, or a failure, which the sampler ignores."""
        values = self.ledger.values(record)
        if record.failure is not None and record.failure.phase == "limits":
            name, excess = self.ledger.worst_excess(record)
            self._tell_over(trial, name, excess)
        elif values is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            # The values of a training that was ended early are behind the front, so they do not mislead the sampler.
            self.study.tell(trial, values)

    def _tell_over(self, trial: optuna.Trial, name: str, excess: float) -> None:
        # TPE treats the best tenth of all trials as good. With too many trials over a limit, it would treat every
        # finished network as good. So these are reported only up to the number of finished ones (and `STARTUP` more);
        # the others are reported as failures, which do not affect the sampler.
        states = Counter(trial.state for trial in self.study.get_trials(deepcopy=False))
        if states[TrialState.PRUNED] > states[TrialState.COMPLETE] + STARTUP:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial.set_constraint(name, excess)
        self.study.tell(trial, state=TrialState.PRUNED)
