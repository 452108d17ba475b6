"""Why a network takes its time: the time of its parts and kernels beside what they compute and what the machine can do.

The limit of some kernels is the one of three that would take longest at the machine's measured peaks: arithmetic (their
MACs), memory (the bytes they move) or launches (their number). What was reached of it says how far they are from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.errors import SpecError
from jetbench.network.kernels import ADDED, GROUPED
from jetbench.network.undone import words_of
from jetbench.records.measurement import KernelTime, Peaks
from jetbench.records.record import Profile, Record
from jetbench.reporting import units
from jetbench.reporting.tables.columns import numbers, words
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow

Bound = Literal["arithmetic", "memory", "launches"]
BOUNDS: tuple[Bound, ...] = ("arithmetic", "memory", "launches")
SMALL_SHARE = 0.005  # of the time: classes below it share a row
OTHERS = "others"
EARLIER = "an earlier version of jetbench profiled it"


@dataclass(frozen=True)
class Spent:
    """What some kernels take and do. The shares are of all kernels; `reached` is of the peak of their limit.

    `seconds` and `macs` are those of one pass. `by_bound` has the seconds by the limit of each kernel, without those
    of layers whose work is not counted.
    """

    name: str
    seconds: float
    count: int
    macs: int
    bytes_moved: int
    time_share: float
    macs_share: float
    by_bound: Mapping[Bound, float]
    at_best_s: float

    @property
    def bound(self) -> Bound | None:
        """The limit of the kernels that take most of the time; None for layers whose work is not counted."""
        if not self.by_bound:
            return None
        return max(BOUNDS, key=lambda each: self.by_bound.get(each, 0.0))

    @property
    def reached(self) -> float:
        """The share of the machine's peak that was reached: the seconds at the peaks over those taken."""
        taken = sum(self.by_bound.values())
        return self.at_best_s / taken if taken else 0.0

    @property
    def excess_share(self) -> float:
        """The share of the time less that of the MACs: what it takes beyond its part of the computing."""
        return self.time_share - self.macs_share


@dataclass(frozen=True)
class Why:
    """A profile explained: its parts in their order, its classes of kernels by time, and the shares of the limits.

    `between_s` is the latency less the time of all kernels: calls between them, and clocks that the timing read.
    `fused` has the number of operations of each class that a runtime fused into kernels of others.
    """

    parts: tuple[Spent, ...]
    kernels: tuple[Spent, ...]
    bound_shares: Mapping[Bound, float]
    kernels_s: float
    between_s: float | None
    fused: Mapping[str, int]
    peaks: Peaks

    @property
    def costliest(self) -> Spent:
        """The part that takes most beyond its share of the computing."""
        return max(self.parts, key=lambda part: part.excess_share)

    @property
    def largest(self) -> Spent:
        """The part that takes most time."""
        return max(self.parts, key=lambda part: part.seconds)


def can_explain(profile: Profile | None) -> bool:
    """True if a profile has the times of its kernels and the peaks of its machine."""
    return profile is not None and profile.peaks is not None and any(each.samples_s for each in profile.kernels)


