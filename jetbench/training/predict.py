"""Prediction of one image of any size by a trained network: its class ids, and an overlay picture."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import nn

from jetbench.models.weights import SavedNetwork
from jetbench.training.samples import class_names_of, colours_of

LEGEND_ROW, LEGEND_COLUMN, MARGIN = 14, 110, 4


def predict_image(network: nn.Module, saved: SavedNetwork, image: Image.Image) -> npt.NDArray[np.uint8]:
    """Class ids (H, W) at the size of the image; the network gets the image resized to its training size."""
    height, width = saved.input_size
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (saved.mean, saved.std))
    network.eval()
    with torch.inference_mode():
        ids = network((pixels - mean) / std).argmax(1)[0].to(torch.uint8).numpy()
    return np.asarray(Image.fromarray(ids, "L").resize(image.size, Image.Resampling.NEAREST))


def write_overlay(
    folder: Path, stem: str, image: Image.Image, ids: npt.NDArray[np.uint8], num_classes: int, opacity: float
) -> list[Path]:
    """Write STEM-overlay.png, with a legend of its classes, and STEM-classes.png, whose pixels are class ids."""
    colours = colours_of(num_classes)
    blended = Image.blend(image, Image.fromarray(colours[ids]), opacity)
    present = [int(number) for number in np.argsort(-np.bincount(ids.ravel(), minlength=num_classes))]
    present = [number for number in present if (ids == number).any()]
    paths = [folder / f"{stem}-overlay.png", folder / f"{stem}-classes.png"]
    _with_legend(blended, present, num_classes, ids).save(paths[0])
    indexed = Image.fromarray(ids, "P")
    indexed.putpalette(colours.ravel().tolist())
    indexed.save(paths[1])
    return paths


def _with_legend(picture: Image.Image, present: list[int], num_classes: int, ids: npt.NDArray[np.uint8]) -> Image.Image:
    """The picture with a legend below: each class in it, with its share of the pixels."""
    columns = max(1, picture.width // LEGEND_COLUMN)
    rows = -(-len(present) // columns)
    whole = Image.new("RGB", (picture.width, picture.height + rows * LEGEND_ROW + 2 * MARGIN), "white")
    whole.paste(picture, (0, 0))
    draw = ImageDraw.Draw(whole)
    names, colours = class_names_of(num_classes), colours_of(num_classes)
    for place, number in enumerate(present):
        x = MARGIN + (place % columns) * LEGEND_COLUMN
        y = picture.height + MARGIN + (place // columns) * LEGEND_ROW
        draw.rectangle((x, y, x + 10, y + 10), fill=tuple(int(value) for value in colours[number]))
        share = (ids == number).mean()
        percent = f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
        draw.text((x + 14, y - 1), f"{names[number]} {percent}", fill="black")
    return whole
