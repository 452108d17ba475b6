"""The networks that a search may propose: axes with conditions, the costs of each network, and their limits."""

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from jetbench.errors import SpecError
from jetbench.network.closed_form import QuickCost
from jetbench.network.idle import MOST_LOOKED_AT, idle_axes
from jetbench.network.plan import plan_network
from jetbench.network.rules import format_size
from jetbench.network.variants import Variant, check_code
from jetbench.profiling.listing import count_quickly, count_together
from jetbench.records.record import Failure, Profile, Record
from jetbench.reporting import units
from jetbench.reporting.tables.columns import BY_NAME, Column
from jetbench.search.screen import axis_problems
from jetbench.spec.architecture import AnyArchitecture, is_foreign
from jetbench.spec.base import override, parse_spec
from jetbench.spec.catalog import find, parse_variable, read_base, read_extended
from jetbench.spec.search import Limits, Objective, Search
from jetbench.spec.values import Size
from jetbench.study.trials import distributions

COUNTED: tuple[Objective, ...] = ("parameters", "macs", "memory")  # costs that need no device
LOOKED_AT = 2_000  # random networks that are counted before a search begins
RUN_AT = 20  # the same for networks that are counted by running them


def read_search(name: str, changes: Mapping[str, Any] | None = None) -> Search:
    """The search of that bundled name or .yaml path, with dotted keys replaced; every axis is checked.

    Raises:
        SpecError: the search does not exist, or a key or value breaks a rule.
    """
    path = find("search", name)
    raw = {"name": path.stem, **read_extended("search", path)}
    if "axes" not in raw:
        raise SpecError(f"{path}: is a sweep, not a search with axes: and limits:. Run it with `jetbench sweep`")
    source = f"{path}, with the options of the command line" if changes else str(path)
    search = parse_spec(Search, override(raw, changes or {}), source)
    check_code(path, [search.base], [search.training.loss])
    check_axes(search, str(path))
    return search


def check_axes(search: Search, source: str) -> None:
    """Raise if the search's base cannot have the values of an axis, or its sampler cannot count the base's variants.

    Raises:
        SpecError: every problem, one a line.
    """
    base = read_base(search.base)
    if problems := axis_problems(base, {name: axis.values for name, axis in search.axes.items()}):
        raise SpecError("\n  ".join([f"{source}:", *problems]))
    if is_foreign(base) and search.sampler == "additive":
        raise SpecError(
            f"{source}: sampler: additive counts thousands of networks before each proposal, and {base['name']} is "
            "counted by running it; use tpe, nsga2, gp or random"
        )


@dataclass(frozen=True)
class Quantities:
    """Quantities of a network that are known without a training, in SI units; None if not measured.

    `board` is the device that the latency is estimated for. `predicted_latency` is that of a latency model: where the
    latency will be measured, the lower end of its interval. `unpredicted` says why a model that stands for the
    measurement gives no latency.
    """

    parameters: float
    macs: float
    memory: float
    estimated_latency: float | None = None
    predicted_latency: float | None = None
    latency: float | None = None
    energy: float | None = None
    power: float | None = None
    board: str = ""
    unpredicted: str = ""

    @staticmethod
    def of(
        cost: QuickCost, profile: Profile | None, estimated_latency: float | None = None, board: str = ""
    ) -> "Quantities":
        """Quantities from closed-form counts, a latency estimate by the device's data sheet, and a profile."""
        model = profile.model_latency if profile else None
        return Quantities(
            parameters=cost.parameters,
            macs=cost.macs,
            memory=cost.memory_bytes,
            estimated_latency=estimated_latency,
            latency=model.median_s / model.batch_size if model else None,
            energy=profile.energy_j_per_image if profile else None,
            power=profile.power_w if profile else None,
            board=board,
        )

    def get(self, name: Objective) -> float | None:
        """The quantity of that name."""
        value: float | None = getattr(self, name)
        return value