def explain(record: Record) -> Why:
    """The kernels of a record's profile, added up by part and by class.

    Raises:
        SpecError: the profile has no times of kernels; the message says why.
    """
    profile = record.measured
    peaks = profile.peaks
    timed = [each for each in profile.kernels if each.median_s]
    if peaks is None or not timed:
        names = ("kernels", "layers", "latency")
        reason = next((profile.notes[name] for name in names if name in profile.notes), EARLIER)
        form = record.profiling_config.form
        raise SpecError(f"{record.variant}, {form}: the times of its kernels are missing: {reason}")
    if record.profiling_config.runs_file:
        # A runtime does not call a kernel from Python: its cheapest kernels say what a launch costs there.
        by_class = _grouped(timed, lambda each: each.kernel).values()
        cheapest = min(sum(each.median_s or 0.0 for each in own) / sum(each.count for each in own) for own in by_class)
        peaks = peaks.model_copy(update={"launch_s": cheapest, "depthwise_launch_s": cheapest})
    seconds, macs = sum(each.median_s or 0.0 for each in timed), sum(each.macs for each in timed)

    def gather(name: str, kernels: Sequence[KernelTime]) -> Spent:
        by_bound: dict[Bound, float] = {}
        at_best = 0.0
        for each in kernels:
            if not each.macs and not each.bytes_moved:  # layers that a runtime added: nobody counts their work
                continue
            limits = limits_of(each, peaks)
            bound = max(BOUNDS, key=lambda key: limits[key])
            by_bound[bound] = by_bound.get(bound, 0.0) + (each.median_s or 0.0)
            at_best += limits[bound]
        own = sum(each.median_s or 0.0 for each in kernels)
        own_macs = sum(each.macs for each in kernels)
        return Spent(
            name=name,
            seconds=own,
            count=sum(each.count for each in kernels),
            macs=own_macs,
            bytes_moved=sum(each.bytes_moved for each in kernels),
            time_share=own / seconds,
            macs_share=own_macs / macs if macs else 0.0,
            by_bound=by_bound,
            at_best_s=at_best,
        )

    parts = tuple(gather(name, own) for name, own in _grouped(timed, lambda each: each.part).items())
    classes = [gather(name, own) for name, own in _grouped(timed, lambda each: each.kernel).items()]
    whole = gather("", timed)
    fused: dict[str, int] = {}
    for each in profile.kernels:
        if not each.samples_s:
            fused[each.kernel] = fused.get(each.kernel, 0) + each.count
    latency = profile.model_latency
    return Why(
        parts=parts,
        kernels=tuple(sorted(classes, key=lambda each: -each.seconds)),
        bound_shares={bound: whole.by_bound.get(bound, 0.0) / seconds for bound in BOUNDS},
        kernels_s=seconds,
        between_s=latency.median_s - seconds if latency is not None else None,
        fused=fused,
        peaks=peaks,
    )


def limits_of(kernels: KernelTime, peaks: Peaks) -> dict[Bound, float]:
    """Seconds that kernels would take at each of the machine's peaks."""
    is_grouped = kernels.kernel.startswith(GROUPED)
    launch_s = peaks.depthwise_launch_s if is_grouped else peaks.launch_s
    return {
        "arithmetic": kernels.macs / peaks.macs_per_s,
        "memory": kernels.bytes_moved / peaks.bytes_per_s,
        "launches": kernels.count * launch_s,
    }


def _grouped(kernels: Iterable[KernelTime], key: Callable[[KernelTime], str]) -> dict[str, list[KernelTime]]:
    groups: dict[str, list[KernelTime]] = {}
    for each in kernels:
        groups.setdefault(key(each), []).append(each)
    return groups


@dataclass(frozen=True)
class Choice:
    """A choice undone: the change of the latency (a share, with its interval), of parameters and of MACs.

    `is_significant` is False if the change is within what the measurement can resolve.
    """

    name: str
    change: float
    interval: tuple[float, float] | None
    is_significant: bool
    parameters: int
    macs: int


def choices(base: Record, others: Sequence[Record]) -> tuple[Choice, ...]:
    """What each choice costs, by networks that were timed in turn with the base; the greatest saving first."""
    undone = []
    for record in others:
        compared = record.measured.comparison
        if compared is None:
            continue
        interval = compared.interval
        undone.append(
            Choice(
                name=words_of(base.variant, record.variant) or record.variant,
                change=compared.median - 1,
                interval=(interval[0] - 1, interval[1] - 1) if interval else None,
                is_significant=compared.is_significant,
                parameters=record.measured.parameters - base.measured.parameters,
                macs=record.measured.macs - base.measured.macs,
            )
        )
    return tuple(sorted(undone, key=lambda each: each.change))


