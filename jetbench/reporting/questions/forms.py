"""Compares the forms of networks in one study: what a conversion costs in accuracy, and what it does to the order."""

from collections.abc import Sequence
from dataclasses import dataclass

from jetbench.errors import SpecError
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import (
    BY_NAME,
    SIGN_OF_CHANGE,
    Value,
    certainty_of,
    describe_change,
    numbers,
)
from jetbench.reporting.tables.footnotes import Notes, on_one_line
from jetbench.reporting.tables.protocol import describe_machines
from jetbench.reporting.tables.rows import Row, name_without_seed
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, believed
from jetbench.stats import kendall_tau, tau_interval

LISTED_FLIPS = 12


@dataclass(frozen=True)
class Converted:
    """A network in two forms."""

    name: str
    first: Row
    second: Row

    @property
    def latencies(self) -> tuple[Value | None, Value | None]:
        """The latency of each form."""
        return BY_NAME["latency"].value(self.first), BY_NAME["latency"].value(self.second)


@dataclass(frozen=True)
class Conversion:
    """All networks of a study in two forms, of which `timed` have both latencies, and how well their orders agree.

    `flips` are pairs (a, b): a is significantly faster in the first form, and significantly slower in the second.
    """

    forms: tuple[str, str]
    networks: tuple[Converted, ...]
    timed: int
    tau: float | None
    interval: tuple[float, float] | None
    flips: tuple[tuple[str, str], ...]


def forms_of_study(study: Study) -> tuple[str, ...]:
    """The forms in which the networks of a study were profiled, in their order."""
    return tuple(dict.fromkeys(_form(row) for row in study.rows() if row.profiles))


def _form(row: Row) -> str:
    return row.records[0].profiling_config.form


def _network(record: Record) -> tuple[object, ...]:
    """Equal for two rows that are forms of one network, run on one device in the same way."""
    config, profile = record.profiling_config, record.profile
    own = (name_without_seed(record), record.fingerprint, record.input_size)
    if profile is None:
        return own
    state = profile.environment
    return (*own, config.batch_size, config.threads, profile.device, state.power_mode, state.jetson_clocks)


def measure_conversion(study: Study, first: str, second: str, show_invalid: bool = False) -> Conversion:
    """Pair the networks of a study in two forms.

    Args:
        study: a sweep with forms, or profiles of networks by several backends.
        first: a form, as `ProfilingConfig.form` names it.
        second: another one.
        show_invalid: take the measurements of invalid profiles, too.

    Raises:
        SpecError: the study lacks a form, or no network has both.
    """
    known = forms_of_study(study)
    for form in (first, second):
        if form not in known:
            raise SpecError(f"{study.folder}: has no row of {form}; it has {', '.join(known) or 'no profile'}")
    rows = study.rows() if show_invalid else believed(study.rows())
    by_form: dict[str, dict[tuple[object, ...], Row]] = {first: {}, second: {}}
    for row in rows:
        if row.profiles and _form(row) in by_form:
            by_form[_form(row)].setdefault(_network(row.records[0]), row)
    networks = tuple(
        Converted(name_without_seed(row.records[0]), row, by_form[second][key])
        for key, row in by_form[first].items()
        if key in by_form[second]
    )
    if not networks:
        hint = "" if show_invalid else "; rows whose profile is invalid are left out, --all takes them"
        raise SpecError(f"{study.folder}: no network has a row of {first} and one of {second}{hint}")
    timed = [(each.name, *each.latencies) for each in networks if all(each.latencies)]
    values = [(name, one, two) for name, one, two in timed if one is not None and two is not None]
    pairs = [(one.number, two.number) for _, one, two in values]
    flips = []
    for number, (a, *ours) in enumerate(values):
        for b, *theirs in values[:number]:
            orders = [_order(x, y) for x, y in zip(ours, theirs, strict=True)]
            if all(orders) and orders[0] != orders[1]:
                flips.append((a, b) if orders[0] < 0 else (b, a))
    tau = kendall_tau(pairs) if len(pairs) > 2 else None
    interval = tau_interval(pairs) if tau is not None else None
    return Conversion((first, second), networks, len(pairs), tau, interval, tuple(flips))


