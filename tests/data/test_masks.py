import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jetbench.data.labels import VOID
from jetbench.data.masks import ClassMap
from jetbench.data.paired import ImagePair, open_pair
from jetbench.data.pictures import UnusableError
from jetbench.spec.dataset import ClassSpec, usual_ignore

THREE = tuple(ClassSpec(name=name) for name in ("road", "car", "sky"))
COLOURED = (
    ClassSpec(name="road", colour=(128, 64, 128)),
    ClassSpec(name="car", colour=(0, 0, 142), colours=((0, 0, 143),)),
    ClassSpec(name="sky", colour=(70, 130, 180)),
)
SKY_IS_BLACK = (ClassSpec(name="road", colour=(128, 64, 128)), ClassSpec(name="sky", colour=(0, 0, 0)))
CRACKS = (ClassSpec(name="crack", colour=(255, 255, 255)), ClassSpec(name="background", colour=(0, 0, 0)))
BINARY = (ClassSpec(name="no", colour=(0, 0, 0)), ClassSpec(name="yes", colour=(255, 255, 255)))


def grey(values: Any, kind: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(values, kind))


def palette(indices: Any, colours: dict[int, tuple[int, int, int]]) -> Image.Image:
    picture = Image.fromarray(np.array(indices, np.uint8), "P")
    table = np.zeros((256, 3), np.uint8)
    for index, colour in colours.items():
        table[index] = colour
    picture.putpalette(table.ravel().tolist())
    return picture


def rgb(values: Any) -> Image.Image:
    return Image.fromarray(np.array(values, np.uint8))


ROAD, CAR, OTHER_CAR, SKY, BLACK = (128, 64, 128), (0, 0, 142), (0, 0, 143), (70, 130, 180), (0, 0, 0)
WITH_IDS = tuple(ClassSpec(name=n, ids=ids) for n, ids in (("a", (7,)), ("b", (8, 900)), ("c", (50,))))


@pytest.mark.parametrize(
    ("classes", "ignore", "mask", "expected"),
    [
        (THREE, (255,), grey([[0, 1], [2, 255]]), [[0, 1], [2, VOID]]),
        (THREE, (255,), grey([[0, 1], [2, 255]], np.uint16), [[0, 1], [2, VOID]]),
        (THREE, (255, 9), grey([[9, 9], [2, 1]]), [[VOID, VOID], [2, 1]]),
        (THREE, (255,), grey([[0, 1], [2, 1]]).convert("LA"), [[0, 1], [2, 1]]),
        (WITH_IDS, (0, 255), grey([[7, 8], [900, 0]], np.uint16), [[0, 1], [1, VOID]]),
        (COLOURED, (255, BLACK), rgb([[ROAD, CAR], [OTHER_CAR, BLACK]]), [[0, 1], [1, VOID]]),
        (COLOURED, (255,), rgb([[ROAD, CAR], [SKY, ROAD]]).convert("RGBA"), [[0, 1], [2, 0]]),
        # Grey levels are ids, also where they are stored as colours.
        (THREE, (255,), rgb([[(0,) * 3, (1,) * 3], [(2,) * 3, (255,) * 3]]), [[0, 1], [2, VOID]]),
        # Black and white are the classes' colours, so that 255 is a class and not void.
        (BINARY, usual_ignore(BINARY), grey([[0, 255], [255, 0]]), [[0, 1], [1, 0]]),
        (BINARY, usual_ignore(BINARY), grey([[0, 255], [255, 0]]).convert("1"), [[0, 1], [1, 0]]),
        (THREE, (255,), grey([[0, 255], [255, 0]]).convert("1"), [[0, 1], [1, 0]]),
        # VOC: the index is the id, its border 255 has a colour of its own.
        (THREE, (255,), palette([[0, 1], [2, 255]], {1: (9, 0, 0), 2: (0, 9, 0), 255: SKY}), [[0, 1], [2, VOID]]),
        # An optimiser numbered the colours anew.
        (COLOURED, (255,), palette([[0, 1], [2, 2]], {0: SKY, 1: ROAD, 2: CAR}), [[2, 0], [1, 1]]),
        (COLOURED, (255,), palette([[1, 255]], {1: CAR, 255: (224, 224, 192)}), [[1, VOID]]),
        # A grey file that was stored with a palette by an optimiser.
        (WITH_IDS, (255,), palette([[0, 1], [1, 0]], {0: (7, 7, 7), 1: (50, 50, 50)}), [[0, 2], [2, 0]]),
    ],
)
def test_what_a_mask_holds_is_read_as_classes(
    classes: tuple[ClassSpec, ...], ignore: tuple[Any, ...], mask: Image.Image, expected: Any
) -> None:
    assert ClassMap(classes, ignore).read(mask, "x").tolist() == expected


