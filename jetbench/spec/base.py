"""The base class of all specs: frozen, strict data read from YAML, with errors that name the key.

Building a spec has no side effects: it reads no file, no device and no environment variable. A misspelt key is an
error, because a default in its place would silently measure something else than the user requested.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jetbench.errors import SpecError, visible
from jetbench.files import read_text
from jetbench.spec.bounds import MOST_YAML_BYTES, MOST_YAML_DEPTH, MOST_YAML_VALUES
from jetbench.spec.words import hint_of


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
    "missing": "is missing",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
}


def _describe_problem(kind: type[Spec], detail: Mapping[str, Any]) -> str:
    where = ".".join(str(part)[:60] for part in detail["loc"])
    where += ": " if where else ""
    if detail["type"] == "extra_forbidden":
        return f"{where}no such key{_suggest(kind, [str(part) for part in detail['loc']])}"
    message = plain_rule(detail)
    if detail["type"] in ("missing", "value_error"):
        return f"{where}{message}"
    return f"{where}{message} (given: {describe_value(detail['input'])})"


def plain_rule(detail: Mapping[str, Any]) -> str:
    """The rule that a value breaks, in plain words: `must be greater than 0`.

    Args:
        detail: one of the errors of a pydantic ValidationError.
    """
    if detail["type"] in PLAIN_WORDS:
        return PLAIN_WORDS[detail["type"]]
    for kind, words in (("greater_than_equal", "at least"), ("less_than_equal", "at most")):
        if detail["type"] == kind:
            return f"must be {words} {detail['ctx']['ge' if words == 'at least' else 'le']:,}"
    if detail["type"] in ("too_long", "string_too_long"):
        return (
            f"too long: at most {detail['ctx']['max_length']:,} {'letters' if 'string' in detail['type'] else 'values'}"
        )
    if detail["type"] == "union_tag_invalid":
        return f"{detail['ctx']['discriminator'].strip(chr(39))}: expected {detail['ctx']['expected_tags']}"
    asked = "expected " if detail["type"] in ("literal_error", "enum") else "must be "
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message.replace("Input should be ", asked).replace(" after validation", "")


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, with its place, and how many more there are."""
    first = error.errors(include_url=False)[0]
    place = visible(".".join(str(part)[:60] for part in first["loc"]))
    more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{place}{': ' if place else ''}{plain_rule(first)}{more}"


def _suggest(kind: type[Spec], where: Sequence[str]) -> str:
    """Where a key of that name, or of a similar one, belongs; empty if there is none."""
    schema, key = kind.model_json_schema(), where[-1]
    places: dict[str, list[str]] = {}
    for place in _places(schema, schema.get("$defs", {})):
        places.setdefault(place.rpartition(".")[2], []).append(place)
    for number, tag in enumerate(where[:-1]):  # `dataset.streets.path`: another dataset has a path, this one has not
        if ".".join([*where[:number], *where[number + 1 :]]) in places.get(key, ()):
            kinds = [part.get("properties", {}) for part in schema.get("$defs", {}).values()]
            own: Mapping[str, Any] = next((keys for keys in kinds if keys.get("name", {}).get("const") == tag), {})
            return f"; {tag} has {', '.join(other for other in own if other != 'name')}" if own else ""
    if key in places:
        return f" here; {key} belongs at {' or '.join(places[key][:3])}"
    if hint := hint_of(key):
        return f"; write {hint}"
    close = get_close_matches(key, places, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _places(part: Mapping[str, Any], definitions: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted place of every key in a JSON schema; no schema of ours contains itself."""
    if "$ref" in part:
        yield from _places(definitions[part["$ref"].rpartition("/")[2]], definitions, above)
    for key, child in part.get("properties", {}).items():
        yield above + key
        yield from _places(child, definitions, f"{above}{key}.")
    for choice in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
        yield from _places(choice, definitions, above)
    if isinstance(part.get("items"), dict):
        yield from _places(part["items"], definitions, above)


def describe_value(value: object) -> str:
    """`value` as short text for a message; it may be of any size."""
    if isinstance(value, int) and abs(value) >= 10**80:
        return f"a number of some {int(value.bit_length() * 0.30103)} digits"
    if isinstance(value, list | tuple | dict) and len(value) > 80:
        return f"{len(value):,} values"
    text = "nothing" if value is None else repr(value[:100] if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        SpecError: the file is missing, is not YAML, repeats a key, or does not hold a mapping.
    """
    try:
        text = read_text(path, MOST_YAML_BYTES)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: is a folder, not a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as text ({error})") from None
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise SpecError(f"{path}: expected a mapping of keys to values, found {describe_value(raw)}")
    return raw


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text. It has words, numbers, true, false (yes, no), lists and mappings: no dates, no tags.

    Args:
        text: at most as large as `bounds.BOUNDS` says.
        source: where the text is from, for messages.

    Raises:
        SpecError: it is not YAML, repeats a key, is too large or too deep, or contains itself.
    """
    try:
        value = yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise SpecError(f"{source}: not valid YAML: {reason[:300]}") from None
    except RecursionError:
        raise SpecError(f"{source}: not valid YAML: more than {MOST_YAML_DEPTH} levels") from None
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError) as error:  # from tags such as !!int x
        raise SpecError(f"{source}: not valid YAML: {str(error)[:200]}") from None
    left = [MOST_YAML_VALUES]
    if _is_too_large(value, left, MOST_YAML_DEPTH):
        raise SpecError(
            f"{source}: too large: at most {MOST_YAML_VALUES:,} values in {MOST_YAML_DEPTH} levels, with what & and * "
            "repeat"
        )
    return value


def _is_too_large(value: Any, left: list[int], levels: int) -> bool:
    """True if a value holds more values than `left[0]`, or more levels; one that contains itself has endless levels."""
    left[0] -= 1
    if left[0] < 0 or levels < 0:
        return True
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_is_too_large(child, left, levels - 1) for child in children)


# libyaml reads four times as fast, and has a limit of nesting of its own.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_SafeLoader):  # type: ignore[misc]
    """SafeLoader that refuses a repeated key, and reads 1:30, 010 and 2001-01-01 as the words that they are.

    Plain PyYAML silently keeps the last of two equal keys, and reads 1:30 as 90 and 010 as 8.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # << : an explicit key wins over the merged one
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
            if key in seen:
                problem = f"key {describe_value(key)} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


_PLAIN = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)"
    ),
}
_PlainLoader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile(rf"(?:{_PLAIN[tag].pattern})$") if tag in _PLAIN else pattern)
        for tag, pattern in resolvers
        if tag != "tag:yaml.org,2002:timestamp"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