def sentences(record: Record, why: Why, undone: Sequence[Choice] = ()) -> tuple[str, ...]:
    """Three sentences: the part that pays most, the limit of most kernels, and the choice that costs most."""
    part, largest = why.costliest, why.largest
    first = f"{_name(part.name)} takes {units.percent(part.time_share)} of the time and computes "
    first += f"{units.percent(part.macs_share)} of the MACs: no part pays more for what it computes"
    if largest is not part:
        first += (
            f". {_name(largest.name)} takes most, {units.percent(largest.time_share)} for "
            f"{units.percent(largest.macs_share)} of the MACs"
        )
    bound = max(BOUNDS, key=lambda each: why.bound_shares[each])
    counted_s = sum(why.bound_shares.values()) * why.kernels_s
    reached = sum(each.at_best_s for each in why.kernels) / counted_s if counted_s else 0.0
    top = why.kernels[0]
    second = (
        f"{bound.capitalize()} {'are' if bound == 'launches' else 'is'} the limit of kernels that take "
        f"{units.percent(why.bound_shares[bound])} of the time; at this machine's peaks all that is counted "
        f"would take {units.percent(reached)} of its time. {top.name} takes most: {units.percent(top.time_share)}"
    )
    return (f"{first}.", f"{second}.", f"{_of_choices(undone)}.")


def _of_choices(undone: Sequence[Choice]) -> str:
    if not undone:
        return "No choice was undone, so what each of them costs was not measured"
    best = next((each for each in undone if each.is_significant and each.change < 0), None)
    if best is None:
        return "No single choice undone makes it significantly faster"
    text = f"Undone, the choice that costs most saves {units.percent(-best.change)}: {best.name}"
    text += f" ({best.parameters:+,} parameters)"
    free = [each.name for each in undone if not each.is_significant]
    return text + (f". Without a significant change: {', '.join(free)}" if free else "")


def _name(part: str) -> str:
    """The part as the beginning of a sentence; the names of a user's modules stay as they are."""
    if part == ADDED:
        return "What the runtime added"
    return f"The {part}" if part in ("decoder", "output") else part.replace("block ", "Block ", 1)


def spent_table(why: Why, of: Literal["parts", "kernels"], title: str) -> Table:
    """The parts or the classes of kernels, with time, work, rates and limit."""
    rows = why.parts if of == "parts" else _without_small(why.kernels)
    columns = (
        numbers("ms", "time (ms)", "measured", short="ms"),
        numbers("time-share", "share of the time (%)", "measured", short="time %"),
        numbers("macs-share", "share of the MACs (%)", "counted", short="MACs %"),
        words("limit", "limit", kind="measured"),
        numbers("reached", "of its peak (%)", "measured", short="of peak %"),
        numbers("kernels", "kernels", "counted"),
        numbers("macs-own", "MACs (M)", "counted", short="MACs M"),
        numbers("moved", "bytes moved (MB)", "counted", short="MB"),
        numbers("rate", "GMAC/s", "measured"),
        numbers("bandwidth", "GB/s", "measured"),
    )
    costliest = why.costliest.name if of == "parts" else ""
    body = tuple(
        TableRow(each.name, tuple(Cell(text, is_strong=each.name == costliest) for text in _cells(each)))
        for each in rows
    )
    return Table(title, columns, (Section("", body),), Notes(()), heading="part" if of == "parts" else "kernels")


def _without_small(kernels: Sequence[Spent]) -> list[Spent]:
    """The classes of kernels, the smallest in one row."""
    small = [each for each in kernels if each.time_share < SMALL_SHARE]
    if len(small) < 2:
        return list(kernels)
    by_bound: dict[Bound, float] = {}
    for each in small:
        for bound, seconds in each.by_bound.items():
            by_bound[bound] = by_bound.get(bound, 0.0) + seconds
    rest = Spent(
        name=OTHERS,
        seconds=sum(each.seconds for each in small),
        count=sum(each.count for each in small),
        macs=sum(each.macs for each in small),
        bytes_moved=sum(each.bytes_moved for each in small),
        time_share=sum(each.time_share for each in small),
        macs_share=sum(each.macs_share for each in small),
        by_bound=by_bound,
        at_best_s=sum(each.at_best_s for each in small),
    )
    return [*(each for each in kernels if each not in small), rest]


