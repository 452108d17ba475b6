"""check_dataset: open every file of a dataset once, and say what is in it, what is wrong, and how to mend it."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from jetbench.data.cache import open_source
from jetbench.data.folder import Found, find_folder
from jetbench.data.labels import VOID
from jetbench.data.masks import INTEGER_MODES, ClassMap
from jetbench.data.paired import ImagePair, PairedFiles, ReadLabels, decoder_threads, open_pair
from jetbench.data.pictures import UnusableError, palette_of
from jetbench.errors import DataError
from jetbench.spec.dataset import SPLITS, CamvidConfig, DatasetConfig, FolderConfig, PresetConfig

MOST_MARKS = 1000
EXAMPLES = 5
Mark = int | tuple[int, int, int]


@dataclass
class Problem:
    """One kind of fault: what it is, how to mend it, how many files have it, and some of them.

    `is_refused` is True if the data cannot be used with it.
    """

    what: str
    way_out: str
    is_refused: bool
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """Count a file; the first ones are named."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass(frozen=True)
class Check:
    """What was found in a dataset.

    Args:
        name: of the dataset.
        root: its folder.
        how: where images, masks, splits and classes were found.
        counts: pairs of each split.
        sizes: how many images have each (height, width).
        class_names: the classes; empty if nothing names them.
        pixels: labelled pixels of each class, for each split.
        void: pixels without a class, for each split.
        problems: what is wrong, the worst first.
        proposal: a classes.yaml made from the masks, if nothing names the classes.
    """

    name: str
    root: Path
    how: tuple[str, ...]
    counts: dict[str, int]
    sizes: dict[tuple[int, int], int]
    class_names: tuple[str, ...]
    pixels: dict[str, tuple[int, ...]]
    void: dict[str, int]
    problems: tuple[Problem, ...]
    proposal: str = ""

    @property
    def is_usable(self) -> bool:
        """True if a sweep would take the data."""
        return bool(self.class_names) and not any(problem.is_refused for problem in self.problems)


@dataclass(frozen=True)
class _Listed:
    name: str
    root: Path
    how: tuple[str, ...]
    pairs: dict[str, tuple[ImagePair, ...]]
    class_names: tuple[str, ...]
    read: ReadLabels | None
    alone: tuple[str, ...]
    has_size: bool


@dataclass
class _Seen:
    """What was found in one pair."""

    size: tuple[int, int] | None = None
    digest: str = ""
    pixels: npt.NDArray[np.int64] | None = None
    marks: Counter[Mark] = field(default_factory=Counter)
    order: dict[Mark, int] = field(default_factory=dict)
    problem: str = ""


