"""How brief is enough: what each budget, size, dataset and proxy tells of how networks rank after a long training."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jetbench.errors import SpecError
from jetbench.network.rules import format_size
from jetbench.network.variants import BUDGET, SEED, describe_changes
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import counts_of, numbers
from jetbench.reporting.tables.footnotes import Notes, describe_trainings
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow
from jetbench.stats import kendall_tau, tau_interval

FEWEST = 4
GOOD = 0.01
"""A pick that is so near to the best, in mIoU, is as good as the best."""


@dataclass(frozen=True)
class Way:
    """One way to foresee how networks rank: a number for each, and what it costs in seconds.

    With a `truth` of its own it is held against that. `val` has the validation mIoU that the reference ended with.
    """

    name: str
    values: Mapping[str, float]
    seconds: float | None
    seeds: int = 1
    truth: Mapping[str, float] | None = None
    val: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Tau:
    """Kendall's tau-b of two rankings, with its 95 % interval over networks where there are enough."""

    value: float
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        return f"{self.value:.2f}" + (f" [{self.interval[0]:.2f}, {self.interval[1]:.2f}]" if self.interval else "")

    @property
    def is_told(self) -> bool:
        """Does the interval lie above 0?"""
        return self.interval is not None and self.interval[0] > 0


@dataclass(frozen=True)
class Foresight:
    """How well a way foresees the reference: tau with its interval, and what its pick loses against the best.

    `test` and `val` are with the reference's mIoU of that split; `val` is None of the reference itself.
    """

    way: Way
    networks: int
    test: Tau
    regret: float
    best_half: float
    """Share of the reference's better half that is in the way's better half."""
    val: Tau | None = None


def _network(record: Record) -> str:
    """What a network is called in every study, whatever its budget and seed."""
    rest = {key: value for key, value in record.changes.items() if key not in (BUDGET, SEED)}
    return describe_changes(rest) or record.architecture.name


def _groups(study: Study) -> dict[str, list[Record]]:
    """Trained records of a study by budget, the briefest first."""
    groups: dict[str, list[Record]] = {}
    for record in study.records:
        if record.training is not None and not record.training.stopped:
            groups.setdefault(str(record.recipe.budget), []).append(record)
    ordered = sorted(groups.items(), key=lambda each: each[1][0].training.steps if each[1][0].training else 0)
    return dict(ordered)


def _means(records: Sequence[Record], pick: Callable[[Record], float | None]) -> dict[str, float]:
    """The mean over the seeds of each network."""
    found: dict[str, list[float]] = {}
    for record in records:
        value = pick(record)
        if value is not None:
            found.setdefault(_network(record), []).append(value)
    return {name: statistics.fmean(values) for name, values in found.items()}


def _val(record: Record) -> float | None:
    return record.training.best.counts.miou if record.training else None


def _test(record: Record) -> float | None:
    return record.training.test.miou if record.training else None


def _seconds(record: Record) -> float | None:
    if record.training is None:
        return None
    phases = record.training.phase_seconds
    return sum(phases.values()) - phases.get("proxies", 0.0) or record.training.seconds


def _describe_data(record: Record) -> str:
    return f"{record.data.name} {format_size(record.data.size)}"


