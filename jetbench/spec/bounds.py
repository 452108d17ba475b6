"""The bounds of every number and text that a user may give: generous for people, small for machines.

A value over its bound is refused when it is read, before anything is built. `yes` and `true` are no numbers.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MOST_CHANNELS = 16_384
MOST_REPEATS = 100
MOST_EXPANSION = 64
MOST_CLASSES = 10_000
MOST_SIDE = 32_768
MOST_PIXELS = 2**26
MOST_VARIANTS = 10_000
MOST_VALUES = 10_000
MOST_AXES = 100
MOST_BATCH = 65_536
MOST_THREADS = 4_096
MOST_COUNT = 1_000_000
MOST_PROCESSES = 1_000
MOST_STEPS = 100_000_000
MOST_SECONDS = 30 * 24 * 3600
MOST_SAMPLES = 10_000_000
MOST_NUMBER = 1e18
MOST_LETTERS = 10_000
MOST_NAME = 200
MOST_YAML_BYTES = 4 * 2**20
MOST_YAML_VALUES = 500_000
MOST_YAML_DEPTH = 40
MOST_IMAGE_PIXELS = 100_000_000
MOST_DRAWN_PIXELS = 2**22

BOUNDS: tuple[tuple[str, str], ...] = (
    ("channels, groups", f"{MOST_CHANNELS:,}"),
    ("repeats of a stage", f"{MOST_REPEATS:,}"),
    ("expansion", f"{MOST_EXPANSION:,}"),
    ("classes", f"{MOST_CLASSES:,}"),
    ("image size", f"{MOST_SIDE:,} a side, {MOST_PIXELS:,} pixels in all"),
    ("variants of a sweep, with seeds and budgets", f"{MOST_VARIANTS:,}"),
    ("axes of a grid, search or space; values of an axis", f"{MOST_AXES:,}; {MOST_VALUES:,}"),
    ("samples of `screen`", f"{MOST_SAMPLES:,}"),
    ("batch size, threads", f"{MOST_BATCH:,}, {MOST_THREADS:,}"),
    ("steps of a training", f"{MOST_STEPS:,}"),
    ("other counts: trainings, epochs, evaluations, processes, iterations, windows", f"{MOST_COUNT:,}"),
    ("durations", f"{MOST_SECONDS // 86400} days"),
    ("names; other texts", f"{MOST_NAME:,} letters; {MOST_LETTERS:,}"),
    ("a YAML file", f"{MOST_YAML_BYTES // 2**20} MiB, {MOST_YAML_VALUES:,} values, {MOST_YAML_DEPTH} levels"),
    ("a generated scene", f"{MOST_DRAWN_PIXELS:,} pixels"),
    ("an image or label file", f"{MOST_IMAGE_PIXELS:,} pixels"),
)
"""What is bounded, and by how much; the table in sweeps/README.md."""


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"expected a number, found {str(value).lower()}")
    return value


IS_NUMBER = BeforeValidator(_refuse_bool)

Channels = Annotated[int, IS_NUMBER, Field(ge=1, le=MOST_CHANNELS)]
Repeats = Annotated[int, IS_NUMBER, Field(ge=0, le=MOST_REPEATS)]
Expansion = Annotated[int, IS_NUMBER, Field(ge=1, le=MOST_EXPANSION)]
Classes = Annotated[int, IS_NUMBER, Field(ge=2, le=MOST_CLASSES)]
Side = Annotated[int, IS_NUMBER, Field(ge=1, le=MOST_SIDE)]
BatchSize = Annotated[int, IS_NUMBER, Field(ge=1, le=MOST_BATCH)]
Threads = Annotated[int, IS_NUMBER, Field(ge=1, le=MOST_THREADS)]
Count = Annotated[int, IS_NUMBER, Field(ge=1, le=MOST_COUNT)]
Seed = Annotated[int, IS_NUMBER, Field(ge=0, lt=2**32)]
Whole = Annotated[int, IS_NUMBER, Field(ge=1, le=int(MOST_NUMBER))]
"""A count of operations, parameters or bytes."""
Seconds = Annotated[float, IS_NUMBER, Field(gt=0, le=MOST_SECONDS)]
Positive = Annotated[float, IS_NUMBER, Field(gt=0, le=MOST_NUMBER)]
NonNegative = Annotated[float, IS_NUMBER, Field(ge=0, le=MOST_NUMBER)]
Amount = Annotated[int, Field(ge=0, le=2**63)]
"""A count that a record holds; records are read strictly, so that `true` is no number there either."""
Duration = Annotated[float, Field(ge=0, le=MOST_NUMBER)]
"""A duration or a rate that a record holds."""
Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]
Text = Annotated[str, Field(max_length=MOST_LETTERS)]
