import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_verbs import jetbench
from tests.data.test_folder import classes, damage, folders


@pytest.fixture
def own(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    folders("{split}/images", "{split}/masks")(root)
    classes(root, "wheat", "soil", "weed")
    return root


@pytest.mark.slow
def test_a_dataset_is_checked_shown_and_named_in_a_study(own: Path, tmp_path: Path) -> None:
    text = jetbench("data", "check", f"folder:{own}")
    assert "3 train / 2 val / 1 test" in text
    assert "wheat" in text
    assert "The data can be used." in text
    assert json.loads(jetbench("data", "check", f"folder:{own}", "--json"))["images"]["val"] == 2
    jetbench("data", "show", f"folder:{own}", "--out", "shown", "--count", "1", cwd=tmp_path)
    pictures = sorted(path.name for path in (tmp_path / "shown").iterdir())
    assert [name.split("-")[0] for name in pictures] == ["test", "train", "val"]
    with Image.open(tmp_path / "shown" / pictures[0]) as picture:
        assert picture.width == 16
    options = ("--size", "64x96", "--set", "training.batch_size=2", "--dry-run")
    assert "3 classes" in jetbench("sweep", "nano", "--dataset", f"folder:{own}", *options, cwd=tmp_path)


@pytest.mark.slow
def test_a_proposed_class_file_is_written_and_used(own: Path, tmp_path: Path) -> None:
    (own / "classes.yaml").unlink()
    text = jetbench("data", "check", f"folder:{own}", "--write-classes", "mine.yaml", cwd=tmp_path, code=2)
    assert "Nothing names the classes" in text
    assert "can be used" in jetbench("data", "check", f"folder:{own}", "--classes", "mine.yaml", cwd=tmp_path)
    again = jetbench("data", "check", f"folder:{own}", "--write-classes", "mine.yaml", cwd=tmp_path, code=2)
    assert "exists already" in again
    inside = str(own / "train" / "images")
    options = ("--classes", "mine.yaml", "--out", inside)
    assert "holds the dataset" in jetbench("data", "show", f"folder:{own}", *options, cwd=tmp_path, code=2)


@pytest.mark.parametrize("name", ["no mask for one", "unknown id", "truncated"])
def test_data_that_cannot_be_used_end_with_2_and_the_way_out(name: str, own: Path) -> None:
    damage(name, own)
    text = jetbench("data", "check", f"folder:{own}", code=2)
    assert "way out:" in text
    assert "can be used." not in text


def test_what_is_no_dataset_is_refused(own: Path, refused: Callable[..., str]) -> None:
    assert f"for a folder of your own write folder:{own}" in refused("data", "check", str(own))
    assert "expected NAME:PATH with NAME one of streets, camvid, folder" in refused("data", "check", "coco:/x")
    assert "no such folder" in refused("data", "check", "folder:/nowhere")
    assert "path: is missing" in refused("data", "check", "folder")
    assert "cityscapes has its own classes" in refused("data", "check", f"cityscapes:{own}", "--classes", "x.yaml")
    assert "give its folder, too: folder:PATH" in refused("sweep", "nano", "--dataset", "folder")
    assert "no such key" in refused("data", "check", f"folder:{own}", "--set", "maskk=x")
