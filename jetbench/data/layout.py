"""Find the images and masks of a folder: by the names of its folders, by lists, or by the names of the files."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jetbench.data.paired import ImagePair
from jetbench.data.pictures import SUFFIXES, walk
from jetbench.errors import DataError
from jetbench.files import open_plain
from jetbench.spec.dataset import SPLITS

Role = Literal["image", "mask"]
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
IMAGE_WORDS = frozenset(
    ("image", "images", "img", "imgs", "jpegimages", "photo", "photos", "picture", "pictures", "rgb", "leftimg8bit")
)
MASK_WORDS = frozenset(
    (
        *("mask", "masks", "label", "labels", "lbl", "annotation", "annotations", "annot", "annots", "ann", "gt"),
        *("gtfine", "groundtruth", "truth", "segmentation", "segmentations", "segmentationclass", "seg", "segs"),
        *("segmentationclassraw", "segmentationclasspng", "target", "targets", "labelids", "semantic"),
    )
)
JOINED = re.compile(r"(train|val|valid|test)(annot|annots|masks?|labels?|gt|images?|imgs?)")
ENDINGS = (*SUFFIXES, ".gif")  # masks are stored as GIF, too
DIGITS = re.compile(r"\d+")
LIST_PLACES = ("", "splits", "split", "lists", "list", "ImageSets/Segmentation", "ImageSets")
HEADS = frozenset(
    [
        "image",
        "images",
        "img",
        "mask",
        "masks",
        "label",
        "labels",
        "seg",
        "gt",
        "file",
        "filename",
        "name",
        "id",
        "path",
    ]
)
MOST_LIST_BYTES = 2**26


@dataclass(frozen=True)
class Hints:
    """What a dataset says about its own layout; empty texts are found out.

    Args:
        images: folder of the images below the root.
        masks: folder of the masks below the root.
        image_suffix: of the names of images.
        mask_suffix: of the names of masks.
        lists: folder of the lists of each split.
        unlabelled: splits whose masks hold nothing.
        shares: of train, val and test where there is no split.
        seed: of that split.
    """

    images: str = ""
    masks: str = ""
    image_suffix: str = ""
    mask_suffix: str = ""
    lists: str = ""
    unlabelled: tuple[str, ...] = ()
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0


@dataclass(frozen=True)
class Layout:
    """The pairs of each split, in what was found, and what has no partner.

    Args:
        pairs: of each split; test may have none.
        how: where images, masks and splits were found, in words.
        split_rule: how the images were split, if the folder does not say.
        alone: files without their partner, with the reason.
    """

    pairs: dict[str, tuple[ImagePair, ...]]
    how: str
    split_rule: str = ""
    alone: tuple[str, ...] = ()


@dataclass
class _File:
    """A picture with what its path says of it; `key` is its path without words of role and split, and its ending."""

    path: Path
    split: str | None
    role: Role | None
    key: tuple[str, ...]


def find_layout(root: Path, hints: Hints = Hints()) -> Layout:
    """The layout of a folder.

    Raises:
        DataError: it holds no images or no masks, or it is not clear which mask belongs to an image.
    """
    for with_parts in (True, False):  # numbers of folders tell parts of a split apart, unless only one side has them
        files = list(_pictures(root, hints, with_parts))
        if not files:
            raise DataError(f"{root}: holds no image ({', '.join(SUFFIXES)}); give the folder of the dataset")
        if not any(file.role == "mask" for file in files):
            files = _by_names(files, hints)
        if not any(file.role == "mask" for file in files):
            raise DataError(
                f"{root}: {len(files)} images and no masks: no folder is called masks, labels, annotations or gt, and "
                "no name has an ending such as _mask; give dataset.masks and dataset.images, or dataset.mask_suffix"
            )
        pairs, alone = _pair(root, files, hints)
        if pairs:
            break
    lists = _find_lists(root, hints, _wrapper(root, files))
    if lists:
        return _by_lists(root, files, pairs, {k: v for k, v in lists.items() if k not in hints.unlabelled})
    if not pairs:
        raise DataError(
            f"{root}: no mask belongs to an image by its name: {alone[0] if alone else 'no image'}; give "
            "dataset.mask_suffix and dataset.image_suffix"
        )
    folders = _by_folders(pairs)
    if folders is not None:
        by_split, rule = _with_val(folders[0], hints)
        rule = "; ".join(filter(None, (folders[1], rule)))
        return Layout(by_split, "images and masks by the names of their folders", rule, tuple(alone))
    by_split, rule = _by_chance([pair for pairs in pairs.values() for pair in pairs], hints, alone)
    return Layout(by_split, "images and masks without a split", rule, tuple(alone))


def _pictures(root: Path, hints: Hints, with_parts: bool) -> Iterator[_File]:
    places: list[tuple[Path, Role | None]] = [(root, None)]
    if hints.images or hints.masks:
        if not (hints.images and hints.masks):
            raise DataError(f"{root}: give both dataset.images and dataset.masks, or neither")
        places = [(root / hints.images, "image"), (root / hints.masks, "mask")]
    for place, role in places:
        if not place.is_dir():
            raise DataError(f"{place}: no such folder")
        for path in walk(place, is_strict=True):
            if path.suffix.lower() in ENDINGS:
                file = _describe(path, place, role, with_parts)
                suffix = hints.mask_suffix if file.role == "mask" else hints.image_suffix
                if suffix and file.role is not None:
                    if not path.stem.endswith(suffix):
                        continue  # another kind of file beside it, such as a picture of the mask in colours
                    file.key = (*file.key[:-1], file.key[-1].removesuffix(_same(suffix)))
                yield file


def _describe(path: Path, place: Path, role: Role | None, with_parts: bool) -> _File:
    split = None
    kept: list[str] = []
    for part in path.relative_to(place).parts[:-1]:
        words = _words(part)
        its_split = _split_of(words)
        its_role = _role_of(words)
        split, role = its_split or split, its_role or role  # the folder nearest to the file says what it is
        if its_split is None and its_role is None:
            kept.append(part)
        elif its_split is not None and with_parts:
            numbers = DIGITS.findall(part)
            kept += ["-".join(numbers)] if numbers else []  # train_1 and train_2 may have files of one name
    return _File(path, split, role, tuple(map(_same, (*kept, path.stem))))


def _same(name: str) -> str:
    """A name as it is compared: systems differ in how they store accents."""
    return unicodedata.normalize("NFC", name)


def _split_of(words: Sequence[str]) -> str | None:
    """The split that a folder's words name, also with a number behind it: `train2017`, `train_v2`, `road_val`."""
    return next((SPLIT_WORDS[word] for each in words if (word := each.rstrip("0123456789")) in SPLIT_WORDS), None)


