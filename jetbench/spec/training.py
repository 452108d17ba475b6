"""Spec of a training: budget, loss, augmentation, teacher."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from jetbench.errors import SpecError
from jetbench.spec.base import Spec, describe_value, later
from jetbench.spec.bounds import (
    IS_NUMBER,
    MOST_COUNT,
    MOST_SECONDS,
    MOST_STEPS,
    BatchSize,
    Count,
    NonNegative,
    Positive,
    Seed,
    Threads,
)
from jetbench.spec.sources import MOST_NAMED, Arguments, is_file, is_model, split_model
from jetbench.spec.values import Size

LossName = Literal[
    "jetloss", "cross-entropy", "weighted-cross-entropy", "ohem", "focal", "dice", "lovasz", "jetloss-released"
]
LOSSES: tuple[LossName, ...] = get_args(LossName)


def _check_loss(value: Any) -> Any:
    if isinstance(value, str) and (value in LOSSES or (len(value) <= MOST_NAMED and is_model(value))):
        return value
    raise ValueError(
        f"expected {', '.join(map(repr, LOSSES))}, or FILE.py:factory or package.module:factory of a loss of your own "
        f"(given: {describe_value(value)})"
    )


Loss = Annotated[
    str,
    BeforeValidator(_check_loss),
    WithJsonSchema({"anyOf": [{"enum": list(LOSSES)}, {"type": "string", "pattern": ":[A-Za-z_]"}]}),
]
"""The name of a loss, or the factory of one of the user's own."""
ScheduleName = Literal["one-cycle", "polynomial", "constant"]
POLYNOMIAL_POWER = 0.9
BudgetUnit = Literal["steps", "epochs", "seconds"]


MOST_BUDGET: dict[BudgetUnit, int] = {"steps": MOST_STEPS, "epochs": MOST_COUNT, "seconds": MOST_SECONDS}


class Budget(Spec):
    """How long a training lasts: `300 steps`, `20 epochs` or `60 seconds` in YAML."""

    amount: Positive
    unit: BudgetUnit

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError(f"{describe_value(value)} has no unit; write 300steps, 20epochs, 60s or 2min")
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(steps?|epochs?|seconds?|s|min)", value.strip())
            if not match:
                raise ValueError(f"{describe_value(value)} is not a budget; write 300steps, 20epochs, 60s or 2min")
            unit = match[2].rstrip("s")
            if unit in ("", "second", "min"):
                return {"amount": float(match[1]) * (60 if unit == "min" else 1), "unit": "seconds"}
            return {"amount": float(match[1]), "unit": unit + "s"}
        return value

    @model_validator(mode="after")
    def _whole_steps(self) -> "Budget":
        if self.unit == "steps" and self.amount != int(self.amount):
            raise ValueError(f"{self.amount} steps: expected a whole number of steps")
        if self.amount > (most := MOST_BUDGET[self.unit]):
            raise ValueError(f"{self}: at most {most:,} {self.unit}")
        return self

    def __str__(self) -> str:
        amount = int(self.amount) if self.amount == int(self.amount) else self.amount
        return f"{amount} {self.unit.removesuffix('s') if amount == 1 else self.unit}"


class JetLossConfig(Spec):
    """JetLoss (section 2.4): weights of its three terms, and the class weights by effective numbers (Cui et al.).

    `rare_share` is the share of pixels below which a class begins to weigh more. A small value is close to uniform
    weights; 1 is close to inverse frequency, with which training stalls. `beta` sets Cui's parameter directly instead
    (0: uniform).
    """

    rare_share: Annotated[float, IS_NUMBER, Field(gt=0, le=1)] = 0.0001
    """A class with a smaller share of the pixels gets a larger weight."""
    beta: Annotated[float, IS_NUMBER, Field(ge=0, lt=1)] | None = None
    """Class weights by Cui's beta in place of `rare_share`; 0 is uniform."""
    recall: NonNegative = 1.0
    """Weight of the recall term (section 2.4)."""
    precision: NonNegative = 1.0
    """Weight of the precision term."""
    batch_iou: NonNegative = 1.0
    """Weight of the IoU term over the batch."""