def column_of(name: Objective) -> Column:
    """The table column that describes an objective, also for pictures."""
    return BY_NAME[{"miou": "val", "memory": "counted-memory"}.get(name, name)]


def describe_quantity(name: Objective, value: float) -> str:
    """`1,530.0 M`, `33.1 ms`: a quantity in its usual unit."""
    return column_of(name).unit.describe(value)


def describe_amount(name: Objective, value: float) -> str:
    """`83.4 M MACs`, `33,689 parameters`, `9.50 ms`: a cost with its noun."""
    noun = column_of(name).noun if name in ("macs", "parameters") else ""
    return f"{describe_quantity(name, value)} {noun}".strip()


def describe_limits(limits: Limits) -> str:
    """`macs 40.0 M, latency 33.0 ms`, or `none`."""
    return ", ".join(f"{name} {describe_quantity(name, most)}" for name, most in limits.given.items()) or "none"


def excesses(limits: Limits, known: Quantities) -> Iterator[tuple[str, float, str]]:
    """Every limit that a network exceeds, cheapest check first: its name, the share of the excess, and a text."""
    for name, most in limits.given.items():
        estimates: dict[str, float | None] = {}
        if name == "latency":
            estimates = {"estimated latency": known.estimated_latency, "predicted latency": known.predicted_latency}
        for what, value in {**estimates, name: known.get(name)}.items():
            if value is not None and value > most:
                excess = value / most - 1
                amount, limit = describe_quantity(name, value), describe_quantity(name, most)
                where = f" on {known.board}" if what in estimates and known.board else ""
                yield what, excess, f"{what}{where}: {amount} is {excess:,.0%} over the limit of {limit}"


def over_limit(limits: Limits, known: Quantities) -> Failure | None:
    """The first limit that a network exceeds, cheapest check first, and by how much; None if it exceeds no limit.

    A network without a prediction, where nothing else gives its latency, is over, too.
    """
    first = next(excesses(limits, known), None)
    if first is None and known.unpredicted:
        first = ("predicted latency", 0.0, f"predicted latency: {known.unpredicted}")
    if first is None:
        return None
    limit, excess, reason = first
    return Failure(phase="limits", status="over a limit", reason=reason, limit=limit, excess=excess)


