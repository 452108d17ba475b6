"""The pictures of a study: accuracy against each cost, latency against MACs, roofline, latencies, learning curves."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jetbench.reporting.pictures.drawing import (
    ACCENT,
    DPI,
    FORMATS,
    INK,
    LABEL_POINTS,
    MUTED,
    PALETTE,
    Label,
    Look,
    Segment,
    house_style,
    make_panel,
    name_ends,
    name_points,
    save_figure,
    use_log_scale,
)
from jetbench.reporting.pictures.power_modes import draw_power_modes
from jetbench.reporting.tables.columns import BY_NAME, Column, Value
from jetbench.reporting.tables.protocol import describe_machine
from jetbench.reporting.tables.ranking import front_of_significant
from jetbench.reporting.tables.rows import Row
from jetbench.spec.architecture import Baseline, Foreign, InCode
from jetbench.stats import front_of

JETSEG, RELEASED, BASELINE = PALETTE[0], PALETTE[5], INK
AT_THE_END = ("accuracy-against-latency", "accuracy-against-macs", "latency-against-macs", "learning-curves")
"""The pictures that a sweep draws at its end; `jetbench plot` draws all of them, also as PDF."""
COLOURS = {
    JETSEG: "blue: JetSeg, paper form",
    RELEASED: "light blue: released form",
    BASELINE: "black triangles: baselines",
}
SHAPES = ("o", "s", "D", "v", "P")
NAMES_OF_SHAPES = ("circles", "squares", "diamonds", "triangles", "crosses")
MOST_CURVES = 12
MOST_BOXES = 40


LATENCY, ENERGY, MACS = (BY_NAME[name] for name in ("latency", "energy", "macs"))
PARAMETERS, VAL = BY_NAME["parameters"], BY_NAME["val"]


@dataclass(frozen=True)
class Dot:
    """A row in a picture: its position with intervals, in the units of the axes."""

    row: Row
    x: Value
    y: Value


PICTURES = (
    "accuracy-against-latency",
    "accuracy-against-energy",
    "accuracy-against-macs",
    "latency-against-macs",
    "roofline",
    "latencies",
    "backends",
    "power-modes",
    "learning-curves",
)


def write_plots(
    folder: Path,
    rows: Sequence[Row],
    title: str,
    names: Sequence[str] = PICTURES,
    formats: Sequence[str] = FORMATS,
    look: Look = Look(),
) -> list[Path]:
    """Draw the named pictures in each format; returns the paths. A picture without data is not written.

    Rows of several studies have a shape for each study; only rows of one study are compared.
    """
    drawers: dict[str, Callable[[Sequence[Row], str, Look], Figure | None]] = {
        "accuracy-against-latency": lambda rows, title, look: _draw_marks(rows, title, LATENCY, VAL, look),
        "accuracy-against-energy": lambda rows, title, look: _draw_marks(rows, title, ENERGY, VAL, look),
        "accuracy-against-macs": lambda rows, title, look: _draw_marks(rows, title, MACS, VAL, look),
        "latency-against-macs": lambda rows, title, look: _draw_marks(rows, title, MACS, LATENCY, look),
        "roofline": _draw_roofline,
        "latencies": _draw_latencies,
        "backends": _draw_backends,
        "power-modes": draw_power_modes,
        "learning-curves": _draw_curves,
    }
    ended = [row for row in rows if row.records and not all(record.failure for record in row.records)]
    written: list[Path] = []
    with house_style():
        for name in names:
            figure = drawers[name](ended, title, look)
            if figure is not None:
                written += save_figure(figure, folder / name, formats, DPI, look)
    return written


def _value(row: Row, axis: Column) -> Value | None:
    value = axis.value(row)
    if value is None or value.number <= 0:
        return None
    latency = row.pooled() if axis is LATENCY else None
    scale = axis.on_axis.scale / (latency.batch_size if latency else 1)  # an image's share of its batch
    low, high, spread = (None if part is None else scale * part for part in (value.low, value.high, value.spread))
    return replace(value, number=scale * value.number, low=low, high=high, spread=spread)


def _draw_marks(rows: Sequence[Row], title: str, across: Column, up: Column, look: Look) -> Figure | None:
    marks = [
        Dot(row, x, y) for row in rows if (x := _value(row, across)) is not None and (y := _value(row, up)) is not None
    ]
    if not marks or (across is MACS and len(marks) > 1 and _is_level([mark.x.number for mark in marks])):
        return None  # a cost that is the same everywhere, as in a study of losses, explains nothing
    studies = list(dict.fromkeys(mark.row.study for mark in marks))
    fronts = [_Front.of([mark for mark in marks if mark.row.study == study], up) for study in studies]
    best = {id(mark.row) for front in fronts for mark in front.significant}
    shown = [mark.row for mark in marks]
    key = _key(shown, studies, across, up, fronts)
    figure, axis = make_panel(title, key, _notes(shown, across, up), look=look)
    use_log_scale(axis, "x", [mark.x.number for mark in marks])
    for front in fronts:
        _draw_line(axis, front.plain, MUTED, 0.5)
        _draw_line(axis, front.significant, ACCENT, 1.0)
    bars = [bar for mark in marks for bar in _draw_mark(axis, mark, _shape_of(mark.row, studies))]
    if up is VAL:
        low, high = axis.get_ylim()
        axis.set_ylim(max(0.0, low), min(100.0, high))  # an interval may reach beyond what mIoU can be
    else:
        use_log_scale(axis, "y", [mark.y.number for mark in marks])
        _draw_paces(axis, marks)
    axis.set_xlabel(across.axis_label)
    axis.set_ylabel(up.axis_label)
    ranked = sorted(marks, key=lambda mark: -mark.y.number if up is VAL else mark.y.number)
    places = {id(mark): place for place, mark in enumerate(ranked, 1)}
    labels = [
        Label(
            mark.x.number,
            mark.y.number,
            mark.row.listed,
            _ink_of(mark.row),
            id(mark.row) in best,
            _order_of(mark.row, id(mark.row) in best),
            places[id(mark)],
        )
        for mark in marks
    ]
    name_points(figure, axis, labels, [(mark.x.number, mark.y.number) for mark in marks], bars)
    return figure


@dataclass(frozen=True)
class _Front:
    """The Pareto-optimal marks of one study: by 95 % intervals, and by the plain numbers."""

    significant: tuple[Dot, ...]
    plain: tuple[Dot, ...]

    @staticmethod
    def of(marks: Sequence[Dot], up: Column) -> "_Front":
        """Both fronts; empty if accuracy is not on the axis."""
        if up is not VAL:
            return _Front((), ())
        significant = front_of_significant([(mark.x, mark.y) for mark in marks])
        plain = set(front_of([(mark.x.number, -mark.y.number) for mark in marks]))
        return _Front(tuple(marks[n] for n in sorted(significant)), tuple(marks[n] for n in sorted(plain)))


def _is_level(numbers: Sequence[float]) -> bool:
    return max(numbers) <= 1.001 * min(numbers)


def _draw_line(axis: Axes, marks: Sequence[Dot], colour: str, width: float) -> None:
    line = sorted(marks, key=lambda mark: mark.x.number)
    if len(line) > 1:
        x, y = [mark.x.number for mark in line], [mark.y.number for mark in line]
        axis.step(x, y, where="post", color=colour, linewidth=width, alpha=0.8, zorder=1)


def _order_of(row: Row, is_on_front: bool) -> int:
    """The base and the front get their labels first, then JetSeg's networks, then the baselines."""
    if row.is_base or is_on_front:
        return -3 if row.is_base else -2
    return int(isinstance(row.architecture, InCode))