def list_ways(studies: Sequence[Study]) -> tuple[list[Way], Way, str]:
    """Every way that the studies hold, the reference, and what the reference is.

    The reference is the longest budget of the first study, by test mIoU. A brief training is read as its reader would,
    by its best validation mIoU.

    Raises:
        SpecError: the first study has no trainings, or of too few networks.
    """
    groups = _groups(studies[0])
    if not groups:
        raise SpecError(f"{studies[0].folder}: no training ended in it")
    budget, longest = list(groups.items())[-1]
    truth = _means(longest, _test)
    if len(truth) < FEWEST:
        raise SpecError(
            f"{studies[0].folder}: {units.counted(len(truth), 'network')} with {budget}; ranks need {FEWEST} at least"
        )
    seeds = sorted({record.recipe.seed for record in longest})
    about = f"{budget} at {_describe_data(longest[0])}, {units.counted(len(seeds), 'seed')}"
    reference = Way(
        name=f"{budget}, {_describe_data(longest[0])}",
        values=truth,
        seconds=_mean_of(longest, _seconds),
        seeds=len(seeds),
        val=_means(longest, _val),
    )
    ways = []
    for number, study in enumerate(studies):
        for name, records in _groups(study).items():
            own = {record.recipe.seed for record in records}
            title = f"{name}, {_describe_data(records[0])}"
            if number == 0 and name == budget:
                title += ", by val"
            ways.append(Way(title, _means(records, _val), _mean_of(records, _seconds), len(own)))
    if len(seeds) > 1:
        # How well the long training foresees itself: one of its seeds against the mean of the others.
        one, rest = (
            [record for record in longest if (record.recipe.seed == seeds[0]) == is_first] for is_first in (True, False)
        )
        title = f"{budget}, seed {seeds[0]} against the others"
        ways.append(Way(title, _means(one, _test), _mean_of(one, _seconds), truth=_means(rest, _test)))
    ways += _proxies(longest)  # of the reference's own data and size: they hang on both
    return ways, reference, about


def _mean_of(records: Sequence[Record], pick: Callable[[Record], float | None]) -> float | None:
    found = [value for record in records if (value := pick(record)) is not None]
    return statistics.fmean(found) if found else None


def _proxies(records: Sequence[Record]) -> list[Way]:
    """Counts, and proxies of networks before their training: the mean over the seeds."""
    ways = []
    counted: dict[str, Callable[[Record], float | None]] = {
        "MACs": lambda record: counts_of(record).macs,
        "parameters": lambda record: counts_of(record).parameters,
    }
    names = dict.fromkeys(name for record in records if record.training for name in record.training.proxies)
    for name in names:
        counted[name] = _proxy_reader(name)
    for name, pick in counted.items():
        values = _means(records, pick)
        if len(values) >= FEWEST:
            ways.append(Way(f"{name}, untrained", values, None))
    return ways


def _proxy_reader(name: str) -> Callable[[Record], float | None]:
    return lambda record: record.training.proxies.get(name) if record.training else None


def foresee(way: Way, reference: Way) -> Foresight | None:
    """How well a way foresees the reference; None of too few networks in common, or where all of them are alike."""
    truth = way.truth or reference.values
    shared = [name for name in truth if name in way.values]
    test = _tau([(way.values[name], truth[name]) for name in shared])
    if len(shared) < FEWEST or test is None:
        return None
    best = max(truth[name] for name in shared)
    pick = max(shared, key=lambda name: way.values[name])
    half = len(shared) // 2
    ours, theirs = (set(sorted(shared, key=lambda n: -each[n])[:half]) for each in (way.values, truth))
    val = None
    if way.truth is None and reference.val is not None and way.values != reference.val:
        val = _tau([(way.values[name], reference.val[name]) for name in shared if name in reference.val])
    return Foresight(way, len(shared), test, best - truth[pick], len(ours & theirs) / half, val)


def _tau(pairs: Sequence[tuple[float, float]]) -> Tau | None:
    value = kendall_tau(pairs)
    return None if value is None else Tau(value, tau_interval(pairs))