@pytest.mark.parametrize(
    ("classes", "mask", "message"),
    [
        (THREE, grey([[0, 3], [13, 1]]), "belong to no class: 3, 13"),
        (COLOURED, rgb([[ROAD, (1, 2, 3)]]), "belong to no class: #010203"),
        # Is index 1 the id 1, or the grey level 255, which is void?
        (THREE, palette([[0, 1]], {1: (255, 255, 255)}), "a palette of grey levels"),
        (THREE, Image.fromarray(np.zeros((2, 2), np.float32)), "a mask of mode F"),
        # Is 0 the first class, or the one that is black?
        (SKY_IS_BLACK, grey([[0, 0]]), "may be ids or the colours of classes"),
        (CRACKS, grey([[0, 255]]).convert("1"), "may be ids or the colours of classes"),
        (COLOURED, rgb([[ROAD, CAR]]).convert("RGBA").point(lambda value: value // 2), "transparent pixels"),
    ],
)
def test_what_is_not_certain_is_refused(classes: tuple[ClassSpec, ...], mask: Image.Image, message: str) -> None:
    with pytest.raises(UnusableError, match=message):
        ClassMap(classes).read(mask, "x")


def test_a_jpeg_is_no_mask(tmp_path: Path) -> None:
    grey(np.zeros((16, 16))).save(tmp_path / "m.jpg")
    with Image.open(tmp_path / "m.jpg") as mask, pytest.raises(UnusableError, match="blurs class ids"):
        ClassMap(THREE).read(mask, "m.jpg")


def test_indices_count_only_where_all_files_have_one_palette() -> None:
    class_map = ClassMap(THREE)
    class_map.read(palette([[0, 1]], {1: (9, 0, 0)}), "a")
    class_map.read(palette([[2, 1]], {1: (9, 0, 0), 2: (0, 9, 0)}), "b")
    with pytest.raises(UnusableError, match="its palette differs"):
        class_map.read(palette([[0, 1]], {1: (0, 9, 0)}), "c")


def test_the_person_says_what_grey_masks_hold() -> None:
    mask = grey([[0, 0]])
    assert ClassMap(SKY_IS_BLACK, (255,), "ids").read(mask, "x").tolist() == [[0, 0]]
    assert ClassMap(SKY_IS_BLACK, (255,), "colours").read(mask, "x").tolist() == [[1, 1]]
    with pytest.raises(UnusableError, match="grey levels that are no class's colour: 1"):
        ClassMap(SKY_IS_BLACK, (255,), "colours").read(grey([[0, 1]]), "x")


def test_ids_that_are_stored_as_colours_are_read_as_those_of_one_channel() -> None:
    files = [rgb([[(0,) * 3, (1,) * 3]]), rgb([[(0,) * 3, (0,) * 3]])]
    assert [ClassMap(SKY_IS_BLACK, (255,), "ids").read(each, "x").tolist() for each in files] == [[[0, 1]], [[0, 0]]]
    with pytest.raises(UnusableError, match="may be ids or the colours"):
        ClassMap(SKY_IS_BLACK).read(files[1], "x")


def test_a_palette_with_a_colour_that_only_some_files_have_is_refused() -> None:
    classes = tuple(ClassSpec(name=n, colour=c) for n, c in (("bg", (0, 0, 0)), ("r", (255, 0, 0)), ("g", (0, 255, 0))))
    class_map = ClassMap(classes)
    class_map.read(palette([[0, 7]], {7: (255, 0, 0)}), "by colour")
    with pytest.raises(UnusableError, match="indices and colours contradict"):
        class_map.read(palette([[0, 2]], {2: (9, 9, 200)}), "by index")


def test_a_palette_of_grey_levels_beside_one_that_is_read_by_index_is_refused() -> None:
    """The first file's index 1 is the class of level 8, the second one's that of id 1."""
    classes = tuple(ClassSpec(name=n, ids=ids) for n, ids in (("a", (0, 1, 7)), ("b", (2, 8))))
    class_map = ClassMap(classes)
    by_level = palette([[0, 9]], {0: (7, 7, 7), 9: (8, 8, 8)})
    assert class_map.read(by_level, "by level").tolist() == [[0, 1]]
    with pytest.raises(UnusableError, match="indices and colours contradict"):
        class_map.read(palette([[0, 1]], {0: (9, 0, 0), 1: (0, 9, 0)}), "by index")


def test_masks_that_are_said_to_hold_colours_are_not_read_by_index() -> None:
    mask = palette([[0, 1]], {0: ROAD, 1: (1, 2, 3)})
    with pytest.raises(UnusableError, match="belong to no class: #010203;"):
        ClassMap(COLOURED, (255,), "colours").read(mask, "x")


@pytest.mark.parametrize("kind", ["P", "L"])
def test_declared_transparency_is_refused_where_a_pixel_has_it(kind: str, tmp_path: Path) -> None:
    mask = grey([[0, 1], [2, 0]]) if kind == "L" else palette([[0, 1], [2, 0]], {1: (9, 0, 0), 2: (0, 9, 0)})
    for index, is_refused in ((0, True), (77, False)):
        mask.save(tmp_path / "m.png", transparency=index)
        with Image.open(tmp_path / "m.png") as stored:
            stored.load()
            if is_refused:
                with pytest.raises(UnusableError, match="transparent pixels"):
                    ClassMap(THREE).read(stored, "m.png")
            else:
                assert ClassMap(THREE).read(stored, "m.png").tolist() == [[0, 1], [2, 0]]


def test_jpeg_within_a_tiff_is_no_mask(tmp_path: Path) -> None:
    grey(np.zeros((16, 16))).save(tmp_path / "m.tif", compression="jpeg")
    with Image.open(tmp_path / "m.tif") as mask:
        mask.load()
        with pytest.raises(UnusableError, match="blurs class ids"):
            ClassMap(THREE).read(mask, "m.tif")


def test_palettes_are_read_in_one_way_in_all_files() -> None:
    classes = (
        ClassSpec(name="bg", colour=(0, 0, 0)),
        ClassSpec(name="a", colour=(255, 0, 0)),
        ClassSpec(name="b", colour=(0, 255, 0)),
        ClassSpec(name="c"),
    )
    colours = {1: (0, 255, 0), 2: (255, 0, 0), 3: (0, 0, 255)}
    class_map = ClassMap(classes)
    assert class_map.read(palette([[0, 1]], colours), "by colour").tolist() == [[0, 2]]
    with pytest.raises(UnusableError, match="indices and colours contradict"):
        class_map.read(palette([[1, 3]], colours), "by index")


def png(path: Path, depth: int, colour_type: int, row: bytes, width: int) -> None:
    """A PNG of one row, as Pillow does not write it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(
    ("depth", "row", "width", "ids"), [(4, b"\x12\x30", 3, [1, 2, 3]), (2, b"\x1b", 4, [0, 1, 2, 3])]
)
def test_ids_of_2_and_4_bits_are_those_that_are_stored(
    depth: int, row: bytes, width: int, ids: list[int], tmp_path: Path
) -> None:
    png(tmp_path / "m.png", depth, 0, row, width)
    Image.new("RGB", (width, 1)).save(tmp_path / "i.png")
    _, mask = open_pair(ImagePair(tmp_path / "i.png", tmp_path / "m.png"))
    assert np.asarray(mask).tolist() == [ids]


def test_sixteen_bits_in_several_channels_and_several_pages_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "i.png")
    png(tmp_path / "m.png", 16, 2, struct.pack(">HHH", 259, 259, 259), 1)
    with pytest.raises(UnusableError, match="16 bits in each of several channels"):
        open_pair(ImagePair(tmp_path / "i.png", tmp_path / "m.png"))
    grey([[0]]).save(tmp_path / "m.tif", save_all=True, append_images=[grey([[1]])])
    with pytest.raises(UnusableError, match="has 2 pages or frames"):
        open_pair(ImagePair(tmp_path / "i.png", tmp_path / "m.tif"))
