"""The base class of all specs: frozen, strict data read from YAML, with errors that name the key.

Building a spec has no side effects: it reads no file, no device and no environment variable. A misspelt key is an
error, because a default in its place would silently measure something else than the user requested.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jetbench.errors import SpecError


class Spec(BaseModel):
    """Frozen data that rejects unknown keys, infinities and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def later(default: Any) -> Any:
    """A field added after the first version: left out of JSON, YAML and keys while it has its default.

    A folder from before the field existed therefore holds the same sweep, and its variants keep their keys.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


SpecT = TypeVar("SpecT", bound=Spec)


def parse_spec(kind: type[SpecT], raw: object, source: str) -> SpecT:
    """Validate `raw` as a `kind`, reporting all wrong keys at once.

    Raises:
        SpecError: one line per key: its place, the given value, and the rule that it breaks.
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
        SpecError: the file is missing, is not YAML, repeats a key, or does not hold a mapping.
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
    """SafeLoader that refuses a repeated key; plain PyYAML silently keeps the last one."""

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
        SpecError: a dotted key leads through a value that is not a mapping.
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