class SearchSpace:
    """The networks that a search may propose; an assignment gives each active axis one of its values."""

    def __init__(self, search: Search, num_classes: int, input_size: Size) -> None:
        self.search, self.num_classes, self.input_size = search, num_classes, input_size
        self.base = read_base(search.base)
        self.choices = {name: [json.dumps(value) for value in axis.values] for name, axis in search.axes.items()}
        self.distributions = distributions(self.choices)
        self._fits: dict[tuple[tuple[str, str], ...], str | None] = {}

    def active(self, chosen: Mapping[str, str], name: str) -> bool:
        """True if an axis is active, given the values of the axes above it."""
        when = self.search.axes[name].when
        return all(chosen.get(other) in [json.dumps(value) for value in values] for other, values in when.items())

    def draw(self, generator: random.Random) -> dict[str, str]:
        """A random assignment."""
        chosen: dict[str, str] = {}
        for name, options in self.choices.items():
            if self.active(chosen, name):
                chosen[name] = generator.choice(options)
        return chosen

    def suggest(self, trial: optuna.Trial) -> dict[str, str]:
        """The assignment that a trial chooses."""
        chosen: dict[str, str] = {}
        for name, options in self.choices.items():
            if self.active(chosen, name):
                chosen[name] = trial.suggest_categorical(name, options)
        return chosen

    def start(self) -> dict[str, str] | None:
        """The assignment of the base itself; None if an axis lacks the base's value."""
        plan = plan_network(self.base_network, self.num_classes, self.input_size)
        chosen: dict[str, str] = {}
        for name, options in self.choices.items():
            if not self.active(chosen, name):
                continue
            same = [option for option in options if self._is_base(plan.fingerprint, {name: option})]
            if not same:
                return None
            chosen[name] = same[0]
        return chosen

    def _is_base(self, fingerprint: str, chosen: Mapping[str, str]) -> bool:
        try:
            return self.variant(chosen, "").plan.fingerprint == fingerprint
        except SpecError:
            return False

    @property
    def base_network(self) -> AnyArchitecture:
        """The network that proposals change."""
        return parse_variable(self.base, self.search.base)

    def architecture(self, chosen: Mapping[str, str]) -> AnyArchitecture:
        """The architecture of an assignment.

        Raises:
            SpecError: the values break a rule in combination.
        """
        raw = override(self.base, {name: json.loads(value) for name, value in chosen.items()})
        return parse_variable(raw, f"{self.search.base} with {dict(chosen)}")

    def variant(self, chosen: Mapping[str, str], name: str) -> Variant:
        """The network of an assignment, checked and planned.

        Raises:
            SpecError: it cannot be built.
        """
        architecture = self.architecture(chosen)
        plan = plan_network(architecture, self.num_classes, self.input_size)
        changes = {axis: json.loads(value) for axis, value in chosen.items()}
        return Variant(name, changes, architecture, self.search.training, plan)

    def params(self, changes: Mapping[str, Any]) -> dict[str, str] | None:
        """The assignment of a record's changes; None if it is not in this space."""
        chosen = {axis: json.dumps(value) for axis, value in changes.items()}
        expected = [name for name in self.choices if self.active(chosen, name)]
        within = set(chosen) == set(expected) and all(chosen[name] in self.choices[name] for name in chosen)
        return {name: chosen[name] for name in expected} if within else None

    def assignment_of(self, architecture: AnyArchitecture) -> dict[str, str] | None:
        """The assignment with an architecture's fields; None if an axis lacks the architecture's value."""
        chosen: dict[str, str] = {}
        for name, options in self.choices.items():
            if self.active(chosen, name):
                same = [option for option in options if self._has(architecture, name, option)]
                if not same:
                    return None
                chosen[name] = same[0]
        return chosen

    def variant_of(self, record: Record) -> Variant | None:
        """The variant of this space with the fields of a record's network; None if it is not in this space."""
        chosen = self.assignment_of(record.architecture)
        if chosen is None:
            return None
        try:
            return self.variant(chosen, record.variant)
        except SpecError:
            return None

    def _has(self, architecture: AnyArchitecture, name: str, option: str) -> bool:
        """True if the architecture's field of that axis has the value `option`."""
        try:
            wanted = parse_variable(override(self.base, {name: json.loads(option)}), self.search.base)
        except SpecError:
            return False
        return type(wanted) is type(architecture) and _field(wanted, name) == _field(architecture, name)

    def fits(self, chosen: Mapping[str, str]) -> str | None:
        """The fingerprint of a network that can be built and is within the counted limits; None for any other."""
        key = tuple(chosen.items())
        if key not in self._fits:
            try:
                variant = self.variant(chosen, "")
            except SpecError:
                self._fits[key] = None
            else:
                quantities = Quantities.of(self.cost(variant.architecture), None)
                is_over = over_limit(self.search.limits, quantities) is not None
                self._fits[key] = None if is_over else variant.plan.fingerprint
        return self._fits[key]

    def cost(self, architecture: AnyArchitecture) -> QuickCost:
        """The counts of an architecture: in closed form, or of a user's network by running it in a process of its own.

        Raises:
            SpecError: it cannot be built.
        """
        return count_quickly(architecture, self.num_classes, self.input_size)

    def describe(self) -> list[str]:
        """Lines about the objectives, the space, the base, and how long each network is trained."""
        search = self.search
        costs = [name for name in search.objectives if name != "miou"]
        axes = len(self.choices)
        product = math.prod(len(options) for options in self.choices.values())
        base = self.cost(self.base_network)
        quantities = Quantities.of(base, None)
        counts = ", ".join(describe_amount(name, quantities.get(name) or 0.0) for name in COUNTED)
        seeds = units.counted(len(search.final.seeds), "seed")
        return [
            f"{search.name}: high mIoU at low {' and '.join(costs)}; "
            f"{axes} {'axis' if axes == 1 else 'axes'}, at most {product:,} combinations.",
            f"The base, {search.base} at {format_size(self.input_size)}: {counts}.",
            f"{search.trainings} networks chosen by {search.sampler}, {search.training.budget} each; then the base and "
            f"up to {search.final.most} of the front, {search.final.budget} and {seeds} each.",
        ]

    def idle(self) -> list[str]:
        """A sentence for each axis that changes nothing in any of some random networks."""
        architecture = self.base_network
        plan = plan_network(architecture, self.num_classes, self.input_size)
        generator = random.Random(0)
        drawn = [
            {axis: json.loads(value) for axis, value in self.draw(generator).items()} for _ in range(MOST_LOOKED_AT)
        ]

        def identity(changes: Mapping[str, Any]) -> str | None:
            try:
                return self.variant({axis: json.dumps(value) for axis, value in changes.items()}, "").identity
            except SpecError:
                return None

        base = Variant(self.search.base, {}, architecture, self.search.training, plan)
        axes = {name: axis.values for name, axis in self.search.axes.items()}
        return [f"{line}." for line in idle_axes(axes, drawn, identity, base)]

    def look(self, seed: int = 0) -> "Look":
        """Count the base and random networks, to find out before anything is run whether any are within the limits."""
        generator = random.Random(seed)
        drawn = [self.draw(generator) for _ in range(RUN_AT if is_foreign(self.base) else LOOKED_AT)]
        if (start := self.start()) is not None:
            drawn = [start, *drawn]
        if is_foreign(self.base):
            drawn = list({json.dumps(chosen): chosen for chosen in drawn}.values())
            count_together([self.variant(chosen, "").plan for chosen in drawn])
        buildable = fit = 0
        reason, nearest = "", Nearest(math.inf, ())
        for chosen in drawn:
            try:
                cost = self.cost(self.architecture(chosen))
            except SpecError as error:
                reason = str(error)
                continue
            buildable += 1
            over = list(excesses(self.search.limits, Quantities.of(cost, None)))
            fit += not over
            worst = max((excess for _, excess, _ in over), default=0.0)
            if worst < nearest.worst:
                nearest = Nearest(worst, tuple(text for _, _, text in over))
        return Look(len(drawn), buildable, fit, nearest, reason)


