"""Spec of a dataset: its name, location and image size; the classes of one's own data."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from jetbench.errors import visible
from jetbench.spec.base import Spec, later
from jetbench.spec.bounds import IS_NUMBER, MOST_DRAWN_PIXELS, MOST_LETTERS, Name, Seed
from jetbench.spec.values import Size

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
ImageCount = Annotated[int, IS_NUMBER, Field(ge=1, le=100_000)]


class StreetsConfig(Spec):
    """Generated street scenes with the 11 classes of CamVid and void; nothing to download."""

    name: Literal["streets"] = "streets"
    size: Size = (160, 320)
    """Image size."""
    train: ImageCount = 256
    """Number of training images."""
    val: ImageCount = 48
    """Number of validation images."""
    test: ImageCount = 48
    """Number of test images."""
    seed: Seed = 0
    """Seed of the scenes."""

    @field_validator("size")
    @classmethod
    def _can_be_drawn(cls, value: Size) -> Size:
        if value[0] * value[1] > MOST_DRAWN_PIXELS:
            raise ValueError(f"{value[0]}x{value[1]}: at most {MOST_DRAWN_PIXELS:,} pixels are drawn")
        return value


def _read_colour(value: Any) -> Any:
    """(red, green, blue) of `#8040ff` or of a list of three numbers."""
    if isinstance(value, str):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise ValueError(f"{value[:40]!r} is not a colour; write '#8040ff' or [128, 64, 255]")
        return tuple(int(value[at : at + 2], 16) for at in (1, 3, 5))
    return tuple(value) if isinstance(value, list) else value


Level = Annotated[int, IS_NUMBER, Field(ge=0, le=255)]
Colour = Annotated[
    tuple[Level, Level, Level],
    BeforeValidator(_read_colour),
    PlainSerializer(lambda value: "#{:02x}{:02x}{:02x}".format(*value), when_used="json"),
]
"""(red, green, blue), written `'#8040ff'` or `[128, 64, 255]`."""
MaskId = Annotated[int, IS_NUMBER, Field(ge=0, le=65_535)]
MOST_FOLDER_CLASSES = 255  # class ids are bytes, and 255 is void


def _shown_as_it_is(name: str) -> str:
    """`name`, if a terminal and a file show it as it is; otherwise a ValueError."""
    if visible(name) != name or "\n" in name or name != name.strip():
        raise ValueError(f"{visible(name)!r}: a name has no control characters, and no blanks at its ends")
    return name


class ClassSpec(Spec):
    """One class: its name, its colour in pictures, and what stands for it in a mask."""

    name: Annotated[Name, AfterValidator(_shown_as_it_is)]
    colour: Colour | None = None
    """In pictures, and in masks that are coloured."""
    ids: tuple[MaskId, ...] = ()
    """Ids or grey levels in masks; by default its place in the list, from 0."""
    colours: tuple[Colour, ...] = ()
    """More colours of it in masks that are coloured."""


def _read_classes(value: Any) -> Any:
    """A list of classes, of which one may be a name alone."""
    if isinstance(value, list):
        return tuple({"name": each} if isinstance(each, str) else each for each in value)
    return value


ClassSpecs = Annotated[
    tuple[ClassSpec, ...], BeforeValidator(_read_classes), Field(min_length=2, max_length=MOST_FOLDER_CLASSES)
]


def _read_ignored(value: Any) -> Any:
    """Ids and colours; a list of three numbers is a colour."""
    if not isinstance(value, list | tuple):
        return value
    wrong = [each for each in value if isinstance(each, bool) or not isinstance(each, int | list | tuple | str)]
    wrong += [each for each in value if isinstance(each, str) and not each.startswith("#")]
    if wrong:
        raise ValueError(f"{str(wrong[0])[:40]!r} is no id and no colour; write 255 or '#8040ff'")
    return tuple(each if isinstance(each, int) else _read_colour(each) for each in value)


Ignored = Annotated[tuple[MaskId | Colour, ...], BeforeValidator(_read_ignored)]
"""What in a mask has no class: ids and colours."""
WHITE = (255, 255, 255)
MaskKind = Literal["auto", "ids", "colours"]
"""What the values of masks with one channel are: ids, or grey levels that are classes' colours."""


def usual_ignore(classes: tuple["ClassSpec", ...]) -> tuple[int, ...]:
    """What has no class where nothing is said: 255, unless it is an id of a class, or the level of a white one."""
    return () if any(255 in each.ids or WHITE in (each.colour, *each.colours) for each in classes) else (255,)


IGNORED = "\0ignored"


