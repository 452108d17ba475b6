"""jetbench predict with a network of random weights, on images of another size."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_verbs import jetbench
from tests.models.test_weights import saved


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "nano.safetensors")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    pixels = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_an_overlay_and_class_ids_at_the_images_own_size(weights: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "seen"
    text = jetbench("predict", "jetseg-nano", str(image), "--weights", str(weights), "--out", str(out), code=0)
    assert "street-overlay.png, street-classes.png" in text
    with Image.open(out / "street-classes.png") as classes:
        assert classes.size == (200, 120)
        assert set(np.unique(np.asarray(classes))) <= set(range(3))
    with Image.open(out / "street-overlay.png") as overlay:
        assert overlay.size[0] == 200
        assert overlay.size[1] > 120  # the legend below


@pytest.mark.slow
def test_what_cannot_be_shown_is_refused_before_anything_is_written(weights: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    broken, text = tmp_path / "broken.png", tmp_path / "text.jpg"
    broken.write_bytes(image.read_bytes()[:500])
    text.write_text("no image")

    def refused(*images: Path, name: str = "jetseg-nano") -> str:
        told = [str(each) for each in images]
        return jetbench("predict", name, *told, "--weights", str(weights), "--out", str(out), code=2)

    assert "truncated or damaged" in refused(image, broken)
    assert "not an image of PNG, JPEG" in refused(text)
    assert "no such image" in refused(tmp_path / "nowhere.png")
    assert "not of linknet" in refused(image, name="linknet")
    other = tmp_path / "other"
    other.mkdir()
    copy = other / image.name
    copy.write_bytes(image.read_bytes())
    assert "would overwrite each other" in refused(image, copy)
    assert "no such weights file" in jetbench("predict", "jetseg-nano", str(image), "--weights", "none", code=2)
    assert not out.exists()


def test_weights_know_their_network_and_a_folder_is_read_with_its_folders(
    weights: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "drive" / "night").mkdir(parents=True)
    for name in ("a.png", "night/a.png", "notes.txt"):
        (tmp_path / "drive" / name).write_bytes(image.read_bytes())
    out = tmp_path / "seen"
    jetbench("predict", str(weights), str(tmp_path / "drive"), str(image), "--out", str(out))
    assert {str(path.relative_to(out)) for path in out.rglob("*.png")} == {
        f"{name}-{kind}.png" for name in ("a", "night/a", "street") for kind in ("overlay", "classes")
    }


def test_what_is_no_weights_file_is_told_how_to_give_one(image: Path, tmp_path: Path) -> None:
    assert "not a weights file; give one" in jetbench("predict", "jetseg-nano", str(image), code=2)
    (tmp_path / "empty").mkdir()
    text = jetbench("predict", str(saved(tmp_path / "w.safetensors")), str(tmp_path / "empty"), code=2)
    assert "holds no image" in text


@pytest.mark.slow
def test_a_video_keeps_its_frames_and_its_rate_above_a_legend(weights: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="videos need OpenCV")
    writer = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (160, 96))
    for level in range(5):
        writer.write(np.full((96, 160, 3), 40 * level, np.uint8))
    writer.release()
    out = tmp_path / "seen"
    assert "drive.mp4, 5 frames" in jetbench("predict", str(weights), str(tmp_path / "drive.avi"), "--out", str(out))
    reader = cv2.VideoCapture(str(out / "drive.mp4"))
    assert (reader.get(cv2.CAP_PROP_FRAME_COUNT), reader.get(cv2.CAP_PROP_FPS)) == (5, 12)
    assert reader.get(cv2.CAP_PROP_FRAME_HEIGHT) > 96
    reader.release()
    (tmp_path / "broken.mp4").write_bytes(os.urandom(1000))
    text = jetbench("predict", str(weights), str(tmp_path / "broken.mp4"), "--out", str(tmp_path / "none"), code=2)
    assert "OpenCV cannot read this video" in text


def test_a_picture_is_not_written_over_what_is_read(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "im"
    folder.mkdir()
    (folder / "v.mp4").write_bytes(b"a video")
    text = jetbench("predict", str(weights), str(folder / "v.mp4"), "--out", str(folder), code=2)
    assert "would be written over" in text
    assert (folder / "v.mp4").read_bytes() == b"a video"
