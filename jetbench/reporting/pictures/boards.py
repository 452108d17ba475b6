"""The picture of two boards: the latency of each network on one against that on the other, and what flips."""

from pathlib import Path

from jetbench.reporting.pictures.drawing import (
    ACCENT,
    DPI,
    FORMATS,
    INK,
    MUTED,
    Label,
    Look,
    Segment,
    house_style,
    make_panel,
    name_points,
    save_figure,
    use_log_scale,
)
from jetbench.reporting.questions.transfer import measure_transfer
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import BY_NAME


def draw_boards(
    folder: Path, first: Study, second: Study, look: Look = Look(), show_invalid: bool = False
) -> list[Path]:
    """Write boards.png, .svg and .pdf; returns the paths.

    Args:
        folder: where to write.
        first: the networks on one board.
        second: the same on another.
        look: what stands beside the plot.
        show_invalid: take the measurements of invalid profiles, too.

    Raises:
        SpecError: fewer than three networks have a latency on both, or they differ in more than the board.
    """
    transfer, unit = measure_transfer(first, second, show_invalid=show_invalid), BY_NAME["latency"].unit
    flipped = {name for pair in transfer.flips for name in pair}
    span = ""
    if transfer.interval is not None:
        span = f" [{transfer.interval[0]:.2f}, {transfer.interval[1]:.2f}]"
    key = f"Kendall's tau of the two orders {transfer.tau:.2f}{span}, over {len(transfer.networks)} networks; "
    key += f"of {transfer.pairs} pairs that differ significantly on both, {len(transfer.flips)} have the opposite order"
    key += " (bold)" if flipped else ""
    with house_style():
        figure, axis = make_panel(f"latency on {first.name} and on {second.name}", key, look=look)
        labels: list[Label] = []
        marks: list[tuple[float, float]] = []
        bars: list[Segment] = []
        for number, each in enumerate(transfer.networks):
            x, y = (unit.scale * value.number for value in each.values)
            colour = ACCENT if each.name in flipped else INK
            for value, is_across in ((each.values[0], True), (each.values[1], False)):
                if value.low is not None and value.high is not None:
                    ends = (unit.scale * value.low, unit.scale * value.high)
                    bar: Segment = ((ends[0], y), (ends[1], y)) if is_across else ((x, ends[0]), (x, ends[1]))
                    axis.plot(*zip(*bar, strict=True), color=MUTED, linewidth=0.7, zorder=2)
                    bars.append(bar)
            axis.scatter(x, y, s=10, color=colour, zorder=3)
            is_flipped = each.name in flipped
            labels.append(Label(x, y, each.name, colour, is_flipped, order=number, rank=number + 1))
            marks.append((x, y))
        use_log_scale(axis, "x", [x for x, _ in marks])
        use_log_scale(axis, "y", [y for _, y in marks])
        axis.set_xlabel(f"{first.name} (ms)")
        axis.set_ylabel(f"{second.name} (ms)")
        name_points(figure, axis, labels, marks, bars)
        return save_figure(figure, folder / "boards", FORMATS, DPI, look)