def _role_of(words: Sequence[str]) -> Role | None:
    if any(word in MASK_WORDS for word in words):
        return "mask"
    return "image" if any(word in IMAGE_WORDS for word in words) else None


def _words(part: str) -> list[str]:
    """The words in the name of a folder: `train_labels`, `trainannot`, `images-val`."""
    words = [word for word in re.split(r"[\W_]+", part.lower()) if word]
    halves: list[str] = []
    for word in words:
        joined = JOINED.fullmatch(word)
        halves += joined.groups() if joined else (word,)
    return halves


def _by_names(files: Sequence[_File], hints: Hints) -> list[_File]:
    """Images and masks in one folder: `x.jpg` and `x_mask.png`, `x_sat.jpg` and `x_mask.png`, `img_x` and `mask_x`."""
    if hints.mask_suffix:
        return [_by_suffix(file, hints.image_suffix, hints.mask_suffix) for file in files]
    stems = {(file.split, file.key) for file in files}
    suffixes: dict[str, int] = {}
    for file in files:
        for stem, suffix in _cuts(file.key[-1]):
            if (file.split, (*file.key[:-1], stem)) in stems:
                suffixes[suffix] = suffixes.get(suffix, 0) + 1
                break
    frequent = (
        each for each in sorted(suffixes, key=lambda each: -suffixes[each]) if 2 * suffixes[each] >= len(files) - 1
    )
    if chosen := next(frequent, ""):
        return [_by_suffix(file, "", chosen) for file in files]
    for at in (-1, 0):  # the last word of the names, or the first one
        words = [re.split(r"[_\-. ]", file.key[-1]) for file in files]
        is_mask = [len(each) > 1 and each[at] in MASK_WORDS for each in words]
        others = {each[at] for each, mask in zip(words, is_mask, strict=True) if not mask}
        if any(is_mask) and len(others) == 1 and all(len(each) > 1 for each in words):
            return [
                _File(file.path, file.split, "mask" if mask else "image", (*file.key[:-1], _without(each, at)))
                for file, each, mask in zip(files, words, is_mask, strict=True)
            ]
    return list(files)


