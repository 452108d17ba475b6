"""JSON schemas of the YAML files, for editors: every key with its values, its default and what it is.

A schema accepts each file that jetbench accepts. It is wider where a value can be written in several ways
(`80 steps`, `144x288`, `33ms`): the reader checks those.
"""

import ast
import inspect
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from jetbench.spec.architecture import Architecture
from jetbench.spec.bounds import IS_NUMBER
from jetbench.spec.catalog import Kind
from jetbench.spec.search import Search, Space
from jetbench.spec.sweep import Sweep

KINDS: dict[Kind, type[BaseModel]] = {
    "sweep": Sweep,
    "search": Search,
    "space": Space,
    "architecture": Architecture,
}
EXTENDS = {"type": "string", "description": "Another file of the kind; this one replaces keys of it."}


class _Written(GenerateJsonSchema):
    """Schemas of values as they are written in YAML, before a validator reads them."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """See `GenerateJsonSchema`."""
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] is IS_NUMBER.func:
            return inner
        return {"anyOf": [inner, {"type": ["string", "number", "array"]}]}

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        """See `GenerateJsonSchema`: the function decides alone."""
        return {}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """See `GenerateJsonSchema`; a model that may also be written as text or a list keeps its rules to its keys."""
        made = super().model_schema(schema)
        if "anyOf" in made and "additionalProperties" in made:
            made["anyOf"][0]["additionalProperties"] = made.pop("additionalProperties")
        return made


def json_schema(kind: Kind) -> dict[str, Any]:
    """The JSON schema of a kind of file, as plain data."""
    model = KINDS[kind]
    schema = model.model_json_schema(schema_generator=_Written)
    if "anyOf" in schema:  # a file is a mapping, never the text or list that a part of one may be
        schema = {**{key: value for key, value in schema.items() if key != "anyOf"}, **schema["anyOf"][0]}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"jetbench {kind}"
    _describe(schema, model)
    for name, definition in schema.get("$defs", {}).items():
        found = next((each for each in _subclasses(BaseModel) if each.__name__ == name), None)
        if found is not None:
            _describe(definition, found)
    if kind in ("sweep", "search"):
        schema["properties"]["extends"] = EXTENDS
        schema["required"] = []
    if kind == "sweep":
        settings = schema["$defs"]["ProfilingConfig"]["properties"]
        settings["backend"] = {"anyOf": [settings["backend"], {"type": ["string", "array"]}]}
    schema["required"] = [key for key in schema.get("required", ()) if key != "name"]  # by default the file's name
    _spell(schema)
    return schema


LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""How JSON schema calls a bound that pydantic leaves as it is, since a validator stands before the number."""


def _spell(part: Any) -> None:
    """Call bounds what JSON schema calls them, and drop those of a list where text may stand for it."""
    if isinstance(part, list):
        for each in part:
            _spell(each)
    if not isinstance(part, dict):
        return
    for short, name in LIMITS.items():
        if isinstance(part.get(short), int | float):
            part[name] = part.pop(short)
    if "anyOf" in part:
        for name in ("minLength", "maxLength"):
            part.pop(name, None)
    for each in part.values():
        _spell(each)


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    for name, text in field_docs(model).items():
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = text


def _subclasses(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for child in model.__subclasses__() for each in (child, *_subclasses(child))]


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field in the source of its class."""
    docs: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if not (isinstance(parent, type) and issubclass(parent, BaseModel)) or parent is BaseModel:
            continue
        (node,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(parent))).body
        assert isinstance(node, ast.ClassDef)
        for field, below in zip(node.body, node.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                docs[field.target.id] = " ".join(str(below.value.value).split())
    return docs
