"""ClassMap: class ids from masks of any kind: ids, grey levels, palettes, colours; what is not certain is refused."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from jetbench.data.labels import VOID
from jetbench.data.pictures import UnusableError, palette_of
from jetbench.spec.dataset import ClassSpec, MaskKind

Ids = npt.NDArray[np.uint8]
RGB = tuple[int, int, int]
LEVELS = 65_536
UNKNOWN = -1
SAY = "say `mask_values: ids` or `mask_values: colours` in classes.yaml, or as a key of the dataset"
TWO_WAYS = (
    "the palettes of some masks hold only colours or grey levels of classes, and others do not, so that indices and "
    "colours contradict each other; give every class its colour, or save masks with one channel of ids"
)
GREY_PALETTE = (
    "a palette of grey levels, whose indices, levels and colours are different classes; save it with one channel of ids"
)
INTEGER_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L")


@dataclass
class Palettes:
    """The palettes that were read by index so far: the colour of each index."""

    colours: dict[int, RGB] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ways: set[str] = field(default_factory=set)

    def takes(self, way: str) -> bool:
        """True if no other file had to be read in another way: by its colours, its grey levels or its indices."""
        with self.lock:
            self.ways.add(way)
            return len(self.ways) == 1

    def agree(self, indices: Sequence[int], colours: Sequence[RGB]) -> bool:
        """True if no other file has another colour for one of these indices."""
        with self.lock:
            pairs = zip(indices, colours, strict=True)
            return all([self.colours.setdefault(index, colour) == colour for index, colour in pairs])


@dataclass(frozen=True)
class ClassMap:
    """What stands for each class in a mask, and what has no class."""

    classes: tuple[ClassSpec, ...]
    ignore: tuple[int | RGB, ...] = (255,)
    kind: MaskKind = "auto"
    palettes: Palettes = field(default_factory=Palettes, compare=False, repr=False)

    @property
    def has_ids(self) -> bool:
        """True if the classes say their ids; else an id is a class's place in the list."""
        return any(each.ids for each in self.classes)

    @cached_property
    def of_ids(self) -> npt.NDArray[np.int16]:
        """The class of each id or grey level: its place, 255 if ignored, -1 if unknown."""
        table = np.full(LEVELS, UNKNOWN, np.int16)
        for mark in self.ignore:
            if isinstance(mark, int):
                table[mark] = VOID
        for place, each in enumerate(self.classes):
            for number in each.ids or (() if self.has_ids else (place,)):
                table[number] = place
        return table

    @cached_property
    def of_colours(self) -> dict[RGB, int]:
        """The class of each colour: its place, or 255 if ignored."""
        table = {mark: VOID for mark in self.ignore if not isinstance(mark, int)}
        for place, each in enumerate(self.classes):
            table |= dict.fromkeys(((each.colour,) if each.colour else ()) + each.colours, place)
        return table

    @cached_property
    def colour_table(self) -> npt.NDArray[np.int16]:
        """The class of each of the 16.8 million colours (32 MiB); -1 if unknown."""
        table = np.full(2**24, UNKNOWN, np.int16)
        for (red, green, blue), place in self.of_colours.items():
            table[red << 16 | green << 8 | blue] = place
        return table

    def read(self, mask: Image.Image, where: str) -> Ids:
        """The class of each pixel of a mask, uint8 (H, W), 255 for none.

        Args:
            mask: the picture as it is stored.
            where: the file, for messages.

        Raises:
            UnusableError: a pixel has no known class, or what it means is not certain.
        """
        if mask.format == "JPEG" or mask.info.get("compression") in ("jpeg", "tiff_jpeg"):
            raise UnusableError(f"{where}: JPEG blurs class ids; save masks as PNG")
        if _has_transparent(mask):
            raise UnusableError(
                f"{where}: has transparent pixels, and whether they have a class is not certain; save it without "
                "transparency"
            )
        if mask.mode == "P":
            return self._read_palette(mask, where)
        if mask.mode in ("LA", "La"):
            return self._read_ids(np.asarray(mask)[..., 0], where)
        if mask.mode in INTEGER_MODES:
            return self._read_ids(np.asarray(mask), where)
        if mask.mode in ("RGB", "RGBA", "RGBa"):
            return self._read_colours(np.asarray(mask)[..., :3], where)
        raise UnusableError(f"{where}: a mask of mode {mask.mode}; save it with one channel of ids, or in colours")

    def _read_ids(self, values: npt.NDArray[Any], where: str) -> Ids:
        """One channel: ids, or grey levels that are colours of classes; where both differ, it is refused."""
        is_bits = values.dtype == bool
        if is_bits:
            values = values.astype(np.uint8)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= LEVELS:
            self._refuse_unknown([low if low < 0 else high], where)
        present = _present(values)
        by_id = [self._class_of(value) for value in present]
        levels = [255 * value if is_bits else value for value in present]
        by_colour = [self.of_colours.get((level, level, level)) for level in levels]
        if self.kind != "ids" and _is_whole(by_colour):
            if self.kind == "colours" or not _is_whole(by_id):
                return _through(values, present, by_colour)
            if by_id != by_colour:
                raise UnusableError(
                    f"{where}: its values {_listed(levels)} may be ids or the colours of classes, which are other "
                    f"classes; {SAY}"
                )
        if self.kind == "colours":
            unknown = [value for value, place in zip(levels, by_colour, strict=True) if place is None]
            raise UnusableError(f"{where}: grey levels that are no class's colour: {_listed(unknown)}")
        self._refuse_unknown([v for v, place in zip(present, by_id, strict=True) if place is None], where)
        return _through(values, present, by_id)

    def _class_of(self, value: int) -> int | None:
        place = int(self.of_ids[value]) if 0 <= value < LEVELS else UNKNOWN
        return None if place == UNKNOWN else place

    def _refuse_unknown(self, unknown: Sequence[int], where: str) -> None:
        if unknown:
            some = _listed(unknown)
            noun = "ids that belong" if len(unknown) > 1 else "an id that belongs"
            raise UnusableError(f"{where}: holds {noun} to no class: {some}; name them in classes or ignore")

    def _read_colours(self, pixels: Ids, where: str) -> Ids:
        if bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()):
            return self._read_ids(pixels[..., 0], where)  # as a file of one channel, which may hold ids
        codes = pixels[..., 0].astype(np.int32)
        codes <<= 8
        codes |= pixels[..., 1]
        codes <<= 8
        codes |= pixels[..., 2]
        classes = self.colour_table[codes]
        is_unknown = classes == UNKNOWN
        if is_unknown.any():
            unknown = np.unique(codes[is_unknown]).tolist()
            self._refuse_colours([(code >> 16, code >> 8 & 255, code & 255) for code in unknown], where)
        return classes.astype(np.uint8)

    def _refuse_colours(self, unknown: Sequence[RGB], where: str) -> None:
        some = _listed(["#{:02x}{:02x}{:02x}".format(*colour) for colour in unknown])
        raise UnusableError(f"{where}: colours that belong to no class: {some}; name them in classes or ignore")

    def _read_palette(self, mask: Image.Image, where: str) -> Ids:
        """A palette file by its colours, its grey levels or its indices: whichever is certain.

        An optimiser numbers the colours of each file anew, so indices count only if all files have one palette.
        """
        indices, palette = np.asarray(mask), palette_of(mask)
        used = _present(indices)
        colours = [(int(red), int(green), int(blue)) for red, green, blue in palette[used]]
        by_colour = [self.of_colours.get(colour) for colour in colours]
        if used[-1] == VOID and by_colour[-1] is None:  # the border of objects, as VOC has it
            by_colour[-1] = self._class_of(VOID)
        by_index = [self._class_of(index) for index in used]
        is_grey = all(red == green == blue for red, green, blue in colours)
        by_level = [self._class_of(red) for red, _, _ in colours] if is_grey else [None]
        if _is_whole(by_colour) and self.kind != "ids":
            if by_colour != by_index and not self.palettes.takes("colours"):
                raise UnusableError(f"{where}: {TWO_WAYS}")
            if is_grey and _is_whole(by_level) and by_level != by_colour and self.kind == "auto":
                raise UnusableError(f"{where}: {GREY_PALETTE}")
            return _through(indices, used, by_colour)
        if self.kind == "colours":
            self._refuse_colours([c for c, place in zip(colours, by_colour, strict=True) if place is None], where)
        if _is_whole(by_level) and _is_whole(by_index) and by_level != by_index:
            raise UnusableError(f"{where}: {GREY_PALETTE}")
        if _is_whole(by_level):
            if by_level != by_index and not self.palettes.takes("levels"):
                raise UnusableError(f"{where}: {TWO_WAYS}")
            return _through(indices, used, by_level)
        self._refuse_unknown([i for i, place in zip(used, by_index, strict=True) if place is None], where)
        if not self.palettes.takes("indices"):
            raise UnusableError(f"{where}: {TWO_WAYS}")
        if not self.palettes.agree(used, colours):
            raise UnusableError(
                f"{where}: its palette differs from that of other masks, and not all colours are those of classes, so "
                "its classes are unknown; give the classes their colours, or save masks with one channel of ids"
            )
        return _through(indices, used, by_index)


