import itertools
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jetbench.data.cache import load_data
from jetbench.data.camvid import open_camvid
from jetbench.data.folder import open_folder, read_class_file, read_preset
from jetbench.data.labels import CLASSES_11, CLASSES_32, COLOURS_32, MEMBERS_OF_11, VOID
from jetbench.data.layout import Hints, find_layout
from jetbench.data.paired import ImagePair
from jetbench.errors import DataError, SpecError
from jetbench.spec.base import parse_spec
from jetbench.spec.dataset import (
    Ade20kConfig,
    Bdd100kConfig,
    CamvidConfig,
    CityscapesConfig,
    ClassFile,
    FolderConfig,
    VocConfig,
)

NUMBERS = itertools.count()
SIZE = (12, 16)
SPLIT_STEMS = (("train", "abc"), ("val", "de"), ("test", "f"))


def image(path: Path, **more: Any) -> None:
    """An image that no other has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(next(NUMBERS)).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **more)


def mask(path: Path, ids: tuple[int, ...] = (0, 1, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(ids, np.uint8), SIZE)).save(path)


def classes(root: Path, *names: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.yaml").write_text(f"classes: [{', '.join(names or ('road', 'car', 'sky'))}]\n")


def folders(
    image_place: str, mask_place: str, mask_name: str = "{}.png", image_name: str = "{}.jpg"
) -> Callable[[Path], None]:
    """Makes three, two and one pairs; `{split}` in a place is train, val or test."""

    def make(root: Path) -> None:
        for split, stems in SPLIT_STEMS:
            for stem in stems:
                image(root / image_place.format(split=split) / image_name.format(stem))
                mask(root / mask_place.format(split=split) / mask_name.format(stem))

    return make


def listed(*lines: tuple[str, str], images: str = "images", masks: str = "masks") -> Callable[[Path], None]:
    """One folder of images and one of masks, and lists with lines like `{}.jpg` for each split."""

    def make(root: Path) -> None:
        for split, stems in SPLIT_STEMS:
            for stem in stems:
                image(root / images / f"{stem}.jpg")
                mask(root / masks / f"{stem}.png")
            for name, line in lines:
                path = root / name.format(split)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(line.format(stem, stem) + "\n" for stem in stems))

    return make


LAYOUTS = {
    "split, then kind": folders("{split}/images", "{split}/masks"),
    "kind, then split": folders("images/{split}", "labels/{split}"),
    "other words": folders("Training Data/{split}/Img", "Training Data/{split}/Ground_Truth"),
    "joined words": folders("{split}", "{split}annot"),
    "suffixed folders": folders("{split}", "{split}_labels", "{}_L.png"),
    "validation": folders("images/{split}idation", "annotations/{split}idation"),
    "suffixes": folders("{split}/images", "{split}/masks", "{}_mask.png", "{}.png"),
    "both have suffixes": folders("{split}/images", "{split}/masks", "{}_gt.png", "{}_rgb.png"),
    "one folder each split": folders("{split}", "{split}", "{}_mask.png", "{}.png"),
    "spaces and letters": folders("{split}/images", "{split}/masks", "Ä {} 1.png", "Ä {} 1.JPG"),
    "deeper": folders("images/{split}/city", "masks/{split}/city"),
    "lists of stems": listed(("{}.txt", "{}")),
    "lists in ImageSets": listed(
        ("ImageSets/Segmentation/{}.txt", "{}"), images="JPEGImages", masks="SegmentationClass"
    ),
    "lists with paths of another machine": listed(("splits/{}.txt", "C:\\data\\me\\images\\{}.jpg")),
    "lists of pairs": listed(("{}.txt", "/home/x/set/images/{}.jpg,/home/x/set/masks/{}.png")),
    "lists of pairs with blanks": listed(("{}.lst", "images/{}.jpg masks/{}.png")),
}


def make_validation(root: Path) -> None:
    for word, stems in (("training", "abc"), ("validation", "de"), ("testing", "f")):
        for stem in stems:
            image(root / "images" / word / f"{stem}.jpg")
            mask(root / "annotations" / word / f"{stem}.png")


LAYOUTS["validation"] = make_validation


LAYOUTS |= {
    "satellites": folders("{split}", "{split}", "{}_mask.png", "{}_sat.jpg"),
    "prefixes": folders("{split}", "{split}", "mask_{}.png", "img_{}.jpg"),
    "gif masks": folders("{split}", "{split}_masks", "{}_mask.gif"),
    "labelme": folders("{split}/JPEGImages", "{split}/SegmentationClassPNG"),
    "numbered parts": folders("{split}_1/images", "{split}_1/masks"),
    "other case": folders("{split}/images", "{split}/masks", "IMG {}.PNG", "img {}.jpg"),
    "years": folders("images/{split}2017", "annotations/{split}2017"),
    "versions": folders("{split}_v2/images", "{split}_v2/masks"),
    "words before": folders("road_{split}/images", "road_{split}/masks"),
    "words behind": folders("{split}-images-idx", "{split}-labels-idx"),
    "numbers of one side": folders("{split}/image_2", "{split}/semantic"),
    "numbers of both sides": folders("{split}/2_Ortho_RGB", "{split}/5_Labels_all", "{}_label.png", "{}_RGB.jpg"),
    "lists in a folder below": listed(
        ("VOC/ImageSets/Segmentation/{}.txt", "{}"), images="VOC/JPEGImages", masks="VOC/Masks"
    ),
    "a head in lists": listed(("{}.txt", "images/{}.jpg,masks/{}.png")),
}


def stems(pairs: Iterable[ImagePair]) -> list[str]:
    return sorted(pair.image.stem for pair in pairs)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_usual_layout_is_recognised(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    for folder in [path for path in tmp_path.rglob("*") if path.is_dir()]:
        (folder / "._a.png").write_bytes(b"x")
        (folder / "Thumbs.db").write_bytes(b"x")
    found = find_layout(tmp_path)
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 3, "val": 2, "test": 1}
    assert not found.alone
    assert not found.split_rule
    for pair in (pair for pairs in found.pairs.values() for pair in pairs):
        letter = next(word for word in pair.image.stem.replace("_", " ").split() if word in set("abcdef"))
        assert letter in pair.labels.stem.replace("_", " ").split()


def test_a_file_that_no_split_names_is_mentioned(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks")(tmp_path)
    image(tmp_path / "extra" / "images" / "x.jpg")
    mask(tmp_path / "extra" / "masks" / "x.png")
    found = find_layout(tmp_path)
    assert stems(found.pairs["train"]) == ["a", "b", "c"]
    assert found.split_rule == "1 image outside of train, val and test is left out"


def test_what_is_beside_val_is_train(tmp_path: Path) -> None:
    for place, names in (("", "abcd"), ("val", "ef")):
        for name in names:
            image(tmp_path / place / "images" / f"{name}.jpg")
            mask(tmp_path / place / "masks" / f"{name}.png")
    found = find_layout(tmp_path)
    assert stems(found.pairs["train"]) == ["a", "b", "c", "d"]
    assert stems(found.pairs["val"]) == ["e", "f"]
    assert found.split_rule == "train is what is in no folder of val or test"


def test_names_that_differ_in_case_alone_are_two_images(tmp_path: Path) -> None:
    for name in ("a", "A", "b", "B", "c", "C", "d"):
        image(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png")
    found = find_layout(tmp_path)
    pairs = [pair for pairs in found.pairs.values() for pair in pairs]
    assert len(pairs) == 7
    assert all(pair.image.stem == pair.labels.stem for pair in pairs)


def test_of_a_few_images_one_is_val(tmp_path: Path) -> None:
    for n in range(2):
        image(tmp_path / "images" / f"{n}.jpg")
        mask(tmp_path / "masks" / f"{n}.png")
    assert [len(find_layout(tmp_path).pairs[split]) for split in ("train", "val")] == [1, 1]


def test_a_link_to_a_split_is_not_taken_for_it(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks")(tmp_path)
    os.symlink(tmp_path / "train", tmp_path / "zlatest")
    os.symlink(tmp_path / "val", tmp_path / "copy")
    found = find_layout(tmp_path)
    assert {split: stems(pairs) for split, pairs in found.pairs.items()} == {
        "train": ["a", "b", "c"],
        "val": ["d", "e"],
        "test": ["f"],
    }


def test_parts_of_a_split_may_have_files_of_one_name(tmp_path: Path) -> None:
    for part in ("train_1", "train_2", "val_1"):
        image(tmp_path / part / "images" / "0.png")
        mask(tmp_path / part / "masks" / "0.png")
    found = find_layout(tmp_path)
    assert len(found.pairs["train"]) == 2
    assert all(pair.image.parent.parent == pair.labels.parent.parent for pair in found.pairs["train"])


def test_names_with_dots_are_whole_in_lists(tmp_path: Path) -> None:
    for name in ("car", "car.flip", "bus", "bus.flip"):
        image(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "train.txt").write_text("bus\nbus.flip\ncar\n")
    (tmp_path / "val.txt").write_text("car.flip\n")
    found = find_layout(tmp_path)
    assert stems(found.pairs["val"]) == ["car.flip"]
    assert stems(found.pairs["train"]) == ["bus", "bus.flip", "car"]


def test_a_folder_that_is_not_here_is_not_taken_for_another_one(tmp_path: Path) -> None:
    for n in range(4):
        image(tmp_path / "seq1" / "images" / f"{n}.png")
        mask(tmp_path / "seq1" / "masks" / f"{n}.png")
    (tmp_path / "train.txt").write_text("seq1/images/0.png\nseq1/images/1.png\n")
    (tmp_path / "val.txt").write_text("seq1/images/3.png\nseq2/images/2.png\n")
    found = find_layout(tmp_path)
    assert stems(found.pairs["val"]) == ["3"]
    assert len(found.alone) == 1
    assert "seq2/images/2.png: no such image" in found.alone[0]
    assert "; 1 image in no list is left out" in found.how
    (tmp_path / "val.txt").write_text("seq2/images/2.png\nseq2/images/3.png\n")
    with pytest.raises(DataError, match="leave train or val without images"):
        find_layout(tmp_path)


def test_a_mask_that_a_list_names_and_that_is_not_here_is_not_replaced(tmp_path: Path) -> None:
    for n in range(4):
        image(tmp_path / "images" / f"{n}.png")
        mask(tmp_path / "masks" / f"{n}.png")
    for split, numbers in (("train", (0, 1)), ("val", (2, 3))):
        (tmp_path / f"{split}.txt").write_text("".join(f"images/{n}.png masks_fine/{n}.png\n" for n in numbers))
    with pytest.raises(DataError, match="no such image with a mask"):
        find_layout(tmp_path)


@pytest.mark.parametrize("lines", [("/x/{}/images/{}.png",), (r"D:\data\{}\images\{}.png",), ("{}/images/{}.png",)])
def test_paths_of_another_machine_name_what_is_here(lines: tuple[str, ...], tmp_path: Path) -> None:
    for place in "ab":
        for n in range(2):
            image(tmp_path / place / "images" / f"{n}.png")
            mask(tmp_path / place / "masks" / f"{n}.png")
    (tmp_path / "train.txt").write_text("\n".join(lines[0].format(place, 0) for place in "ab"))
    (tmp_path / "val.txt").write_text("\n".join(lines[0].format(place, 1) for place in "ab"))
    found = find_layout(tmp_path)
    assert [pair.image.relative_to(tmp_path).parts[0] for pair in found.pairs["val"]] == ["a", "b"]


def test_an_image_that_is_called_like_a_head_is_an_image(tmp_path: Path) -> None:
    for name in ("image", "label", "x", "y"):
        image(tmp_path / "images" / f"{name}.png")
        mask(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "train.txt").write_text("image\nlabel\n")
    (tmp_path / "val.txt").write_text("image_path\nx\ny\n")
    found = find_layout(tmp_path)
    assert stems(found.pairs["train"]) == ["image", "label"]
    assert stems(found.pairs["val"]) == ["x", "y"]
    assert not found.alone


@pytest.mark.parametrize(
    "lines", [("image,mask", "images/{}.jpg,masks/{}.png"), ("masks/{}.png images/{}.jpg",), ("{} 1",)]
)
def test_heads_order_and_labels_in_lists(lines: tuple[str, ...], tmp_path: Path) -> None:
    for n in range(4):
        image(tmp_path / "images" / f"{n}.jpg")
        mask(tmp_path / "masks" / f"{n}.png")
    for split, numbers in (("train", (0, 1)), ("val", (2, 3))):
        head = [line for line in lines if "{}" not in line]
        body = [lines[-1].format(n, n) for n in numbers]
        (tmp_path / f"{split}.txt").write_text("\n".join([*head, *body]))
    found = find_layout(tmp_path)
    assert stems(found.pairs["train"]) == ["0", "1"]
    assert not found.alone
    for pair in found.pairs["val"]:
        assert pair.image.parent.name == "images"
        assert pair.labels.stem == pair.image.stem


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may be root, who reads everything: the error is made up."""
    folders("{split}/images", "{split}/masks")(tmp_path)
    listed_before = Path.iterdir

    def closed(self: Path) -> Any:
        if self.name == "val":
            raise PermissionError(13, "Permission denied")
        return listed_before(self)

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(DataError, match=r"val: cannot be read \(Permission denied\)"):
        find_layout(tmp_path)