def colour_of(row: Row) -> str:
    """Blue for JetSeg in the paper's form, light blue in the released one, black for baselines."""
    if isinstance(row.architecture, InCode):
        return BASELINE
    return RELEASED if row.architecture.form == "released" else JETSEG


def _ink_of(row: Row) -> str:
    """The colour of a row's name: light blue would be hard to read."""
    return BASELINE if isinstance(row.architecture, InCode) else JETSEG


def _shape_of(row: Row, studies: Sequence[str]) -> str:
    """A triangle for a baseline and a circle for JetSeg; with several studies a shape for each study."""
    if len(studies) == 1 and isinstance(row.architecture, InCode):
        return "^"
    return SHAPES[studies.index(row.study) % len(SHAPES)]


def _draw_mark(axis: Axes, mark: Dot, shape: str) -> list[Segment]:
    """Draw a mark with its intervals, and return those."""
    bars: list[Segment] = []
    colour = colour_of(mark.row)
    for value, line in ((mark.x, axis.hlines), (mark.y, axis.vlines)):
        if value.low is not None and value.high is not None and value.low != value.high:
            other = mark.y if value is mark.x else mark.x
            line(other.number, value.low, value.high, color=colour, linewidth=0.7, alpha=0.6, zorder=2)
            ends = ((value.low, other.number), (value.high, other.number))
            bars.append(ends if value is mark.x else (ends[0][::-1], ends[1][::-1]))
    # Hollow: an approximate network, an early end or a suspect profile.
    doubtful = mark.row.label != mark.row.name
    axis.scatter(
        mark.x.number,
        mark.y.number,
        s=14,
        marker=shape,
        facecolors="white" if doubtful else colour,
        edgecolors=colour,
        linewidths=0.8,
        zorder=3,
    )
    return bars


