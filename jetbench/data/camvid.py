"""CamVid (Brostow et al., 2008) in the four forms in which people have it.

11 classes (SegNet's): folders `train trainannot val valannot test testannot` with label PNGs of one channel; an image
and its labels have the same name. 32 classes: colour labels named `*_L.png`, either in `train train_labels val ...`
(Kaggle's) or as published, without a split; the usual split (367 / 101 / 233) then follows from the frame numbers; or
`images labels codes.txt valid.txt` with ids in `*_P.png` (fastai's). `classes: 11` merges 32 as SegNet's authors did.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from jetbench.data.labels import (
    CLASSES_11,
    CLASSES_32,
    COLOURS_11,
    COLOURS_32,
    MEMBERS_OF_11,
    VOID,
    VOID_RULE_11,
    VOID_RULE_32,
)
from jetbench.data.paired import ImagePair, PairedFiles, ReadLabels, identity_of, native_size
from jetbench.data.pictures import SUFFIXES, UnusableError, is_hidden, palette_of, walk
from jetbench.errors import DataError
from jetbench.files import read_text
from jetbench.spec.dataset import SPLITS, CamvidConfig

VOID_11 = 11
CODES = "codes.txt"
MOST_LIST_BYTES = 2**20
VOID_32 = CLASSES_32.index("Void")
ANNOTATIONS = ("trainannot", "valannot", "testannot", "train_labels", "val_labels", "test_labels")
NO_PICTURES = (".txt", ".md", ".json", ".yaml", ".yml", ".csv", ".xml", ".html", ".db", ".ini", "")
IDS_OF_COLOURS_11 = {colour: number for number, colour in enumerate(COLOURS_11)} | {(0, 0, 0): VOID}
WAY_OUT = (
    "Give its folder as --dataset camvid:PATH, or put it at $JETBENCH_DATA/camvid; --dataset streets needs no download"
)


@dataclass
class Palettes:
    """The palettes of the label files read so far: the colour of each index, and what named the classes."""

    colours: dict[int, tuple[int, ...]] = field(default_factory=dict)
    by_colour: bool = False
    by_index: bool = False
    differ: bool = False


def open_camvid(config: CamvidConfig) -> PairedFiles:
    """List the CamVid folder of `config` and recognise its form.

    Raises:
        DataError: the folder does not exist or is not laid out as CamVid, or an image or label file has no partner; or
            32 classes are asked for where there are 11.
    """
    root = find_root(config)
    read: ReadLabels = _read_32
    num_classes = len(CLASSES_32)
    if (root / "trainannot").is_dir() or (root / "valannot").is_dir():
        pairs = {split: _pair_folders(root, split, f"{split}annot", "") for split in SPLITS}
        palettes = Palettes()
        read, num_classes = lambda labels, path: _read_11(labels, path, palettes), len(CLASSES_11)
    elif (root / "train_labels").is_dir() or (root / "val_labels").is_dir():
        pairs = {split: _pair_folders(root, split, f"{split}_labels", "_L") for split in SPLITS}
    elif (root / "labels").is_dir() and (root / CODES).is_file():
        pairs, names = _pair_fastai(root), _names_of(root / CODES)
        read = lambda labels, path: _read_codes(labels, path, names)  # noqa: E731
    elif (inner := _split_below(root)) is not None:
        raise DataError(f"{root}: the dataset is in {inner}; give that folder")
    elif files := _published_below(root):
        pairs = _pair_published(root, files)
    else:
        raise DataError(
            f"{root}: not laid out as CamVid: expected the folders train, trainannot, val, valannot, test, testannot "
            f"(11 classes), or labels named *_L.png, or images, labels and {CODES} (32 classes). {WAY_OUT}"
        )
    identity = identity_of(root, pairs)
    if config.classes is not None and config.classes > num_classes:
        raise DataError(f"{root}: has {num_classes} classes, and dataset.classes asks for {config.classes}")
    if config.classes is not None and config.classes < num_classes:
        identity += "\nmerged to 11 classes"
        read, num_classes = _merged(read), len(CLASSES_11)
    is_11 = num_classes == len(CLASSES_11)
    return PairedFiles(
        name=f"camvid{num_classes}",
        size=config.size or native_size(pairs["train"][0]),
        class_names=CLASSES_11 if is_11 else CLASSES_32,
        void_rule=VOID_RULE_11 if is_11 else VOID_RULE_32,
        identity=identity,
        pairs=pairs,
        resize=config.size is not None,
        read_labels=read,
    )


def assumed_camvid(config: CamvidConfig) -> PairedFiles:
    """CamVid as papers use it, for counting without the data: 11 classes, 360x480 unless `config` has a size."""
    size = config.size or (360, 480)
    none: dict[str, tuple[ImagePair, ...]] = {split: () for split in SPLITS}
    palettes = Palettes()
    return PairedFiles(
        "camvid11",
        size,
        CLASSES_11,
        VOID_RULE_11,
        "",
        none,
        True,
        lambda labels, path: _read_11(labels, path, palettes),
    )


def _merged(read: ReadLabels) -> ReadLabels:
    """Reads 32 classes and merges them to 11 as usual."""
    table = np.full(VOID + 1, VOID, np.uint8)
    for place, members in enumerate(MEMBERS_OF_11.values()):
        for name in members:
            table[CLASSES_32.index(name)] = place
    return lambda labels, path: np.asarray(table[read(labels, path)])


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
    images = _by_stem(_pictures(root / split), "")
    labels = _by_stem([path for path in _pictures(root / annotations) if path.stem.endswith(suffix)], suffix)
    if not images:
        raise DataError(f"{root / split}: contains no image ({', '.join(SUFFIXES)}). {WAY_OUT}")
    return _match(images, labels, root / annotations, suffix)


def _pictures(folder: Path) -> list[Path]:
    """The picture files in a folder, in any case of their suffixes.

    Raises:
        DataError: it holds files that are neither pictures of a format that is read nor texts.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not is_hidden(path)]
    others = [path for path in files if path.suffix.lower() not in (*SUFFIXES, *NO_PICTURES)]
    if others:
        raise DataError(
            f"{folder}: {len(others)} of {len(files)} files are not read, such as {others[0].name}; expected "
            f"{', '.join(SUFFIXES)}: convert them, or move them elsewhere"
        )
    return [path for path in files if path.suffix.lower() in SUFFIXES]


