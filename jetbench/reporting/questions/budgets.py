"""How brief a training is enough: how well each budget, size, dataset and proxy predicts the final ranking."""

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
"""A pick within this much mIoU of the best counts as good as the best."""


@dataclass(frozen=True)
class Predictor:
    """One predictor of the ranking of networks: a number for each network, and the cost in seconds.

    The numbers are compared with `truth`, or with the reference if it is None. `val` is the reference's final
    validation mIoU of each network.
    """

    name: str
    values: Mapping[str, float]
    seconds: float | None
    seeds: int = 1
    truth: Mapping[str, float] | None = None
    val: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Tau:
    """Kendall's tau-b of two rankings, with its 95 % interval over networks; None if there are too few networks."""

    value: float
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        return f"{self.value:.2f}" + (f" [{self.interval[0]:.2f}, {self.interval[1]:.2f}]" if self.interval else "")

    @property
    def is_significant(self) -> bool:
        """True if the interval lies above 0."""
        return self.interval is not None and self.interval[0] > 0


@dataclass(frozen=True)
class Prediction:
    """How well a predictor predicts the reference: tau with its interval, and the mIoU its pick loses to the best.

    `test` and `val` compare it with the reference's mIoU on that split; `val` is None for the reference itself.
    """

    predictor: Predictor
    networks: int
    test: Tau
    regret: float
    best_half: float
    """Share of the reference's better half that is also in this predictor's better half."""
    val: Tau | None = None


def _network(record: Record) -> str:
    """The name of a network without budget and seed, which is the same in every study."""
    rest = {key: value for key, value in record.changes.items() if key not in (BUDGET, SEED)}
    return describe_changes(rest) or record.architecture.name


def _groups(study: Study) -> dict[str, list[Record]]:
    """Trained records of a study by budget, the shortest first."""
    groups: dict[str, list[Record]] = {}
    for record in study.records:
        if record.training is not None and not record.training.stopped and not record.is_form:
            groups.setdefault(str(record.recipe.budget), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: item[1][0].training.steps if item[1][0].training else 0)
    return dict(ordered)


def _means(records: Sequence[Record], pick: Callable[[Record], float | None]) -> dict[str, float]:
    """The mean over the seeds of each network."""
    by_network: dict[str, list[float]] = {}
    for record in records:
        value = pick(record)
        if value is not None:
            by_network.setdefault(_network(record), []).append(value)
    return {name: statistics.fmean(values) for name, values in by_network.items()}


def _val(record: Record) -> float | None:
    counts = record.counts_on("val")
    return counts.miou if counts is not None else None


def _test(record: Record) -> float | None:
    counts = record.counts_on("test")
    return counts.miou if counts is not None else None


def _seconds(record: Record) -> float | None:
    if record.training is None:
        return None
    phases = record.training.phase_seconds
    return sum(phases.values()) - phases.get("proxies", 0.0) or record.training.seconds


def _describe_data(record: Record) -> str:
    return f"{record.data.name} {format_size(record.data.size)}"


