"""The columns of tables, by name: class of the number, unit, direction, and the uncertainty of each value."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

from jetbench.errors import SpecError
from jetbench.network.operations import BYTES, add_up
from jetbench.network.plan import AnyPlan, ForeignPlan, plan_network
from jetbench.network.rules import format_size
from jetbench.profiling.listing import list_network
from jetbench.records.measurement import Latency, Normalised
from jetbench.records.record import Profile, Record, TrainingResult
from jetbench.reporting import units
from jetbench.reporting.tables.protocol import Needs
from jetbench.reporting.tables.published import HEADINGS, describe_kind, reported_cell
from jetbench.reporting.tables.rows import Row
from jetbench.reporting.units import Unit
from jetbench.spec.architecture import InCode
from jetbench.spec.published import QUANTITIES, Quantity
from jetbench.spec.training import TrainingConfig
from jetbench.stats import student_quantile, welch_difference

NumberClass = Literal["described", "counted", "measured", "estimated", "predicted", "reported"]

REPEATABILITY = 0.025
"""Smallest relative half width of a latency's interval. The medians of ten runs on one machine, of 6 to 12 processes
each, lay within 4.6 % of each other (reports/LOG.md, 2026-11-24): an interval from one run alone is too narrow."""

REPEATABILITY_OF_FEW, ENOUGH_PROCESSES = 0.06, 6
"""The same for fewer than six processes. Medians of single processes ranged from 115 to 129 ms in those runs, and those
of one network differed by up to 13 % in the ablation (reports/LOG.md, 2026-11-25)."""


BETWEEN_SESSIONS = 0.15
"""Smallest relative half width of a change of latency between studies: one network, on one processor, was 13 % slower
an hour later (reports/LOG.md, 2026-11-28). Measuring in turn (`jetbench profile A B`) detects far smaller changes."""


BETWEEN_SESSIONS_NORMALISED = 0.08
"""The same for a latency over that of the standard network, timed in the same rounds. In eight sessions of one process
within 20 minutes it spread by up to 2.9 % (reports/LOG.md, 2026-12-01), so two may differ by 8 %; sessions that lie
hours apart have not been compared yet."""


Certainty = Literal["significant", "not significant", "undecided"]
SIGN_OF_CHANGE: dict[Certainty, str] = {"significant": "", "not significant": " =", "undecided": " ?"}
CHANGES = ("val-change", "latency-change")


@dataclass(frozen=True)
class Value:
    """A number in SI units with its 95 % interval, `low` to `high`.

    Both ends equal the number if it is exact; both are None if its uncertainty is unknown. `spread` is the standard
    deviation over `count` seeds, shown behind the number. `session` is the study in which a time was measured, and
    `between` the smallest relative half width of a difference to a time of another.
    """

    number: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    count: int = 0
    session: str | None = None
    between: float = BETWEEN_SESSIONS

    @property
    def is_exact(self) -> bool:
        """True if the number is counted, so that its interval has no width."""
        return self.low == self.high == self.number

    @property
    def has_interval(self) -> bool:
        """True if the uncertainty of the number is known."""
        return self.low is not None and self.high is not None

    def is_tied_with(self, other: "Value") -> bool:
        """True if the 95 % interval of the difference contains 0. False when either value has no interval."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        less, more = sorted((self, other), key=lambda each: each.number)
        return more.number - less.number <= half_of_difference(less, more)


def half_of_difference(less: Value, more: Value) -> float:
    """Half width of the 95 % interval of a difference: Welch's over seeds, else both half widths in quadrature."""
    if less.spread is not None and more.spread is not None and min(less.count, more.count) > 1:
        ours, theirs = (less.number, less.spread, less.count), (more.number, more.spread, more.count)
        return welch_difference(ours, theirs).half
    half = math.hypot((less.high or less.number) - less.number, more.number - (more.low or more.number))
    if less.session != more.session:
        half = max(half, less.between * less.number)
    return half


def relative_half(value: Value) -> float | None:
    """Half width of a value's interval, relative to the value; None if the interval is unknown."""
    if value.low is None or value.high is None:
        return None
    return (value.high - value.low) / 2 / value.number if value.number else 0.0


def exact(number: float | None) -> Value | None:
    """A counted value: its interval has no width."""
    return None if number is None else Value(number, number, number)


