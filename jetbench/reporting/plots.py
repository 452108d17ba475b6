"""Records to pictures: accuracy against latency and against MACs, each variant a numbered point."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only: no window, and none needed

import matplotlib.pyplot as plt

from jetbench.record import Record
from jetbench.reporting.tables import describe_machine

INK, MUTED, ACCENT = "#1f2933", "#9aa5b1", "#d9480f"


def write_plots(folder: Path, records: Sequence[Record], title: str) -> list[Path]:
    """Draw what the records allow, as PNG and SVG; returns the paths."""
    scored = [record for record in records if record.training and record.profile]
    if not scored:
        return []
    machine = describe_machine(scored[0].profile.environment) if scored[0].profile else ""
    axes: tuple[tuple[str, str, Callable[[Record], float]], ...] = (
        ("accuracy-against-latency", "latency, median of one image (ms)", _latency_ms),
        ("accuracy-against-macs", "MACs of one image (millions)", _macs_m),
    )
    paths: list[Path] = []
    for name, label, cost in axes:
        where = machine if "latency" in name else "counted, the same on every machine"
        paths += _scatter(folder / name, scored, cost, label, title, where)
    return paths


def _latency_ms(record: Record) -> float:
    assert record.profile
    return 1e3 * record.profile.model_latency.median_s


def _macs_m(record: Record) -> float:
    assert record.profile
    return record.profile.macs / 1e6


def _miou(record: Record) -> float:
    assert record.training
    return 100 * record.training.best.counts.miou


def _scatter(
    path: Path, records: Sequence[Record], cost: Callable[[Record], float], label: str, title: str, where: str
) -> list[Path]:
    points = [(cost(record), _miou(record)) for record in records]
    best = [not any(x <= px and y >= py and (x, y) != (px, py) for x, y in points) for px, py in points]
    with plt.rc_context(
        {"font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "jetbench"}
    ):
        figure, (axis, key) = plt.subplots(1, 2, figsize=(9.6, 5.0), width_ratios=(2.1, 1), layout="constrained")
        ladder = sorted(point for point, on_front in zip(points, best, strict=True) if on_front)
        axis.step(*zip(*ladder, strict=True), where="post", color=ACCENT, linewidth=1.2, alpha=0.6, zorder=1)
        for number, ((x, y), on_front) in enumerate(zip(points, best, strict=True), 1):
            colour = ACCENT if on_front else INK
            axis.scatter(x, y, s=190, color="white", edgecolors=colour, linewidths=1.5, zorder=2)
            axis.annotate(str(number), (x, y), ha="center", va="center", fontsize=8, color=colour, zorder=3)
        axis.set_xlabel(label)
        axis.set_ylabel("best validation mIoU (%)")
        axis.grid(color="#e4e7eb", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(0.08, 0.1)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, fontweight="bold")
        axis.set_title(records[0].dataset.describe(), loc="left", fontsize=7.5, color=MUTED)
        key.axis("off")
        step = min(0.075, 0.95 / len(records))
        for number, (record, on_front) in enumerate(zip(records, best, strict=True), 1):
            text = f"{number}  {_shortened(record.variant)}"
            key.text(0, 1 - number * step, text, fontsize=8, color=ACCENT if on_front else INK, transform=key.transAxes)
        key.text(
            0, 1 - (len(records) + 1.3) * step, "orange: nothing is both better and cheaper", fontsize=7, color=MUTED
        )
        figure.supxlabel(where, fontsize=6.5, color=MUTED)
        paths = [path.with_suffix(".png"), path.with_suffix(".svg")]
        figure.savefig(paths[0], dpi=160)
        figure.savefig(paths[1], metadata={"Date": None})
        plt.close(figure)
    return paths


def _shortened(name: str) -> str:
    return name if len(name) <= 44 else name[:43] + "\N{HORIZONTAL ELLIPSIS}"