def _draw_paces(axis: Axes, marks: Sequence[Dot]) -> None:
    """Draw lines of equal MACs per second: a network above a line uses the machine less well."""
    (low, high), ends = axis.get_xlim(), axis.get_ylim()
    paces = sorted(mark.x.number / mark.y.number for mark in marks)  # M a ms: G a second
    shown: list[float] = []
    for pace in (paces[0], paces[-1], paces[len(paces) // 2]):
        if any(1 / 3 < pace / other < 3 for other in shown):
            continue  # their labels would overlap
        shown.append(pace)
        axis.plot([low, high], [low / pace, high / pace], color=MUTED, linewidth=0.5, linestyle=":", zorder=0)
        # At the point where the line leaves the plot.
        axis.annotate(
            f"{pace:.3g} GMAC/s",
            (min(high, ends[1] * pace), min(high / pace, ends[1])),
            fontsize=LABEL_POINTS - 1,
            color=MUTED,
            ha="right",
            va="bottom",
        )
    axis.set(xlim=(low, high), ylim=ends)


def _key(rows: Sequence[Row], studies: Sequence[str], across: Column, up: Column, fronts: Sequence[_Front]) -> str:
    """What colours, shapes and lines mean; only what is in the picture."""
    colours = {colour_of(row) for row in rows}
    key = [text for colour, text in COLOURS.items() if colour in colours and (len(colours) > 1 or colour != JETSEG)]
    if any(isinstance(row.architecture, Foreign) for row in rows):  # a network of the user's is no baseline
        both = any(isinstance(row.architecture, Baseline) for row in rows)
        key = [text.replace(": baselines", f": {'baselines and ' * both}other networks") for text in key]
    if len(studies) > 1:
        key = [text.replace("black triangles", "black") for text in key]
        key += [f"{NAMES_OF_SHAPES[n % len(SHAPES)]}: {study}" for n, study in enumerate(studies)]
    if up is VAL:
        if any(front.significant for front in fronts):
            line = ", orange line" if any(len(front.significant) > 1 for front in fronts) else ""
            key.append(f"bold{line}: Pareto-optimal by 95 % intervals")
        if any(len(front.plain) > 1 for front in fronts):
            key.append("thin line: Pareto front of the plain numbers")
    key += ["hollow: approximate, ended early or suspect"] if any(row.label != row.name for row in rows) else []
    has_seeds = VAL in (across, up) and any(len(row.trainings) > 1 for row in rows)
    if LATENCY in (across, up) or has_seeds:
        key.append(
            "bars: 95 % intervals"
            + (", of latency at least as wide as repeated measurements differ" * (LATENCY in (across, up)))
        )
    return "; ".join(key)


def _notes(rows: Sequence[Row], across: Column, up: Column) -> list[str]:
    """The data and the machine, if the picture's numbers depend on them."""
    axes = (across, up)
    records = [record for row in rows for record in row.records]
    notes = []
    if VAL in axes:
        notes += list(dict.fromkeys(record.dataset.describe() for record in records if record.dataset))[:2]
    if LATENCY in axes or ENERGY in axes:
        notes += _machines(rows)
    return notes


def _machines(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(describe_machine(profile.environment) for row in rows for profile in row.profiles))[:2]


def _draw_roofline(rows: Sequence[Row], title: str, look: Look) -> Figure | None:
    """FLOPs per second reached against FLOPs per byte, below the device's roof; None if its data sheet is unknown."""
    points = []
    roofs: dict[tuple[float, float], str] = {}
    for row in rows:
        profile, latency = (row.profiles[0], row.pooled()) if row.profiles else (None, None)
        if profile is None or latency is None or not profile.bytes_moved or not profile.flops:
            continue
        seconds = latency.median_s / latency.batch_size
        points.append((row, profile.flops / profile.bytes_moved, profile.flops / seconds / 1e9))
        peaks = profile.estimate.peaks if profile.estimate else {}
        arithmetic = [peaks[name] for name in ("fp16_tensor", "fp16", "fp32") if name in peaks]
        if profile.estimate and arithmetic and "bandwidth" in peaks:
            roofs[max(arithmetic), peaks["bandwidth"]] = profile.estimate.device
    if not points or not roofs:
        return None
    key = f"FLOPs and minimum bytes are counted, seconds are measured; roof: {'; '.join(roofs.values())}"
    figure, axis = make_panel(f"{title}: roofline", key, _machines(rows), look=look)
    for _, intensity, reached in points:
        axis.scatter(intensity, reached, s=0)
    use_log_scale(axis, "x", [intensity for _, intensity, _ in points], always=True)
    use_log_scale(axis, "y", [reached for *_, reached in points], always=True)
    low, high = axis.get_xlim()
    for peak, bandwidth in roofs:
        edge = peak / bandwidth
        axis.plot(
            [min(low, edge / 4), edge, max(high, edge * 4)],
            [min(low, edge / 4) * bandwidth / 1e9, peak / 1e9, peak / 1e9],
            color=ACCENT,
            linewidth=1.0,
        )
    for row, intensity, reached in points:
        axis.scatter(intensity, reached, s=14, color=colour_of(row), zorder=3)
    axis.set_xlabel("FLOPs per byte moved (counted)")
    axis.set_ylabel("GFLOP/s reached")
    ranked = sorted(points, key=lambda point: -point[2])
    labels = [
        Label(x, y, row.listed, _ink_of(row), order=_order_of(row, False), rank=place)
        for place, (row, x, y) in enumerate(ranked, 1)
    ]
    name_points(figure, axis, labels, [(x, y) for _, x, y in points])
    return figure


def _draw_latencies(rows: Sequence[Row], title: str, look: Look) -> Figure | None:
    """All passes of each network: box from the 25th to the 75th percentile, whiskers 5th and 95th, worst as a dot."""
    timed = [(row, latency) for row in rows if (latency := row.pooled()) is not None]
    timed.sort(key=lambda item: item[1].median_s)
    if not timed:
        return None
    shown = timed[:MOST_BOXES]
    key = "box: 25th to 75th percentile of all passes, line: 5th to 95th, tick: median, dot: worst"
    if len(timed) > len(shown):
        key += f"; the {len(shown)} fastest of {len(timed)}"
    figure, axis = make_panel(f"{title}: spread of latencies", key, _machines(rows), 1.2 + 0.13 * len(shown), look)
    for number, (row, latency) in enumerate(reversed(shown)):
        at = [1e3 * latency.percentile_s(percent) for percent in (5, 25, 50, 75, 95, 100)]
        colour = colour_of(row)
        axis.hlines(number, at[0], at[4], color=colour, linewidth=0.8)
        axis.barh(number, at[3] - at[1], left=at[1], height=0.55, color=colour, alpha=0.45)
        axis.vlines(at[2], number - 0.35, number + 0.35, color=colour, linewidth=1.2)
        axis.scatter(at[5], number, s=3, color=colour)
    axis.set_yticks(range(len(shown)), [row.listed for row, _ in reversed(shown)], fontsize=LABEL_POINTS)
    axis.set_ylim(-0.7, len(shown) - 0.3)
    use_log_scale(axis, "x", [1e3 * latency.median_s for _, latency in shown])
    batch = {latency.batch_size for _, latency in shown}
    axis.set_xlabel("latency of " + ("one image" if batch == {1} else "a batch") + " (ms)")
    return figure


def _draw_backends(rows: Sequence[Row], title: str, look: Look) -> Figure | None:
    """The latency of each network in each form, on one line; None if all rows have the same form."""
    forms = list(dict.fromkeys(row.records[0].profiling_config.form for row in rows if row.profiles))
    networks: dict[tuple[str, str], dict[str, Value]] = {}
    names: dict[tuple[str, str], str] = {}
    for row in rows:
        value = _value(row, LATENCY) if row.profiles else None
        if value is not None:
            key = row.records[0].variant, row.records[0].fingerprint
            networks.setdefault(key, {}).setdefault(row.records[0].profiling_config.form, value)
            names.setdefault(key, row.records[0].variant)
    if len(forms) < 2 or not networks:
        return None
    ordered = sorted(networks, key=lambda key: _first_of(networks[key], forms))
    shown = ordered[:MOST_BOXES]
    marks = [f"{NAMES_OF_SHAPES[n % len(SHAPES)]}: {form}" for n, form in enumerate(forms)]
    text = "; ".join([*marks, "one line per network, from its fastest form to its slowest", "bars: 95 % intervals"])
    if len(ordered) > len(shown):
        text += f"; the {len(shown)} fastest of {len(ordered)}"
    figure, axis = make_panel(f"{title}: backends", text, _machines(rows), 1.4 + 0.13 * len(shown), look)
    for place, key in enumerate(reversed(shown)):
        values = networks[key]
        numbers = [value.number for value in values.values()]
        axis.hlines(place, min(numbers), max(numbers), color=MUTED, linewidth=0.6, zorder=1)
        for form, value in values.items():
            colour, shape = PALETTE[forms.index(form) % len(PALETTE)], SHAPES[forms.index(form) % len(SHAPES)]
            if value.low is not None and value.high is not None:
                axis.hlines(place, value.low, value.high, color=colour, linewidth=1.2, zorder=2)
            axis.scatter(value.number, place, s=12, marker=shape, color=colour, zorder=3)
    axis.set_yticks(range(len(shown)), [names[key] for key in reversed(shown)], fontsize=LABEL_POINTS)
    axis.set_ylim(-0.7, len(shown) - 0.3)
    use_log_scale(axis, "x", [value.number for key in shown for value in networks[key].values()], always=True)
    axis.set_xlabel("latency of one image, median (ms)")
    return figure


def _first_of(values: Mapping[str, Value], forms: Sequence[str]) -> float:
    """The latency in the first form that a network has."""
    return next(values[form].number for form in forms if form in values)


def _draw_curves(rows: Sequence[Row], title: str, look: Look) -> Figure | None:
    """Validation mIoU at each evaluation: the budget was too small to rank networks whose curve still rises."""
    trained = [row for row in rows if row.trainings and row.records[0].kind == "training"]  # each once, not per form
    if not trained:
        return None
    best = sorted(trained, key=lambda row: -_mean_curve(row)[-1][1])
    shown = {id(row): number for number, row in enumerate(best[:MOST_CURVES])}
    several = any(len(row.trainings) > 1 for row in trained)
    what = "network: the mean of its seeds, in a band of their standard deviation" if several else "training"
    key = f"one line per {what}; a line that still rises needs more budget"
    if len(trained) > MOST_CURVES:
        key += f"; named: the {MOST_CURVES} best of {len(trained)}; grey: the rest"
    notes = ["scored on the whole validation split"]
    notes += list(dict.fromkeys(record.data.describe() for row in trained for record in row.records))[:2]
    figure, axis = make_panel(f"{title}: learning curves", key, notes, look=look)
    labels = []
    for row in trained:
        at = shown.get(id(row))
        # Each name has its own style: a colour is repeated only with dashes.
        colour = "#cbd2d9" if at is None else PALETTE[at % len(PALETTE)]
        style = "-" if at is None or at < len(PALETTE) else (0, (4, 1.5))
        curve = _mean_curve(row)
        x, y = [point[0] for point in curve], [point[1] for point in curve]
        axis.plot(
            x,
            y,
            color=colour,
            linewidth=0.9,
            linestyle=style,
            marker="o",
            markersize=1.5,
            zorder=1 if at is None else 3,
        )
        if at is not None:
            low, high = ([mean + sign * deviation for _, mean, deviation in curve] for sign in (-1, 1))
            axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0, zorder=2)
            labels.append(Label(x[-1], y[-1], row.listed, colour))
    axis.set_xlabel("passes over the training images")
    axis.set_ylabel("validation mIoU (%)")
    axis.set_ylim(bottom=0)
    axis.margins(x=0.03)
    name_ends(figure, axis, labels)
    return figure


def _mean_curve(row: Row) -> list[tuple[float, float, float]]:
    """Passes, mean mIoU (%) and its deviation over the seeds at each evaluation that all seeds have."""
    curve: list[tuple[float, float, float]] = []
    for group in zip(*(training.val for training in row.trainings), strict=False):
        scores = [100 * each.counts.miou for each in group]
        deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
        curve.append((statistics.fmean(each.epoch for each in group), statistics.fmean(scores), deviation))
    return curve