@dataclass(frozen=True)
class Column:
    """The one description of a quantity, as tables, pictures, pages and searches use it.

    A column shows either the value from `read`, in SI units, or the words from `text`.

    Args:
        name: the name for --columns and for objectives.
        heading: the heading in a table, with the unit.
        kind: the class of the numbers.
        needs: what a number depends on: the network, the recipe or the machine.
        read: returns the value of a row.
        unit: the unit in which the number is shown.
        text: returns the words of a row, in place of a value.
        better: the better direction; None if there is none.
        is_ranked: False if the best is not marked, although there is a better direction.
        short: the heading for narrow tables.
        axis: the label of a picture's axis, without the unit.
        axis_unit: the unit of a picture's axis; that of the table by default.
        noun: what is counted: `83.4 M MACs`.
        key: the word for the page's filter; the name by default.
        holds_numbers: True if the words are numbers and are aligned as numbers.
    """

    name: str
    heading: str
    kind: NumberClass
    needs: Needs | None = None
    read: Callable[[Row], Value | None] = lambda row: None
    unit: Unit = units.COUNT
    text: Callable[[Row], str] | None = None
    better: Literal["low", "high"] | None = None
    is_ranked: bool = True
    short: str = ""
    axis: str = ""
    axis_unit: Unit | None = None
    noun: str = ""
    key: str = ""
    holds_numbers: bool = False

    @property
    def is_number(self) -> bool:
        """True if the column is aligned to the right, as numbers are."""
        return self.text is None or self.holds_numbers

    @property
    def is_score(self) -> bool:
        """True if differences are given in points instead of percent."""
        return self.unit.symbol == units.PERCENT.symbol and self.text is None

    def show(self, number: float | None) -> str:
        """The number, converted to the column's unit, without the symbol."""
        return self.unit.show(number)

    def with_digits(self, digits: int) -> "Column":
        """The same column with so many significant digits; words and whole counts stay as they are."""
        if self.text is not None or self.unit == units.COUNT:
            return self
        return replace(self, unit=replace(self.unit, write=lambda value: units.with_digits(value, digits)))

    def cell(self, row: Row) -> str:
        """The text of a table cell: a number with its spread over seeds, words, or a dash."""
        if self.text is not None:
            return self.text(row)
        value = self.value(row)
        if value is None:
            return units.MISSING
        shown = self.show(value.number)
        return shown + (f" \N{PLUS-MINUS SIGN} {self._show_spread(value.spread, shown)}" if value.spread else "")

    def _show_spread(self, spread: float, number: str) -> str:
        """A standard deviation with the decimals of its mean."""
        return f"{self.unit.scale * spread:,.{len(number.partition('.')[2])}f}"

    def value(self, row: Row) -> Value | None:
        """The value of a row, read once."""
        if self.name not in row.known:
            row.known[self.name] = self.read(row)
        return cast("Value | None", row.known[self.name])

    @property
    def brief(self) -> str:
        """The heading for narrow tables."""
        return self.short or self.heading

    @property
    def axis_label(self) -> str:
        """The label of a picture's axis, with its unit."""
        symbol = self.on_axis.symbol
        return f"{self.axis or self.noun or self.name}" + (f" ({symbol})" if symbol else "")

    @property
    def on_axis(self) -> Unit:
        """The unit of a picture's axis."""
        return self.axis_unit or self.unit


def words(name: str, heading: str, text: Callable[[Row], str] = lambda row: "", **more: Any) -> Column:
    """A column of words."""
    return Column(name, heading, more.pop("kind", "described"), text=text, **more)


def numbers(name: str, heading: str, kind: NumberClass = "described", short: str = "") -> Column:
    """A column whose cells the caller writes; they are aligned as numbers."""
    return Column(name, heading, kind, text=lambda row: "", short=short, holds_numbers=True)


@dataclass(frozen=True)
class Counts:
    """The counts of a network for one image; all None for a baseline without a profile if torch is not installed."""

    parameters: int | None = None
    macs: int | None = None
    flops: int | None = None
    eq2_flops: float | None = None
    peak_activation_bytes: int | None = None

    @property
    def memory_bytes(self) -> int | None:
        """Bytes of the float32 weights plus peak activations."""
        if self.parameters is None or self.peak_activation_bytes is None:
            return None
        return BYTES * self.parameters + self.peak_activation_bytes


