"""What networks are worth at a camera's rate: the mIoU of the latest finished answer, by board, mode, form and network.

mIoU of still images says nothing of time. Here a slow network is scored on what has moved while it computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetbench.data.sequences import Sequence as Frames
from jetbench.errors import SpecError
from jetbench.models.build import without_training_heads
from jetbench.models.weights import load_weights
from jetbench.progress import Report
from jetbench.records.energy import Energy
from jetbench.records.record import Record
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import numbers, words
from jetbench.reporting.tables.footnotes import Notes, on_one_line
from jetbench.reporting.tables.rows import name_without_seed
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, believed
from jetbench.training.evaluate import check_classes_of
from jetbench.training.streaming import StreamScore, predict_sequence, score_stream

AGES = (0, 1, 2, 4)
"""Frames by which an answer may be late, where no latency is named."""


@dataclass(frozen=True)
class Served:
    """A latency at which a network serves a camera: entered, or that of a profile.

    Args:
        network: the name of the network.
        weights: its weights file.
        where: board, power mode and form; or that the latency was entered.
        latencies_s: end to end, as they were measured, or one.
        energy: what the profile read of a power sensor.
    """

    network: str
    weights: Path
    where: str
    latencies_s: tuple[float, ...]
    energy: Energy | None = None

    @property
    def median_s(self) -> float:
        """The median latency."""
        ordered = sorted(self.latencies_s)
        return ordered[len(ordered) // 2]


@dataclass(frozen=True)
class Streamed:
    """A network at a latency, with its score at the camera's rate and that of the same frames without any delay."""

    served: Served
    score: StreamScore
    still: StreamScore
    rate: float

    @property
    def miou(self) -> float | None:
        """The mIoU of the latest finished answers."""
        return self.score.counts.miou if self.score.counts is not None else None

    @property
    def watts(self) -> float | None:
        """Joules a second at that rate: idle power, and the energy above idle of each frame that was taken.

        An estimate: the board was measured under full load, not at this rate.
        """
        energy = self.served.energy
        if energy is None or energy.problem or energy.idle_w is None or energy.net_energy_j_per_image is None:
            return None
        taken = (1 - self.score.stream.dropped_share) * self.rate
        return energy.idle_w + max(0.0, energy.net_energy_j_per_image) * taken

    def to_json(self) -> dict[str, Any]:
        """The result as plain data, in SI units."""
        still = self.still.counts
        return {
            "network": self.served.network,
            "where": self.served.where,
            "latency_s": self.served.median_s,
            "miou": self.miou,
            "still_miou": still.miou if still is not None else None,
            "mean_age_frames": self.score.stream.mean_age,
            "dropped_share": self.score.stream.dropped_share,
            "frames_before_the_first_answer": self.score.missed,
            "power_w_estimate": self.watts,
        }


def entered(weights: Path, latencies_s: Sequence[float], rate: float) -> list[Served]:
    """A network at latencies that a person entered; without any, at whole frames of delay."""
    if latencies_s:
        return [Served(weights.stem, weights, "entered", (each,)) for each in latencies_s]
    return [
        Served(weights.stem, weights, f"after {units.counted(age, 'frame')}", (max(age / rate, 1e-9),)) for age in AGES
    ]


def of_study(study: Study, show_invalid: bool = False) -> list[Served]:
    """The trained networks of a study at the latencies that were measured end to end on each board.

    Raises:
        SpecError: the study has no weights, or no such latency.
    """
    rows = study.rows() if show_invalid else believed(study.rows())
    first: dict[tuple[str, str], Served] = {}
    for row in rows:
        for record in row.records:
            latency = record.profile.end_to_end_latency if record.profile else None
            path = study.folder / "weights" / record.training.weights_file if record.training else None
            if latency is None or latency.batch_size > 1 or path is None or not path.is_file():
                continue  # a camera gives one frame at a time: a batch would have to be waited for
            where, energy = _where(record), record.measured.energy
            served = Served(name_without_seed(record), path, where, latency.samples_s, energy)
            first.setdefault((served.network, where), served)
    if not first:
        raise SpecError(
            f"{study.folder}: has no trained network with its weights and an end-to-end latency"
            + ("" if show_invalid else " in a profile that is not invalid; --all takes those, too")
        )
    return list(first.values())