def test_an_image_in_two_splits_is_said_with_every_number(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks", image_name="{}.png")(tmp_path)
    classes(tmp_path)
    shutil.copy(tmp_path / "train" / "images" / "a.png", tmp_path / "test" / "images" / "f.png")
    info = load_data(FolderConfig(path=str(tmp_path))).info
    assert info.leaks == 1
    assert "1 of val and test are in another split, too" in info.describe()


def test_images_that_differ_in_one_pixel_are_two_images(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks", image_name="{}.png")(tmp_path)
    classes(tmp_path)
    pixels = np.array(Image.open(tmp_path / "train" / "images" / "a.png"))
    pixels[3, 5] ^= 1
    Image.fromarray(pixels).save(tmp_path / "test" / "images" / "f.png")
    data = load_data(FolderConfig(path=str(tmp_path)))
    assert data.info.leaks == 0
    stored = [np.array(Image.open(path).convert("RGB")) for path in sorted((tmp_path / "test" / "images").iterdir())]
    assert np.array_equal(data.images["test"], stored)  # each image at its place


def test_links_and_endings_in_any_case_count(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks", "{}.PNG", "{}.JPeG")(tmp_path / "real")
    os.symlink(tmp_path / "real", tmp_path / "link")
    assert len(find_layout(tmp_path / "link").pairs["train"]) == 3


def test_without_a_split_images_are_split_by_seed_and_that_is_said(tmp_path: Path) -> None:
    classes(tmp_path)
    for n in range(20):
        image(tmp_path / "images" / f"{n}.png")
        mask(tmp_path / "masks" / f"{n}.png")
    first, again, other = (open_folder(FolderConfig(path=str(tmp_path), seed=seed)) for seed in (0, 0, 1))
    assert first.counts == {"train": 14, "val": 3, "test": 3}
    assert first.pairs == again.pairs != other.pairs
    assert first.split_rule == "split 70/15/15 % by seed 0"
    assert "split 70/15/15 % by seed 0" in load_data(FolderConfig(path=str(tmp_path))).info.describe()
    halves = open_folder(FolderConfig(path=str(tmp_path), shares=(0.5, 0.5, 0.0)))
    assert halves.counts == {"train": 10, "val": 10, "test": 0}


def test_a_folder_without_val_takes_it_from_train_and_one_without_test_has_no_test(tmp_path: Path) -> None:
    classes(tmp_path)
    for n in range(17):
        image(tmp_path / "train" / "images" / f"{n}.png")
        mask(tmp_path / "train" / "masks" / f"{n}.png")
    image(tmp_path / "test" / "images" / "x.png")  # its labels are kept by a server
    found = open_folder(FolderConfig(path=str(tmp_path)))
    assert found.counts == {"train": 14, "val": 3, "test": 0}
    assert found.split_rule == "val is a part of train, taken by seed 0"
    info = load_data(FolderConfig(path=str(tmp_path))).info
    assert info.constant_miou["test"] is None
    assert "no labelled test" in info.describe()


def damage(name: str, root: Path) -> None:
    """One of twenty ways in which a folder can be wrong."""
    a, mask_a = root / "train" / "images" / "a.jpg", root / "train" / "masks" / "a.png"
    match name:
        case "no folder":
            root.rename(root.with_name("gone"))
        case "no image":
            for path in list(root.rglob("*.jpg")) + list(root.rglob("*.png")):
                path.unlink()
        case "no mask":
            for path in root.rglob("*.png"):
                path.unlink()
        case "no mask for one":
            mask_a.unlink()
        case "no image for one":
            a.unlink()
        case "two images":
            image(a.with_suffix(".png"))
        case "two masks":
            mask(mask_a.with_name("a.tif"))
        case "no classes":
            (root / "classes.yaml").unlink()
        case "unknown id":
            mask(mask_a, (0, 1, 7))
        case "unknown colour":
            Image.fromarray(np.full((*SIZE, 3), (1, 2, 3), np.uint8)).save(mask_a)
        case "another size":
            Image.new("L", (5, 5)).save(mask_a)
        case "other images":
            Image.new("RGB", (20, 20)).save(a)
            Image.new("L", (20, 20)).save(mask_a)
        case "truncated":
            mask_a.write_bytes(mask_a.read_bytes()[:50])
        case "text":
            a.write_text("no image")
        case "jpeg mask":
            Image.new("L", (16, 12)).save(mask_a, "JPEG")
        case "all void":
            for path in (root / "val" / "masks").iterdir():
                mask(path, (255,))
        case "one class":
            for path in (root / "train" / "masks").iterdir():
                mask(path, (0, 255))
        case "turned":
            exif = Image.Exif()
            exif[0x0112] = 3
            image(a, exif=exif)
        case "twins in classes.yaml":
            (root / "classes.yaml").write_text("classes: [road, road, sky]\n")
        case "lists without images":
            for split in ("train", "val"):
                (root / f"{split}.txt").write_text("nowhere/x.png\n")


DAMAGED = {
    "no folder": "no such folder",
    "no image": "holds no image",
    "no mask": "no masks: no folder is called masks",
    "no mask for one": "a.jpg: has no mask",
    "no image for one": "a.png: a mask without an image",
    "two images": "two images of one name",
    "two masks": "two masks for one image",
    "no classes": "nothing names the classes; `jetbench data check folder:",
    "unknown id": "an id that belongs to no class: 7",
    "unknown colour": "colours that belong to no class: #010203",
    "another size": "labels of 5x5 for an image of 12x16",
    "other images": "20x20, but the first image is|but the first image is 20x20",
    "truncated": "truncated or damaged",
    "text": "not an image of PNG",
    "jpeg mask": "blurs class ids",
    "all void": "the val split has no labelled pixel",
    "one class": "all labelled pixels of train are road",
    "turned": "its EXIF data turn the image \\(orientation 3\\)",
    "twins in classes.yaml": "two classes are called 'road'",
    "lists without images": "none of the 2 lines names an image",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_folder_is_refused_with_what_is_wrong(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    folders("{split}/images", "{split}/masks")(root)
    classes(root)
    damage(name, root)
    with pytest.raises(DataError, match=DAMAGED[name]):
        load_data(FolderConfig(path=str(root)))


def test_an_image_is_turned_with_its_mask_or_refused(tmp_path: Path) -> None:
    """Orientation 6 swaps height and width, so the size of the mask says whether it lies as the image is seen."""
    root = tmp_path / "set"
    folders("{split}/images", "{split}/masks")(root)
    classes(root)
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in root.rglob("*.jpg"):
        image(path, exif=exif)
    with pytest.raises(DataError, match="does not say whether it is turned"):
        load_data(FolderConfig(path=str(root)))
    for path in root.rglob("masks/*.png"):
        with Image.open(path) as lying:
            lying.transpose(Image.Transpose.ROTATE_270).save(path)
    assert load_data(FolderConfig(path=str(root))).info.size == (16, 12)


@pytest.mark.parametrize(
    ("name", "text", "names", "ignore"),
    [
        ("class_dict.csv", "name,r,g,b\nroad,1,2,3\ncar,4,5,6\nVoid,0,0,0\n", ["road", "car"], [2, 255, (0, 0, 0)]),
        (
            "class_dict.csv",
            "\ufeffclass;red;green;blue\nvoid;0;0;0\nroad;1;2;3\ncar;4;5;6\n;;;\n",
            ["road", "car"],
            [0, 255, (0, 0, 0)],
        ),
        ("codes.txt", "road\nVoid\ncar\n", ["road", "car"], [1, 255]),
        ("classes.txt", "road\ncar\n\n", ["road", "car"], [255]),
        ("classes.txt", "\ufeff# my classes\nroad\ncar\n", ["road", "car"], [255]),
        ("classes.txt", "0 void\n1 road\n2: car\n", ["road", "car"], [0, 255]),
        ("classes.txt", "#my classes\n// mine\n'road',\n'car',\n", ["road", "car"], [255]),
        ("classes.txt", "0. void\n1. road\n2. car\n", ["road", "car"], [0, 255]),
        ("classes.txt", "0) road\n1) car\n", ["road", "car"], [255]),
        ("classes.txt", "1 - car\n0 - road\n", ["car", "road"], [255]),
        ("classes.txt", "car 1\nroad=0\n", ["car", "road"], [255]),
        ("classes.txt", "0 background\n255 crack\n", ["background", "crack"], []),
        ("classes.txt", "car\n2 wheeler\n", ["car", "2 wheeler"], [255]),
        ("classes.txt", "4 wheeler\n2 wheeler\n", ["4 wheeler", "2 wheeler"], [255]),
        ("labels.txt", "__ignore__\n_background_\ncat\n", ["_background_", "cat"], [255]),
    ],
)
def test_the_class_files_of_others_are_read(
    name: str, text: str, names: list[str], ignore: list[Any], tmp_path: Path
) -> None:
    for stem in "abcdefgh":
        image(tmp_path / "images" / f"{stem}.png")
        mask(tmp_path / "masks" / f"{stem}.png")
    (tmp_path / name).write_text(text)
    found = open_folder(FolderConfig(path=str(tmp_path)))
    assert list(found.class_names) == names
    assert list(found.ignore) == ignore


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("class_dict.csv", "name,r,g,b\nbg,0,0\nroad,1,2,3\n", "line 2: expected a name and three numbers"),
        ("class_dict.csv", 'name,r,g,b\n"a,0,0,0\nb,1,1,1\n', "line 2: expected a name and three numbers"),
        ("class_dict.csv", "road,1,2,3\ncar,4,5,6\n", "the columns name, r, g, b"),
        ("classes.txt", "", "names no class"),
        ("classes.txt", "road\n\ncar\n", "line 2: is empty"),
        ("classes.txt", "road,1,2,3\ncar,4,5,6\n", "its lines have colours; name it class_dict.csv"),
        ("classes.txt", "road\n", "at least 2"),
    ],
)
def test_a_class_file_that_is_not_certain_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_file(tmp_path / name)


def test_what_is_ignored_must_not_be_a_class(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks")(tmp_path)
    classes(tmp_path)
    with pytest.raises(DataError, match="0 stands for 'road' and is in ignore, too"):
        open_folder(FolderConfig(path=str(tmp_path), ignore=(0,)))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"classes": ["a"]}, "at least 2|too short"),
        ({"classes": ["a", {"name": "b", "colour": "red"}]}, "write '#8040ff'"),
        ({"classes": [{"name": "a", "ids": [1]}, {"name": "b"}]}, "class 'b' has no ids"),
        ({"classes": [{"name": "a", "ids": [1]}, {"name": "b", "ids": [1]}]}, "1 stands for 'b' and for 'a'"),
        (
            {"classes": [{"name": "a", "ids": [255]}, {"name": "b", "ids": [1]}], "ignore": [255]},
            "'a' and is in ignore, too",
        ),
        ({"classes": ["a", "b"], "ignore": ["bg"]}, "'bg' is no id and no colour"),
        ({"classes": ["a", "b\x1b[31m"]}, "a name has no control characters"),
        ({"classes": ["a", "b\nc"]}, "a name has no control characters"),
    ],
)
def test_classes_that_contradict_each_other_are_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(ClassFile, raw, "classes.yaml")