def _by_suffix(file: _File, image_suffix: str, mask_suffix: str) -> _File:
    """A file whose suffix says whether it is a mask, without that suffix."""
    name, wanted = file.key[-1], _same(mask_suffix)
    is_mask = name.endswith(wanted)
    suffix = wanted if is_mask else _same(image_suffix)
    return _File(file.path, file.split, "mask" if is_mask else "image", (*file.key[:-1], name.removesuffix(suffix)))


def _without(words: Sequence[str], at: int) -> str:
    return "_".join(words[:-1] if at else words[1:])


def _cuts(stem: str) -> Iterator[tuple[str, str]]:
    """A name without its last words, one more each time, and what was cut: `a_1` and `_L` of `a_1_L`."""
    for found in reversed(list(re.finditer(r"[_\-. ]", stem))):
        if found.start() > 0:
            yield stem[: found.start()], stem[found.start() :]


def _pair(root: Path, files: Sequence[_File], hints: Hints) -> tuple[dict[str | None, list[ImagePair]], list[str]]:
    """The pairs by the split of their image's folder, and what has no partner."""
    images = _unique([file for file in files if file.role != "mask"], "image")
    masks: dict[tuple[str | None, tuple[str, ...]], list[Path]] = {}
    for file in files:
        if file.role == "mask":
            masks.setdefault((file.split, file.key), []).append(file.path)
    images, masks = _without_common_split(images, masks)
    if not set(images) & set(masks) and not hints.mask_suffix:
        images, masks = _cut_suffixes(root, images, masks)
    twice = next((paths for key, paths in masks.items() if len(paths) > 1 and key in images), None)
    if twice is not None:
        raise DataError(
            f"{root}: two masks for one image: {twice[0]} and {twice[1]}; remove the one that is wrong, or give "
            "dataset.mask_suffix"
        )
    _match_in_any_case(images, masks)
    pairs: dict[str | None, list[ImagePair]] = {}
    labelled = {split for split, _ in masks}
    without = {*hints.unlabelled, *({"test"} - labelled if "train" in labelled else ())}  # a test split to be submitted
    alone = [f"{path}: has no mask" for key, path in images.items() if key not in masks and key[0] not in without]
    alone += [
        f"{paths[0]}: a mask without an image"
        for key, paths in masks.items()
        if key not in images and key[0] not in without
    ]
    for key, path in images.items():
        if key in masks and key[0] not in without:
            pairs.setdefault(key[0], []).append(ImagePair(path, masks[key][0]))
    return {split: sorted(each, key=lambda pair: str(pair.image)) for split, each in pairs.items()}, alone


def _match_in_any_case(images: "_Images", masks: "_Masks") -> None:
    """Give masks without an image the key of the only image whose name differs from theirs in case alone."""
    free: dict[tuple[str | None, tuple[str, ...]], list[tuple[str | None, tuple[str, ...]]]] = {}
    for split, key in images:
        if (split, key) not in masks:
            free.setdefault((split, tuple(part.casefold() for part in key)), []).append((split, key))
    for split, key in [each for each in masks if each not in images]:
        found = free.get((split, tuple(part.casefold() for part in key)), [])
        if len(found) == 1 and found[0] not in masks:
            masks[found[0]] = masks.pop((split, key))