def _where(record: Record) -> str:
    """`nano 5W, tensorrt fp16` of a record."""
    state = record.measured.environment
    parts = [record.measured.device, state.power_mode or "", "jetson_clocks" if state.jetson_clocks else ""]
    return f"{' '.join(filter(None, parts))}, {record.profiling_config.form}"


def stream(candidates: Sequence[Served], frames: Frames, report: Report = lambda share, text: None) -> list[Streamed]:
    """Score each network at its latencies; a network predicts each frame once.

    Raises:
        SpecError: a network has another size or other classes than the frames.
    """
    files = list(dict.fromkeys(each.weights for each in candidates))
    results: dict[int, Streamed] = {}
    for place, path in enumerate(files):
        network, saved = load_weights(path)
        check_classes_of(saved, frames.class_names, str(path))
        if saved.input_size != frames.images.shape[1:3]:
            sizes = [f"{height}x{width}" for height, width in (saved.input_size, frames.images.shape[1:3])]
            raise SpecError(f"{path}: takes images of {sizes[0]}, and the frames are of {sizes[1]}")
        model = without_training_heads(network).eval()
        report(place / len(files), path.stem)
        classes = predict_sequence(model, saved, frames)
        still = score_stream(classes, frames, (1e-12,), saved.num_classes)
        for number, each in enumerate(candidates):
            if each.weights == path:
                scored = score_stream(classes, frames, each.latencies_s, saved.num_classes)
                results[number] = Streamed(each, scored, still, frames.rate)
    return [results[number] for number in range(len(candidates))]


def build_streaming(results: Sequence[Streamed], frames: Frames) -> Table:
    """A table of networks at a camera's rate, the best first."""
    ordered = sorted(results, key=lambda each: -(each.miou or 0.0))
    best = max((each.miou or 0.0 for each in results), default=0.0)
    rows = tuple(
        TableRow(
            on_one_line(each.served.network),
            (
                Cell(each.served.where),
                Cell(units.milliseconds(each.served.median_s)),
                Cell(f"{each.score.stream.mean_age:.1f}" if each.score.stream.mean_age is not None else units.MISSING),
                Cell(f"{100 * each.score.stream.dropped_share:.0f}"),
                Cell(units.score(each.still.counts.miou if each.still.counts else None)),
                Cell(units.score(each.miou), is_strong=each.miou == best),
                Cell(f"{each.watts:.2f}" if each.watts is not None else units.MISSING),
            ),
        )
        for each in ordered
    )
    columns = (
        words("where", "where"),
        numbers("latency", "latency end to end (ms)", "measured", short="e2e ms"),
        numbers("age", "age of the answer (frames)", "estimated", short="frames late"),
        numbers("dropped", "frames not taken (%)", "estimated", short="dropped %"),
        numbers("still", "mIoU without delay (%)", "measured", short="still %"),
        numbers("stream", f"mIoU at {frames.rate:g} FPS (%)", "estimated", short=f"at {frames.rate:g} FPS %"),
        numbers("watts", "joules a second (W)", "estimated", short="J/s"),
    )
    late = any(each.score.missed for each in results)
    brief = (
        f"Frames: {frames.describe}.",
        "At a rate: each frame is scored with the latest answer that is finished by then; the network always takes the "
        "newest frame. Computed from the latencies, with PyTorch's answers in float32.",
        *(("Frames before the first answer are in no score.",) if late else ()),
        *(
            ("J/s: idle power, and for each frame taken the energy above idle of the network's pass. Not measured.",)
            if any(each.watts is not None for each in results)
            else ()
        ),
    )
    title = f"mIoU at {frames.rate:g} frames a second"
    return Table(title, columns, (Section("", rows),), Notes(brief, brief=brief), heading="network")