def has_conversion(study: Study, first: str, second: str, show_invalid: bool = False) -> bool:
    """True if a network of the study has a row in each of the two forms."""
    try:
        return bool(measure_conversion(study, first, second, show_invalid).networks)
    except SpecError:
        return False


def _order(one: Value, other: Value) -> int:
    """-1 if `one` is significantly lower, 1 if higher, 0 if they are not significantly different."""
    if not (one.has_interval and other.has_interval) or one.is_tied_with(other):
        return 0
    return -1 if one.number < other.number else 1


def build_forms(study: Study, forms: Sequence[str], show_invalid: bool = False) -> Table:
    """A table of the networks of a study in two or more forms, a section for each form after the first.

    Args:
        study: the study.
        forms: the first is what the others are compared with.
        show_invalid: take the measurements of invalid profiles, too.

    Raises:
        SpecError: as `measure_conversion`.
    """
    first, *others = forms
    sections, lines = [], []
    for other in others:
        conversion = measure_conversion(study, first, other, show_invalid)
        sections.append(Section(f"{first} \N{RIGHTWARDS ARROW} {other}", _rows(conversion)))
        lines += _describe(conversion)
    lines += [
        "Ratio: the second form's time over the first's; where both were timed in the same rounds, the median of their "
        "paired ratios. =: not different.",
        "Change: val mIoU of the second form less that of the first, in points; of a file against PyTorch with = where "
        "the 95 % interval over the images, paired, contains 0. Pixels: the share of val with another class than "
        "PyTorch gives.",
    ]
    environments = [profile.environment for row in study.rows() for profile in row.profiles]
    lines += [f"Measured on: {machine}." for machine in describe_machines(environments)]
    columns = (
        numbers("first", f"{first} (ms)", "measured", short=f"{first} ms"),
        numbers("first-rank", "rank", "measured"),
        numbers("second", "converted (ms)", "measured", short="converted ms"),
        numbers("second-rank", "rank", "measured"),
        numbers("ratio", "ratio", "measured"),
        numbers("first-val", f"val mIoU, {first} (%)", "measured", short="val %"),
        numbers("second-val", "val mIoU, converted (%)", "measured", short="converted %"),
        numbers("change", "change (points)", "measured", short="change"),
        numbers("pixels", "pixels changed (%)", "measured", short="pixels %"),
        numbers("file", "file (MB)", "measured", short="file MB"),
    )
    title = f"{study.title}: {first} against {', '.join(others)}"
    return Table(title, columns, tuple(sections), Notes(tuple(map(on_one_line, lines))), heading="network")


def _rows(conversion: Conversion) -> tuple[TableRow, ...]:
    latency, val = BY_NAME["latency"], BY_NAME["val"]
    ordered = sorted(conversion.networks, key=lambda each: _number(each.latencies[0]))
    ranks = [_ranks([each.latencies[at] for each in ordered]) for at in (0, 1)]
    flipped = {name for pair in conversion.flips for name in pair}
    rows = []
    for number, each in enumerate(ordered):
        ours, theirs = each.latencies
        scores = [val.value(row) for row in (each.first, each.second)]
        cells = (
            Cell(latency.show(ours.number if ours else None)),
            Cell(ranks[0][number]),
            Cell(latency.show(theirs.number if theirs else None)),
            Cell(ranks[1][number], is_strong=each.name in flipped),
            Cell(_ratio(each)),
            *(Cell(val.show(score.number if score else None)) for score in scores),
            Cell(_change(each, scores)),
            Cell(_pixels(each.second)),
            Cell(BY_NAME["file"].cell(each.second)),
        )
        rows.append(TableRow(on_one_line(each.name), cells, is_suspect=each.second.level == "suspect"))
    return tuple(rows)


