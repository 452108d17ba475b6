"""Predictions for a few fixed test images, stored in the weights file; colours of class ids."""

import base64
import io
import json
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from jetbench.data.labels import CLASSES_11, CLASSES_32, COLOURS_11, COLOURS_32, VOID

COUNT = 4
KEY = "predictions"
LARGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows

Ids = npt.NDArray[np.uint8]


def sample_indices(count: int) -> list[int]:
    """Indices of the images of a split to show: up to `COUNT`, the same for every network, spread over the split."""
    shown = min(COUNT, count)
    return [(2 * number + 1) * count // (2 * shown) for number in range(shown)]


def encode_ids(ids: Ids) -> str:
    """Class ids (N, H, W) as one grey PNG in base64, images stacked vertically: for the metadata of a weights file."""
    buffer = io.BytesIO()
    Image.fromarray(ids.reshape(-1, ids.shape[2]), "L").save(buffer, "PNG", optimize=True)
    return f"{len(ids)} {base64.b64encode(buffer.getvalue()).decode()}"


def decode_ids(text: str) -> Ids:
    """The class ids (N, H, W) from the text of `encode_ids`."""
    count, _, data = text.partition(" ")
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        stacked = np.asarray(picture.convert("L"))
    return stacked.reshape(int(count), -1, stacked.shape[1])


def read_predictions(path: Path) -> Ids | None:
    """Class ids (N, H, W) of the sample images in a weights file; None if it has none. Needs no torch."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER:
                return None
            text = json.loads(file.read(length)).get("__metadata__", {}).get(KEY)
        return decode_ids(text) if text else None
    except (OSError, ValueError, struct.error, AttributeError):
        return None


def class_names_of(num_classes: int) -> tuple[str, ...]:
    """The class names of CamVid for 11 or 32 classes; numbered names for any other count."""
    vocabularies = {len(names): names for names in (CLASSES_11, CLASSES_32)}
    return vocabularies.get(num_classes) or tuple(f"class {number}" for number in range(num_classes))


def colours_of(num_classes: int) -> Ids:
    """A colour for each class id, uint8 (256, 3): CamVid's for 11 and 32 classes; void is black."""
    palette: tuple[tuple[int, int, int], ...]
    if num_classes == len(COLOURS_11):
        palette = COLOURS_11
    elif num_classes == len(COLOURS_32):
        palette = tuple(COLOURS_32.values())
    else:
        palette = tuple(((67 * n) % 256, (149 * n + 90) % 256, (211 * n + 40) % 256) for n in range(num_classes))
    colours = np.zeros((VOID + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours
