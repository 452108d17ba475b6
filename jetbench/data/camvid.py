"""CamVid (Brostow et al., 2008) in its 11-class folders and in its original 32-class colour-coded form.

11 classes: folders `train trainannot val valannot test testannot` with label PNGs of one channel; an image and its
labels have the same name. 32 classes: colour labels named `*_L.png`, either in `train train_labels val ...` or as
published, without a split; the usual split (367 / 101 / 233) then follows from the frame numbers.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from jetbench.data.labels import (
    CLASSES_11,
    CLASSES_32,
    COLOURS_32,
    VOID,
    VOID_RULE_11,
    VOID_RULE_32,
    Sample,
)
from jetbench.errors import DataError
from jetbench.spec.dataset import CamvidConfig

SPLITS = ("train", "val", "test")
VOID_11 = 11
VOID_32 = CLASSES_32.index("Void")
WAY_OUT = (
    "Give its folder as --dataset camvid:PATH, or put it at $JETBENCH_DATA/camvid; --dataset streets needs no download"
)


@dataclass(frozen=True)
class ImagePair:
    """The image file and the label file of one sample."""

    image: Path
    labels: Path


@dataclass(frozen=True)
class Camvid:
    """A CamVid folder whose files are listed but not read; `samples` decodes them."""

    name: str
    size: tuple[int, int]
    class_names: tuple[str, ...]
    void_rule: str
    identity: str
    pairs: dict[str, tuple[ImagePair, ...]]
    resize: bool

    @property
    def counts(self) -> dict[str, int]:
        """Images of each split."""
        return {split: len(pairs) for split, pairs in self.pairs.items()}

    def samples(self, split: str) -> Iterator[Sample]:
        """Images and labels of a split, resized to `size`; a bad file gives a sample with a problem."""
        for pair in self.pairs[split]:
            try:
                yield self._decode(pair)
            except _UnusableError as error:
                yield Sample.broken(str(error))

    def _decode(self, pair: ImagePair) -> Sample:
        image = _open(pair.image).convert("RGB")
        labels = _open(pair.labels)
        if image.size != labels.size:
            raise _UnusableError(f"{pair.labels}: labels of {_size(labels)} for an image of {_size(image)} (HxW)")
        if not self.resize and (image.height, image.width) != self.size:
            expected = f"{self.size[0]}x{self.size[1]}"
            raise _UnusableError(
                f"{pair.image}: {_size(image)}, but the first image is {expected} (HxW); set dataset.size to resize all"
            )
        height, width = self.size
        # Labels are resized with nearest neighbour, because the mean of two class ids is a third class.
        ids = (
            _read_11(labels, pair.labels) if len(self.class_names) == len(CLASSES_11) else _read_32(labels, pair.labels)
        )
        ids = np.asarray(Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST))
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        return Sample(pixels, ids)


class _UnusableError(Exception):
    """One file that cannot be used; collected, so that one message names all of them."""


def open_camvid(config: CamvidConfig) -> Camvid:
    """List the CamVid folder of `config` and recognise its layout.

    Raises:
        DataError: the folder does not exist or is not laid out as CamVid, or an image or label file has no partner.
    """
    root = find_root(config)
    classes: tuple[str, ...]
    if (root / "trainannot").is_dir() or (root / "valannot").is_dir():
        pairs = {split: _pair_folders(root, split, f"{split}annot", "") for split in SPLITS}
        name, classes, void_rule = "camvid11", CLASSES_11, VOID_RULE_11
    elif (root / "train_labels").is_dir() or (root / "val_labels").is_dir():
        pairs = {split: _pair_folders(root, split, f"{split}_labels", "_L") for split in SPLITS}
        name, classes, void_rule = "camvid32", CLASSES_32, VOID_RULE_32
    elif labels := sorted(root.rglob("*_L.png")):
        pairs = _pair_published(root, labels)
        name, classes, void_rule = "camvid32", CLASSES_32, VOID_RULE_32
    else:
        raise DataError(
            f"{root}: not laid out as CamVid: expected the folders train, trainannot, val, valannot, test, testannot "
            f"(11 classes), or labels named *_L.png (32 classes). {WAY_OUT}"
        )
    size = config.size or _native_size(pairs["train"][0])
    return Camvid(name, size, classes, void_rule, _identity(root, pairs), pairs, config.size is not None)


def assumed_camvid(config: CamvidConfig) -> Camvid:
    """CamVid as papers use it, for counting without the data: 11 classes, 360x480 unless `config` has a size."""
    size = config.size or (360, 480)
    return Camvid("camvid11", size, CLASSES_11, VOID_RULE_11, "", {split: () for split in SPLITS}, True)


def find_root(config: CamvidConfig) -> Path:
    """The folder to read: the configured one, else $JETBENCH_DATA/camvid.

    Raises:
        DataError: no folder is configured, or it does not exist.
    """
    if config.path is not None:
        root = Path(config.path).expanduser()
        if not root.is_dir():
            what = "is a file, not the folder of CamVid" if root.exists() else "no such folder"
            raise DataError(f"{root}: {what}. {WAY_OUT}")
        return root
    data = os.environ.get("JETBENCH_DATA")
    if not data:
        raise DataError(f"camvid: no folder is given, and JETBENCH_DATA is not set. {WAY_OUT}")
    root = Path(data) / "camvid"
    if not root.is_dir():
        raise DataError(f"{root}: no such folder (from JETBENCH_DATA={data}). {WAY_OUT}")
    return root


def _pair_folders(root: Path, split: str, annotations: str, suffix: str) -> tuple[ImagePair, ...]:
    for folder in (root / split, root / annotations):
        if not folder.is_dir():
            raise DataError(f"{folder}: this folder is missing. {WAY_OUT}")
    images = {path.stem: path for path in sorted((root / split).glob("*.png"))}
    labels = {path.stem.removesuffix(suffix): path for path in sorted((root / annotations).glob(f"*{suffix}.png"))}
    if not images:
        raise DataError(f"{root / split}: contains no PNG image. {WAY_OUT}")
    return _match(images, labels, root / annotations, suffix)


def _match(images: dict[str, Path], labels: dict[str, Path], folder: Path, suffix: str) -> tuple[ImagePair, ...]:
    missing = [
        f"{images[stem]}: has no labels {folder / f'{stem}{suffix}.png'}" for stem in images if stem not in labels
    ]
    missing += [f"{labels[stem]}: labels without an image" for stem in labels if stem not in images]
    if missing:
        shown = "\n".join(f"  {line}" for line in missing[:5])
        more = f"\n  and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"camvid: {len(missing)} file(s) without their partner:\n{shown}{more}\n"
            "Restore the missing files from the dataset's archive, or remove the partner."
        )
    return tuple(ImagePair(images[stem], labels[stem]) for stem in sorted(images))


def _pair_published(root: Path, label_files: list[Path]) -> dict[str, tuple[ImagePair, ...]]:
    labels = {path.stem.removesuffix("_L"): path for path in label_files}
    images = {path.stem: path for path in sorted(root.rglob("*.png")) if not path.stem.endswith("_L")}
    by_split: dict[str, list[ImagePair]] = {split: [] for split in SPLITS}
    for pair in _match(images, labels, label_files[0].parent, "_L"):
        by_split[usual_split(pair.image.stem)].append(pair)
    for split, pairs in by_split.items():
        if not pairs:
            raise DataError(
                f"{root}: contains no frame of the {split} split; the published set has 701 frames. {WAY_OUT}"
            )
    return {split: tuple(pairs) for split, pairs in by_split.items()}


def usual_split(stem: str) -> str:
    """The split of a frame by its name, as segmentation papers use it (367 / 101 / 233 frames).

    Raises:
        DataError: the name is not one of CamVid's sequences.
    """
    match = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", stem)
    if not match:
        raise DataError(
            f"{stem}.png: not a CamVid frame name (such as 0016E5_07959), so its split is unknown; "
            "sort the files into train, train_labels, val, val_labels, test, test_labels"
        )
    sequence, frame = match[1], int(match[2])
    if sequence == "Seq05VD" or (sequence == "0001TP" and frame >= 8550):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= frame <= 8159 else "train"


def _native_size(pair: ImagePair) -> tuple[int, int]:
    try:
        image = _open(pair.image)
    except _UnusableError as error:
        raise DataError(f"{error}. Restore it from the dataset's archive") from None
    return image.height, image.width


def _identity(root: Path, pairs: dict[str, tuple[ImagePair, ...]]) -> str:
    """Text that changes when a file is added, removed or rewritten, so that the cache is never out of date."""
    lines = []
    for split, members in pairs.items():
        for pair in members:
            for path in (pair.image, pair.labels):
                stat = path.stat()
                lines.append(f"{split} {path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}")
    return "\n".join(lines)


def _open(path: Path) -> Image.Image:
    try:
        image: Image.Image
        with Image.open(path) as image:
            image.load()
            return image
    except UnidentifiedImageError:
        raise _UnusableError(f"{path}: not an image") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise _UnusableError(f"{path}: truncated or damaged ({error})") from None


def _size(image: Image.Image) -> str:
    return f"{image.height}x{image.width}"


def _read_11(labels: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    if labels.mode not in ("L", "P", "I;16", "I"):
        raise _UnusableError(
            f"{path}: labels of mode {labels.mode}; the 11-class form has one channel of class ids 0 to 11"
        )
    ids = np.asarray(labels)
    if ids.max() > VOID_11 or ids.min() < 0:
        wrong = int(ids.max()) if ids.max() > VOID_11 else int(ids.min())
        raise _UnusableError(f"{path}: mislabelled: id {wrong}; ids are 0 to 10, and 11 for void")
    return np.where(ids == VOID_11, VOID, ids).astype(np.uint8)


def _read_32(labels: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    if labels.mode not in ("RGB", "RGBA", "P"):
        raise _UnusableError(f"{path}: labels of mode {labels.mode}; the 32-class form is colour-coded (RGB)")
    pixels = np.asarray(labels.convert("RGB")).astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    ids = np.full(codes.shape, -1, np.int16)
    for number, (red, green, blue) in enumerate(COLOURS_32.values()):
        ids[codes == (red << 16 | green << 8 | blue)] = number
    if (unknown := ids < 0).any():
        colour = tuple(int(value) for value in pixels[unknown][0])
        raise _UnusableError(
            f"{path}: mislabelled: colour {colour} is not a CamVid class; {int(unknown.sum())} pixel(s) have no class"
        )
    return np.where(ids == VOID_32, VOID, ids).astype(np.uint8)