def test_the_names_and_colours_of_own_data_travel_and_a_changed_class_file_makes_another_cache(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks")(tmp_path)
    text = "classes:\n  - {name: wheat, colour: '#010203'}\n  - soil\n  - weed\n"
    (tmp_path / "classes.yaml").write_text(text)
    info = load_data(FolderConfig(path=str(tmp_path))).info
    assert info.class_names == ("wheat", "soil", "weed")
    assert info.classes[0].colour == (1, 2, 3)
    assert info.name.startswith("folder-")
    assert type(info).model_validate_json(info.model_dump_json()) == info
    (tmp_path / "classes.yaml").write_text("classes: [wheat, soil, {name: weed, ids: []}]\nignore: [255, 3]\n")
    assert load_data(FolderConfig(path=str(tmp_path))).info != info


# The published datasets are not here: these are their layouts in small, made from their published descriptions.


def make_cityscapes(root: Path) -> None:
    for split, city in (("train", "aachen"), ("val", "lindau"), ("test", "berlin")):
        for n in range(2):
            stem = f"{city}_{n:06}_000019"
            image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
            place = root / "gtFine" / split / city
            mask(place / f"{stem}_gtFine_labelIds.png", (7, 11, 33, 0, 4) if split != "test" else (0, 1))
            mask(place / f"{stem}_gtFine_instanceIds.png", (7,))
            image(place / f"{stem}_gtFine_color.png")
            (place / f"{stem}_gtFine_polygons.json").write_text("{}")


def make_bdd100k(root: Path) -> None:
    for split in ("train", "val", "test"):
        for n in range(2):
            image(root / "images" / "10k" / split / f"{split}-{n}.jpg")
            if split != "test":
                mask(root / "labels" / "sem_seg" / "masks" / split / f"{split}-{n}.png", (0, 18, 255))
                image(root / "labels" / "sem_seg" / "colormaps" / split / f"{split}-{n}.png")


def make_voc(root: Path) -> None:
    inner = root / "VOC2012"
    for n in range(6):
        stem = f"2007_{n:06}"
        image(inner / "JPEGImages" / f"{stem}.jpg")
        if n < 4:
            ids = np.resize(np.array((0, 15, 255), np.uint8), SIZE)
            picture = Image.fromarray(ids, "P")
            colours = np.zeros((256, 3), np.uint8)
            colours[15], colours[255] = (192, 128, 128), (224, 224, 192)
            picture.putpalette(colours.ravel().tolist())
            (inner / "SegmentationClass").mkdir(exist_ok=True)
            picture.save(inner / "SegmentationClass" / f"{stem}.png")
    lists = inner / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, numbers in (("train", (0, 1)), ("val", (2, 3)), ("trainval", (0, 1, 2, 3)), ("test", (4, 5))):
        (lists / f"{split}.txt").write_text("".join(f"2007_{n:06}\n" for n in numbers))


def make_ade20k(root: Path) -> None:
    for split, word in (("training", "train"), ("validation", "val")):
        for n in range(2):
            image(root / "images" / split / f"ADE_{word}_{n:08}.jpg")
            mask(root / "annotations" / split / f"ADE_{word}_{n:08}.png", (0, 1, 150))


@pytest.mark.parametrize(
    ("make", "config", "count", "used"),
    [
        (make_cityscapes, CityscapesConfig, 19, {0, 2, 18, VOID}),
        (make_bdd100k, Bdd100kConfig, 19, {0, 18, VOID}),
        (make_voc, VocConfig, 21, {0, 15, VOID}),
        (make_ade20k, Ade20kConfig, 150, {0, 149, VOID}),
    ],
)
def test_a_published_dataset_is_read_by_its_own_layout(
    make: Callable[[Path], None], config: Any, count: int, used: set[int], tmp_path: Path
) -> None:
    make(tmp_path)
    data = load_data(config(path=str(tmp_path)))
    assert data.info.images == {"train": 2, "val": 2, "test": 0}
    assert data.info.num_classes == count
    assert set(np.unique(data.labels["train"]).tolist()) == used


@pytest.mark.parametrize("name", ["cityscapes", "bdd100k", "voc", "ade20k"])
def test_a_preset_has_distinct_classes(name: str) -> None:
    preset = read_preset(name)
    assert len({each.name for each in preset.classes}) == len(preset.classes)


def test_another_folder_is_not_taken_for_a_published_dataset(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks")(tmp_path)
    with pytest.raises(DataError, match="not laid out as cityscapes: expected the folders leftImg8bit and gtFine"):
        open_folder(CityscapesConfig(path=str(tmp_path)))


def forms_of(real: Path, root: Path) -> dict[str, Path]:
    """A few real frames in the four forms in which people have CamVid; 32 classes by one member of each of the 11."""
    members = [names[0] for names in MEMBERS_OF_11.values()]
    to_32 = np.array([CLASSES_32.index(name) for name in members] + [CLASSES_32.index("Void")], np.uint8)
    colours = np.array(list(COLOURS_32.values()), np.uint8)
    for place in ("fastai/images", "fastai/labels", "published/raw", "published/labels"):
        (root / place).mkdir(parents=True)
    for split in ("train", "val", "test"):
        for place in (f"segnet/{split}", f"segnet/{split}annot", f"kaggle/{split}", f"kaggle/{split}_labels"):
            (root / place).mkdir(parents=True)
        for path in sorted((real / split).glob("*.png"))[:6]:
            picture = Image.open(path).convert("RGB").resize((120, 90))
            ids = np.asarray(Image.open(real / f"{split}annot" / path.name).resize((120, 90), Image.Resampling.NEAREST))
            coloured = Image.fromarray(colours[to_32[ids]])
            for place in (f"segnet/{split}", f"kaggle/{split}", "fastai/images", "published/raw"):
                picture.save(root / place / path.name)
            Image.fromarray(ids).save(root / f"segnet/{split}annot" / path.name)
            coloured.save(root / f"kaggle/{split}_labels" / f"{path.stem}_L.png")
            coloured.save(root / "published/labels" / f"{path.stem}_L.png")
            Image.fromarray(to_32[ids]).save(root / "fastai/labels" / f"{path.stem}_P.png")
    (root / "kaggle/class_dict.csv").write_text(
        "name,r,g,b\n" + "".join(f"{n},{r},{g},{b}\n" for n, (r, g, b) in COLOURS_32.items())
    )
    (root / "fastai/codes.txt").write_text("\n".join(CLASSES_32))
    (root / "fastai/valid.txt").write_text("\n".join(path.name for path in sorted((real / "val").glob("*.png"))[:6]))
    return {name: root / name for name in ("segnet", "kaggle", "fastai", "published")}


@pytest.mark.data
def test_the_four_forms_of_camvid_are_the_same_data(real_camvid: Path, tmp_path: Path) -> None:
    loaded = {
        name: load_data(CamvidConfig(path=str(root), classes=11))
        for name, root in forms_of(real_camvid, tmp_path).items()
    }
    first = loaded.pop("segnet")
    assert first.info.images == {"train": 6, "val": 6, "test": 6}
    for name, data in loaded.items():
        assert data.info.name == "camvid11", name
        assert data.info.class_names == CLASSES_11
        for split in first.images:
            assert np.array_equal(data.images[split], first.images[split]), name
            assert np.array_equal(data.labels[split], first.labels[split]), name
        assert data.info == first.info
    whole = load_data(CamvidConfig(path=str(tmp_path / "kaggle")))
    assert whole.info.num_classes == 32
    with pytest.raises(DataError, match=r"has 11 classes, and dataset\.classes asks"):
        open_camvid(CamvidConfig(path=str(tmp_path / "segnet"), classes=32))


def test_masks_with_several_endings_ask_which(tmp_path: Path) -> None:
    for stem in "abcdef":
        image(tmp_path / "images" / f"{stem}.png")
        for suffix in ("_ids", "_colour"):
            mask(tmp_path / "masks" / f"{stem}{suffix}.png")
    with pytest.raises(DataError, match=r"masks have several endings: _colour \(6\), _ids \(6\)"):
        find_layout(tmp_path)
    assert len(find_layout(tmp_path, Hints(images="images", masks="masks", mask_suffix="_ids")).pairs["train"]) == 4
