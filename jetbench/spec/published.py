"""Published data of a network: its paper and its reported figures, each figure with its source.

A reported figure is never a measurement of ours. Two figures are comparable only if input, classes, device and counting
rule agree, so each figure carries these as far as they are known.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from jetbench.spec.base import Spec
from jetbench.spec.bounds import IS_NUMBER, Positive, Whole
from jetbench.spec.values import Size, parse_count, parse_share

Quantity = Literal["parameters", "flops", "miou", "fps"]
QUANTITIES: tuple[Quantity, ...] = ("parameters", "flops", "miou", "fps")


def _count(value: Any) -> Any:
    return parse_count(value) if isinstance(value, str) else value


def _share(value: Any) -> Any:
    return parse_share(value) if isinstance(value, str) else value


class Paper(Spec):
    """Where a network was published."""

    title: str
    authors: str
    year: Annotated[int, IS_NUMBER, Field(ge=1980, le=2200)]
    venue: str = ""
    link: str


class Reported(Spec):
    """One published figure: exactly one of `parameters`, `flops`, `miou` and `fps`.

    `flops` is the number that the source calls FLOPs, whatever it counts. `per_mac` is how often (once or twice) a
    multiply-accumulate counts in it, None if unknown. `miou` is a share of 1 (YAML: `69.1%`). `source` says where the
    figure was read. `seen: false` marks a figure that was recalled and not read again.
    """

    parameters: Annotated[Whole | None, BeforeValidator(_count)] = None
    flops: Annotated[Whole | None, BeforeValidator(_count)] = None
    miou: Annotated[Annotated[float, IS_NUMBER, Field(gt=0, le=1)] | None, BeforeValidator(_share)] = None
    fps: Positive | None = None
    size: Size | None = None
    per_mac: Literal[1, 2] | None = None
    dataset: Literal["Cityscapes", "CamVid"] | None = None
    split: Literal["val", "test"] | None = None
    device: str | None = None
    note: str = ""
    source: Annotated[str, Field(min_length=1)]
    seen: bool = True

    @model_validator(mode="after")
    def _one_figure(self) -> "Reported":
        given = [name for name in QUANTITIES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a reported figure has exactly one of {', '.join(QUANTITIES)}; given: {', '.join(given) or 'none'}"
            )
        if self.miou is not None and self.dataset is None:
            raise ValueError("a reported mIoU needs its dataset: Cityscapes or CamVid")
        return self

    @property
    def quantity(self) -> Quantity:
        """The quantity that the figure reports."""
        return next(name for name in QUANTITIES if getattr(self, name) is not None)