def check_classes(classes: tuple[ClassSpec, ...], ignore: tuple[Any, ...]) -> None:
    """Raise a ValueError if two classes share a name, an id or a colour of masks, or an ignored one is a class's."""
    if any(each.ids for each in classes) and not all(each.ids or each.colour or each.colours for each in classes):
        bare = next(each.name for each in classes if not each.ids)
        raise ValueError(f"class {bare!r} has no ids; give ids to every class or to none")
    names: set[str] = set()
    known: dict[Any, str] = dict.fromkeys(ignore, IGNORED)
    for place, each in enumerate(classes):
        if each.name in names:
            raise ValueError(f"two classes are called {each.name!r}")
        names.add(each.name)
        ids = each.ids or ((place,) if not any(one.ids for one in classes) else ())
        for mark in (*ids, *((each.colour,) if each.colour else ()), *each.colours):
            if mark in known:
                other = known[mark]
                raise ValueError(
                    f"{mark} stands for {each.name!r} and "
                    + ("is in ignore, too" if other == IGNORED else f"for {other!r}")
                )
            known[mark] = each.name


class ClassFile(Spec):
    """The content of classes.yaml beside a dataset: its classes, and what in its masks has none."""

    classes: ClassSpecs
    ignore: Ignored | None = None
    mask_values: MaskKind = "auto"

    @model_validator(mode="after")
    def _has_no_twins(self) -> "ClassFile":
        check_classes(self.classes, self.ignored)
        return self

    @property
    def ignored(self) -> tuple[int | tuple[int, int, int], ...]:
        """What has no class."""
        return usual_ignore(self.classes) if self.ignore is None else self.ignore


Place = Annotated[str, Field(max_length=MOST_LETTERS)]
Share = Annotated[float, IS_NUMBER, Field(ge=0, le=1)]


class FolderConfig(Spec):
    """Images and masks of one's own, in any usual layout of folders and lists."""

    name: Literal["folder"] = "folder"
    path: Place
    """Folder of the dataset."""
    size: Size | None = None
    """Images are scaled to this size; by default their own."""
    classes: ClassSpecs | None = None
    """By default those of classes.yaml, class_dict.csv, codes.txt or classes.txt in the folder."""
    ignore: Ignored | None = None
    """Ids and colours in masks that have no class; by default 255, and what classes.yaml says."""
    mask_values: MaskKind = "auto"
    """What grey masks hold, where it is not certain: `ids`, or `colours` of classes."""
    images: Place = ""
    """Folder of the images below `path`, if it is not found by its name."""
    masks: Place = ""
    """Folder of the masks below `path`, if it is not found by its name."""
    image_suffix: Place = ""
    """What an image's name has before its ending, and its mask's has not, such as `_leftImg8bit`."""
    mask_suffix: Place = ""
    """What a mask's name has before its ending, and its image's has not, such as `_gtFine_labelIds`."""
    shares: tuple[Share, Share, Share] = (0.7, 0.15, 0.15)
    """Shares of train, val and test where the folder has no split."""
    seed: Seed = 0
    """Seed of that split."""

    @model_validator(mode="after")
    def _is_whole(self) -> "FolderConfig":
        if abs(sum(self.shares) - 1) > 1e-6 or min(self.shares[:2]) <= 0:
            raise ValueError("shares: train, val and test must add up to 1, and train and val must be more than 0")
        if self.classes is not None:
            check_classes(self.classes, usual_ignore(self.classes) if self.ignore is None else self.ignore)
        return self


class PresetConfig(Spec):
    """A published dataset with a known layout and known classes."""

    name: str
    path: Place
    """Folder of the dataset, as its archives unpack."""
    size: Size | None = None
    """Images are scaled to this size; by default their own."""


class CityscapesConfig(PresetConfig):
    """Cityscapes: leftImg8bit/ and gtFine/, 19 classes; its test split has no labels."""

    name: Literal["cityscapes"] = "cityscapes"


class Bdd100kConfig(PresetConfig):
    """BDD100K, semantic segmentation: images/10k/ and labels/sem_seg/masks/, the 19 classes of Cityscapes."""

    name: Literal["bdd100k"] = "bdd100k"


class VocConfig(PresetConfig):
    """Pascal VOC 2012: JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/, 21 classes."""

    name: Literal["voc"] = "voc"


class Ade20kConfig(PresetConfig):
    """ADE20K, scene parsing: images/ and annotations/, 150 classes."""

    name: Literal["ade20k"] = "ade20k"


class CamvidConfig(Spec):
    """CamVid in any of its four forms, at `path`; None means $JETBENCH_DATA/camvid."""

    name: Literal["camvid"] = "camvid"
    path: str | None = None
    """Folder of the images; by default `$JETBENCH_DATA/camvid`."""
    size: Size | None = None
    """Images are scaled to this size; by default their own."""
    classes: Literal[11, 32] | None = later(None)
    """11 merges the 32 classes as usual; by default those of the folder."""


AnyDatasetConfig = (
    StreetsConfig | CamvidConfig | FolderConfig | CityscapesConfig | Bdd100kConfig | VocConfig | Ade20kConfig
)
DatasetConfig = Annotated[AnyDatasetConfig, Field(discriminator="name")]
DATASETS: dict[str, type[AnyDatasetConfig]] = {
    "streets": StreetsConfig,
    "camvid": CamvidConfig,
    "folder": FolderConfig,
    "cityscapes": CityscapesConfig,
    "bdd100k": Bdd100kConfig,
    "voc": VocConfig,
    "ade20k": Ade20kConfig,
}
