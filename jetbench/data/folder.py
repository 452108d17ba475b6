"""Images and masks of one's own, in any usual layout; Cityscapes, BDD100K, VOC and ADE20K are such folders, too."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jetbench.data.layout import Hints, Layout, find_layout
from jetbench.data.masks import ClassMap
from jetbench.data.paired import PairedFiles, identity_of, native_size
from jetbench.errors import DataError, SpecError
from jetbench.files import read_text
from jetbench.spec.base import parse_spec, read_yaml
from jetbench.spec.bounds import MOST_YAML_BYTES
from jetbench.spec.dataset import ClassFile, FolderConfig, Place, PresetConfig

CLASS_FILES = ("classes.yaml", "classes.yml", "class_dict.csv", "codes.txt", "classes.txt", "labels.txt")
PRESETS = Path(__file__).parent / "presets"
VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore", "__ignore__")
RULE = "pixels without a class ignored"


class Preset(ClassFile):
    """A published dataset: the layout of its folders, and its classes."""

    images: Place
    masks: Place
    image_suffix: Place = ""
    mask_suffix: Place = ""
    lists: Place = ""
    unlabelled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A folder whose files are paired, and whose classes are known.

    Args:
        root: the folder.
        layout: its pairs.
        class_map: its classes; None if nothing names them.
        class_file: where the classes are named.
    """

    root: Path
    layout: Layout
    class_map: ClassMap | None
    class_file: str


def open_folder(config: FolderConfig | PresetConfig) -> PairedFiles:
    """List the images and masks of a folder.

    Raises:
        DataError: there is no such folder, its files cannot be paired, or nothing names its classes.
    """
    found = find_folder(config)
    name = config.name
    if found.class_map is None:
        raise DataError(
            f"{found.root}: nothing names the classes; `jetbench data check {name}:{found.root}` proposes a "
            "classes.yaml from the masks"
        )
    if found.layout.alone:
        raise DataError(describe_alone(name, found.layout.alone))
    pairs, classes, ignore = found.layout.pairs, found.class_map.classes, found.class_map.ignore
    size = config.size or native_size(pairs["train"][0])
    meaning = json.dumps([[each.model_dump(mode="json") for each in classes], ignore, found.class_map.kind])
    return PairedFiles(
        name=name if isinstance(config, PresetConfig) else f"folder-{_slug(found.root)}",
        size=size,
        class_names=tuple(each.name for each in classes),
        void_rule=RULE,
        identity=f"{meaning}\n{identity_of(found.root, pairs)}",
        pairs=pairs,
        resize=config.size is not None,
        read_labels=lambda mask, path: found.class_map.read(mask, str(path)),  # type: ignore[union-attr]
        classes=classes,
        ignore=ignore,
        split_rule=found.layout.split_rule,
    )


def find_folder(config: FolderConfig | PresetConfig) -> Found:
    """The pairs and the classes of a folder, as far as they are known.

    Raises:
        DataError: there is no such folder, or its files cannot be paired.
    """
    root = Path(config.path).expanduser()
    if not root.is_dir():
        what = "is a file, not the folder of the dataset" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; give it as dataset.path, or --dataset {config.name}:PATH")
    if isinstance(config, FolderConfig):
        hints = Hints(
            images=config.images, masks=config.masks, image_suffix=config.image_suffix, mask_suffix=config.mask_suffix,
            shares=config.shares, seed=config.seed,
        )  # fmt: skip
        class_map, where = _classes_of(config, root)
        return Found(root, find_layout(root, hints), class_map, where)
    preset = read_preset(config.name)
    hints = Hints(preset.images, preset.masks, preset.image_suffix, preset.mask_suffix, preset.lists, preset.unlabelled)
    places = (root, *sorted(root.glob("*")), *sorted(root.glob("*/*")))
    inner = next((each for each in places if (each / preset.images).is_dir()), root)
    if not (inner / preset.masks).is_dir():
        raise DataError(
            f"{root}: not laid out as {config.name}: expected the folders {preset.images} and {preset.masks}"
        )
    return Found(
        inner, find_layout(inner, hints), ClassMap(preset.classes, preset.ignored), f"as {config.name} has them"
    )