def _unique(files: Iterable[_File], what: str) -> dict[tuple[str | None, tuple[str, ...]], Path]:
    found: dict[tuple[str | None, tuple[str, ...]], Path] = {}
    for file in files:
        key = (file.split, file.key)
        if key in found:
            raise DataError(f"two {what}s of one name: {found[key]} and {file.path}; remove the one that is wrong")
        found[key] = file.path
    return found


_Images = dict[tuple[str | None, tuple[str, ...]], Path]
_Masks = dict[tuple[str | None, tuple[str, ...]], list[Path]]


def _without_common_split(images: _Images, masks: _Masks) -> tuple[_Images, _Masks]:
    """If only the images, or only the masks, are in folders of a split, the other side takes the split by its name."""
    if not any(split for split, _ in masks) and any(split for split, _ in images):
        of_key = {key: split for split, key in images}
        return images, {(of_key.get(key), key): paths for (_, key), paths in masks.items()}
    if not any(split for split, _ in images) and any(split for split, _ in masks):
        of_key = {key: split for split, key in masks}
        return {(of_key.get(key), key): path for (_, key), path in images.items()}, masks
    return images, masks


def _cut_suffixes(root: Path, images: _Images, masks: _Masks) -> tuple[_Images, _Masks]:
    """Names without the suffixes that all images, or all masks, have in common."""
    image_suffix = _common_suffix([key[-1] for _, key in images])
    for cut in dict.fromkeys(("", image_suffix)):
        cut_images = {(split, (*key[:-1], key[-1].removesuffix(cut))): path for (split, key), path in images.items()}
        suffixes: dict[str, int] = {}
        cut_masks: _Masks = {}
        for (split, key), paths in masks.items():
            for stem, suffix in _cuts(key[-1]):
                if (split, (*key[:-1], stem)) in cut_images:
                    suffixes[suffix] = suffixes.get(suffix, 0) + 1
                    cut_masks.setdefault((split, (*key[:-1], stem)), []).extend(paths)
                    break
            else:
                cut_masks.setdefault((split, key), []).extend(paths)
        if len(suffixes) == 1:
            return cut_images, cut_masks
        if suffixes:
            kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(suffixes.items())[:6])
            raise DataError(f"{root}: masks have several endings: {kinds}; say which with dataset.mask_suffix")
    return images, masks


def _common_suffix(stems: Sequence[str]) -> str:
    """`_leftImg8bit`: the last word that all names have, with what is before it; empty if there is none."""
    found = {next((suffix for _, suffix in _cuts(stem)), "") for stem in stems}
    return found.pop() if len(found) == 1 and len(stems) > 1 else ""


def _by_folders(pairs: Mapping[str | None, Sequence[ImagePair]]) -> tuple[dict[str, list[ImagePair]], str] | None:
    """The pairs by the split of their folders, and what is said of those in no split; None if no folder names one.

    If no folder is called train, they are train; else they are left out.
    """
    if set(pairs) <= {None}:
        return None
    found = {split: list(pairs.get(split, ())) for split in SPLITS}
    rest = list(pairs.get(None, ()))
    if not found["train"]:
        return {**found, "train": rest}, "train is what is in no folder of val or test" if rest else ""
    return found, _left_out(len(rest), "outside of train, val and test")


def _left_out(count: int, where: str) -> str:
    """`1 image outside of train is left out`; empty for none."""
    return f"{count} image{'s' * (count > 1)} {where} {'are' if count > 1 else 'is'} left out" if count else ""


