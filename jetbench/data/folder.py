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
from jetbench.spec.dataset import ClassFile, ClassSpec, FolderConfig, Ignored, Place, PresetConfig

CLASS_FILES = ("classes.yaml", "classes.yml", "class_dict.csv", "codes.txt", "classes.txt", "labels.txt")
PRESETS = Path(__file__).parent / "presets"
VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore")
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
    told = json.dumps([each.model_dump(mode="json") for each in classes]) + json.dumps(ignore)
    return PairedFiles(
        name=name if isinstance(config, PresetConfig) else f"folder-{_slug(found.root)}",
        size=size,
        class_names=tuple(each.name for each in classes),
        void_rule=RULE,
        identity=f"{told}\n{identity_of(found.root, pairs)}",
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
        classes, ignore, where = _classes_of(config, root)
        class_map = None if classes is None else ClassMap(classes, ignore)
        return Found(root, find_layout(root, hints), class_map, where)
    preset = read_preset(config.name)
    hints = Hints(preset.images, preset.masks, preset.image_suffix, preset.mask_suffix, preset.lists, preset.unlabelled)
    inner = next((each for each in (root, *sorted(root.glob("*"))) if (each / preset.images).is_dir()), root)
    if not (inner / preset.masks).is_dir():
        raise DataError(
            f"{root}: not laid out as {config.name}: expected the folders {preset.images} and {preset.masks}"
        )
    return Found(
        inner, find_layout(inner, hints), ClassMap(preset.classes, preset.ignore), f"as {config.name} has them"
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
        f"{name}: {len(alone)} file(s) without their partner:\n{shown}{more}\n"
        "Restore what is missing, or remove the partner."
    )


def _classes_of(config: FolderConfig, root: Path) -> tuple[tuple[ClassSpec, ...] | None, Ignored, str]:
    """The classes, what has none, and where that stands."""
    if config.classes is not None:
        return config.classes, (255,) if config.ignore is None else config.ignore, "in the sweep"
    for name in CLASS_FILES:
        path = root / name
        if path.is_file():
            found = read_class_file(path)
            return found.classes, found.ignore if config.ignore is None else config.ignore, str(path)
    return None, (255,), ""


def read_class_file(path: Path) -> ClassFile:
    """The classes in classes.yaml; in class_dict.csv (name, r, g, b); or in a list of names, one a line.

    A class called void or unlabelled is ignored, not a class; in a list its place is its id.

    Raises:
        DataError: the file cannot be read, or names no classes.
    """
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            return parse_spec(ClassFile, read_yaml(path), str(path))
        text = read_text(path, MOST_YAML_BYTES)
        raw = _from_csv(text) if path.suffix.lower() == ".csv" else _from_names(text)
        return parse_spec(ClassFile, raw, str(path))
    except SpecError as error:
        raise DataError(str(error)) from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a list of classes ({error})") from None


def _from_csv(text: str) -> dict[str, object]:
    rows = [
        {str(key).strip().lower(): value for key, value in row.items()} for row in csv.DictReader(io.StringIO(text))
    ]
    classes, ignore = [], [255]
    for row in rows:
        colour = [int(row[key]) for key in "rgb"]
        if str(row["name"]).strip().lower() in VOID_NAMES:
            ignore.append(colour)  # type: ignore[arg-type]
        else:
            classes.append({"name": str(row["name"]).strip(), "colour": colour})
    return {"classes": classes, "ignore": ignore}


def _from_names(text: str) -> dict[str, object]:
    names = [line.strip() for line in text.splitlines() if line.strip()]
    voids = [place for place, name in enumerate(names) if name.lower() in VOID_NAMES]
    if not voids:
        return {"classes": names}
    classes = [{"name": name, "ids": [place]} for place, name in enumerate(names) if place not in voids]
    return {"classes": classes, "ignore": sorted({*voids, 255})}
