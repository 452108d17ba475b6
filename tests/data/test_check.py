from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from jetbench.data.check import check_dataset, propose_classes
from jetbench.data.folder import read_class_file
from jetbench.errors import DataError
from jetbench.spec.dataset import CamvidConfig, FolderConfig, StreetsConfig
from tests.data.test_folder import classes, damage, folders, mask


def made(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    folders("{split}/images", "{split}/masks")(root)
    classes(root)
    return root


def test_every_file_is_counted_and_every_class_has_its_pixels(tmp_path: Path) -> None:
    root = made(tmp_path)
    seen: list[tuple[int, int]] = []
    found = check_dataset(FolderConfig(path=str(root)), lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]
    assert found.is_usable
    assert found.counts == {"train": 3, "val": 2, "test": 1}
    assert found.sizes == {(12, 16): 6}
    assert found.class_names == ("road", "car", "sky")
    assert found.pixels["test"] == (64, 64, 64)
    assert found.void == {"train": 0, "val": 0, "test": 0}
    assert not found.problems


@pytest.mark.parametrize(
    ("name", "what", "is_refused"),
    [
        ("no mask for one", "file without its partner", True),
        ("no image for one", "file without its partner", True),
        ("unknown id", "file that cannot be used", True),
        ("another size", "file that cannot be used", True),
        ("truncated", "file that cannot be used", True),
        ("turned", "file that cannot be used", True),
        ("one class", "class without a pixel in train", True),
        ("all void", "class without a pixel in val", False),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(name: str, what: str, is_refused: bool, tmp_path: Path) -> None:
    root = made(tmp_path)
    damage(name, root)
    found = check_dataset(FolderConfig(path=str(root)))
    problem = next(each for each in found.problems if each.what == what)
    assert problem.is_refused == is_refused
    assert problem.way_out
    assert problem.count >= len(problem.examples) > 0
    assert found.is_usable != is_refused


def test_images_of_other_sizes_are_named_unless_all_are_scaled(tmp_path: Path) -> None:
    root = made(tmp_path)
    damage("other images", root)
    found = check_dataset(FolderConfig(path=str(root)))
    assert [problem.what for problem in found.problems] == ["image of another size than the first"]
    assert sorted(found.sizes.values()) == [1, 5]
    assert check_dataset(FolderConfig(path=str(root), size=(12, 16))).is_usable


def test_one_image_in_two_splits_is_found_by_its_pixels(tmp_path: Path) -> None:
    root = made(tmp_path)
    with Image.open(root / "train" / "images" / "a.jpg") as picture:
        picture.load()
        picture.save(root / "train" / "images" / "copy.png")
        picture.save(root / "test" / "images" / "other name.png")
    mask(root / "train" / "masks" / "copy.png")  # twice in one split is no leak
    mask(root / "test" / "masks" / "other name.png")
    (problem,) = check_dataset(FolderConfig(path=str(root))).problems
    assert problem.what == "image that is in two splits, by its pixels"
    assert problem.count == 1
    assert not problem.is_refused
    assert "other name.png (test) is" in problem.examples[0]


@pytest.mark.parametrize("kind", ["ids", "palette", "colours"])
def test_the_proposed_class_file_reads_every_mask(kind: str, tmp_path: Path) -> None:
    root = made(tmp_path)
    (root / "classes.yaml").unlink()
    colours = np.zeros((256, 3), np.uint8)
    colours[:4] = [(9, 9, 9), (200, 0, 0), (0, 100, 0), (0, 0, 50)]
    for path in root.rglob("masks/*.png"):
        ids = np.resize(np.array((0, 1, 3, 255), np.uint8), (12, 16))
        picture = Image.fromarray(ids, "P" if kind == "palette" else "L")
        if kind == "palette":
            picture.putpalette(colours.ravel().tolist())
        elif kind == "colours":
            picture = Image.fromarray(colours[ids])
        picture.save(path)
    found = check_dataset(FolderConfig(path=str(root)))
    assert not found.is_usable
    assert "# 25.0 % of the pixels" in found.proposal
    (root / "classes.yaml").write_text(found.proposal)
    assert len(read_class_file(root / "classes.yaml").classes) == {"ids": 3, "palette": 3, "colours": 4}[kind]
    again = check_dataset(FolderConfig(path=str(root)))
    assert again.is_usable
    assert again.proposal == ""


def test_black_and_white_masks_suggest_two_classes_and_a_mixture_none(tmp_path: Path) -> None:
    text = propose_classes(Counter({0: 3, 255: 1}))
    (tmp_path / "classes.yaml").write_text(text)
    told = read_class_file(tmp_path / "classes.yaml")
    assert [each.ids for each in told.classes] == [(0,), (255,)]
    assert told.ignored == ()
    assert propose_classes(Counter({0: 3, 1: 1, (0, 0, 0): 2, (9, 0, 0): 1})) == ""


def test_masks_of_too_many_values_suggest_no_classes() -> None:
    assert propose_classes(Counter({n: 1 for n in range(300)})) == ""
    assert propose_classes(Counter()) == ""
    assert yaml.safe_load(propose_classes(Counter({5: 1, 2: 3})))["classes"][0] == {"name": "class 0", "ids": [2]}


def test_camvid_is_checked_too_and_generated_data_have_no_files(camvid_11: Path) -> None:
    found = check_dataset(CamvidConfig(path=str(camvid_11)))
    assert found.name == "camvid11"
    assert sum(found.counts.values()) == sum(found.sizes.values())
    with pytest.raises(DataError, match="is generated; there is no file to check"):
        check_dataset(StreetsConfig())


def test_black_and_white_masks_beside_others_are_mentioned(tmp_path: Path) -> None:
    root = made(tmp_path)
    classes(root, "ground", "crack")
    for number, path in enumerate(sorted(root.rglob("masks/*.png"))):
        mask(path, (0, 255) if number % 2 else (0, 1))
    (problem,) = check_dataset(FolderConfig(path=str(root))).problems
    assert problem.what.startswith("mask whose only values are one class and 255")
    assert problem.count == 3
