"""Streaming: what a network scores whose answers come late (Li, Wang, Ramanan: Towards Streaming Perception, 2020).

A camera gives a frame every 1 / rate seconds. The network takes the newest frame whenever it is free. At each frame the
latest finished answer is scored on that frame's labels, so a slow network is scored on what has moved meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jetbench.data import sequences
from jetbench.models.weights import SavedNetwork
from jetbench.probe.measure import count_classes
from jetbench.probe.passes import Normalise
from jetbench.progress import Report
from jetbench.records.scores import ClassCounts

TOLERANCE_S = 1e-9


@dataclass(frozen=True)
class Stream:
    """A network that serves a camera.

    Args:
        answers: for each frame the number of the frame whose answer is the latest finished one; None before the first.
        served: frames that the network took.
    """

    answers: tuple[int | None, ...]
    served: int

    @property
    def mean_age(self) -> float | None:
        """Frames between an answer and the moment at which it is used, in the mean; None without an answer."""
        ages = [at - answer for at, answer in enumerate(self.answers) if answer is not None]
        return sum(ages) / len(ages) if ages else None

    @property
    def dropped_share(self) -> float:
        """The share of the frames that the network did not take."""
        return 1 - self.served / len(self.answers)


def serve(latencies_s: Sequence[float], rate: float, frames: int) -> Stream:
    """Which answer is the latest at each frame, if the network always takes the newest frame.

    Args:
        latencies_s: seconds from a frame to its answer, used in turn: those that were measured, or one.
        rate: frames a second.
        frames: how many the camera gives.
    """
    period = 1 / rate
    finished: list[tuple[float, int]] = []  # when an answer is there, and of which frame
    free = 0.0
    frame = served = 0
    while frame < frames:
        start = max(free, frame * period)
        newest = int((start + TOLERANCE_S) / period)
        if newest >= frames:
            break
        free = start + latencies_s[served % len(latencies_s)]
        finished.append((free, newest))
        served += 1
        frame = newest + 1
    answers: list[int | None] = []
    ready = -1
    for at in range(frames):
        while ready + 1 < len(finished) and finished[ready + 1][0] <= at * period + TOLERANCE_S:
            ready += 1
        answers.append(finished[ready][1] if ready >= 0 else None)
    return Stream(tuple(answers), served)


def predict_sequence(
    network: nn.Module, saved: SavedNetwork, sequence: sequences.Sequence, report: Report = lambda share, text: None
) -> Tensor:
    """The classes that a network gives each frame, uint8 (N, H, W), on the CPU."""
    normalise = Normalise(saved.mean, saved.std, torch.device("cpu"))
    classes = []
    with torch.inference_mode():
        for number in range(len(sequence.images)):
            pixels = torch.from_numpy(sequence.images[number : number + 1].copy())
            classes.append(network(normalise(pixels)).argmax(dim=1)[0].to(torch.uint8))
            report((number + 1) / len(sequence.images), "predicting")
    return torch.stack(classes)


@dataclass(frozen=True)
class StreamScore:
    """What answers at a latency score.

    Args:
        counts: over all frames but those before the first answer of a part; None if no answer came in time.
        stream: which answers were used, of all parts in turn.
        missed: frames before the first answer of their part; in no score.
    """

    counts: ClassCounts | None
    stream: Stream
    missed: int


def score_stream(
    classes: Tensor, sequence: sequences.Sequence, latencies_s: Sequence[float], num_classes: int
) -> StreamScore:
    """The mIoU of the latest finished answer at each frame.

    Args:
        classes: from `predict_sequence`.
        sequence: the frames with their labels.
        latencies_s: seconds from a frame to its answer.
        num_classes: K.
    """
    totals = torch.zeros(3, num_classes, dtype=torch.int64)
    answers: list[int | None] = []
    begin = served = 0
    for length in sequence.lengths:
        stream = serve(latencies_s, sequence.rate, length)
        served += stream.served
        for at, answer in enumerate(stream.answers):
            answers.append(None if answer is None else begin + answer)
            if answer is not None:
                labels = torch.from_numpy(sequence.labels[begin + at].copy())
                totals += torch.tensor(count_classes(classes[begin + answer], labels, num_classes))
        begin += length
    counts = None
    if int(totals[0].sum() + totals[2].sum()):
        right, taken, missed = (tuple(each) for each in totals.tolist())
        counts = ClassCounts(true_positives=right, false_positives=taken, false_negatives=missed)
    return StreamScore(counts, Stream(tuple(answers), served), sum(answer is None for answer in answers))