def _by_stem(paths: Sequence[Path], suffix: str) -> dict[str, Path]:
    """The files by their names without the suffix of labels.

    Raises:
        DataError: two files have the same name, so that it is unknown which one counts.
    """
    found: dict[str, Path] = {}
    for path in paths:
        stem = path.stem.removesuffix(suffix)
        if stem in found:
            raise DataError(f"camvid: two files for {stem}: {found[stem]} and {path}; remove the one that is wrong")
        found[stem] = path
    return found


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


def _pair_fastai(root: Path) -> dict[str, tuple[ImagePair, ...]]:
    """Fastai's form: images/, labels/*_P.png, valid.txt; what it leaves in one list is train and test as usual."""
    images = _by_stem(_pictures(root / "images"), "") if (root / "images").is_dir() else {}
    labels = _by_stem([path for path in _pictures(root / "labels") if path.stem.endswith("_P")], "_P")
    if not images or not labels:
        raise DataError(f"{root}: expected images in images/ and labels named *_P.png in labels/. {WAY_OUT}")
    listed = root / "valid.txt"
    val = {Path(line.strip()).stem for line in read_text(listed, MOST_LIST_BYTES).split()} if listed.is_file() else None
    by_split: dict[str, list[ImagePair]] = {split: [] for split in SPLITS}
    for pair in _match(images, labels, root / "labels", "_P"):
        usual = usual_split(pair.image.stem)
        is_val = usual == "val" if val is None else pair.image.stem in val
        by_split["val" if is_val else "train" if usual == "val" else usual].append(pair)
    for split, pairs in by_split.items():
        if not pairs:
            raise DataError(f"{root}: contains no frame of the {split} split. {WAY_OUT}")
    return {split: tuple(pairs) for split, pairs in by_split.items()}


def _names_of(path: Path) -> tuple[str, ...]:
    """The names of codes.txt, whose line is the id in the labels.

    Raises:
        DataError: a name is none of CamVid's 32.
    """
    names = tuple(line.strip() for line in read_text(path, MOST_LIST_BYTES).splitlines() if line.strip())
    unknown = [name for name in names if name not in CLASSES_32]
    if unknown:
        raise DataError(f"{path}: {unknown[0]} is none of CamVid's 32 classes; give the data as --dataset folder:PATH")
    return names