def _with_val(by_split: dict[str, list[ImagePair]], hints: Hints) -> tuple[dict[str, tuple[ImagePair, ...]], str]:
    """The splits, with a part of train as val if there is none; and the rule of that part."""
    rule = ""
    if not by_split["val"]:
        train = by_split["train"]
        count = max(1, round(len(train) * hints.shares[1] / (hints.shares[0] + hints.shares[1])))
        chosen = set(np.random.default_rng(hints.seed).permutation(len(train))[:count].tolist())
        by_split = {
            **by_split,
            "train": [pair for n, pair in enumerate(train) if n not in chosen],
            "val": [pair for n, pair in enumerate(train) if n in chosen],
        }
        rule = f"val is a part of train, taken by seed {hints.seed}"
    if not by_split["train"] or not by_split["val"]:
        raise DataError("the dataset has too few images for train and val; give at least two")
    return {split: tuple(by_split[split]) for split in SPLITS}, rule


def _by_chance(
    pairs: Sequence[ImagePair], hints: Hints, alone: Sequence[str]
) -> tuple[dict[str, tuple[ImagePair, ...]], str]:
    """All pairs, split by seed and shares."""
    order = np.random.default_rng(hints.seed).permutation(len(pairs)).tolist()
    ends = np.round(np.cumsum(hints.shares) * len(pairs)).astype(int).tolist()
    if len(pairs) > 1 and ends[0] == ends[1]:
        ends[0] = max(1, ends[0] - 1)  # of a few images, one is val
        ends[1] = max(ends[1], ends[0] + 1)
    parts = dict(zip(SPLITS, (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]), strict=True))
    if not parts["train"] or not parts["val"]:
        more = f"; {len(alone)} files have no partner, such as {alone[0]}" if alone else ""
        raise DataError(
            f"the dataset has {len(pairs)} images with masks, too few for shares of {hints.shares}; add images{more}"
        )
    shares = "/".join(f"{100 * share:g}" for share in hints.shares)
    by_split = {split: tuple(pairs[n] for n in sorted(numbers)) for split, numbers in parts.items()}
    return by_split, f"split {shares} % by seed {hints.seed}"


def _wrapper(root: Path, files: Sequence[_File]) -> Path:
    """The deepest folder that holds all pictures, and is not a folder of images or masks itself."""
    folders = [file.path.relative_to(root).parts[:-1] for file in files]
    shared: list[str] = []
    for parts in zip(*folders, strict=False):
        words = _words(parts[0])
        if len(set(parts)) > 1 or _split_of(words) is not None or _role_of(words) is not None:
            break
        shared.append(parts[0])
    return root.joinpath(*shared)


def _find_lists(root: Path, hints: Hints, wrapper: Path) -> dict[str, Path]:
    """The list of each split: train.txt, val.txt (or valid.txt), test.txt in the folder or where lists usually are."""
    places = [root / place for place in ((hints.lists,) if hints.lists else LIST_PLACES)]
    places += [wrapper / place for place in LIST_PLACES] if wrapper != root else []
    for folder in places:
        found = {
            SPLIT_WORDS[path.stem.lower()]: path
            for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
            if path.suffix.lower() in (".txt", ".lst", ".csv") and path.stem.lower() in SPLIT_WORDS and path.is_file()
        }
        if "train" in found or "val" in found:
            return found
    return {}


def _by_lists(
    root: Path, files: Sequence[_File], pairs: Mapping[str | None, Sequence[ImagePair]], lists: Mapping[str, Path]
) -> Layout:
    """The pairs as lists name them, also by the paths of another machine.

    A line names an image, or an image and its mask. What no list names is train, if train has no list.
    """
    every = [pair for each in pairs.values() for pair in each]
    finder = _Finder(root, files, every)
    by_split: dict[str, list[ImagePair]] = {split: [] for split in SPLITS}
    named: dict[Path, str] = {}
    missing: list[str] = []
    unlabelled = ""
    for split, path in lists.items():
        before = len(missing)
        for number, line, pair in finder.read(path):
            if pair is None:
                missing.append(f"{path}:{number}: {line[:120]}: no such image with a mask")
            elif named.setdefault(pair.image, split) != split:
                raise DataError(
                    f"{path}:{number}: {pair.image.name} is in the list of {named[pair.image]}, too; remove it from one"
                )
            else:
                by_split[split].append(pair)
        if split == "test" and not by_split[split]:  # images whose labels are kept by a server
            del missing[before:]
            unlabelled = "; test has no labels"
    if missing and not any(by_split.values()):
        raise DataError(f"{missing[0]}; none of the {len(missing)} lines names an image below {root}")
    how = f"splits by {', '.join(str(path.relative_to(root)) for path in lists.values())}{unlabelled}"
    if "train" not in lists:
        by_split["train"] = [pair for pair in every if pair.image not in named]
        how += "; the other images are train"
    elif rest := sum(pair.image not in named for pair in every):
        how += f"; {_left_out(rest, 'in no list')}"
    if not by_split["val"] or not by_split["train"]:
        names = ", ".join(path.name for path in lists.values())
        raise DataError(f"{root}: the lists {names} leave train or val without images")
    return Layout({split: tuple(dict.fromkeys(by_split[split])) for split in SPLITS}, how, "", tuple(missing))


