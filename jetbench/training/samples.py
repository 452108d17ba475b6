"""Predictions for a few fixed test images, stored in the weights file; colours of class ids."""

import base64
import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from jetbench.data.labels import CLASSES_11, CLASSES_32, COLOURS_11, COLOURS_32, VOID
from jetbench.records.record import DatasetInfo
from jetbench.spec.dataset import ClassSpec

COUNT = 4
KEY = "predictions"
LARGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows

Ids = npt.NDArray[np.uint8]


def shown_split(info: DatasetInfo) -> str:
    """The split whose images are shown: test, or val where test has no labels."""
    return "test" if info.images["test"] else "val"


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
    """The class names of weights that do not say them, which are of CamVid or of generated streets."""
    vocabularies = {len(names): names for names in (CLASSES_11, CLASSES_32)}
    return vocabularies.get(num_classes) or tuple(f"class {number}" for number in range(num_classes))


def colours_of(names: Sequence[str], classes: Sequence[ClassSpec] = ()) -> Ids:
    """A colour for each class id, uint8 (256, 3); void is black.

    Args:
        names: the names of the classes; CamVid's have its colours.
        classes: the classes of data that bring their own colours.
    """
    known = {CLASSES_11: COLOURS_11, CLASSES_32: tuple(COLOURS_32.values())}.get(tuple(names))
    made = [((67 * n) % 256, (149 * n + 90) % 256, (211 * n + 40) % 256) for n in range(len(names))]
    palette = known or [each.colour or made[n] for n, each in enumerate(classes)] or made
    colours = np.zeros((VOID + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours
