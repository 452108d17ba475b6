"""Sequences: images that follow one another at a camera's rate, with labels of each.

Generated streets have a known motion: the camera drives ahead through a street that stands still. Of CamVid only val
follows frame by frame, its part of sequence 0016E5, at 15 labelled frames a second.
"""

import re
from dataclasses import dataclass

import numpy as np

from jetbench.data.cache import Array, SegmentationData, load_data, open_source
from jetbench.data.paired import PairedFiles
from jetbench.data.streets import Streets, render_scene
from jetbench.errors import SpecError
from jetbench.spec.dataset import CamvidConfig, DatasetConfig, StreetsConfig

CAMVID_RATE, CAMVID_STEP = 15.0, 2
"""Labelled frames a second, and the step of their numbers: the camera gave 30 a second."""
SPEED, SCENES, SECONDS = 10.0, 4, 3.0
VAL = 1  # its number among the splits: the streets are those of val


@dataclass(frozen=True)
class Sequence:
    """Frames at a rate: `images` uint8 (N, H, W, 3) and `labels` uint8 (N, H, W). `describe` says what they are.

    `lengths` are the frames of each part; frames of one part do not follow those of another.
    """

    images: Array
    labels: Array
    rate: float
    lengths: tuple[int, ...]
    describe: str
    class_names: tuple[str, ...]


def load_sequence(config: DatasetConfig, rate: float, speed: float = SPEED) -> Sequence:
    """The sequence of a dataset at a rate.

    Args:
        config: streets, or CamVid in its 11-class form.
        rate: frames a second.
        speed: metres a second of the camera in generated streets.

    Raises:
        SpecError: the dataset has no frames that follow one another at that rate.
        DataError: the data cannot be read.
    """
    if isinstance(config, StreetsConfig):
        return _drive(config, rate, speed)
    if isinstance(config, CamvidConfig):
        return _camvid(config, load_data(config), rate)
    raise SpecError(f"--stream: the images of {config.name} do not follow one another; take streets, or camvid:PATH")


def _drive(config: StreetsConfig, rate: float, speed: float) -> Sequence:
    count = max(2, round(SECONDS * rate))
    samples = [
        render_scene(np.random.default_rng([config.seed, VAL, scene]), config.size, speed * frame / rate)
        for scene in range(SCENES)
        for frame in range(count)
    ]
    text = f"{SCENES} generated streets of {SECONDS:g} s at {rate:g} frames a second; the camera drives {speed:g} m/s"
    images, labels = (np.stack([getattr(each, name) for each in samples]) for name in ("image", "labels"))
    return Sequence(images, labels, rate, (count,) * SCENES, text, Streets(config).class_names)


def _camvid(config: CamvidConfig, data: SegmentationData, rate: float) -> Sequence:
    if rate != CAMVID_RATE:
        raise SpecError(f"--stream {rate:g}: val of CamVid is labelled at {CAMVID_RATE:g} frames a second; take that")
    source = open_source(config)
    assert isinstance(source, PairedFiles)
    names = [pair.image.stem for pair in source.pairs["val"]]
    numbers = [int(match[1]) if (match := re.search(r"_f?0*(\d+)", name)) else -1 for name in names]
    runs: list[int] = []
    for at in range(len(numbers)):
        follows = at > 0 and numbers[at] - numbers[at - 1] == CAMVID_STEP
        runs = [*runs[:-1], runs[-1] + 1] if follows else [*runs, 1]
    if max(runs, default=0) < 2:
        raise SpecError("--stream: the images of val are not those of CamVid's sequence 0016E5")
    whole = data.info.images["val"]
    text = f"val of CamVid: {whole} frames of sequence 0016E5 at {rate:g} a second"
    return Sequence(data.images["val"], data.labels["val"], rate, tuple(runs), text, data.info.class_names)