def _field(architecture: AnyArchitecture, name: str) -> Any:
    """The value of an architecture's dotted field; None if it has no such field or argument."""
    value: Any = architecture
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
    return value


@dataclass(frozen=True)
class Nearest:
    """The network with the smallest excess over the limits: its worst excess, and all its excesses in words."""

    worst: float
    over: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """The counts of a `SearchSpace.look`; `reason` is why the last unbuildable network cannot be built."""

    looked_at: int
    buildable: int
    fit: int
    nearest: Nearest
    reason: str

    def describe(self, limits: Limits) -> str:
        """The limits, and the share of the space that can be built and the share that is within the counted limits."""
        built, fit = (units.share_of(count, self.looked_at) for count in (self.buildable, self.fit))
        return (
            f"Limits: {describe_limits(limits)}.\nOf {self.looked_at:,} networks (random and the base) {built} can "
            f"be built and {fit} are within the counted limits."
        )

    def check(self) -> None:
        """Raise if no network can be built or none is within the limits.

        Raises:
            SpecError: the message describes the network nearest to the limits.
        """
        if not self.buildable:
            raise SpecError(f"none of {self.looked_at:,} networks of this space can be built: {self.reason}")
        if not self.fit:
            raise SpecError(
                f"none of {self.buildable:,} counted networks is within the limits. The nearest one: "
                f"{'; '.join(self.nearest.over)}. Raise the limits, or give the axes smaller values"
            )