def counts_of(record: Record) -> Counts:
    """The counts of a record's architecture, also for a failed record; equal to those in its profile."""
    profile = record.profile
    if isinstance(record.architecture, InCode) and profile and (profile.eq2_flops is not None or profile.deployment):
        # Counting a network in code means building it with torch; the profile already has its counts.
        return Counts(profile.parameters, profile.macs, profile.flops, profile.eq2_flops, profile.peak_activation_bytes)
    return _count(plan_network(record.architecture, record.num_classes, record.input_size))


@lru_cache(maxsize=1024)
def _count(plan: AnyPlan) -> Counts:
    try:
        cost = add_up(list_network(plan))
    except ImportError:
        return Counts()
    except SpecError:
        if isinstance(plan, ForeignPlan):  # its code is not imported to show a table
            return Counts()
        raise
    return Counts(cost.parameters, cost.macs, cost.flops, cost.eq2_flops, cost.peak_activation_bytes)


def _counted(pick: Callable[[Counts], float | None]) -> Callable[[Row], Value | None]:
    return lambda row: exact(pick(counts_of(row.records[0]))) if row.records else None


def _trained(pick: Callable[[Record], float | None]) -> Callable[[Row], Value | None]:
    """The mean over the seeds with its 95 % interval by Student's t; a single seed has no interval."""

    def read(row: Row) -> Value | None:
        values = [value for record in row.records if record.training and (value := pick(record)) is not None]
        if not values:
            return None
        if len(values) == 1:
            return Value(values[0])
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        if any(training.stopped for training in row.trainings):  # the whole training may have ended elsewhere
            return Value(mean, spread=deviation)
        half = student_quantile(0.975, len(values) - 1) * deviation / len(values) ** 0.5
        return Value(mean, mean - half, mean + half, deviation, len(values))

    return read


def _of_training(pick: Callable[[Record, TrainingResult], float | None]) -> Callable[[Row], Value | None]:
    """The mean over the seeds of a training's timing. It depends on other load on the machine and is not ranked.

    Trainings that a rule stopped are left out. The value is None if different machines trained the seeds.
    """

    def read(row: Row) -> Value | None:
        ended = [(r, r.training) for r in row.records if r.training and not r.training.stopped]
        values = [value for record, training in ended if (value := pick(record, training)) is not None]
        if not values or len({_trained_on(record) for record, _ in ended}) > 1:
            return None
        return Value(statistics.fmean(values), spread=statistics.stdev(values) if len(values) > 1 else None)

    return read


def _trained_on(record: Record) -> tuple[Any, ...] | None:
    e = record.training_environment
    return None if e is None else (e.device, e.cpu, e.cores, e.threads)


def _images_per_second(record: Record, training: TrainingResult) -> float | None:
    return training.steps * record.recipe.batch_size / training.seconds if training.seconds else None


def _whole_seconds(record: Record, training: TrainingResult) -> float | None:
    return sum(training.phase_seconds.values()) or None


def _share_of_phase(phase: str) -> Callable[[Record, TrainingResult], float | None]:
    def pick(record: Record, training: TrainingResult) -> float | None:
        whole = sum(training.phase_seconds.values())
        return training.phase_seconds.get(phase, 0.0) / whole if whole else None

    return pick


def _busy(record: Record, training: TrainingResult) -> float | None:
    """Processor seconds over the seconds of all threads; None for a GPU, whose load this does not measure."""
    whole, spent = sum(training.phase_seconds.values()), training.processor_seconds
    environment = record.training_environment
    if not whole or spent is None or environment is None or not environment.device.startswith("cpu"):
        return None
    return spent / (whole * environment.threads)


def _timed(
    pick: Callable[[Latency], float], end_to_end: bool = False, inverse: bool = False
) -> Callable[[Row], Value | None]:
    """A latency with its interval over processes, but at least as wide as the machine's repeatability."""

    def read(row: Row) -> Value | None:
        latency = row.pooled(end_to_end)
        if latency is None:
            return None
        number, interval = pick(latency), latency.interval_s or (latency.median_s, latency.median_s)
        repeats = REPEATABILITY if len(latency.runs) >= ENOUGH_PROCESSES else REPEATABILITY_OF_FEW
        low = min(interval[0], latency.median_s * (1 - repeats))
        high = max(interval[1], latency.median_s * (1 + repeats))
        if inverse:
            ends = latency.batch_size / high, latency.batch_size / low
            return Value(latency.batch_size / number, *ends, session=row.session)
        return Value(number, low, high, session=row.session)

    return read