def check_dataset(config: DatasetConfig, report: Callable[[int, int], None] = lambda done, total: None) -> Check:
    """Open every file of a dataset once.

    Args:
        config: the dataset.
        report: called with the number of pairs that were opened, and of all.

    Raises:
        DataError: there is nothing to open: no such folder, or no layout that is known.
    """
    listed = _list(config)
    problems = {
        "alone": Problem("file without its partner", "restore what is missing, or remove the partner", True),
        "unusable": Problem("file that cannot be used", "mend these files, or remove both image and mask", True),
        "size": Problem(
            "image of another size than the first", "give a size (dataset.size or --size): all are scaled to it", True
        ),
        "twice": Problem(
            "image that is in two splits, by its pixels", "remove it from one: a score on an image that was trained on "
            "says nothing", False,
        ),
    }  # fmt: skip
    kinds = Counter[str]()
    for line in listed.alone:
        problems["alone"].add(line)
    sizes: Counter[tuple[int, int]] = Counter()
    pixels = {split: np.zeros(len(listed.class_names), np.int64) for split in SPLITS}
    void = dict.fromkeys(SPLITS, 0)
    marks: Counter[Mark] = Counter()
    order: dict[Mark, int] = {}
    first_place: dict[str, tuple[str, Path]] = {}
    done, total = 0, sum(map(len, listed.pairs.values()))
    with ThreadPoolExecutor(decoder_threads()) as pool:
        for split in SPLITS:
            pairs = listed.pairs[split]
            for pair, seen in zip(pairs, pool.map(lambda pair: _look_at(pair, listed.read), pairs), strict=True):
                done += 1
                report(done, total)
                if seen.problem:
                    problems["unusable"].add(seen.problem)
                if seen.size is not None:
                    sizes[seen.size] += 1
                    if not listed.has_size and seen.size != next(iter(sizes)):
                        problems["size"].add(f"{pair.image}: {seen.size[0]}x{seen.size[1]}")
                if seen.digest:
                    other = first_place.setdefault(seen.digest, (split, pair.image))
                    if other[0] != split:
                        problems["twice"].add(f"{pair.image} ({split}) is {other[1]} ({other[0]})")
                if seen.pixels is not None:
                    kinds[_kind_of(seen.pixels)] += 1
                    pixels[split] += seen.pixels[: len(listed.class_names)]
                    void[split] += int(seen.pixels[VOID])
                if len(marks) < MOST_MARKS:
                    marks.update(seen.marks)
                    for mark, index in seen.order.items():
                        order[mark] = min(index, order.get(mark, index))
    faults = [problem for problem in problems.values() if problem.count]
    if len(listed.class_names) == 2 and kinds["one and void"] and kinds["both"]:
        mixed = Problem(
            "mask whose only values are one class and 255, beside masks of both classes",
            "255 has no class; if these are black and white, save all masks with the same two values", False,
            count=kinds["one and void"],
        )  # fmt: skip
        faults.append(mixed)
    faults += _empty_classes(listed, pixels) if listed.class_names else []
    return Check(
        name=listed.name,
        root=listed.root,
        how=listed.how,
        counts={split: len(pairs) for split, pairs in listed.pairs.items()},
        sizes=dict(sizes.most_common()),
        class_names=listed.class_names,
        pixels={split: tuple(counted.tolist()) for split, counted in pixels.items()},
        void=void,
        problems=tuple(sorted(faults, key=lambda problem: not problem.is_refused)),
        proposal="" if listed.class_names else propose_classes(marks, order),
    )


def _list(config: DatasetConfig) -> _Listed:
    if isinstance(config, FolderConfig | PresetConfig):
        return _of_folder(config, find_folder(config))
    if not isinstance(config, CamvidConfig):
        raise DataError(f"{config.name}: is generated; there is no file to check")
    source = open_source(config)
    assert isinstance(source, PairedFiles)
    root = Path(os.path.commonpath([pair.image for pairs in source.pairs.values() for pair in pairs]))
    return _Listed(
        source.name, root, ("CamVid's own layout",), source.pairs, source.class_names, source.read_labels, (),
        source.resize,
    )  # fmt: skip


def _of_folder(config: FolderConfig | PresetConfig, folder: Found) -> _Listed:
    names: tuple[str, ...] = ()
    read = None
    how = [folder.layout.how, folder.layout.split_rule]
    if folder.class_map is not None:
        names, read = tuple(each.name for each in folder.class_map.classes), _reader(folder.class_map)
        how.append(f"classes {folder.class_file}" if folder.class_file.startswith(("as", "in")) else folder.class_file)
    return _Listed(
        config.name, folder.root, tuple(filter(None, how)), folder.layout.pairs, names, read, folder.layout.alone,
        config.size is not None,
    )  # fmt: skip


def _reader(class_map: ClassMap) -> ReadLabels:
    return lambda mask, path: class_map.read(mask, str(path))


def _look_at(pair: ImagePair, read: ReadLabels | None) -> _Seen:
    seen = _Seen()
    try:
        image, mask = open_pair(pair)
        seen.size = (image.height, image.width)
        seen.digest = hashlib.sha256(image.tobytes()).hexdigest()
        if read is None:
            seen.marks = marks_of(mask)
            if mask.mode == "P":
                used = np.unique(np.asarray(mask)).tolist()
                palette = palette_of(mask)
                seen.order = {
                    (int(r), int(g), int(b)): index for index, (r, g, b) in zip(used, palette[used], strict=True)
                }
        else:
            seen.pixels = np.bincount(read(mask, pair.labels).ravel(), minlength=VOID + 1)
    except UnusableError as error:
        seen.problem = str(error)
    return seen


def _kind_of(pixels: npt.NDArray[np.int64]) -> str:
    """Whether a mask has one class and pixels without one, or several classes."""
    classes = int(np.count_nonzero(pixels[:VOID]))
    return "one and void" if classes == 1 and pixels[VOID] else "both" if classes > 1 else "one"