def _slug(root: Path) -> str:
    """The name of a folder, of the letters that a cache's name takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", root.resolve().name).strip("-.")[:40] or "data"


@lru_cache
def read_preset(name: str) -> Preset:
    """The layout and the classes of a published dataset."""
    path = PRESETS / f"{name}.yaml"
    return parse_spec(Preset, read_yaml(path), str(path))


def describe_alone(name: str, alone: Sequence[str]) -> str:
    """What to do about files without their partner."""
    shown = "\n".join(f"  {line}" for line in alone[:5])
    more = f"\n  and {len(alone) - 5} more" if len(alone) > 5 else ""
    return (
        f"{name}: files without their partner ({len(alone)}):\n{shown}{more}\n"
        "Restore what is missing, or remove the partner."
    )


def _classes_of(config: FolderConfig, root: Path) -> tuple[ClassMap | None, str]:
    """The classes with what has none, and where they are named.

    Raises:
        DataError: they contradict what the configuration ignores.
    """
    file, where = None, ""
    if config.classes is not None:
        file, where = ClassFile(classes=config.classes, ignore=config.ignore), "in the sweep"
    else:
        place = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
        if place is not None:
            file, where = read_class_file(place), str(place)
            if config.ignore is not None:
                raw = {**file.model_dump(), "ignore": config.ignore}
                file = _checked(raw, f"{place} with dataset.ignore")
    if file is None:
        return None, ""
    kind = file.mask_values if config.mask_values == "auto" else config.mask_values
    return ClassMap(file.classes, file.ignored, kind), where


def _checked(raw: object, where: str) -> ClassFile:
    try:
        return parse_spec(ClassFile, raw, where)
    except SpecError as error:
        raise DataError(str(error)) from None


def read_class_file(path: Path) -> ClassFile:
    """The classes in classes.yaml; in class_dict.csv (name, r, g, b); or in a list of names, one a line.

    In a table or list a class's place is its id. One that is called void or unlabelled is no class, and its place is
    ignored; labelme's `__ignore__` has no place.

    Raises:
        DataError: the file cannot be read, or it is not certain which classes it names.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        try:
            raw: object = read_yaml(path)
        except SpecError as error:
            raise DataError(str(error)) from None
    else:
        try:
            text = read_text(path, MOST_YAML_BYTES).removeprefix("\ufeff")
            raw = _from_csv(text) if path.suffix.lower() == ".csv" else _from_names(text)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as a list of classes ({error})") from None
        except (DataError, csv.Error) as error:
            raise DataError(f"{path}: {error}") from None
    return _checked(raw, str(path))


COLUMNS = {"name": ("name", "class", "label"), "r": ("r", "red"), "g": ("g", "green"), "b": ("b", "blue")}


def _from_csv(text: str) -> dict[str, object]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    first_row = rows[0] if rows else {}
    heads = {
        key: next((head for head in first_row if head and head.strip().lower() in words), "")
        for key, words in COLUMNS.items()
    }
    if "" in heads.values():
        raise DataError("expected a table with the columns name, r, g, b")
    members: list[tuple[str, list[int]]] = []
    for number, row in enumerate(rows, 2):
        name, *levels = (str(row[heads[key]] or "").strip() for key in COLUMNS)
        if not name and not any(levels):
            continue  # a line of commas
        if not name or not all(level.isdecimal() and int(level) <= 255 for level in levels):
            raise DataError(f"line {number}: expected a name and three numbers from 0 to 255")
        members.append((name, [int(level) for level in levels]))
    return _placed([(name, {"colour": colour}) for name, colour in members], [colour for _, colour in members])


NUMBER_FIRST = re.compile(r"(\d{1,5})(?:\s*[.):=,;\t-]\s*|\s+)(\S.*)")
NUMBER_LAST = re.compile(r"(\S.*?)(?:\s*[:=,;\t]\s*|\s+)(\d{1,5})")
IN_COLOURS = re.compile(r".+[,;\t ]\s*\d{1,3}[,;\t ]\s*\d{1,3}[,;\t ]\s*\d{1,3}")


def _from_names(text: str) -> dict[str, object]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    names = [line.rstrip(",").strip("\"'") for line in lines if not line.startswith(("#", "//"))]
    if "" in names:
        raise DataError(
            f"line {lines.index('') + 1}: is empty, so the ids of the lines below are not certain; remove it"
        )
    if names and all(IN_COLOURS.fullmatch(name) for name in names):
        raise DataError("its lines have colours; name it class_dict.csv, with name,r,g,b as its first line")
    first, last = ([kind.fullmatch(name) for name in names] for kind in (NUMBER_FIRST, NUMBER_LAST))
    for numbered in (
        [(each[2].strip(), int(each[1])) for each in first if each],
        [(each[1].strip(), int(each[2])) for each in last if each],
    ):
        # Names that happen to have a number, such as `2 wheeler`, are not numbered: not all have one, or not their own.
        is_whole = len(numbered) == len(names) > 0 and len({n for _, n in numbered}) == len(
            {name for name, _ in numbered}
        ) == len(numbered)
        if is_whole:
            known = [{"name": name, "ids": [number]} for name, number in numbered if name.lower() not in VOID_NAMES]
            voids = {number for name, number in numbered if name.lower() in VOID_NAMES}
            usual = set() if 255 in {number for _, number in numbered} - voids else {255}
            return {"classes": known, "ignore": sorted(voids | usual)}
    return _placed([(name, {}) for name in names if name != "__ignore__"], [])


def _placed(members: Sequence[tuple[str, dict[str, object]]], colours: Sequence[list[int]]) -> dict[str, object]:
    """Classes whose place in a list is their id; a void one is ignored by its place and its colour."""
    if not members:
        raise DataError("names no class")
    voids = {place for place, (name, _) in enumerate(members) if name.lower() in VOID_NAMES}
    classes = [
        {"name": name, "ids": [place], **more} for place, (name, more) in enumerate(members) if place not in voids
    ]
    usual = set() if any(place == 255 for place in range(len(members)) if place not in voids) else {255}
    return {
        "classes": classes,
        "ignore": [*sorted(voids | usual), *(colours[place] for place in sorted(voids) if colours)],
    }
