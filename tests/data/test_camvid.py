import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetbench.data.cache import load_data
from jetbench.data.camvid import open_camvid, usual_split
from jetbench.data.labels import CLASSES_11, CLASSES_32, COLOURS_11, COLOURS_32, VOID
from jetbench.data.pictures import open_picture
from jetbench.errors import DataError
from jetbench.spec.dataset import CamvidConfig


def config(path: Path, size: tuple[int, int] | None = None) -> CamvidConfig:
    return CamvidConfig(path=str(path), size=size)


def colour_coded(ids: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(list(COLOURS_32.values()), np.uint8)[ids])


@pytest.fixture
def camvid_32(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Frames of all splits as published: two flat folders, labels in colour, no split."""
    generator = np.random.default_rng(0)
    (tmp_path / "701_StillsRaw_full").mkdir()
    (tmp_path / "LabeledApproved_full").mkdir()
    truth = {}
    for stem in ("0001TP_006690", "0016E5_07961", "0001TP_008550", "Seq05VD_f00000", "0006R0_f00930"):
        truth[stem] = generator.integers(0, 32, (36, 48))
        pixels = generator.integers(0, 256, (36, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "701_StillsRaw_full" / f"{stem}.png")
        colour_coded(truth[stem]).save(tmp_path / "LabeledApproved_full" / f"{stem}_L.png")
    return tmp_path, truth


def test_the_eleven_class_layout_is_read_with_void_ignored(camvid_11: Path) -> None:
    data = load_data(config(camvid_11))
    assert data.info.name == "camvid11"
    assert data.info.class_names == CLASSES_11
    assert data.info.size == (36, 48)
    stored = np.asarray(Image.open(camvid_11 / "valannot" / "b.png"))
    assert np.array_equal(data.labels["val"][1], np.where(stored == 11, VOID, stored))
    assert np.array_equal(data.images["test"][0], np.asarray(Image.open(camvid_11 / "test" / "a.png")))


def test_the_published_32_class_layout_is_split_by_frame_numbers(camvid_32: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, truth = camvid_32
    data = load_data(config(root))
    assert data.info.name == "camvid32"
    assert data.info.images == {"train": 2, "val": 1, "test": 2}
    assert data.info.num_classes == 32
    ids = truth["0016E5_07961"]
    assert np.array_equal(data.labels["val"][0], np.where(ids == CLASSES_32.index("Void"), VOID, ids))
    assert "Void is class 30" in data.info.void_rule


def test_the_32_class_layout_in_split_folders_is_read(
    camvid_32: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    root, truth = camvid_32
    sorted_root = tmp_path / "sorted"
    for stem in truth:
        split = usual_split(stem)
        for source, folder, suffix in (
            ("701_StillsRaw_full", split, ""),
            ("LabeledApproved_full", f"{split}_labels", "_L"),
        ):
            (sorted_root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(root / source / f"{stem}{suffix}.png", sorted_root / folder)
    assert open_camvid(config(sorted_root)).counts == {"train": 2, "val": 1, "test": 2}


def test_labels_are_resized_without_inventing_classes(camvid_11: Path) -> None:
    for path in (camvid_11 / "valannot").glob("*.png"):
        ids = np.zeros((36, 48), np.uint8)
        ids[:, 24:] = 10
        Image.fromarray(ids).save(path)
    data = load_data(config(camvid_11, (18, 24)))
    assert data.info.size == (18, 24)
    assert set(np.unique(data.labels["val"])) == {0, 10}


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0016E5_07959", "val"),
        ("0016E5_08190", "train"),
        ("Seq05VD_f05100", "test"),
    ],
)
def test_the_usual_split_follows_the_frame_numbers(stem: str, split: str) -> None:
    assert usual_split(stem) == split


@pytest.mark.data
def test_the_usual_split_is_that_of_the_real_folders(real_camvid: Path) -> None:
    for split, count in (("train", 367), ("val", 101), ("test", 233)):
        stems = [path.stem for path in (real_camvid / split).glob("*.png")]
        assert len(stems) == count
        assert {usual_split(stem) for stem in stems} == {split}


@pytest.mark.data
def test_the_real_camvid_is_read_whole(real_camvid: Path) -> None:
    data = load_data(config(real_camvid, (45, 60)))
    assert data.info.images == {"train": 367, "val": 101, "test": 233}
    assert all(pixels > 0 for pixels in data.class_pixels)
    # Road is the largest class of the test split, as everywhere in the literature.
    counts = np.bincount(data.labels["test"].ravel(), minlength=256)[:11]
    assert CLASSES_11[int(counts.argmax())] == "road"


def damage_missing_folder(root: Path) -> None:
    shutil.rmtree(root / "valannot")


def damage_missing_labels(root: Path) -> None:
    (root / "trainannot" / "a.png").unlink()


def damage_truncated(root: Path) -> None:
    path = root / "test" / "b.png"
    path.write_bytes(path.read_bytes()[:200])


def damage_not_an_image(root: Path) -> None:
    (root / "val" / "a.png").write_text("<html>404</html>")


def damage_mislabelled(root: Path) -> None:
    Image.fromarray(np.full((36, 48), 17, np.uint8)).save(root / "trainannot" / "b.png")


def damage_colour_labels(root: Path) -> None:
    Image.fromarray(np.zeros((36, 48, 3), np.uint8)).save(root / "testannot" / "a.png")


def damage_wrong_size_labels(root: Path) -> None:
    Image.fromarray(np.zeros((18, 24), np.uint8)).save(root / "valannot" / "a.png")


def damage_odd_image(root: Path) -> None:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(root / "train" / "b.png")
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(root / "trainannot" / "b.png")


def damage_all_void(root: Path) -> None:
    for path in (root / "valannot").glob("*.png"):
        Image.fromarray(np.full((36, 48), 11, np.uint8)).save(path)


def damage_empty(root: Path) -> None:
    for path in (root / "train").glob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing_folder, r"valannot: this folder is missing.*--dataset camvid:PATH"),
        (damage_missing_labels, r"train/a.png: has no labels .*trainannot/a.png"),
        (damage_truncated, r"test/b.png: truncated or damaged"),
        (damage_not_an_image, r"val/a.png: not an image"),
        (damage_mislabelled, r"trainannot/b.png: mislabelled: id 17; ids are 0 to 10, and 11 or 255 for void"),
        (damage_colour_labels, r"testannot/a.png: labels of mode RGB; the 11-class form has one channel"),
        (damage_wrong_size_labels, r"valannot/a.png: labels of 18x24 for an image of 36x48"),
        (damage_odd_image, r"train/b.png: 30x40, but the first image is 36x48"),
        (damage_all_void, r"the val split has no labelled pixel"),
        (damage_empty, r"train: contains no image"),
    ],
)
def test_a_damaged_folder_names_the_file_and_the_fault(camvid_11: Path, damage: object, message: str) -> None:
    assert callable(damage)
    damage(camvid_11)
    with pytest.raises(DataError, match=message):
        load_data(config(camvid_11))


def test_an_unknown_colour_is_named(camvid_32: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, _ = camvid_32
    Image.fromarray(np.full((36, 48, 3), 7, np.uint8)).save(root / "LabeledApproved_full" / "0016E5_07961_L.png")
    with pytest.raises(
        DataError, match=r"0016E5_07961_L.png: mislabelled: colour \(7, 7, 7\) is not a CamVid class; 1728 pixel"
    ):
        load_data(config(root))


def test_a_folder_that_is_no_camvid_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not laid out as CamVid: expected the folders train, trainannot"):
        open_camvid(config(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        open_camvid(config(tmp_path / "nowhere"))


def test_without_a_path_the_environment_is_asked(camvid_11: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JETBENCH_DATA", raising=False)
    with pytest.raises(DataError, match="JETBENCH_DATA is not set"):
        open_camvid(CamvidConfig())
    renamed = camvid_11.with_name("camvid")
    camvid_11.rename(renamed)
    monkeypatch.setenv("JETBENCH_DATA", str(renamed.parent))
    assert open_camvid(CamvidConfig()).counts == {"train": 2, "val": 2, "test": 2}
    renamed.rename(camvid_11)


def test_a_rewritten_file_is_decoded_again(camvid_11: Path) -> None:
    before = load_data(config(camvid_11)).info.digest
    assert load_data(config(camvid_11)).info.digest == before
    Image.fromarray(np.full((36, 48), 3, np.uint8)).save(camvid_11 / "trainannot" / "a.png")
    assert load_data(config(camvid_11)).info.digest != before


def label_files(root: Path) -> list[Path]:
    return sorted(root.glob("*annot/*.png"))


def as_palette(path: Path, colour_of: Callable[[int], tuple[int, int, int]]) -> None:
    """Write a label file as an optimiser does: a palette image of its ids in the order in which they appear."""
    ids = np.asarray(Image.open(path))
    order = list(dict.fromkeys(ids.ravel().tolist()))
    picture = Image.fromarray(np.array([order.index(value) for value in ids.ravel()], np.uint8).reshape(ids.shape))
    picture.putpalette([level for value in order for level in colour_of(value)])
    picture.save(path)


def test_labels_that_an_optimiser_made_palettes_of_keep_their_ids(camvid_11: Path) -> None:
    wanted = load_data(config(camvid_11)).info.digest
    for path in label_files(camvid_11):
        as_palette(path, lambda value: (value, value, value))
    assert load_data(config(camvid_11)).info.digest == wanted


def test_a_palette_of_camvids_colours_names_the_classes(camvid_11: Path) -> None:
    wanted = load_data(config(camvid_11)).info.digest
    for path in label_files(camvid_11):
        as_palette(path, lambda value: (*COLOURS_11, (0, 0, 0))[value])
    assert load_data(config(camvid_11)).info.digest == wanted


def test_indices_count_only_if_all_files_have_one_palette(camvid_11: Path) -> None:
    wanted = load_data(config(camvid_11)).info.digest
    for path in label_files(camvid_11):  # as drawing programs write: one palette, whose colours mean nothing here
        picture = Image.fromarray(np.asarray(Image.open(path)), "P")
        picture.putpalette([level for number in range(12) for level in (number, 200, 20 * number)])
        picture.save(path)
    assert load_data(config(camvid_11)).info.digest == wanted
    as_palette(camvid_11 / "valannot" / "b.png", lambda value: (value, 100, 20 * value))
    with pytest.raises(DataError, match=r"b.png: its palette differs .* so its classes are unknown"):
        load_data(config(camvid_11))


def test_255_is_void_unless_told_otherwise(camvid_11: Path) -> None:
    wanted = load_data(config(camvid_11)).info.digest
    for path in label_files(camvid_11):
        ids = np.asarray(Image.open(path))
        Image.fromarray(np.where(ids == 11, 255, ids).astype(np.uint8)).save(path)
    assert load_data(config(camvid_11)).info.digest == wanted


def test_grey_images_of_16_bits_are_scaled(camvid_11: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (36, 48)).astype(np.uint16)
    for path in (camvid_11 / "train").glob("*.png"):
        Image.fromarray(grey * 257).save(path)
        assert open_picture(path).mode.startswith("I")
    assert (load_data(config(camvid_11)).images["train"] == grey[None, :, :, None]).all()


def test_files_are_found_in_any_case_and_what_is_not_read_is_counted(camvid_11: Path) -> None:
    wanted = load_data(config(camvid_11)).info.digest
    for path in [*camvid_11.glob("*/b.png")]:
        path.rename(path.with_suffix(".PNG"))
    (camvid_11 / "train" / "._a.png").write_bytes(b"what macOS leaves")
    (camvid_11 / "train" / "Thumbs.db").write_bytes(b"what Windows leaves")
    assert load_data(config(camvid_11)).info.digest == wanted
    (camvid_11 / "train" / "c.ppm").write_bytes(b"P6 1 1 255 abc")
    with pytest.raises(DataError, match=r"train: 1 of 4 files are not read, such as c.ppm; .* convert them"):
        open_camvid(config(camvid_11))


def test_two_files_for_one_frame_are_refused_by_name(
    camvid_11: Path, camvid_32: tuple[Path, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("other")
    shutil.copytree(camvid_32[0] / "701_StillsRaw_full", root / "701_StillsRaw_full")
    for name in ("LabeledApproved_full", "checked"):
        shutil.copytree(camvid_32[0] / "LabeledApproved_full", root / name)
    with pytest.raises(DataError, match=r"two files for 0001TP_006690: .*LabeledApproved_full.*checked|checked.*Label"):
        open_camvid(config(root))
    for split in ("train", "trainannot"):
        shutil.copy(camvid_11 / split / "a.png", camvid_11 / split / "a.PNG")
    with pytest.raises(DataError, match="two files for a: "):
        open_camvid(config(camvid_11))


def test_a_split_in_a_folder_below_is_pointed_to(
    camvid_32: tuple[Path, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, truth = camvid_32
    parent = tmp_path_factory.mktemp("parent")
    for number, stem in enumerate(truth):
        split = ("train", "val", "test")[number % 3]
        for source, folder, suffix in (
            ("701_StillsRaw_full", split, ""),
            ("LabeledApproved_full", f"{split}_labels", "_L"),
        ):
            (parent / "CamVid" / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(root / source / f"{stem}{suffix}.png", parent / "CamVid" / folder)
    with pytest.raises(DataError, match=r"the dataset is in .*/CamVid; give that folder"):
        open_camvid(config(parent))
    assert open_camvid(config(parent / "CamVid")).counts == {"train": 2, "val": 2, "test": 1}


def test_equal_names_sizes_and_times_do_not_make_two_datasets_one(
    camvid_11: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "camvid"
    shutil.copytree(camvid_11, other)
    for path in (other / "trainannot").glob("*.png"):
        ids = np.asarray(Image.open(path))
        Image.fromarray((11 - ids).astype(np.uint8)).save(path, compress_level=0)
    for path in (camvid_11 / "trainannot").glob("*.png"):
        Image.open(path).save(path, compress_level=0)
    for path in [*camvid_11.rglob("*.png"), *other.rglob("*.png")]:
        os.utime(path, (1, 1))
    sizes = [path.stat().st_size for path in label_files(camvid_11)]
    assert sizes == [path.stat().st_size for path in label_files(other)]
    assert load_data(config(camvid_11)).info.digest != load_data(config(other)).info.digest
    # In one place, too, as when another disk is mounted there.
    before = load_data(config(camvid_11)).info.digest
    shutil.copytree(other, camvid_11, dirs_exist_ok=True)
    for path in camvid_11.rglob("*.png"):
        os.utime(path, (1, 1))
    assert load_data(config(camvid_11)).info.digest != before


def test_folders_that_are_links_are_followed(
    camvid_32: tuple[Path, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("linked")
    for folder in camvid_32[0].iterdir():
        (root / folder.name).symlink_to(folder)
    (root / "again").symlink_to(root)
    os.mkfifo(root / "pipe_L.png")  # has no end, so it is no label file
    assert open_camvid(config(root)).counts == {"train": 2, "val": 1, "test": 2}


def test_a_file_whose_few_colours_are_camvids_by_chance_contradicts_the_others(camvid_11: Path) -> None:
    """In the usual palette of drawing programs 0 is black and 1 is dark red: CamVid's void and building."""
    usual = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), *((number, 9, 200) for number in range(8))]
    for number, path in enumerate(label_files(camvid_11)):
        ids = np.asarray(Image.open(path)) % (2 if number == 3 else 11)
        picture = Image.fromarray(ids.astype(np.uint8), "P")
        picture.putpalette([level for colour in usual[: ids.max() + 1] for level in colour])
        picture.save(path)
    with pytest.raises(DataError, match="so its classes are unknown"):
        load_data(config(camvid_11))