def _empty_classes(listed: _Listed, pixels: dict[str, npt.NDArray[np.int64]]) -> list[Problem]:
    """Classes without a pixel in train, and those without one in a split that is scored."""
    problems = []
    for split in SPLITS:
        if not listed.pairs[split]:
            continue
        empty = [name for name, count in zip(listed.class_names, pixels[split], strict=True) if not count]
        if not empty:
            continue
        is_hopeless = split == "train" and len(empty) >= len(listed.class_names) - 1
        ways = {"train": "it cannot be learnt: check the ids of its masks", "val": "it is left out of the mIoU"}
        problem = Problem(f"class without a pixel in {split}", ways.get(split, ways["val"]), is_hopeless)
        for name in empty:
            problem.add(name)
        problems.append(problem)
    return problems


def marks_of(mask: Image.Image) -> Counter[Mark]:
    """How many pixels of a mask have each id, grey level or colour; a palette counts as its colours."""
    if mask.format == "JPEG":
        raise UnusableError(f"{mask.format}: blurs class ids; save masks as PNG")
    if mask.mode == "P":
        palette = palette_of(mask)
        counts = Counter[Mark]()
        for index, count in enumerate(np.bincount(np.asarray(mask).ravel())):
            if count and index == VOID:
                counts[VOID] += int(count)  # the border of objects, as VOC has it
            elif count:
                counts[int(palette[index][0]), int(palette[index][1]), int(palette[index][2])] += int(count)
        return counts
    if mask.mode in INTEGER_MODES or mask.mode == "LA":
        values = np.asarray(mask)[..., 0] if mask.mode == "LA" else np.asarray(mask)
        ids, counted = np.unique(values.astype(np.int64), return_counts=True)
        return Counter({int(value): int(count) for value, count in zip(ids, counted, strict=True)})
    pixels = np.asarray(mask.convert("RGB")).astype(np.int64)
    codes, counted = np.unique(pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2], return_counts=True)
    if len(codes) > MOST_MARKS:
        return Counter({(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255): 1 for code in codes[:MOST_MARKS]})
    return Counter(
        {
            (int(code) >> 16, int(code) >> 8 & 255, int(code) & 255): int(count)
            for code, count in zip(codes, counted, strict=True)
        }
    )


def to_hex(colour: tuple[int, int, int]) -> str:
    """`#8040ff` of (128, 64, 255)."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def propose_classes(marks: Counter[Mark], order: Mapping[Mark, int] = MappingProxyType({})) -> str:
    """A classes.yaml for masks that hold these ids or colours; a person gives the names. Empty if they are too many.

    Args:
        marks: how many pixels have each id or colour.
        order: the place of a colour in the palettes.
    """
    ids = sorted(mark for mark in marks if isinstance(mark, int))
    colours = [mark for mark in marks if not isinstance(mark, int)]
    colours.sort(key=lambda colour: (order.get(colour, 0), colour))
    if len(ids) == 2 and VOID in ids:
        known, ignore = ids, "ignore: []"  # black and white: 255 is a class
    else:
        known, ignore = [value for value in ids if value != VOID], f"ignore: [{VOID}]"
    # Ids in some masks and colours in others have no class file; 255 in a palette is the border of objects.
    if len(known) + len(colours) > VOID or len(known) + len(colours) < 2 or (known and colours):
        return ""
    total = sum(marks.values())
    lines = ["# The names are yours to give; delete what is no class, and add it to ignore.", "classes:"]
    each: list[Mark] = [*known, *colours]
    for number, mark in enumerate(each):
        share = f"{100 * marks[mark] / total:.1f} % of the pixels"
        if isinstance(mark, int):
            lines.append(f"  - {{name: class {number}, ids: [{mark}]}}    # {share}")
        else:
            lines.append(f"  - {{name: class {number}, colour: '{to_hex(mark)}'}}    # {share}")
    in_marks = VOID in marks and VOID not in known
    lines.append(ignore + (f"    # {100 * marks[VOID] / total:.1f} % of the pixels" if in_marks else ""))
    return "\n".join(lines) + "\n"


def choose(pairs: Sequence[ImagePair], count: int) -> list[ImagePair]:
    """Up to `count` pairs, spread over a split."""
    shown = min(count, len(pairs))
    return [pairs[(2 * number + 1) * len(pairs) // (2 * shown)] for number in range(shown)]
