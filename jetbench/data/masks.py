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
from jetbench.spec.dataset import ClassSpec

Ids = npt.NDArray[np.uint8]
RGB = tuple[int, int, int]
LEVELS = 65_536
UNKNOWN = -1
INTEGER_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L")


@dataclass
class Palettes:
    """The palettes that were read by index so far: the colour of each index."""

    colours: dict[int, RGB] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

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
        if mask.format == "JPEG":
            raise UnusableError(f"{where}: a JPEG file blurs class ids; save masks as PNG")
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
        if values.dtype == bool:
            values = values.astype(np.uint8)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= LEVELS:
            self._refuse_unknown([low if low < 0 else high], where)
        present = _present(values)
        if not self.has_ids and self.of_colours:
            # A grey file whose levels are the classes' colours, such as black and white: 255 is white, and not void.
            greys = [self.of_colours.get((value, value, value)) for value in present]
            if all(grey is not None for grey in greys):
                return _through(values, present, greys)
        found = [self._class_of(value) for value in present]
        self._refuse_unknown([v for v, place in zip(present, found, strict=True) if place is None], where)
        return _through(values, present, found)

    def _class_of(self, value: int) -> int | None:
        place = int(self.of_ids[value]) if 0 <= value < LEVELS else UNKNOWN
        return None if place == UNKNOWN else place

    def _refuse_unknown(self, unknown: Sequence[int], where: str) -> None:
        if unknown:
            some = ", ".join(map(str, unknown[:4])) + (f" and {len(unknown) - 4} more" if len(unknown) > 4 else "")
            noun = "ids that belong" if len(unknown) > 1 else "an id that belongs"
            raise UnusableError(f"{where}: holds {noun} to no class: {some}; name them in classes or ignore")

    def _read_colours(self, pixels: Ids, where: str) -> Ids:
        codes = pixels[..., 0].astype(np.int32)
        codes <<= 8
        codes |= pixels[..., 1]
        codes <<= 8
        codes |= pixels[..., 2]
        found = self.colour_table[codes]
        is_unknown = found == UNKNOWN
        if not is_unknown.any():
            return found.astype(np.uint8)
        if bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()):
            return self._read_ids(pixels[..., 0], where)
        unknown = np.unique(codes[is_unknown]).tolist()
        some = ", ".join(f"#{code:06x}" for code in unknown[:4])
        more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
        raise UnusableError(f"{where}: colours that belong to no class: {some}{more}; name them in classes or ignore")

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
        if all(place is not None for place in by_colour):
            return _through(indices, used, by_colour)
        by_index = [self._class_of(index) for index in used]
        is_grey = all(red == green == blue for red, green, blue in colours)
        by_level = [self._class_of(red) for red, _, _ in colours] if is_grey else [None]
        is_level, is_index = (all(place is not None for place in places) for places in (by_level, by_index))
        if is_level and is_index and by_level != by_index:
            raise UnusableError(
                f"{where}: a palette of grey levels: its indices {used[:6]} and its levels "
                f"{[red for red, *_ in colours][:6]} are both class ids; save it with one channel, or give the classes "
                "their colours"
            )
        if is_level:
            return _through(indices, used, by_level)
        if not is_index:
            self._refuse_unknown([i for i, place in zip(used, by_index, strict=True) if place is None], where)
        if not self.palettes.agree(used, colours):
            raise UnusableError(
                f"{where}: its palette differs from that of other masks, and not all colours are those of classes, so "
                "its classes are unknown; give the classes their colours, or save masks with one channel of ids"
            )
        return _through(indices, used, by_index)


def _present(values: npt.NDArray[Any]) -> list[int]:
    """The values that occur, all from 0 to 65,535, in order."""
    if values.dtype == np.uint8:
        counts = Image.fromarray(values).histogram()  # ten times as fast as sorting
        return [value for value, count in enumerate(counts) if count]
    return [int(value) for value in np.flatnonzero(np.bincount(values.ravel(), minlength=1))]


def _through(values: npt.NDArray[Any], present: Sequence[int], classes: Sequence[int | None]) -> Ids:
    """The class of each value; every value that occurs is in `present`, beside its class."""
    table = np.zeros(max(present) + 1, np.uint8)
    table[list(present)] = np.array(classes, np.uint8)
    return np.asarray(table[values])
