"""load_data: a dataset as arrays, decoded once and cached on disk, so that no job decodes a PNG twice.

Trainings load their data here; the other modules of this room only list and decode the images.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from jetbench.data import camvid, folder, streets
from jetbench.data.labels import Sample
from jetbench.errors import DataError
from jetbench.files import read_text
from jetbench.records.record import DatasetInfo
from jetbench.spec.dataset import SPLITS, CamvidConfig, ClassSpec, DatasetConfig, StreetsConfig

CACHE_VERSION = 3
BYTES_PER_PIXEL = 4  # three colours and a class
MOST_META_BYTES = 2**20
COUNTS = "counts"  # folder of the cache for the counted operations of users' networks
ARTEFACTS = "artefacts"  # and for files that runtimes run
WHOLE_BYTES, PART_BYTES, PARTS = 2**30, 2**22, 64
BUILDING = ".building-"
WRITERS, MOST_WAITING = 2, 8  # threads that write, and images that wait for them
ABANDONED_AFTER_S = 12 * 3600

Array = npt.NDArray[np.uint8]
ReportProgress = Callable[[int, int], None]


class Source(Protocol):
    """A dataset before it is cached: its description, and its images one by one."""

    @property
    def name(self) -> str:
        """`streets`, `camvid11`, `folder`."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names, one per channel of the logits."""
        ...

    @property
    def void_rule(self) -> str:
        """How pixels without a class are treated."""
        ...

    @property
    def classes(self) -> tuple[ClassSpec, ...]:
        """The classes with their colours and ids, where the data bring their own; else empty."""
        ...

    @property
    def ignore(self) -> tuple[int | tuple[int, int, int], ...]:
        """Ids and colours of masks that have no class, where the data bring their own classes."""
        ...

    @property
    def split_rule(self) -> str:
        """How the images were split, where the data do not say; else empty."""
        ...

    @property
    def identity(self) -> str:
        """Text on which the cache key depends, besides the size."""
        ...

    @property
    def counts(self) -> dict[str, int]:
        """Images of each split."""
        ...

    def samples(self, split: str) -> Iterator[Sample]:
        """Images (H, W, 3) and labels (H, W) of a split, in a fixed order."""
        ...


@dataclass(frozen=True)
class SegmentationData:
    """Decoded images and labels, memory-mapped.

    `images[split]` is uint8 (N, H, W, 3); `labels[split]` is uint8 (N, H, W) of class ids, 255 for void. `mean` and
    `std` are the statistics of the channels of the training images, in 0..255. `class_pixels` counts the pixels of each
    class in the training labels.
    """

    info: DatasetInfo
    images: dict[str, Array]
    labels: dict[str, Array]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    class_pixels: tuple[int, ...]


def open_source(config: DatasetConfig) -> Source:
    """The dataset that `config` names; its files are listed but not yet read.

    Raises:
        DataError: the folder is missing, or is not laid out as the dataset.
    """
    match config:
        case CamvidConfig():
            return camvid.open_camvid(config)
        case StreetsConfig():
            return streets.Streets(config)
        case _:
            return folder.open_folder(config)