def _read_codes(labels: Image.Image, path: Path, names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Labels whose id is a line of codes.txt, as the 32 classes."""
    if labels.mode not in ("L", "P", "I;16", "I"):
        raise UnusableError(f"{path}: labels of mode {labels.mode}; expected one channel of ids")
    ids = np.asarray(labels)
    if (ids < 0).any() or (ids >= len(names)).any():
        wrong = ids[(ids < 0) | (ids >= len(names))]
        raise UnusableError(f"{path}: mislabelled: id {int(wrong.flat[0])}; {CODES} has {len(names)} names")
    places = np.array([CLASSES_32.index(name) for name in names], np.uint8)[ids]
    return np.where(places == VOID_32, VOID, places).astype(np.uint8)


def _published_below(root: Path) -> list[Path]:
    """The pictures of a folder, if labels named *_L are among them."""
    files = [path for path in walk(root) if path.suffix.lower() in SUFFIXES]
    return files if any(path.stem.endswith("_L") for path in files) else []


def _split_below(root: Path) -> Path | None:
    """The folder below `root` that is split into train, val and test with labels; None if there is none."""
    found = (path.parent.parent for path in walk(root) if path.parent.name in ANNOTATIONS)
    return next((folder for folder in found if folder != root), None)


def _pair_published(root: Path, files: Sequence[Path]) -> dict[str, tuple[ImagePair, ...]]:
    label_files = [path for path in files if path.stem.endswith("_L")]
    labels = _by_stem(label_files, "_L")
    images = _by_stem([path for path in files if not path.stem.endswith("_L")], "")
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


def _read_11(labels: Image.Image, path: Path, palettes: Palettes) -> npt.NDArray[np.uint8]:
    if labels.mode not in ("L", "P", "I;16", "I"):
        raise UnusableError(
            f"{path}: labels of mode {labels.mode}; the 11-class form has one channel of class ids 0 to 11"
        )
    ids = _ids_of_palette(labels, path, palettes) if labels.mode == "P" else np.asarray(labels)
    wrong = ids[(ids < 0) | ((ids > VOID_11) & (ids != VOID))]
    if wrong.size:
        raise UnusableError(f"{path}: mislabelled: id {int(wrong[0])}; ids are 0 to 10, and 11 or 255 for void")
    return np.where(ids == VOID_11, VOID, ids).astype(np.uint8)


def _ids_of_palette(labels: Image.Image, path: Path, palettes: Palettes) -> npt.NDArray[np.uint8]:
    """The class ids of a palette image: its grey levels, the classes of its colours, or its indices.

    An optimiser numbers the colours of each file anew, so indices count only if all files have one palette. A
    file may hold a few colours of a drawing program that are CamVid's by chance: then the files contradict each other.
    """
    colours, indices = palette_of(labels), np.asarray(labels)
    entries = [(int(red), int(green), int(blue)) for red, green, blue in colours]
    if all(red == green == blue for red, green, blue in entries):
        return np.asarray(colours[:, 0][indices])
    if all(colour in IDS_OF_COLOURS_11 for colour in entries):
        ids = np.asarray(np.array([IDS_OF_COLOURS_11[colour] for colour in entries], np.uint8)[indices])
        palettes.by_colour |= not np.array_equal(ids, indices)
    else:
        ids, palettes.by_index = indices, True
        for index in np.unique(indices).tolist():
            palettes.differ |= palettes.colours.setdefault(index, entries[index]) != entries[index]
    if palettes.differ or (palettes.by_colour and palettes.by_index):
        raise UnusableError(
            f"{path}: its palette differs from that of other label files, and not all colours are CamVid's, so its "
            "classes are unknown; save labels with one channel of class ids"
        )
    return ids


def _read_32(labels: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    if labels.mode not in ("RGB", "RGBA", "P"):
        raise UnusableError(f"{path}: labels of mode {labels.mode}; the 32-class form is colour-coded (RGB)")
    pixels = np.asarray(labels.convert("RGB")).astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    ids = np.full(codes.shape, -1, np.int16)
    for number, (red, green, blue) in enumerate(COLOURS_32.values()):
        ids[codes == (red << 16 | green << 8 | blue)] = number
    if (unknown := ids < 0).any():
        colour = tuple(int(value) for value in pixels[unknown][0])
        raise UnusableError(
            f"{path}: mislabelled: colour {colour} is not a CamVid class; {int(unknown.sum())} pixel(s) have no class"
        )
    return np.where(ids == VOID_32, VOID, ids).astype(np.uint8)
