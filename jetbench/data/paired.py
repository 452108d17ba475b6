"""PairedFiles: a dataset of image files with a label file each, decoded by several threads."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from jetbench.data.labels import Sample
from jetbench.data.pictures import FRAMES, UnusableError, open_picture, open_rgb, orientation_of, to_rgb, upright
from jetbench.errors import DataError
from jetbench.spec.dataset import ClassSpec

TAIL = 32  # bytes at the end of a file that its identity knows
AHEAD = 4  # images that are decoded ahead for each thread
ReadLabels = Callable[[Image.Image, Path], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class ImagePair:
    """The image file and the label file of one sample."""

    image: Path
    labels: Path


@dataclass(frozen=True)
class PairedFiles:
    """A dataset whose files are listed but not read; `samples` decodes them.

    Args:
        name: of the dataset.
        size: (height, width) of every sample.
        class_names: one for each channel of the logits.
        void_rule: how pixels without a class are treated.
        identity: text that changes when a file does.
        pairs: the files of each split.
        resize: scale images to `size`; else another size is a problem.
        read_labels: the classes, uint8 (H, W), of a label file.
        classes: the classes with their colours, if the dataset brings its own.
        ignore: what in a mask has no class.
        split_rule: how the images were split, if the dataset does not say.
    """

    name: str
    size: tuple[int, int]
    class_names: tuple[str, ...]
    void_rule: str
    identity: str
    pairs: dict[str, tuple[ImagePair, ...]]
    resize: bool
    read_labels: ReadLabels
    classes: tuple[ClassSpec, ...] = ()
    ignore: tuple[int | tuple[int, int, int], ...] = ()
    split_rule: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Images of each split."""
        return {split: len(pairs) for split, pairs in self.pairs.items()}

    def samples(self, split: str) -> Iterator[Sample]:
        """Images and labels of a split, resized to `size`, in order; a bad file gives a sample with a problem."""
        threads = decoder_threads()
        waiting: deque[Future[Sample]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for pair in self.pairs[split]:
                    waiting.append(pool.submit(self._sample, pair))
                    if len(waiting) >= AHEAD * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

    def _sample(self, pair: ImagePair) -> Sample:
        try:
            return self._decode(pair)
        except UnusableError as error:
            return Sample.broken(str(error))

    def _decode(self, pair: ImagePair) -> Sample:
        image, labels = open_pair(pair)
        if not self.resize and (image.height, image.width) != self.size:
            expected = f"{self.size[0]}x{self.size[1]}"
            raise UnusableError(
                f"{pair.image}: {describe_size(image)}, but the first image is {expected} (HxW); set dataset.size to "
                "resize all"
            )
        height, width = self.size
        ids = self.read_labels(labels, pair.labels)
        # Labels are resized with nearest neighbour, because the mean of two class ids is a third class.
        if (image.height, image.width) != self.size:
            ids = np.asarray(Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST))
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return Sample(np.asarray(image), ids)


def open_pair(pair: ImagePair) -> tuple[Image.Image, Image.Image]:
    """An image as upright RGB, and its labels, turned alike.

    Raises:
        UnusableError: a file cannot be read, the sizes differ, or an EXIF orientation leaves open how the labels lie.
    """
    stored, labels = open_picture(pair.image), open_picture(pair.labels)
    image = to_rgb(stored, pair.image)
    turned, labels_turned = orientation_of(stored), orientation_of(labels)
    for path, picture in ((pair.image, stored), (pair.labels, labels)):
        if (pages := picture.info.get(FRAMES, 1)) > 1:
            raise UnusableError(f"{path}: has {pages} pages or frames; save the one that counts by itself")
    labels = as_stored(labels, pair.labels)
    kind = labels.format
    labels = upright(labels)
    labels.format = kind  # lost with a copy
    if turned != 1 and labels_turned == 1:
        was_turned = labels.size == stored.size != image.size
        if was_turned or stored.size == image.size:
            raise UnusableError(
                f"{pair.image}: its EXIF data turn the image (orientation {turned}), and {pair.labels} does not say "
                "whether it is turned, too; save the image upright"
            )
    if image.size != labels.size:
        raise UnusableError(
            f"{pair.labels}: labels of {describe_size(labels)} for an image of {describe_size(image)} (HxW)"
        )
    return image, labels


def as_stored(labels: Image.Image, path: Path) -> Image.Image:
    """A label file with the values that are stored in it: Pillow scales 2 and 4 bits up, and 16 bits of colours down.

    Raises:
        UnusableError: it has 16 bits a channel in more than one channel.
    """
    if labels.format != "PNG":
        return labels
    with path.open("rb") as file:
        header = file.read(26)
    depth, colour_type = header[24], header[25]
    if depth == 16 and colour_type != 0:
        raise UnusableError(f"{path}: has 16 bits in each of several channels; save it with one channel of ids")
    if colour_type == 0 and depth in (2, 4):
        step = 255 // (2**depth - 1)
        scaled = Image.fromarray(np.asarray(labels) // step)
        scaled.format = "PNG"
        return scaled
    return labels


def decoder_threads() -> int:
    """Threads that decode images: one for each core of this process, up to 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(16, cores)


def describe_size(image: Image.Image) -> str:
    """`360x480`: height and width."""
    return f"{image.height}x{image.width}"


def native_size(pair: ImagePair) -> tuple[int, int]:
    """(height, width) of an image, upright.

    Raises:
        DataError: it cannot be read.
    """
    try:
        image = open_rgb(pair.image)
    except UnusableError as error:
        raise DataError(f"{error}. Restore it from the dataset's archive") from None
    return image.height, image.width


def identity_of(root: Path, pairs: dict[str, tuple[ImagePair, ...]]) -> str:
    """Text that changes when a file is added, removed or rewritten, so that the cache is never out of date.

    Sizes and times are not enough: a package manager or an image of a disk gives all files one time. So the place and
    the last bytes of each file, which hold a checksum in a PNG, count too.
    """
    lines = [str(root.resolve())]
    for split, members in pairs.items():
        for pair in members:
            for path in (pair.image, pair.labels):
                stat = path.stat()
                with path.open("rb") as file:
                    file.seek(-min(TAIL, stat.st_size), os.SEEK_END)
                    end = file.read().hex()
                lines.append(f"{split} {os.path.relpath(path, root)} {stat.st_size} {stat.st_mtime_ns} {end}")
    return "\n".join(lines)