def cache_folder() -> Path:
    """The folder of the cache: $JETBENCH_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("JETBENCH_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jetbench"


def load_data(config: DatasetConfig, report: ReportProgress | None = None) -> SegmentationData:
    """The data of `config`; the first call decodes and checks every file.

    The cache is verified by its content hash each time it is opened, and rebuilt if the hash is wrong. If several
    processes need the data at once, one decodes and the others wait.

    Args:
        config: the dataset and its size.
        report: called with the decoded and the total number of images.

    Raises:
        DataError: files are missing, truncated or mislabelled (the message names them and the remedy), or the cache
            cannot be written or is corrupt.
    """
    source = open_source(config)
    key = hashlib.sha256(f"{CACHE_VERSION} {source.identity} {source.size}".encode()).hexdigest()[:16]
    folder = cache_folder() / f"{source.name}-{key}"
    if (data := _open_cache(folder)) is not None:
        return data
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder):
            if (data := _open_cache(folder)) is None:
                _build_cache(source, folder, report)
                data = _open_cache(folder)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: the cache of decoded images cannot be written here ({error.strerror or error}); free "
            "some space, or set JETBENCH_CACHE to another folder"
        ) from None
    if data is None:
        raise DataError(
            f"{folder}: the cache is corrupt: the files read back differ from what was written. Set JETBENCH_CACHE to "
            "another disk"
        )
    return data


def _open_cache(folder: Path) -> SegmentationData | None:
    """The cached data of a folder; None if it is missing, incomplete or corrupt."""
    try:
        sealed = json.loads(read_text(folder / "meta.json", MOST_META_BYTES))
        meta = sealed["meta"]
        if _seal(meta) != sealed["seal"]:  # edited: its mean, say, would be used as it is
            return None
        for name, digest in meta["files"].items():
            if _hash_file(folder / name) != digest:
                return None
        return SegmentationData(
            info=DatasetInfo.model_validate(meta["info"]),
            images={split: _load(folder / f"{split}-images.npy") for split in SPLITS},
            labels={split: _load(folder / f"{split}-labels.npy") for split in SPLITS},
            mean=tuple(meta["mean"]),
            std=tuple(meta["std"]),
            class_pixels=tuple(meta["class_pixels"]),
        )
    # pydantic's errors are ValueErrors
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _load(path: Path) -> Array:
    """An array of a cache, memory-mapped; an empty one, of a split without images, cannot be mapped."""
    try:
        return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
    except ValueError:
        return np.load(path)  # type: ignore[no-any-return]


def _seal(meta: Any) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    """A digest of a file; of one over `WHOLE_BYTES`, of its size and of parts of it, spread from its begin to its end.

    Every job verifies the cache, and reading 20 GB takes minutes where they do not fit into memory.
    """
    digest = hashlib.sha256()  # most processors have SHA-256 instructions: about 1.5 GB/s
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            while part := file.read(PART_BYTES):
                digest.update(part)
            return digest.hexdigest()
        digest.update(str(size).encode())
        for number in range(PARTS):
            file.seek((size - PART_BYTES) * number // (PARTS - 1))
            digest.update(file.read(PART_BYTES))
    return digest.hexdigest()


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache folder; without file locks several processes may build it, and the first one wins."""
    with folder.with_name(f"{folder.name}.lock").open("w", encoding="utf-8") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_cache(source: Source, folder: Path, report: ReportProgress | None) -> None:
    """Decode into a folder beside the final one, then rename it, so that a killed build leaves no partial cache."""
    building: Path | None = None
    try:
        _remove_abandoned(folder.parent)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}{BUILDING}"))
        _decode_into(source, building, report)
        if _open_cache(folder) is not None:  # without file locks another process may have been first
            return
        if folder.exists():  # corrupt; processes that have its files open keep them
            folder.rename(building / "wrong")
        try:
            building.rename(folder)
        except OSError:
            # Another process finished the same cache first, with the same content.
            if not (folder / "meta.json").is_file():
                raise
        shutil.rmtree(folder / "wrong", ignore_errors=True)
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def _remove_abandoned(caches: Path) -> None:
    """Remove the folders of builds that were killed long ago."""
    for left in caches.glob(f"*{BUILDING}*"):
        with contextlib.suppress(OSError):  # another process has just finished it
            if time.time() - left.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)


@dataclass(frozen=True)
class _NewArray:
    """A .npy file of bytes that is open for writing its entries, in any order and by several threads."""

    file: int
    begin: int

    def write(self, number: int, entry: Array) -> None:
        """Write an entry at its place."""
        rest, place = entry.data.cast("B"), self.begin + number * entry.nbytes
        while rest:
            written = os.pwrite(self.file, rest, place)
            rest, place = rest[written:], place + written


@contextlib.contextmanager
def _new_array(path: Path, shape: tuple[int, ...]) -> Iterator[_NewArray]:
    """A new .npy file of bytes, with its disk space allocated at once.

    Written and not memory-mapped, which takes three times as long. Space is allocated so that a full disk is reported
    before the images are decoded.
    """
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        begin = file.tell()
        file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, begin + math.prod(shape))
        yield _NewArray(file.fileno(), begin)


def _ask_for_room(source: Source, folder: Path) -> None:
    """Check that the decoded images fit on the disk.

    Raises:
        DataError: they do not.
    """
    height, width = source.size
    needed, free = sum(source.counts.values()) * height * width * BYTES_PER_PIXEL, shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder.parent}: the decoded images at {height}x{width} take {needed / 2**30:,.1f} GiB, and "
            f"{free / 2**30:,.1f} GiB are free; give a smaller dataset.size, or set JETBENCH_CACHE to another disk"
        )