def _cells(spent: Spent) -> tuple[str, ...]:
    return (
        units.milliseconds(spent.seconds),
        units.score(spent.time_share),
        units.score(spent.macs_share),
        spent.bound or units.MISSING,
        f"{100 * spent.reached:.0f}" if spent.bound else units.MISSING,
        str(spent.count),
        units.millions(spent.macs),
        units.MEGABYTES.show(spent.bytes_moved),
        units.significant(spent.macs / spent.seconds / 1e9) if spent.macs else units.MISSING,
        units.significant(spent.bytes_moved / spent.seconds / 1e9) if spent.bytes_moved else units.MISSING,
    )


def choices_table(undone: Sequence[Choice], title: str) -> Table:
    """The measured change of each choice undone, with its interval, and what it does to the counts."""
    columns = (
        numbers("change", "change of the latency (%)", "measured", short="latency %"),
        numbers("interval", "95 % interval", "measured"),
        numbers("parameters", "parameters", "counted"),
        numbers("macs", "MACs (M)", "counted", short="MACs M"),
    )
    rows = []
    for each in undone:
        interval = units.MISSING
        if each.interval is not None:
            interval = f"{100 * each.interval[0]:+.1f} to {100 * each.interval[1]:+.1f}"
        change = f"{100 * each.change:+.1f}" + ("" if each.is_significant else " =")
        counts = (Cell(f"{each.parameters:+,}" if each.parameters else "0"), Cell(f"{each.macs / 1e6:+,.1f}"))
        rows.append(TableRow(each.name, (Cell(change), Cell(interval), *counts)))
    notes = Notes(("=: not significantly different; each network was timed in turn with the base.",))
    return Table(title, columns, (Section("", tuple(rows)),), notes, heading="undone")


def notes_of(record: Record, why: Why) -> tuple[str, ...]:
    """The peaks, what the times mean, and what they leave out."""
    peaks, timed = why.peaks, units.milliseconds(why.kernels_s)
    launch = f"{1e6 * peaks.launch_s:,.1f} \N{MICRO SIGN}s a launch"
    if peaks.depthwise_launch_s != peaks.launch_s:
        launch += f" ({1e6 * peaks.depthwise_launch_s:,.1f} of a depthwise convolution)"
    lines = [
        f"Peaks measured beside it with PyTorch in {peaks.dtype}: {peaks.macs_per_s / 1e9:,.1f} GMAC/s (a dense "
        f"convolution), {peaks.bytes_per_s / 1e9:,.1f} GB/s (a copy), {launch}.",
        "Limit: the one of arithmetic, memory and launches that would take longest at these peaks. MACs and bytes are "
        "counted; a cache that holds a map makes it faster than memory allows, so more than 100 % can be reached.",
    ]
    if why.between_s is not None:
        share = why.between_s / (why.between_s + why.kernels_s)
        what = "calls between kernels" if share >= 0 else "readings of the clock, which the latency is without"
        lines.append(
            f"All kernels together take {timed} ms, the latency is {units.milliseconds(why.between_s + why.kernels_s)} "
            f"ms: {100 * share:+.0f} % are {what}."
        )
    if why.fused:
        fused = ", ".join(f"{name} ({count})" for name, count in why.fused.items())
        lines.append(f"Operations fused into kernels of other classes, so without a time: {fused}.")
    if text := record.measured.notes.get("kernels"):
        lines.append(f"Times of kernels: {text}.")
    return tuple(lines)
