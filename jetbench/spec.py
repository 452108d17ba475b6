"""The base of everything a person can ask for: frozen, strict data read from YAML, with errors that name the key.

Building a spec does nothing else: no file access, no device probe, no environment variable. A misspelt key is an
error and not a default, because a default would silently measure something else than was asked.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveInt, ValidationError

from jetbench.errors import SpecError


class Spec(BaseModel):
    """Frozen data that rejects keys it does not know, and numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


SpecT = TypeVar("SpecT", bound=Spec)

COUNT_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
BYTE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_count(text: str) -> int:
    """A count such as `40000`, `40k`, `1.2M` or `1.2G`.

    Raises:
        ValueError: the text is no count.
    """
    return _parse_quantity(text, COUNT_UNITS, "a count; write 40000, 40k, 1.2M or 1.2G")


def parse_bytes(text: str) -> int:
    """A number of bytes such as `64MiB` or `500kB`; the unit must be there.

    Raises:
        ValueError: the text is no size in bytes.
    """
    return _parse_quantity(text, BYTE_UNITS, "a size in bytes; write 64MiB, 500kB or 1.5GB")


def _parse_quantity(text: str, units: Mapping[str, int], expected: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if not match or match[2] not in units:
        raise ValueError(f"{text!r} is not {expected}")
    return round(Decimal(match[1]) * units[match[2]])


def parse_seconds(text: str) -> float:
    """Seconds of a duration such as `30s`, `10min` or `1.5h`; the unit must be there.

    Raises:
        ValueError: the text is no duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", text.strip())
    if not match or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration; write 30s, 10min or 1.5h")
    return float(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]


def parse_short_seconds(text: str) -> float:
    """Seconds from a latency such as `33ms`, `850us` or `0.5s`.

    Raises:
        ValueError: the text is no latency.
    """
    return _parse_scaled(text, {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}, "a latency; write 33ms or 0.5s")


def parse_joules(text: str) -> float:
    """Joules from an energy such as `50mJ` or `1.2J`.

    Raises:
        ValueError: the text is no energy.
    """
    return _parse_scaled(text, {"mj": 1e-3, "j": 1.0}, "an energy; write 50mJ or 1.2J")


def _parse_scaled(text: str, units: Mapping[str, float], expected: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+)", text.strip())
    if not match or match[2].lower() not in units or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not {expected}")
    # In decimal, so that 33us is the 0.000033s that it is written as.
    return float(Decimal(match[1]) * Decimal(repr(units[match[2].lower()])))


def parse_share(text: str) -> float:
    """A share of 1 such as `2%` or `0.02`.

    Raises:
        ValueError: the text is no share between 0 and 1.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not a share; write 2% or 0.02")
    return share


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) in pixels from `HxW` text such as `360x480`.

    Raises:
        ValueError: the text is no size.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is not a size; write HEIGHTxWIDTH, for example 360x480")
    return int(match[1]), int(match[2])


def _read_size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


Size = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(_read_size)]
"""(height, width) in pixels; YAML and the command line write it as `360x480`."""


def parse_spec(kind: type[SpecT], raw: object, source: str) -> SpecT:
    """Validate `raw` as a `kind`, reporting all wrong keys at once.

    Raises:
        SpecError: one line per key: where, the value that was given, and the rule it breaks.
    """
    if not isinstance(raw, Mapping):
        raise SpecError(f"{source}: expected a mapping of keys to values, found {describe_value(raw)}")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        lines = [f"{source}:", *(f"  {_describe_problem(kind, detail)}" for detail in error.errors())]
        raise SpecError("\n".join(dict.fromkeys(lines))) from None


PLAIN_WORDS = {
    "tuple_type": "expected a list",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
}


def _describe_problem(kind: type[Spec], detail: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "(whole file)"
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(str(detail["loc"][-1]), _known_keys(kind), n=1)
        return f"{where}: no such key" + (f"; did you mean {close[0]}?" if close else "")
    message = PLAIN_WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, "))
    if detail["type"] in ("missing", "value_error"):
        return f"{where}: {message}"
    return f"{where}: {message} (given: {describe_value(detail['input'])})"


def _known_keys(kind: type[Spec]) -> list[str]:
    schema = kind.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({key for part in parts for key in part.get("properties", {})})


def describe_value(value: object) -> str:
    """`value` as short text for a message."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        SpecError: the file is missing, is not YAML, repeats a key, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: is a folder, not a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as text ({error})") from None
    try:
        raw = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise SpecError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(raw, dict):
        raise SpecError(f"{path}: expected a mapping of keys to values, found {describe_value(raw)}")
    return raw


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a repeated key; plain PyYAML keeps the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def override(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a raw mapping with dotted keys replaced: `{"stages.s2.repeats": 2}`.

    Raises:
        SpecError: a dotted key walks through a value that is no mapping.
    """
    result = _copy(raw)
    for dotted, value in changes.items():
        *parents, leaf = str(dotted).split(".")
        place = result
        for part in parents:
            child = place.setdefault(part, {})
            if child is None:
                child = place[part] = {}
            if not isinstance(child, dict):
                raise SpecError(f"{dotted}: {part!r} holds {describe_value(child)}, which has no keys to change")
            place = child
        place[leaf] = value
    return result


def _copy(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in raw.items()}
