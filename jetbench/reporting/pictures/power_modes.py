"""The picture of power modes: frames per second and joules of a frame in each mode of a board."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from jetbench.errors import SpecError
from jetbench.reporting.pictures.drawing import PALETTE, Label, Look, make_panels, name_ends
from jetbench.reporting.tables.columns import BY_NAME, Value
from jetbench.reporting.tables.protocol import describe_machines, facts_of
from jetbench.reporting.tables.rows import Row, name_without_seed
from jetbench.spec.device import load_device

BY_MODE = ("power mode", "jetson_clocks", "driver")
"""Facts that a power mode may change; rows that differ in another are no points of one line."""
MOST_LINES = 7  # colours that differ
FPS, ENERGY = BY_NAME["fps"], BY_NAME["energy"]


def draw_power_modes(rows: Sequence[Row], title: str, look: Look) -> Figure | None:
    """FPS above and joules of a frame below, against the power mode; None without two modes of one board."""
    measured = [row for row in rows if _mode(row) is not None and FPS.value(row) is not None]
    boards = list(dict.fromkeys(row.profiles[0].device for row in measured))
    places = [(board, mode) for board in boards for mode in _modes_of(board, measured)]
    if len(places) < 2 or len(places) == len(boards):
        return None
    lines: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in measured:
        record, board = row.records[0], row.profiles[0].device
        how = facts_of(record, ("counted", "measured"))
        rest = "; ".join(f"{name} {value}" for name, value in how.items() if name not in BY_MODE)
        key: tuple[str, ...] = (name_without_seed(record), record.profiling_config.form, board, row.study, rest)
        lines.setdefault(key, {}).setdefault(places.index((board, _mode(row) or "")), row)
    fastest = sorted(lines, key=lambda key: -max(_number(FPS.value(row)) for row in lines[key].values()))
    shown = fastest[:MOST_LINES]
    has_energy = any(ENERGY.value(row) is not None for key in shown for row in lines[key].values())
    text = "one line per network and form; bars: 95 % intervals; a mode caps clocks, not power"
    if len(fastest) > len(shown):
        text += f"; the {len(shown)} fastest of {len(fastest)}"
    machines = [f"measured on: {each}" for each in describe_machines(row.profiles[0].environment for row in measured)]
    figure, plots = make_panels(1 + has_energy, f"{title}: power modes", text, machines, 2.4 + 1.6 * has_energy, look)
    labels: list[Label] = []
    for axis, column, name in zip(plots, (FPS, ENERGY), ("FPS, model", "energy of a frame, gross (mJ)"), strict=False):
        for number, key in enumerate(shown):
            values = {at: value for at, row in sorted(lines[key].items()) if (value := column.value(row)) is not None}
            if not values:
                continue
            scale, colour = column.unit.scale, PALETTE[number % len(PALETTE)]
            ends = [(at, scale * value.number) for at, value in values.items()]
            axis.plot(*zip(*ends, strict=True), color=colour, linewidth=0.9, marker="o", markersize=2.5)
            for at, value in values.items():
                if value.low is not None and value.high is not None:
                    axis.vlines(at, scale * value.low, scale * value.high, color=colour, linewidth=1.2)
            if axis is plots[0]:
                known = [part for part, several in zip(key, _several(shown), strict=True) if several] or [key[0]]
                labels.append(Label(*ends[-1], ", ".join(known), colour))
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
        for at in range(1, len(places)):
            if places[at][0] != places[at - 1][0]:
                axis.axvline(at - 0.5, color="#cbd2d9", linewidth=0.6)
    several = len(boards) > 1
    ticks = [f"{board}\n{mode}" if several else mode for board, mode in places]
    plots[-1].set_xticks(range(len(places)), ticks)
    plots[-1].set_xlabel("power mode" if several else f"power mode of {boards[0]}")
    plots[-1].margins(x=0.08)
    name_ends(figure, plots[0], labels)
    return figure


def _several(keys: Sequence[tuple[str, ...]]) -> tuple[bool, ...]:
    """Which parts of the keys tell them apart."""
    return tuple(len({key[part] for key in keys}) > 1 for part in range(len(keys[0])))


def _mode(row: Row) -> str | None:
    """The power mode in which a row was measured, and if its clocks were fixed."""
    if not row.profiles or not row.profiles[0].environment.power_mode:
        return None
    state = row.profiles[0].environment
    return f"{state.power_mode}{' jetson_clocks' * bool(state.jetson_clocks)}"


def _modes_of(board: str, rows: Sequence[Row]) -> list[str]:
    """The modes in which a board was measured, by their GPU clock as far as its file has it, the lowest first."""
    modes = list(dict.fromkeys(mode for row in rows if row.profiles[0].device == board and (mode := _mode(row))))
    try:
        clocks = {mode.name: mode.gpu_clock_hz or 0.0 for mode in load_device(board).power_modes}
    except SpecError:  # a device of the user's, whose file is not known here
        clocks = {}
    return sorted(modes, key=lambda mode: clocks.get(mode.split(" ")[0], 0.0))


def _number(value: Value | None) -> float:
    return value.number if value is not None else 0.0