def _number(value: Value | None) -> float:
    return float("inf") if value is None else value.number


def _ranks(values: Sequence[Value | None]) -> list[str]:
    """The rank of each value, 1 for the lowest; a dash without a value."""
    known = sorted(value.number for value in values if value is not None)
    return [units.MISSING if value is None else str(known.index(value.number) + 1) for value in values]


def _ratio(each: Converted) -> str:
    """The paired ratio if the second form was timed with the first one, else that of the medians."""
    compared = next((profile.comparison for profile in each.second.profiles if profile.comparison), None)
    if compared is not None and compared.reference == _form(each.first):
        return BY_NAME["ratio"].cell(each.second)
    ours, theirs = each.latencies
    return f"{theirs.number / ours.number:.2f}" if ours is not None and theirs is not None else units.MISSING


def _change(each: Converted, scores: Sequence[Value | None]) -> str:
    conversion = BY_NAME["conversion"].value(each.second)
    if conversion is not None and not each.first.records[0].profiling_config.runs_file:
        return f"{100 * conversion.number:+.2f}{SIGN_OF_CHANGE[certainty_of(conversion)]}"
    ours, theirs = scores
    return describe_change(Value(theirs.number - ours.number)) if ours and theirs else units.MISSING


def _pixels(row: Row) -> str:
    """The largest share of the pixels of val that have another class than PyTorch gives; a dash without a score."""
    scores = [profile.deployment.score_on("val") for profile in row.profiles if profile.deployment]
    shares = [score.changed / score.pixels for score in scores if score is not None]
    return f"{100 * max(shares):.2g}" if shares else units.MISSING


def _describe(conversion: Conversion) -> list[str]:
    first, second = conversion.forms
    name = f"{first} \N{RIGHTWARDS ARROW} {second}"
    lines = []
    if conversion.tau is not None:
        span = "no interval"
        if conversion.interval is not None:
            span = f"95 % [{conversion.interval[0]:.3f}, {conversion.interval[1]:.3f}] by bootstrap"
        lines.append(
            f"{name}: Kendall's tau-b of the two orders by latency {conversion.tau:.3f} over "
            f"{conversion.timed} networks ({span}): 1 is the same order, 0 is no relation."
        )
    timed = [each for each in conversion.networks if all(each.latencies)]
    if timed:
        fastest = [_fastest(timed, at) for at in (0, 1)]
        same = "the fastest in both" if fastest[0] == fastest[1] else f"the fastest {first}; {fastest[1]} {second}"
        lines.append(f"{name}: {fastest[0]} is {same}.")
    if conversion.flips:
        some = "; ".join(f"{a} before {b}" for a, b in conversion.flips[:LISTED_FLIPS])
        more = f"; and {len(conversion.flips) - LISTED_FLIPS} more" if len(conversion.flips) > LISTED_FLIPS else ""
        lines.append(
            f"{name}: {units.counted(len(conversion.flips), 'pair')} in the opposite order (bold rank), the faster one "
            f"in {first} first: {some}{more}."
        )
    changes = [
        (each.name, change)
        for each in conversion.networks
        if (change := BY_NAME["conversion"].value(each.second)) is not None
    ]
    lost = [name for name, change in changes if certainty_of(change) == "significant" and change.number < 0]
    if changes:
        worst = min(changes, key=lambda each: each[1].number)
        verb = "loses" if len(lost) == 1 else "lose"
        text = f"{len(lost)} of {len(changes)} networks {verb} accuracy" if lost else "no network loses accuracy"
        text += " against PyTorch"
        loss = 100 * worst[1].number
        largest = f"the largest loss {loss:+.2f} points ({worst[0]})"
        if round(loss, 2) >= 0:
            largest = "no mIoU falls by 0.01 points"
        lines.append(f"{name}: {text} (95 %, paired images); {largest}.")
    return lines


def _fastest(networks: Sequence[Converted], at: int) -> str:
    return min(networks, key=lambda each: _number(each.latencies[at])).name