class _Finder:
    """Finds what the lines of lists name."""

    def __init__(self, root: Path, files: Sequence[_File], pairs: Sequence[ImagePair]) -> None:
        self.root, self.of_image = root, {pair.image: pair for pair in pairs}
        self.wrapper = len(_wrapper(root, files).relative_to(root).parts)
        self.roles = {file.path: file.role for file in files}
        self.index: dict[str, list[tuple[Path, int]]] = {}
        for file in files:
            parts = file.path.relative_to(root).with_suffix("").parts
            for start in range(len(parts)):
                self.index.setdefault(_same("/".join(parts[start:])), []).append((file.path, start))

    def read(self, path: Path) -> list[tuple[int, str, ImagePair | None]]:
        """The number, the text and the pair of each line of a list; a head is passed over."""
        lines = _lines(path)
        if lines and not set(re.findall(r"[a-z]+", lines[0][1].lower())) - HEADS and self.find(lines[0][1]) is None:
            lines = lines[1:]
        return [(number, line, self.find(line)) for number, line in lines]

    def find(self, line: str) -> ImagePair | None:
        """The pair of a line: an image with the mask of its name, or the image and the mask that it names."""
        for words in (re.split(r"[,;\t]", line), line.split()):
            if len(words) > 1 and _is_path(words[0]) and _is_path(words[1]):
                first, second = (next(iter(self._named(word)), None) for word in words[:2])
                if first is None or second is None or first == second:
                    return None
                if self.roles[first] == "mask" and self.roles[second] != "mask":
                    first, second = second, first
                return ImagePair(first, second)
        for text in dict.fromkeys((line, line.split()[0])):
            found = [self.of_image[path] for path in self._named(text) if path in self.of_image]
            if len(found) == 1:
                return found[0]
        return None

    def _named(self, text: str) -> list[Path]:
        """The files that the longest known end of a path names, its ending aside.

        The beginning of a path of another machine is left out, and folders above what it names are, too; but not both,
        because a folder that is not here would be taken for another one. A relative path begins here.
        """
        path = text.strip().strip("\"'").replace("\\", "/")
        ending = next((each for each in ENDINGS if path.lower().endswith(each)), "")
        is_absolute = path.startswith("/") or re.match(r"[A-Za-z]:/", path) is not None
        words = [word for word in path[: len(path) - len(ending)].split("/") if word not in ("", ".")]
        for start in range(len(words)):
            if start and not is_absolute and words[start - 1] != self.root.resolve().name:
                continue
            above = self.wrapper if start else 10**6
            found = [path for path, left in self.index.get(_same("/".join(words[start:])), ()) if left <= above]
            if found:
                return found
        return []


def _is_path(word: str) -> bool:
    """True for what names a file and not only a stem, beside which a list may have a number."""
    return "/" in word or "\\" in word or word.strip().lower().endswith(ENDINGS)


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list with their numbers, without empty ones and comments."""
    try:
        with open_plain(path) as file:
            text = file.read(MOST_LIST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text in UTF-8") from None
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in stripped if line and not line.startswith("# ")]