def _has_transparent(mask: Image.Image) -> bool:
    """True if a pixel is transparent: by its alpha, or by a colour or index that the file declares so."""
    if mask.mode in ("LA", "La", "RGBA", "RGBa"):
        return int(np.asarray(mask)[..., -1].min()) < 255
    declared = mask.info.get("transparency")
    if declared is None or mask.mode not in ("P", "L", "1"):
        return False
    used = _present(np.asarray(mask).astype(np.uint8))
    if isinstance(declared, bytes):
        return any(index < len(declared) and declared[index] < 255 for index in used)
    return declared in used


def _is_whole(places: Sequence[int | None]) -> bool:
    return all(place is not None for place in places)


def _listed(values: Sequence[int | str]) -> str:
    """`0, 1, 2, 3 and 5 more`."""
    return ", ".join(map(str, values[:4])) + (f" and {len(values) - 4} more" if len(values) > 4 else "")


def _present(values: npt.NDArray[Any]) -> list[int]:
    """The values that occur, all from 0 to 65,535, in order."""
    if values.dtype == np.uint8:
        counts = Image.fromarray(values).histogram()  # ten times as fast as sorting
        return [value for value, count in enumerate(counts) if count]
    return [int(value) for value in np.flatnonzero(np.bincount(values.ravel(), minlength=1))]


def _through(values: npt.NDArray[Any], present: Sequence[int], classes: Sequence[int | None]) -> Ids:
    """The class of each value; every value that occurs is in `present`, beside its class."""
    table = np.zeros(max(*present, VOID) + 1, np.uint8)
    table[list(present)] = np.array(classes, np.uint8)
    if values.dtype == np.uint8:  # three times as fast as by an index
        return np.frombuffer(values.tobytes().translate(table.tobytes()), np.uint8).reshape(values.shape)
    return np.asarray(table[values])
