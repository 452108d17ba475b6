"""Spec of a dataset: its name, location and image size."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from jetbench.spec.base import Spec
from jetbench.spec.bounds import IS_NUMBER, MOST_DRAWN_PIXELS, Seed
from jetbench.spec.values import Size

SPLITS = ("train", "val", "test")
ImageCount = Annotated[int, IS_NUMBER, Field(ge=1, le=100_000)]


class StreetsConfig(Spec):
    """Generated street scenes with the 11 classes of CamVid and void; nothing to download."""

    name: Literal["streets"] = "streets"
    size: Size = (160, 320)
    """Image size."""
    train: ImageCount = 256
    """Number of training images."""
    val: ImageCount = 48
    """Number of validation images."""
    test: ImageCount = 48
    """Number of test images."""
    seed: Seed = 0
    """Seed of the scenes."""

    @field_validator("size")
    @classmethod
    def _can_be_drawn(cls, value: Size) -> Size:
        if value[0] * value[1] > MOST_DRAWN_PIXELS:
            raise ValueError(f"{value[0]}x{value[1]}: at most {MOST_DRAWN_PIXELS:,} pixels are drawn")
        return value


class CamvidConfig(Spec):
    """CamVid in its 11-class or 32-class layout, at `path`; None means $JETBENCH_DATA/camvid."""

    name: Literal["camvid"] = "camvid"
    path: str | None = None
    """Folder of the images; by default `$JETBENCH_DATA/camvid`."""
    size: Size | None = None
    """Images are scaled to this size; by default their own."""


DatasetConfig = Annotated[StreetsConfig | CamvidConfig, Field(discriminator="name")]
DATASETS: dict[str, type[StreetsConfig] | type[CamvidConfig]] = {"streets": StreetsConfig, "camvid": CamvidConfig}
