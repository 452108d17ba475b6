"""Image files: opened by an allow-list of formats, upright, with 8 bits a channel; all others are named and refused."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from jetbench.errors import DataError
from jetbench.files import describe_start, open_plain
from jetbench.spec.bounds import MOST_IMAGE_PIXELS

# Pillow knows formats that start other programs (EPS starts Ghostscript), and opens by content, not by name.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
ORIENTATION = 0x0112  # the EXIF tag
FRAMES = "jetbench frames"
"""Key of a picture's info: the number of pages or frames of its file."""
LEVELS_16 = 257  # steps of 16 bits in one step of 8 bits


class UnusableError(DataError):
    """One file that cannot be used; collected, so that one message names all of them."""


def open_picture(path: Path) -> Image.Image:
    """The picture of a file as it is stored; of an animation the first frame.

    Raises:
        UnusableError: the file is no picture of a format that is read, is damaged, or has too many pixels.
    """
    try:
        with open_plain(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our bound is checked below
            picture = Image.open(file, formats=FORMATS)
            if picture.width * picture.height > MOST_IMAGE_PIXELS:
                raise UnusableError(
                    f"{path}: {picture.height}x{picture.width} pixels; at most {MOST_IMAGE_PIXELS:,} are read"
                )
            frames = int(getattr(picture, "n_frames", 1))  # before the file is closed
            picture.load()
            picture.info[FRAMES] = frames
            return picture
    except FileNotFoundError:
        raise UnusableError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise UnusableError(f"{path}: not an image of {', '.join(FORMATS)}{_what_it_is(path)}") from None
    except Image.DecompressionBombError:
        raise UnusableError(f"{path}: more than {MOST_IMAGE_PIXELS:,} pixels") from None
    except (UnusableError, MemoryError):
        raise
    except PermissionError as error:
        raise UnusableError(f"{path}: cannot be read ({error.strerror})") from None
    except OSError as error:
        raise UnusableError(f"{path}: truncated or damaged ({error.strerror or error})") from None
    except Exception as error:  # Pillow raises errors of many kinds for damaged files
        raise UnusableError(f"{path}: truncated or damaged ({error})") from None


def _what_it_is(path: Path) -> str:
    try:
        with open_plain(path) as file:
            what = describe_start(file.read(64))
    except OSError:
        return ""
    return f"; {what}" if what else ""


def open_rgb(path: Path) -> Image.Image:
    """The picture of a file as RGB of 8 bits, upright as its EXIF orientation says; 16 bits a channel are scaled.

    Raises:
        UnusableError: as `open_picture`, or its pixels are no integers.
    """
    return to_rgb(open_picture(path), path)


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says."""
    if orientation_of(picture) == 1:
        return picture
    try:
        return ImageOps.exif_transpose(picture) or picture
    except Exception:  # EXIF data of any program
        return picture


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation of a picture as it is stored: 1 to 8; 1 if it has none."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF data of any program
        return 1
    return int(found) if found in range(1, 9) else 1


def to_rgb(picture: Image.Image, path: Path) -> Image.Image:
    """A picture as it is stored, as RGB of 8 bits, upright as its EXIF orientation says; 16 bits are scaled.

    Raises:
        UnusableError: its pixels are no integers.
    """
    turned = upright(picture)
    if turned.mode.startswith("I"):
        levels = np.asarray(turned).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65_535:
            raise UnusableError(f"{path}: pixels from {levels.min()} to {levels.max()}; save it with 8 or 16 bits")
        grey = (levels + LEVELS_16 // 2) // LEVELS_16
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if turned.mode == "F":
        raise UnusableError(f"{path}: pixels are floating-point numbers; save it with 8 or 16 bits")
    return turned if turned.mode == "RGB" else turned.convert("RGB")  # which would copy it


def count_frames(path: Path) -> int:
    """The number of frames of an animation; 1 for a still picture, or if it cannot be told."""
    try:
        with open_plain(path) as file, Image.open(file, formats=FORMATS) as picture:
            return int(getattr(picture, "n_frames", 1))
    except Exception:  # whatever is wrong with the file is said when it is read
        return 1


def palette_of(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The colours of a palette picture (mode P), uint8 (N, 3); colours that its indices lack are black."""
    colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    missing = int(np.asarray(picture).max()) + 1 - len(colours)
    return np.concatenate([colours, np.zeros((max(0, missing), 3), np.uint8)])


def is_hidden(path: Path) -> bool:
    """True for what a file manager leaves beside the pictures: `._x.png`, `.DS_Store`, `__MACOSX`."""
    return path.name.startswith(".") or "__MACOSX" in path.parts


def walk(root: Path, is_strict: bool = False) -> Iterator[Path]:
    """All files below a folder, sorted within each folder; folders that are links are followed, each once, at last.

    So a folder is found under its own name, and not under that of a link to it.

    Raises:
        DataError: a folder cannot be read, if `is_strict`; else it is passed over.
    """
    seen: set[tuple[int, int]] = set()
    waiting, links = [root], list[Path]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            members = sorted(folder.iterdir())
        except OSError as error:
            if is_strict:
                raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from None
            continue
        for path in members:
            if is_hidden(path):
                continue
            if path.is_dir():
                (links if path.is_symlink() else waiting).append(path)
            elif path.is_file():  # no pipe and no device, which have no end
                yield path