def build_budgets(studies: Sequence[Study]) -> Table:
    """What each way tells of the reference, in the order of the studies, proxies last.

    Raises:
        SpecError: nothing can be told.
    """
    ways, reference, about = list_ways(studies)
    told = [foresight for way in ways if (foresight := foresee(way, reference)) is not None]
    if not told:
        raise SpecError("no budget or proxy has enough networks in common with the longest one")
    columns = (
        numbers("networks", "networks"),
        numbers("tau", "Kendall's tau, test", "measured", short="tau test"),
        numbers("tau-val", "Kendall's tau, val", "measured", short="tau val"),
        numbers("half", "of the better half (%)", "measured", short="half %"),
        numbers("regret", "lost by its pick (points)", "measured", short="lost"),
        numbers("seconds", "seconds a training", "measured", short="s"),
        numbers("share", "of the reference's (%)", "measured", short="cost %"),
    )
    rows = tuple(_row(each, reference) for each in told)
    first = (
        f"How well each way foresees {about}: networks ranked by test mIoU, the mean of its seeds. A brief training is "
        "read by its best validation mIoU.",
        "Kendall's tau-b: 1 is the same order, 0 none; in brackets 95 % over networks by bootstrap, where there are "
        "ten at least; val is with the mIoU that the reference ended with there, so without what sets the two splits "
        "apart. Of the better half: how many of its networks the way has in its own. Lost: test mIoU of the "
        "best network less that of the way's pick. Seconds: data, network, scoring and checkpoints on the machine that "
        "trained (of older records data and network alone); several seeds cost as many times.",
        *(
            ["The reference is one training of each: what two seeds of one network differ by, no way can foresee."]
            if reference.seeds == 1
            else []
        ),
        *_describe_proxies(studies[0]),
        *_describe_recipes(studies),
    )
    return Table(f"How brief is enough: {studies[0].name}", columns, (Section("", rows),), Notes(first))


def _row(told: Foresight, reference: Way) -> TableRow:
    seconds = told.way.seconds
    share = 100 * seconds / reference.seconds if seconds is not None and reference.seconds else None
    seeds = f", {told.way.seeds} seeds" if told.way.seeds > 1 else ""
    return TableRow(
        told.way.name + seeds,
        (
            Cell(str(told.networks)),
            Cell(str(told.test), is_strong=told.test.is_told),
            Cell(str(told.val or units.MISSING), is_strong=told.val is not None and told.val.is_told),
            Cell(f"{100 * told.best_half:.0f}"),
            Cell(f"{100 * told.regret:.1f}", is_strong=told.regret <= GOOD),
            Cell(units.MISSING if seconds is None else f"{seconds:.0f}"),
            Cell(units.MISSING if share is None else f"{share:.1f}"),
        ),
    )


def _describe_proxies(study: Study) -> list[str]:
    """What the measured ones cost, which are measured together."""
    trained = [record for records in _groups(study).values() for record in records if record.training]
    spent = [r.training.phase_seconds.get("proxies", 0.0) for r in trained if r.training and r.training.proxies]
    if not spent or not any(spent):
        return []
    names = dict.fromkeys(name for record in trained if record.training for name in record.training.proxies)
    told = [
        f"{', '.join(names)}: on one batch before the training, {statistics.median(spent):.2g} s a network together. "
        "MACs and parameters are counted, which takes no time."
    ]
    for name in names:
        without = dict.fromkeys(
            _network(r) for r in trained if r.training and r.training.proxies and name not in r.training.proxies
        )
        if without:
            told.append(f"{name} is no finite number for {', '.join(without)}: left out of its row.")
    return told


def _describe_recipes(studies: Sequence[Study]) -> list[str]:
    lines = [
        "Bold: the interval lies above 0 (intervals hold one by one: of twenty, one does by chance), or the pick is "
        "within a point of the best. Networks are paired by name. "
        "Counts and proxies are those at the reference's data and size.",
    ]
    for study in studies:
        trained = [record for record in study.records if record.training]
        environments = dict.fromkeys(f"{e.device}, {e.cpu}" for r in trained if (e := r.training_environment))
        data = dict.fromkeys(record.data.describe() for record in trained)
        told = (
            [*data, f"trained by {describe_trainings(trained)}", f"on {' and '.join(environments)}"] if trained else []
        )
        lines.append(f"{study.name}: {'; '.join(told) or 'no training ended in it'}.")
    return lines