def _normalised(row: Row) -> Value | None:
    """The latency over that of the standard network, over all processes of all seeds."""
    found = [(p.normalised, p.standard) for p in row.profiles if p.model_latency is not None]
    known = [(normalised, standard) for normalised, standard in found if normalised and standard]
    if not known or len(known) < len(found) or len({standard.identity for _, standard in known}) > 1:
        return None
    pooled = Normalised(ratios=tuple(ratios for normalised, _ in known for ratios in normalised.ratios))
    middle, interval = pooled.median, pooled.interval or (pooled.median, pooled.median)
    repeats = REPEATABILITY if len(pooled.ratios) >= ENOUGH_PROCESSES else REPEATABILITY_OF_FEW
    low, high = min(interval[0], middle * (1 - repeats)), max(interval[1], middle * (1 + repeats))
    return Value(middle, low, high, session=row.session, between=BETWEEN_SESSIONS_NORMALISED)


def standard_of(row: Row) -> str:
    """The standard network whose time is in the row's rounds; empty without one."""
    return next((profile.standard.identity for profile in row.profiles if profile.standard is not None), "")


def _percentile(percent: float) -> Callable[[Row], Value | None]:
    """A percentile over all passes. Too few processes to know its uncertainty, so it is not ranked."""

    def read(row: Row) -> Value | None:
        latency = row.pooled()
        return Value(latency.percentile_s(percent)) if latency else None

    return read


def _profiled(pick: Callable[[Profile], float | None], is_exact: bool = False) -> Callable[[Row], Value | None]:
    def read(row: Row) -> Value | None:
        values = [value for profile in row.profiles if (value := pick(profile)) is not None]
        if not values:
            return None
        middle = statistics.median(values)
        if is_exact and len(set(values)) == 1:
            return exact(middle)
        return Value(middle, *_mean_interval(values))

    return read


def _energy(row: Row) -> Value | None:
    """Gross joules per image; the interval is that of the mean over windows."""
    energies = [p.energy for p in row.profiles if p.energy and p.energy.energy_j_per_image is not None]
    if not energies:
        return None
    windows = [joules for energy in energies for joules in energy.window_energies_j]
    middle = statistics.median(energy.energy_j_per_image or 0.0 for energy in energies)
    return Value(middle, *_mean_interval(windows))


