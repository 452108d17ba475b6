"""Spec of a dataset: its name, location and image size."""

from typing import Annotated, Literal

from pydantic import Field

from jetbench.spec.base import Spec
from jetbench.spec.bounds import IS_NUMBER, Seed
from jetbench.spec.values import Size

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


class CamvidConfig(Spec):
    """CamVid in its 11-class or 32-class layout, at `path`; None means $JETBENCH_DATA/camvid."""

    name: Literal["camvid"] = "camvid"
    path: str | None = None
    """Folder of the images; by default `$JETBENCH_DATA/camvid`."""
    size: Size | None = None
    """Images are scaled to this size; by default their own."""


DatasetConfig = Annotated[StreetsConfig | CamvidConfig, Field(discriminator="name")]
DATASETS: dict[str, type[StreetsConfig] | type[CamvidConfig]] = {"streets": StreetsConfig, "camvid": CamvidConfig}