class AugmentationConfig(Spec):
    """Random changes of the training images; none by default, as in the paper.

    `flip` mirrors half of the images. `scale` [a, b] enlarges by a factor between a and b, and shifts. `light`
    multiplies the normalised pixels by 1 +- light and adds +- light.
    """

    flip: bool = False
    """Mirrors half of the images."""
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    """Enlarges by a factor between the two, and shifts."""
    light: Annotated[float, IS_NUMBER, Field(ge=0, lt=1)] = 0.0
    """Multiplies the normalised pixels by 1 ± this, and adds ± this."""
    crop: Size | None = later(None)
    """Trains on a random part of this size of each image, after the other changes."""

    @field_validator("scale")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"expected the smaller factor first: [{value[1]:g}, {value[0]:g}]")
        return value

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise if images of a size have no part as large as the crop.

        Raises:
            SpecError: they have none.
        """
        crop = self.crop
        if crop is not None and (crop[0] > size[0] or crop[1] > size[1]):
            raise SpecError(
                f"training.augmentation.crop: {crop[0]}x{crop[1]} is larger than the images of {size[0]}x{size[1]}"
            )

    @property
    def moves(self) -> bool:
        """True if pixels change their position."""
        return self.flip or self.scale != (1.0, 1.0)

    @property
    def is_on(self) -> bool:
        """True if images are changed at all."""
        return self.moves or self.light > 0 or self.crop is not None

    def describe(self) -> str:
        """A short description; empty if images stay unchanged."""
        parts = ["mirrored"] if self.flip else []
        if self.scale != (1.0, 1.0):
            parts.append(f"scaled by {self.scale[0]:g} to {self.scale[1]:g}")
        if self.light:
            parts.append(f"light +-{self.light:g}")
        if self.crop is not None:
            parts.append(f"cropped to {self.crop[0]}x{self.crop[1]}")
        return ", ".join(parts)


class OhemConfig(Spec):
    """Cross-entropy over hard pixels (Shrivastava et al., 2016, as BiSeNet and PIDNet use it)."""

    threshold: Annotated[float, IS_NUMBER, Field(gt=0, le=1)] = 0.7
    """A pixel is hard if the probability of its class is below this."""
    least: Annotated[float, IS_NUMBER, Field(gt=0, le=1)] = 0.0625
    """Share of the labelled pixels that counts at least: the hardest."""


class DistillationConfig(Spec):
    """The weight of the teacher's soft targets (labels have weight 1), and their temperature."""

    weight: NonNegative = 1.0
    """Weight of the teacher's soft targets; labels have 1."""
    temperature: Positive = 2.0
    """Temperature of the soft targets."""