def _mean_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The 95 % interval of a mean by Student's t; (None, None) for fewer than three values."""
    if len(values) < 3:
        return None, None
    mean = statistics.fmean(values)
    half = student_quantile(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return mean - half, mean + half


def _estimated(profile: Profile) -> float | None:
    return profile.estimate.seconds if profile.estimate else None


def _change_of(name: str) -> Callable[[Row], Value | None]:
    """The change of a column against the base of the study: relative, or a difference of mIoU, with its interval.

    None for the base itself, where one of the two numbers is missing, and for a form that another backend runs.
    """

    def read(row: Row) -> Value | None:
        column = BY_NAME[name]
        if row.base is not None and row.records and _form_of(row) != _form_of(row.base):
            return None
        old = column.value(row.base) if row.base is not None and not row.is_base else None
        new = column.value(row)
        if old is None or new is None or not old.number:
            return None
        over = 1.0 if column.is_score else old.number
        amount = (new.number - old.number) / over
        if not (old.has_interval and new.has_interval):
            return Value(amount)
        half = half_of_difference(*sorted((old, new), key=lambda each: each.number)) / over
        return Value(amount, amount - half, amount + half)

    return read


def _form_of(row: Row) -> str:
    return row.records[0].profiling_config.form


def describe_change(change: Value | None, unit: str = "") -> str:
    """A change against the base, with a sign for one that is not significant or that cannot be decided."""
    if change is None:
        return units.MISSING
    places = 0 if unit else 1
    amount = round(100 * change.number, places)
    text = f"{amount:+.{places}f}{unit}" if amount else f"0{unit}"
    return text + SIGN_OF_CHANGE[certainty_of(change)]


def _change_cell(row: Row, name: str, unit: str = "") -> str:
    return describe_change(BY_NAME[name].value(row), unit)


def certainty_of(change: Value) -> Certainty:
    """Whether the 95 % interval of a change contains 0; `undecided` if the interval is unknown."""
    if change.low is None or change.high is None:
        return "undecided"
    return "not significant" if change.low <= 0 <= change.high else "significant"


def _of_first(describe: Callable[[Record], str]) -> Callable[[Row], str]:
    return lambda row: describe(row.records[0]) if row.records else units.MISSING


def _of_recipe(describe: Callable[[TrainingConfig], str]) -> Callable[[Row], str]:
    """A column's text from the training recipe; a dash for a record that is only a profile."""
    return _of_first(lambda record: describe(record.training_config) if record.training_config else units.MISSING)


def _seeds(row: Row) -> str:
    ended, all_of_them = len(row.trainings), sum(record.training_config is not None for record in row.records)
    return f"{ended} of {all_of_them}" if ended < all_of_them else str(ended) if all_of_them else units.MISSING


def _miou_on(split: Literal["val", "test"]) -> Callable[[Record], float | None]:
    """The mIoU of what a record's profile ran: of a deployed file its own, never that of PyTorch."""

    def pick(record: Record) -> float | None:
        counts = record.counts_on(split)
        return counts.miou if counts is not None else None

    return pick


def _last_miou(record: Record) -> float | None:
    return record.training.last.counts.miou if record.training and not record.profiling_config.runs_file else None


def _backend(row: Row) -> str:
    """What ran the network, in which number format; with an arrow where another format ran than was asked for."""
    if not row.records:
        return units.MISSING
    config = row.records[0].profiling_config
    deployment = next((profile.deployment for profile in row.profiles), None)
    precision = deployment.describe_precision() if deployment else config.dtype
    parts = [config.backend, *([precision] if precision != "fp32" else []), *["channels last"] * config.channels_last]
    return " ".join([*parts, *["graph"] * config.cuda_graph])


def _conversion(row: Row) -> Value | None:
    """The mIoU of a deployed form on val less that of PyTorch, with the interval over the paired images."""
    scores = [
        score
        for profile in row.profiles
        if profile.deployment and (score := profile.deployment.score_on("val")) is not None
    ]
    if not scores:
        return None
    mean = statistics.fmean(score.change for score in scores)
    images = [score.image_change for score in scores if score.image_change is not None]
    if len(images) < len(scores):
        return Value(mean)
    # The ends are those of the mean change of an image: they say whether the images agree on a change.
    middle, half = statistics.fmean(change for change, _ in images), max(half for _, half in images)
    return Value(mean, middle - half, middle + half)


def _conversion_cell(row: Row) -> str:
    change = BY_NAME["conversion"].value(row)
    if change is None:
        return units.MISSING
    return f"{100 * change.number:+.2f}" + SIGN_OF_CHANGE[certainty_of(change)]


def _ratio(row: Row) -> Value | None:
    """The time over that of what it was timed with, in the same rounds; the median over the seeds."""
    compared = [profile.comparison for profile in row.profiles if profile.comparison is not None]
    if not compared:
        return None
    middle = statistics.median(each.median for each in compared)
    interval = compared[0].interval
    return Value(middle, *interval) if len(compared) == 1 and interval is not None else Value(middle)


def _ratio_cell(row: Row) -> str:
    ratio = BY_NAME["ratio"].value(row)
    if ratio is None:
        return units.MISSING
    is_tie = all(p.comparison is None or not p.comparison.is_significant for p in row.profiles)
    return f"{ratio.number:.2f}{SIGN_OF_CHANGE['not significant'] if is_tie else ''}"


def _file_bytes(row: Row) -> Value | None:
    sizes = [profile.deployment.file.bytes for profile in row.profiles if profile.deployment is not None]
    return exact(statistics.fmean(sizes)) if sizes else None


def _gpu_compute(row: Row) -> Value | None:
    """The GPU's time by trtexec, which is no latency."""
    deployed = [profile.deployment for profile in row.profiles if profile.deployment is not None]
    times = [deployment.trtexec.median_s for deployment in deployed if deployment.trtexec is not None]
    return Value(statistics.median(times)) if times else None


def _verdict(row: Row) -> str:
    return row.level if row.profiles else units.MISSING


def _reported(quantity: Quantity) -> Callable[[Row], str]:
    return lambda row: reported_cell(row.architecture, quantity)


def _counted_column(name: str, heading: str, unit: Unit, pick: Callable[[Counts], float | None], **more: Any) -> Column:
    return Column(name, heading, "counted", "counted", read=_counted(pick), unit=unit, better="low", **more)


def _score_column(name: str, heading: str, pick: Callable[[Record], float | None], **more: Any) -> Column:
    read = _trained(pick)
    return Column(name, heading, "measured", "trained", read=read, unit=units.PERCENT, better="high", **more)


def _measured_column(name: str, heading: str, unit: Unit, read: Callable[[Row], Value | None], **more: Any) -> Column:
    return Column(name, heading, "measured", "measured", read=read, unit=unit, **more)


def _training_column(
    name: str, heading: str, unit: Unit, pick: Callable[[Record, TrainingResult], float | None], **more: Any
) -> Column:
    return Column(name, heading, "measured", "trained", read=_of_training(pick), unit=unit, **more)


COLUMNS: tuple[Column, ...] = (
    words("kind", "kind", lambda row: describe_kind(row.architecture)),
    words("input", "input (HxW)", _of_first(lambda r: format_size(r.input_size)), short="input"),
    words(
        "pretrained",
        "pretrained",
        _of_recipe(lambda recipe: "yes" if recipe.init is not None else "no"),
        short="pretr.",
    ),
    words(
        "augmentation",
        "augmentation",
        _of_recipe(lambda recipe: "yes" if recipe.augmentation.is_on else "no"),
        short="augm.",
    ),
    words("loss", "loss", _of_recipe(lambda recipe: recipe.describe_loss())),
    words("budget", "budget", _of_recipe(lambda recipe: str(recipe.budget))),
    words("seeds", "trainings", _seeds, short="seeds"),
    _counted_column(
        "parameters",
        "parameters",
        units.COUNT,
        lambda c: c.parameters,
        short="params",
        noun="parameters",
        axis_unit=units.THOUSANDS,
    ),
    _counted_column("parameters-m", "params (M)", units.SMALL_MILLIONS, lambda c: c.parameters),
    _counted_column(
        "macs", "MACs (M)", units.MILLIONS, lambda c: c.macs, short="MACs M", axis="MACs of one image", noun="MACs"
    ),
    _counted_column("macs-g", "MACs (G)", units.BILLIONS, lambda c: c.macs),
    _counted_column("flops", "FLOPs (M)", units.MILLIONS, lambda c: c.flops),
    _counted_column("eq2", "eq. 2 (M)", units.MILLIONS, lambda c: c.eq2_flops, noun="eq. 2 FLOPs"),
    _counted_column("eq2-g", "FLOPs eq. 2 (G)", units.BILLIONS, lambda c: c.eq2_flops, short="eq. 2 G"),
    _counted_column("activations", "peak activations (MiB)", units.MEBIBYTES, lambda c: c.peak_activation_bytes),
    _counted_column(
        "counted-memory",
        "weights and peak activations (MiB)",
        units.MEBIBYTES,
        lambda c: c.memory_bytes,
        short="counted MiB",
        axis="weights and peak activations, counted",
        noun="bytes of memory",
    ),
    words("backend", "backend", _backend, needs="measured"),
    _score_column("val", "val mIoU best (%)", _miou_on("val"), short="val %", axis="best validation mIoU"),
    Column(
        "conversion",
        "val mIoU against PyTorch's (points)",
        "measured",
        "trained",
        read=_conversion,
        unit=units.CHANGE,
        text=_conversion_cell,
        better="high",
        is_ranked=False,
        short="conversion",
        holds_numbers=True,
    ),
    Column(
        "val-change",
        "val mIoU against the base (points)",
        "measured",
        "trained",
        read=_change_of("val"),
        unit=units.CHANGE,
        text=lambda row: _change_cell(row, "val-change"),
        better="high",
        is_ranked=False,
        short="vs base",
        holds_numbers=True,
    ),
    _score_column("val-last", "val mIoU last (%)", _last_miou),
    _score_column("test", "test mIoU (%)", _miou_on("test"), short="test %"),
    _measured_column(
        "latency",
        "latency median (ms)",
        units.MILLISECONDS,
        _timed(lambda x: x.median_s),
        better="low",
        short="ms",
        axis="latency of one image, median",
        key="ms",
    ),
    Column(
        "latency-change",
        "latency against the base (%)",
        "measured",
        "measured",
        read=_change_of("latency"),
        unit=units.CHANGE,
        text=lambda row: _change_cell(row, "latency-change", " %"),
        better="low",
        is_ranked=False,
        short="vs base",
        holds_numbers=True,
    ),
    _measured_column(
        "normalised",
        "latency over the standard network's",
        units.RATIO,
        _normalised,
        better="low",
        short="x standard",
        axis="latency over that of the standard network",
        key="x",
    ),
    Column(
        "ratio",
        "time over the reference's",
        "measured",
        "measured",
        read=_ratio,
        unit=units.RATIO,
        text=_ratio_cell,
        better="low",
        is_ranked=False,
        short="ratio",
        holds_numbers=True,
    ),
    _measured_column(
        "gpu-compute", "GPU compute, trtexec (ms)", units.MILLISECONDS, _gpu_compute, is_ranked=False, short="trtexec"
    ),
    _measured_column("p90", "p90 (ms)", units.MILLISECONDS, _percentile(90)),
    _measured_column("p99", "p99 (ms)", units.MILLISECONDS, _percentile(99)),
    _measured_column("worst", "worst (ms)", units.MILLISECONDS, _percentile(100)),
    _measured_column(
        "fps", "FPS model", units.FPS, _timed(lambda x: x.median_s, inverse=True), better="high", short="FPS"
    ),
    _measured_column(
        "fps-e2e",
        "FPS end to end",
        units.FPS,
        _timed(lambda x: x.median_s, end_to_end=True, inverse=True),
        better="high",
        short="e2e FPS",
    ),
    _measured_column(
        "memory",
        "peak memory (MiB)",
        units.MEBIBYTES,
        _profiled(lambda p: p.peak_memory_bytes, is_exact=True),
        better="low",
        short="MiB",
        key="mib",
    ),
    _measured_column("file", "file (MB)", units.MEGABYTES, _file_bytes, short="file MB"),
    _measured_column(
        "power", "power (W)", units.WATTS, _profiled(lambda p: p.power_w), better="low", short="W", key="w"
    ),
    _measured_column(
        "energy",
        "energy (mJ)",
        units.MILLIJOULES,
        _energy,
        better="low",
        short="mJ",
        axis="energy of one image, gross",
        key="mj",
    ),
    numbers("predicted", "latency, PREDICTED (ms)", "predicted", short="ms PREDICTED"),
    Column(
        "estimate",
        "latency at best (ms)",
        "estimated",
        "measured",
        read=_profiled(_estimated),
        unit=units.MILLISECONDS,
        better="low",
        is_ranked=False,
        short="est. ms",
    ),
    _training_column("training-s", "data and network (s)", units.SECONDS, lambda r, t: t.seconds),
    _training_column("whole-s", "all phases (s)", units.SECONDS, _whole_seconds, short="s"),
    _training_column("images-s", "trained on (images/s)", units.FPS, _images_per_second, short="img/s"),
    *(
        _training_column(
            f"{phase}-share", f"time in {phase} (%)", units.PERCENT, _share_of_phase(phase), short=f"{phase} %"
        )
        for phase in ("data", "network", "evaluation", "checkpoints", "proxies")
    ),
    _training_column("busy", "threads busy (%)", units.PERCENT, _busy, short="busy %"),
    words("verdict", "verdict", _verdict, needs="measured"),
    *(
        words(f"reported-{name}", heading, _reported(name), kind="reported")
        for name, heading in zip(QUANTITIES, HEADINGS, strict=True)
    ),
)
BY_NAME = {column.name: column for column in COLUMNS}
TRAINING_TIMES = frozenset(
    name for name in BY_NAME if name in ("training-s", "whole-s", "images-s", "busy") or name.endswith("-share")
)

FORMS = ("backend", "conversion", "ratio", "file", "gpu-compute")
"""Columns of a table whose rows have several backends."""
REPORTED = tuple(f"reported-{name}" for name in QUANTITIES)
LAYOUTS: dict[str, tuple[str, ...]] = {
    # Table 1 of the paper, plus the accuracy, which it leaves out.
    "paper": ("input", "pretrained", "augmentation", "parameters-m", "eq2-g", "fps", "test"),
    "brief": (
        *("backend", "parameters", "macs", "val", "conversion", "val-change", "test", "latency", "normalised", "ratio"),
        *("gpu-compute", "latency-change", "fps", "fps-e2e", "file", "memory", "power", "verdict"),
    ),
    "wide": (
        *("backend", "seeds", "parameters", "macs", "flops", "eq2", "val", "conversion", "val-change", "val-last"),
        *(
            "test",
            "latency",
            "normalised",
            "ratio",
            "gpu-compute",
            "latency-change",
            "p90",
            "p99",
            "fps",
            "fps-e2e",
            "file",
        ),
        *("memory", "power", "energy", "verdict"),
        *REPORTED,
    ),
    # The time of trainings by phase, and how busy their threads were.
    "training": (
        *("seeds", "macs", "whole-s", "images-s", "network-share", "data-share", "evaluation-share"),
        *("checkpoints-share", "proxies-share", "busy"),
    ),
}


def find_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of those names.

    Raises:
        SpecError: no column has a name; the message lists all names.
    """
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise SpecError(f"no column is called {', '.join(unknown)}; choose from: {', '.join(BY_NAME)}")
    if len(set(names)) < len(names):
        raise SpecError(f"a column is named twice: {', '.join(names)}; name each once")
    return tuple(BY_NAME[name] for name in names)


def columns_of_layout(layout: str, rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns of a layout that can have a value: published figures need some, changes need a base.

    Where nothing was timed, the estimates of `jetbench profile` stand in place of latencies.
    """
    names = LAYOUTS[layout]
    has_time = any(BY_NAME["latency"].value(row) for row in rows)
    if layout == "brief" and not has_time and any(BY_NAME["estimate"].value(row) for row in rows):
        names = tuple("estimate" if name == "latency" else name for name in names)
    has_reported = any(row.architecture.reported for row in rows)
    has_base = any(row.base is not None for row in rows)
    has_trtexec = any(BY_NAME["gpu-compute"].value(row) for row in rows)
    is_in_sessions = len({(row.session, *(p.device for p in row.profiles[:1])) for row in rows if row.profiles}) > 1
    has_forms = len({BY_NAME["backend"].cell(row) for row in rows} - {units.MISSING}) > 1
    return tuple(
        BY_NAME[name]
        for name in names
        if (has_reported or name not in REPORTED)
        and (has_base or name not in CHANGES)
        and (has_forms or name not in FORMS)
        and (has_trtexec or name != "gpu-compute")
        and (is_in_sessions or name != "normalised")
    )


def class_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """One column per class with its IoU, after their mean: on test, or on val where no row has a test score.

    Raises:
        SpecError: the rows' classes differ.
    """
    names = {record.dataset.class_names for row in rows for record in row.records if record.dataset}
    if len(names) != 1:
        raise SpecError(f"the rows have {len(names)} different lists of classes; give studies with the same classes")
    (classes,) = names
    split = split_of_classes(rows)
    return (BY_NAME[split], *(_class_column(number, name, split) for number, name in enumerate(classes)))


def split_of_classes(rows: Sequence[Row]) -> str:
    """The split of the IoU of each class: test, or val where no row has a test score."""
    return "test" if any(record.counts_on("test") is not None for row in rows for record in row.records) else "val"


def evaluation_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """One column per evaluation with its validation mIoU, by share of the budget; then the final test mIoU.

    Raises:
        SpecError: the rows were evaluated at different shares of their budgets, or never.
    """
    shares = {
        tuple(round(evaluation.step / training.steps, 2) for evaluation in training.val)
        for row in rows
        for training in row.trainings
        if not training.stopped
    }
    if len(shares) != 1:
        reason = f"were evaluated at {len(shares)} different sets of times" if shares else "have no finished training"
        raise SpecError(f"the rows {reason}; give studies with the same training.evaluations")
    (times,) = shares
    return (*(_evaluation_column(number, share) for number, share in enumerate(times)), BY_NAME["test"])


def _evaluation_column(number: int, share: float) -> Column:
    def pick(record: Record) -> float | None:
        training = record.training
        if training is None or record.profiling_config.runs_file or number >= len(training.val):
            return None
        return training.val[number].counts.miou

    return _score_column(f"val-{share:g}", f"val mIoU after {share:.0%} (%)", pick, short=f"{share:.0%}")


def _class_column(number: int, name: str, split: str) -> Column:
    def read(record: Record) -> float | None:
        counts = record.counts_on("test" if split == "test" else "val")
        return counts.class_iou[number] if counts is not None else None

    return _score_column(f"iou-{name}", name, read)