def list_predictors(studies: Sequence[Study]) -> tuple[list[Predictor], Predictor, str]:
    """Every predictor in the studies, the reference, and a description of the reference.

    The reference is the longest budget of the first study, by test mIoU. A brief training ranks networks as a user
    would, by their best validation mIoU.

    Raises:
        SpecError: the first study has no trainings, or of too few networks.
    """
    groups = _groups(studies[0])
    if not groups:
        raise SpecError(f"{studies[0].folder}: has no finished training; give a study that trains")
    budget, longest = list(groups.items())[-1]
    truth = _means(longest, _test)
    if len(truth) < FEWEST:
        raise SpecError(
            f"{studies[0].folder}: {units.counted(len(truth), 'network')} with {budget}; a ranking needs at least "
            f"{FEWEST}"
        )
    seeds = sorted({record.recipe.seed for record in longest})
    about = f"{budget} at {_describe_data(longest[0])}, {units.counted(len(seeds), 'seed')}"
    reference = Predictor(
        name=f"{budget}, {_describe_data(longest[0])}",
        values=truth,
        seconds=_mean_of(longest, _seconds),
        seeds=len(seeds),
        val=_means(longest, _val),
    )
    predictors = []
    for number, study in enumerate(studies):
        for name, records in _groups(study).items():
            own = {record.recipe.seed for record in records}
            title = f"{name}, {_describe_data(records[0])}"
            if number == 0 and name == budget:
                title += ", by val"
            predictors.append(Predictor(title, _means(records, _val), _mean_of(records, _seconds), len(own)))
    if len(seeds) > 1:
        # How well the long training predicts itself: one of its seeds against the mean of the others.
        one, rest = (
            [record for record in longest if (record.recipe.seed == seeds[0]) == is_first] for is_first in (True, False)
        )
        title = f"{budget}, seed {seeds[0]} against the others"
        predictors.append(Predictor(title, _means(one, _test), _mean_of(one, _seconds), truth=_means(rest, _test)))
    predictors += _proxies(longest)  # they depend on data and size, so those of the reference
    return predictors, reference, about


def _mean_of(records: Sequence[Record], pick: Callable[[Record], float | None]) -> float | None:
    values = [value for record in records if (value := pick(record)) is not None]
    return statistics.fmean(values) if values else None


def _proxies(records: Sequence[Record]) -> list[Predictor]:
    """Counts, and proxies of untrained networks, as predictors: the mean over the seeds."""
    predictors = []
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
            predictors.append(Predictor(f"{name}, untrained", values, None))
    return predictors


def _proxy_reader(name: str) -> Callable[[Record], float | None]:
    return lambda record: record.training.proxies.get(name) if record.training else None


def predict(predictor: Predictor, reference: Predictor) -> Prediction | None:
    """How well one predicts the reference; None if too few networks are in both, or if all have equal values."""
    truth = predictor.truth or reference.values
    shared = [name for name in truth if name in predictor.values]
    test = _tau([(predictor.values[name], truth[name]) for name in shared])
    if len(shared) < FEWEST or test is None:
        return None
    best = max(truth[name] for name in shared)
    pick = max(shared, key=lambda name: predictor.values[name])
    half = len(shared) // 2
    ours, theirs = (set(sorted(shared, key=lambda n: -scores[n])[:half]) for scores in (predictor.values, truth))
    val = None
    if predictor.truth is None and reference.val is not None and predictor.values != reference.val:
        val = _tau([(predictor.values[name], reference.val[name]) for name in shared if name in reference.val])
    return Prediction(predictor, len(shared), test, best - truth[pick], len(ours & theirs) / half, val)


def _tau(pairs: Sequence[tuple[float, float]]) -> Tau | None:
    value = kendall_tau(pairs)
    return None if value is None else Tau(value, tau_interval(pairs))


