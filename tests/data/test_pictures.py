from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetbench.data.pictures import UnusableError, count_frames, open_picture, open_rgb

ROTATED = 6  # the camera was turned: rows are the columns of the scene


def test_a_picture_is_upright_as_its_exif_orientation_says(tmp_path: Path) -> None:
    scene = Image.fromarray(np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3))
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    scene.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.png", exif=exif)
    assert open_picture(tmp_path / "phone.png").size == (24, 32)
    assert np.array_equal(np.asarray(open_rgb(tmp_path / "phone.png")), np.asarray(scene))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of PNG.*it is PostScript"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC; convert it"),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "truncated or damaged"),
        (b"P6 1 1 255 abc", "not an image of PNG"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(start: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(start)
    with pytest.raises(UnusableError, match=said):
        open_rgb(tmp_path / "x.png")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(tmp_path / "x.png")
    with pytest.raises(UnusableError, match="12000x12000 pixels; at most 100,000,000"):
        open_rgb(tmp_path / "x.png")


def test_floating_point_pixels_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "x.tiff")
    with pytest.raises(UnusableError, match="floating-point"):
        open_rgb(tmp_path / "x.tiff")


def test_the_frames_of_an_animation_are_counted_and_the_first_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert count_frames(tmp_path / "x.gif") == 3
    assert open_rgb(tmp_path / "x.gif").getpixel((0, 0)) == (255, 0, 0)
    assert count_frames(tmp_path / "nothing.gif") == 1
