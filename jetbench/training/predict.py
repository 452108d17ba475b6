"""Prediction of an image or a video of any size by a trained network: class ids, and pictures with the classes."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import nn

from jetbench.errors import DataError, SpecError
from jetbench.models.weights import SavedNetwork
from jetbench.training.samples import class_names_of, colours_of

LEGEND_ROW, LEGEND_COLUMN, MARGIN = 14, 110, 4
BAND = LEGEND_ROW + 2 * MARGIN  # below each frame of a video; even, as video formats ask
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


def predict_image(network: nn.Module, saved: SavedNetwork, image: Image.Image) -> npt.NDArray[np.uint8]:
    """Class ids (H, W) at the size of the image; the network gets the image resized to its training size."""
    height, width = saved.input_size
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (saved.mean, saved.std))
    network.eval()
    with torch.inference_mode():
        ids = network((pixels - mean) / std).argmax(1)[0].to(torch.uint8).numpy()
    return np.asarray(Image.fromarray(ids, "L").resize(image.size, Image.Resampling.NEAREST))


@dataclass(frozen=True)
class Legend:
    """The names of the classes, and a colour for each class id, uint8 (256, 3)."""

    names: tuple[str, ...]
    colours: npt.NDArray[np.uint8]

    @staticmethod
    def of(saved: SavedNetwork) -> "Legend":
        """The names and colours that a weights file holds."""
        names = saved.class_names or class_names_of(saved.num_classes)
        return Legend(names, colours_of(names, saved.classes))


def write_overlay(
    folder: Path, stem: str, image: Image.Image, ids: npt.NDArray[np.uint8], legend: Legend, opacity: float
) -> list[Path]:
    """Write STEM-overlay.png, with a legend of its classes, and STEM-classes.png, whose pixels are class ids."""
    paths = [folder / f"{stem}-overlay.png", folder / f"{stem}-classes.png"]
    lay_over(image, ids, legend, opacity).save(paths[0])
    indexed = Image.fromarray(ids, "P")
    indexed.putpalette(legend.colours.ravel().tolist())
    indexed.save(paths[1])
    return paths


def lay_over(image: Image.Image, ids: npt.NDArray[np.uint8], legend: Legend, opacity: float) -> Image.Image:
    """An image with its classes in colour, and a legend below."""
    return _with_legend(Image.blend(image, Image.fromarray(legend.colours[ids]), opacity), legend, ids)


def _present(ids: npt.NDArray[np.uint8], legend: Legend) -> list[int]:
    """The classes in a picture, the largest first."""
    counts = np.bincount(ids.ravel(), minlength=len(legend.names))
    return [int(number) for number in np.argsort(-counts) if counts[number] and number < len(legend.names)]


def _with_legend(picture: Image.Image, legend: Legend, ids: npt.NDArray[np.uint8]) -> Image.Image:
    """The picture with a legend below: each class in it, with its share of the pixels."""
    present = _present(ids, legend)
    columns = max(1, picture.width // LEGEND_COLUMN)
    rows = -(-len(present) // columns)
    whole = Image.new("RGB", (picture.width, picture.height + rows * LEGEND_ROW + 2 * MARGIN), "white")
    whole.paste(picture, (0, 0))
    draw = ImageDraw.Draw(whole)
    for place, number in enumerate(present):
        x = MARGIN + (place % columns) * LEGEND_COLUMN
        y = picture.height + MARGIN + (place // columns) * LEGEND_ROW
        draw.rectangle((x, y, x + 10, y + 10), fill=tuple(int(value) for value in legend.colours[number]))
        share = (ids == number).mean()
        percent = f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
        draw.text((x + 14, y - 1), f"{legend.names[number]} {percent}", fill="black")
    return whole


@dataclass(frozen=True)
class Video:
    """What was made of a video: its frames, and the median seconds of the network for one of them."""

    path: Path
    frames: int
    seconds: float


def is_video(path: Path) -> bool:
    """True for the name of a video file."""
    return path.suffix.lower() in VIDEOS


def predict_video(
    network: nn.Module,
    saved: SavedNetwork,
    source: Path,
    target: Path,
    opacity: float,
    report: Callable[[int, int], None] = lambda frame, frames: None,
) -> Video:
    """Write a video as .mp4 with the classes in colour, their names, and the time of the network for each frame.

    Args:
        network: a trained network.
        saved: the metadata of its weights.
        source: the video; OpenCV reads it.
        target: the .mp4 file to write; removed if this fails.
        opacity: of the colours over the frames.
        report: called with the number of frames done, and of all (0 if the video does not say).

    Raises:
        SpecError: OpenCV is not installed.
        DataError: the video cannot be read or written.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what is wrong with a file is said by our error
    try:
        import cv2
    except ImportError:
        raise SpecError(f"{source}: videos need OpenCV: pip install 'jetbench[video]'") from None
    times: list[float] = []
    legend = Legend.of(saved)
    with _closing(cv2.VideoCapture(str(source))) as reader:
        if not reader.isOpened():
            raise DataError(f"{source}: OpenCV cannot read this video")
        width, height, count = (
            int(reader.get(key))
            for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT)
        )
        rate = reader.get(cv2.CAP_PROP_FPS)
        size = (width, height + BAND)
        with _closing(cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), rate or 25.0, size)) as writer:
            if not writer.isOpened():
                raise DataError(f"{target}: OpenCV cannot write a video here")
            while True:
                there, frame = reader.read()
                if not there:
                    break
                image = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))
                begun = time.perf_counter()
                ids = predict_image(network, saved, image)
                times.append(time.perf_counter() - begun)
                shown = _video_frame(image, ids, legend, opacity, times[-1])
                writer.write(np.ascontiguousarray(np.asarray(shown)[:, :, ::-1]))
                report(len(times), max(0, count))
    if not times:
        target.unlink(missing_ok=True)
        raise DataError(f"{source}: holds no frame that OpenCV can read")
    return Video(target, len(times), statistics.median(times))


@contextmanager
def _closing(stream: Any) -> Iterator[Any]:
    try:
        yield stream
    finally:
        stream.release()


def _video_frame(
    image: Image.Image, ids: npt.NDArray[np.uint8], legend: Legend, opacity: float, seconds: float
) -> Image.Image:
    """A frame with its classes in colour; below it the time of the network and the largest classes that fit."""
    whole = Image.new("RGB", (image.width, image.height + BAND), "white")
    whole.paste(Image.blend(image, Image.fromarray(legend.colours[ids]), opacity), (0, 0))
    draw = ImageDraw.Draw(whole)
    y = image.height + MARGIN
    draw.text((MARGIN, y - 1), f"{1e3 * seconds:.1f} ms", fill="black")
    for place, number in enumerate(_present(ids, legend)[: max(0, image.width // LEGEND_COLUMN - 1)], 1):
        x = MARGIN + place * LEGEND_COLUMN
        draw.rectangle((x, y, x + 10, y + 10), fill=tuple(int(value) for value in legend.colours[number]))
        draw.text((x + 14, y - 1), legend.names[number], fill="black")
    return whole