def build_budgets(studies: Sequence[Study]) -> Table:
    """A table of how well each budget or proxy predicts the reference, in the order of the studies, proxies last.

    Raises:
        SpecError: no predictor has enough networks in common with the reference.
    """
    predictors, reference, about = list_predictors(studies)
    predictions = [prediction for predictor in predictors if (prediction := predict(predictor, reference)) is not None]
    if not predictions:
        raise SpecError(
            f"no budget or proxy has {FEWEST} networks in common with the longest budget; give studies of the same "
            "networks"
        )
    columns = (
        numbers("networks", "networks"),
        numbers("tau", "Kendall's tau, test", "measured", short="tau test"),
        numbers("tau-val", "Kendall's tau, val", "measured", short="tau val"),
        numbers("half", "of the better half (%)", "measured", short="half %"),
        numbers("regret", "lost by its pick (points)", "measured", short="lost"),
        numbers("seconds", "seconds a training", "measured", short="s"),
        numbers("share", "of the reference's (%)", "measured", short="cost %"),
    )
    rows = tuple(_row(prediction, reference) for prediction in predictions)
    first = (
        f"How well each budget or proxy predicts the reference, {about}: networks ranked by test mIoU, the mean of its "
        "seeds. A brief training ranks networks by their best validation mIoU.",
        "Kendall's tau-b: 1 is the same order, 0 is no relation; in brackets the 95 % interval over networks by "
        "bootstrap, given for at least ten networks. Tau val: compared with the final validation mIoU of the reference "
        "instead, so without the differences between the two splits. Of the better half: the share of the "
        "reference's better half that is also in the predictor's better half. Lost: test mIoU of the best network "
        "minus that of the predictor's pick. Seconds: data, network, scoring and checkpoints on the machine that "
        "trained (for older records data and network only); n seeds cost n times as much.",
        *(
            ["The reference has one training per network: nothing can predict the differences between seeds."]
            if reference.seeds == 1
            else []
        ),
        *_describe_proxies(studies[0]),
        *_describe_recipes(studies),
    )
    return Table(
        f"How brief is enough: {studies[0].name}",
        columns,
        (Section("", rows),),
        Notes(first),
        heading="budget or proxy",
    )


def _row(prediction: Prediction, reference: Predictor) -> TableRow:
    seconds = prediction.predictor.seconds
    share = 100 * seconds / reference.seconds if seconds is not None and reference.seconds else None
    seeds = f", {prediction.predictor.seeds} seeds" if prediction.predictor.seeds > 1 else ""
    return TableRow(
        prediction.predictor.name + seeds,
        (
            Cell(str(prediction.networks)),
            Cell(str(prediction.test), is_strong=prediction.test.is_significant),
            Cell(
                str(prediction.val or units.MISSING),
                is_strong=prediction.val is not None and prediction.val.is_significant,
            ),
            Cell(f"{100 * prediction.best_half:.0f}"),
            Cell(f"{100 * prediction.regret:.1f}", is_strong=prediction.regret <= GOOD),
            Cell(units.MISSING if seconds is None else f"{seconds:.0f}"),
            Cell(units.MISSING if share is None else f"{share:.1f}"),
        ),
    )


def _describe_proxies(study: Study) -> list[str]:
    """Notes on the cost of the proxies, which are measured together, and on networks without a value."""
    trained = [record for records in _groups(study).values() for record in records if record.training]
    spent = [r.training.phase_seconds.get("proxies", 0.0) for r in trained if r.training and r.training.proxies]
    if not spent or not any(spent):
        return []
    names = dict.fromkeys(name for record in trained if record.training for name in record.training.proxies)
    lines = [
        f"{', '.join(names)}: measured on one batch before the training; all together take "
        f"{statistics.median(spent):.2g} s per network. MACs and parameters are counted, which takes no time."
    ]
    for name in names:
        without = dict.fromkeys(
            _network(r) for r in trained if r.training and r.training.proxies and name not in r.training.proxies
        )
        if without:
            lines.append(f"{name} has no finite value for {', '.join(without)}, which its row leaves out.")
    return lines


def _describe_recipes(studies: Sequence[Study]) -> list[str]:
    lines = [
        "Bold: the interval lies above 0, or the pick is within one point of the best. Each is a 95 % interval "
        "by itself: one in twenty lies above 0 by chance. Networks are paired by name. "
        "Counts and proxies are for the reference's data and size.",
    ]
    for study in studies:
        trained = [record for record in study.records if record.training]
        environments = dict.fromkeys(f"{e.device}, {e.cpu}" for r in trained if (e := r.training_environment))
        data = dict.fromkeys(record.data.describe() for record in trained)
        parts = (
            [*data, f"trained by {describe_trainings(trained)}", f"on {' and '.join(environments)}"] if trained else []
        )
        lines.append(f"{study.name}: {'; '.join(parts) or 'no finished training'}.")
    return lines
