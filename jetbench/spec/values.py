"""Parsers for the values of YAML and the command line: sizes, counts, bytes, durations, each with its unit."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from jetbench.spec.bounds import MOST_PIXELS, MOST_SIDE, Side, Whole

COUNT_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_count(text: str) -> int:
    """A count such as `40000`, `40k`, `1.2M` or `1.2G`.

    Raises:
        ValueError: the text is not a count.
    """
    return _parse_quantity(text, COUNT_UNITS, "a count; write 40000, 40k, 1.2M or 1.2G")


def parse_bytes(text: str) -> int:
    """A number of bytes such as `64MiB` or `500kB`; the unit is required.

    Raises:
        ValueError: the text is not a size in bytes.
    """
    return _parse_quantity(text, BYTE_UNITS, "a size in bytes; write 64MiB, 500kB or 1.5GB")


def _parse_quantity(text: str, units: Mapping[str, int], expected: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if not match or match[2] not in units:
        raise ValueError(f"{shorten(text)!r} is not {expected}")
    return round(Decimal(match[1]) * units[match[2]])


def parse_seconds(text: str) -> float:
    """Seconds of a duration such as `30s`, `10min` or `1.5h`; the unit is required.

    Raises:
        ValueError: the text is not a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", text.strip())
    if not match or float(match[1]) == 0:
        raise ValueError(f"{shorten(text)!r} is not a duration; write 30s, 10min or 1.5h")
    return float(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]


def parse_short_seconds(text: str) -> float:
    """Seconds from a latency such as `33ms`, `850us` or `0.5s`.

    Raises:
        ValueError: the text is not a latency.
    """
    return _parse_scaled(text, {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}, "a latency; write 33ms or 0.5s")


def parse_joules(text: str) -> float:
    """Joules from an energy such as `50mJ` or `1.2J`.

    Raises:
        ValueError: the text is not an energy.
    """
    return _parse_scaled(text, {"mj": 1e-3, "j": 1.0}, "an energy; write 50mJ or 1.2J")


def parse_watts(text: str) -> float:
    """Watts from a power such as `15W` or `800mW`.

    Raises:
        ValueError: the text is not a power.
    """
    return _parse_scaled(text, {"mw": 1e-3, "w": 1.0}, "a power; write 15W or 800mW")


def _parse_scaled(text: str, units: Mapping[str, float], expected: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+)", text.strip())
    if not match or match[2].lower() not in units or float(match[1]) == 0:
        raise ValueError(f"{shorten(text)!r} is not {expected}")
    # Decimal arithmetic, so that 33us becomes exactly the float written 0.000033.
    return float(Decimal(match[1]) * Decimal(repr(units[match[2].lower()])))


def parse_share(text: str) -> float:
    """A share of 1 such as `2%` or `0.02`.

    Raises:
        ValueError: the text is not a share between 0 and 1.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise ValueError(f"{shorten(text)!r} is not a share; write 2% or 0.02")
    return share


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) in pixels from `HxW` text such as `360x480`.

    Raises:
        ValueError: the text is not a size, or exceeds the bounds of `bounds.BOUNDS`.
    """
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", text.strip().lower())
    if not match:
        raise ValueError(f"{shorten(text)!r} is not a size; write HEIGHTxWIDTH, for example 360x480")
    if max(map(len, match.groups())) > len(str(MOST_SIDE)):
        raise ValueError(f"{shorten(text)} is too large: at most {MOST_SIDE:,} a side and {MOST_PIXELS:,} pixels")
    return check_pixels((int(match[1]), int(match[2])))


def check_pixels(size: tuple[int, int]) -> tuple[int, int]:
    """`size`, if an image may have it; otherwise a ValueError."""
    if max(size) > MOST_SIDE or size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"{size[0]}x{size[1]} is too large: at most {MOST_SIDE:,} a side and {MOST_PIXELS:,} pixels")
    return size


def shorten(text: str, most: int = 80) -> str:
    """The beginning of a text of any length, for a message."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _read_size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Size = Annotated[tuple[Side, Side], BeforeValidator(_read_size), AfterValidator(check_pixels)]
"""(height, width) in pixels, written `360x480` in YAML and on the command line."""
DeviceName = Literal["auto", "cpu", "cuda"]


def listed(value: Any) -> Any:
    """`value`, if it is a list with at least one entry; otherwise a ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list with at least one value")
    return value


def check_folder_name(value: str) -> str:
    """`value`, if every operating system allows it as a folder name; otherwise a ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", value):
        raise ValueError(
            f"{value!r} cannot name the report folder, which takes only letters, digits, . _ -; give name: or --name"
        )
    return value


def read_by(parse: Callable[[str], float]) -> BeforeValidator:
    """A validator that reads text with `parse` and passes other values through."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def with_unit(parse: Callable[[str], float], example: str) -> BeforeValidator:
    """A validator that reads text with `parse` and refuses a bare number, because it has no unit."""

    def read(value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"{value!r} has no unit; write for example {example}")
        return parse(value) if isinstance(value, str) else value

    return BeforeValidator(read)


def written_in(unit: str) -> PlainSerializer:
    """A serializer that writes the value with its unit and without an exponent, as the parser reads it."""
    return PlainSerializer(
        lambda value: None if value is None else f"{Decimal(f'{value:.12g}'):f}{unit}", when_used="json"
    )


MemoryLimit = Annotated[Whole | None, with_unit(parse_bytes, "8GiB"), written_in("B")]