def _decode_into(source: Source, folder: Path, report: ReportProgress | None) -> None:
    _ask_for_room(source, folder)
    num_classes = len(source.class_names)
    done, total = 0, sum(source.counts.values())
    digest = hashlib.sha256()
    problems: list[str] = []
    seen = _SeenImages(folder, source.size)
    class_pixels = {split: np.zeros(num_classes, np.int64) for split in SPLITS}
    levels, pixels = np.zeros((3, 256), np.int64), 0  # how often each channel has each level
    for split in SPLITS:
        count = source.counts[split]
        with (
            _new_array(folder / f"{split}-images.npy", (count, *source.size, 3)) as images,
            _new_array(folder / f"{split}-labels.npy", (count, *source.size)) as labels,
            ThreadPoolExecutor(WRITERS) as pool,
        ):
            writing: deque[Future[_Stored]] = deque()

            def enter(stored: _Stored, split: str = split) -> None:
                nonlocal pixels
                seen.enter(split, stored.number, stored.image)
                class_pixels[split] += stored.ids[:num_classes]
                if stored.levels is not None:
                    levels[:] += stored.levels
                    pixels += stored.image.shape[0] * stored.image.shape[1]

            for number, sample in enumerate(source.samples(split)):
                done += 1
                if report:
                    report(done, total)
                if sample.problem is not None:
                    problems.append(sample.problem)
                    continue
                image, ids = np.ascontiguousarray(sample.image), np.ascontiguousarray(sample.labels)
                writing.append(pool.submit(_store, number, image, ids, images, labels, split == "train"))
                digest.update(image.data)
                digest.update(ids.data)
                if len(writing) > MOST_WAITING:
                    enter(writing.popleft().result())
            while writing:
                enter(writing.popleft().result())
    if problems:
        raise DataError(_list_problems(source, problems))
    for split, counted in class_pixels.items():
        if source.counts[split] and not counted.any():
            raise DataError(
                f"{source.name}: the {split} split has no labelled pixel: all pixels are void; check its label files"
            )
    if np.count_nonzero(class_pixels["train"]) < 2:
        only = source.class_names[int(class_pixels["train"].argmax())]
        raise DataError(
            f"{source.name}: all labelled pixels of train are {only}, so there is nothing to learn; check which ids "
            "its masks hold (`jetbench data check`)"
        )
    values = np.arange(256)
    mean = (levels * values).sum(axis=1) / pixels
    std = np.sqrt(np.maximum((levels * values**2).sum(axis=1) / pixels - mean**2, 1.0))
    info = DatasetInfo(
        name=source.name,
        size=source.size,
        class_names=source.class_names,
        void_rule=source.void_rule,
        images=source.counts,
        digest=digest.hexdigest()[:16],
        constant_miou={
            split: constant_miou(class_pixels[split].tolist()) if source.counts[split] else None for split in SPLITS
        },
        classes=source.classes,
        ignore=source.ignore,
        split_rule=source.split_rule,
        leaks=seen.leaks,
    )
    meta = {
        "files": {path.name: _hash_file(path) for path in sorted(folder.glob("*.npy"))},
        "info": info.model_dump(mode="json"),
        "mean": mean.tolist(),
        "std": std.tolist(),
        "class_pixels": class_pixels["train"].tolist(),
    }
    (folder / "meta.json").write_text(json.dumps({"seal": _seal(meta), "meta": meta}), encoding="utf-8")


@dataclass(frozen=True)
class _Stored:
    """An image that has been written, and how often its labels have each id and its channels each level (3, 256).

    The levels are None where no statistics are made of them.
    """

    number: int
    image: Array
    ids: npt.NDArray[np.int64]
    levels: npt.NDArray[np.int64] | None


def _store(
    number: int, image: Array, ids: Array, images: "_NewArray", labels: "_NewArray", has_levels: bool
) -> _Stored:
    """Write an image and its labels at their places, and count; several threads do so at once."""
    images.write(number, image)
    labels.write(number, ids)
    # Pillow counts ten times as fast as numpy.
    counted = np.array(Image.fromarray(ids).histogram(), np.int64)
    levels = np.reshape(Image.fromarray(image).histogram(), (3, 256)) if has_levels else None
    return _Stored(number, image, counted, levels)


class _SeenImages:
    """Counts the images of val and test that are in a split before theirs, too, by their pixels.

    A digest of every eighth pixel finds candidates, whose pixels are then compared: those of the first one are read
    back from the cache.
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.leaks = 0
        self._folder, self._size = folder, size
        self._first: dict[bytes, list[tuple[str, int]]] = {}

    def enter(self, split: str, number: int, image: Array) -> None:
        """Enter an image after it was written."""
        some = np.ascontiguousarray(image[::8, ::8])
        alike = self._first.setdefault(hashlib.blake2b(some.data, digest_size=8).digest(), [])
        for other, place in alike:
            if np.array_equal(self._read(other, place), image):
                self.leaks += other != split
                return
        alike.append((split, number))

    def _read(self, split: str, number: int) -> Array:
        shape = (*self._size, 3)
        with (self._folder / f"{split}-images.npy").open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(number * math.prod(shape), os.SEEK_CUR)
            return np.frombuffer(file.read(math.prod(shape)), np.uint8).reshape(shape)


def _list_problems(source: Source, problems: list[str]) -> str:
    shown = problems[:5]
    more = f"\n  and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
    lines = "\n".join(f"  {problem}" for problem in shown)
    return (
        f"{source.name}: {len(problems)} file(s) cannot be used, so nothing was trained:\n{lines}{more}\n"
        "Restore these files from the dataset's archive, or remove both the image and its labels."
    )


def constant_miou(class_pixels: list[int]) -> float:
    """MIoU of the best constant prediction (one class everywhere), the baseline that a useful network must exceed."""
    present = [count for count in class_pixels if count]
    return max(present) / sum(present) / len(present)