class TrainingConfig(Spec):
    """A brief training, from random weights or from those of a file.

    `deterministic` makes torch refuse operations whose results vary from run to run; on a CPU no operation does.
    `proxies` adds the zero-cost proxies of the untrained network to the result. `teacher` is a weights file written by
    jetbench; the training distils from its network.
    """

    budget: Budget = Budget(amount=300, unit="steps")
    """Length: `300 steps`, `20 epochs`, `60s` or `2min`."""
    loss: Loss = "jetloss"
    """The loss (above)."""
    jetloss: JetLossConfig = JetLossConfig()
    batch_size: BatchSize = 8
    """Images per step."""
    learning_rate: Positive = 0.01
    """Largest learning rate."""
    weight_decay: NonNegative = 1e-4
    """Weight decay of AdamW."""
    schedule: ScheduleName = "one-cycle"
    """Learning rate over the steps; polynomial falls as (1 - progress) ^ 0.9."""
    evaluations: Count = 5
    """Evaluations on the validation split, evenly spaced."""
    augmentation: AugmentationConfig = AugmentationConfig()
    seed: Seed = 0
    """Seed of weights and of the order of images."""
    threads: Threads = 1
    """Threads of torch on a CPU."""
    mixed_precision: bool = True
    """Half precision where a GPU trains; nothing on a CPU."""
    deterministic: bool = False
    """Refuses operations whose results vary from run to run."""
    proxies: bool = False
    """Adds zero-cost proxies of the untrained network."""
    teacher: str | None = None
    """Weights file of a network to distil from."""
    optimizer: Literal["adamw", "sgd"] = later("adamw")
    """The optimiser; sgd has momentum."""
    momentum: Annotated[float, IS_NUMBER, Field(ge=0, lt=1)] = later(0.9)
    """Momentum of sgd."""
    warm_up: Annotated[float, IS_NUMBER, Field(ge=0, lt=1)] = later(0.0)
    """Share of the budget in which the learning rate rises evenly from 0; one-cycle has its own."""
    ohem: OhemConfig = later(OhemConfig())
    moving_average: Annotated[float, IS_NUMBER, Field(ge=0, lt=1)] = later(0.0)
    """Decay of a moving average of the weights, which is scored and saved in place of them; 0: none."""
    clip_gradients: Positive | None = later(None)
    """Largest norm of all gradients of a step together; longer ones are scaled down."""
    init: str | None = later(None)
    """Weights file to begin from: of jetbench, or a plain state dict; tensors count by name and shape."""
    distillation: DistillationConfig = DistillationConfig()
    loss_arguments: Arguments = later({})
    """Arguments of the factory of a loss of your own."""
    loss_source: str = later("")
    """Digest of the source of such a loss; jetbench sets it."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingConfig":
        if self.loss_arguments and not self.has_own_loss:
            raise ValueError(f"loss_arguments: {self.loss} takes none; they are for a loss of your own")
        if self.warm_up and self.schedule == "one-cycle":
            raise ValueError("warm_up: one-cycle has its own; take schedule: polynomial or constant")
        return self

    @property
    def has_own_loss(self) -> bool:
        """True if the loss is the user's own and not one of ours."""
        return self.loss not in LOSSES

    def describe_loss(self, whole: bool = False) -> str:
        """`jetloss`, or `tversky.py:Tversky(alpha=0.3)`; with `whole` also the digest of its source."""
        if not self.has_own_loss:
            return self.loss
        place, factory = split_model(self.loss)
        arguments = ", ".join(f"{key}={value}" for key, value in self.loss_arguments.items())
        text = f"{Path(place).name if is_file(self.loss) else place}:{factory}{f'({arguments})' if arguments else ''}"
        return f"{text} (source {self.loss_source})" if whole else text

    def describe_optimizer(self) -> str:
        """`AdamW 0.01 one-cycle`: the optimiser, its largest learning rate, and what changes it."""
        name = "AdamW" if self.optimizer == "adamw" else f"SGD (momentum {self.momentum:g})"
        parts = [f"{name} {self.learning_rate:g} {self.schedule}"]
        parts += [f"warm-up {100 * self.warm_up:g} %"] if self.warm_up else []
        parts += [f"moving average {self.moving_average:g}"] if self.moving_average else []
        parts += [f"gradients clipped to {self.clip_gradients:g}"] if self.clip_gradients is not None else []
        return ", ".join(parts)

    def total_steps(self, images: int) -> int | None:
        """Steps of the whole training on so many images; None if the budget is a time."""
        match self.budget.unit:
            case "steps":
                return int(self.budget.amount)
            case "epochs":
                return max(1, round(self.budget.amount * images / self.batch_size))
            case "seconds":
                return None

    @property
    def identity(self) -> str:
        """Text that two configs share only if they train alike; JetLoss settings count only if JetLoss is the loss.

        A loss of the user's own is its source and its factory, wherever the file is.
        """
        same = self if not self.has_own_loss else self.model_copy(update={"loss": f":{split_model(self.loss)[1]}"})
        return same.model_dump_json(exclude=None if self.loss == "jetloss" else {"jetloss"})


class Floor(Spec):
    """The best validation mIoU that a training needs at its k-th evaluation to continue, and the reason."""

    evaluation: Count
    of: Count
    miou: float
    why: str
