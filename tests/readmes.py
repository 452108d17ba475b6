"""The parts of the READMEs that are made from the code: tables of keys from the specs, and a table of a kept study.

`make readmes` writes them; tests/test_readmes.py holds them.
"""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jetbench.reporting.studies import read_study
from jetbench.reporting.tables.columns import find_columns
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.table import build_table
from jetbench.spec.architecture import Architecture
from jetbench.spec.bounds import BOUNDS
from jetbench.spec.dataset import CamvidConfig, ClassSpec, FolderConfig, StreetsConfig
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.schema import field_docs
from jetbench.spec.search import Search, Space
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import Budget, TrainingConfig

ROOT = Path(__file__).parents[1]
# Each is a page of its own, or a name that says nothing of a file.
LEFT_OUT = {"training", "profiling", "dataset", "name", "description", "paper", "reported"}
KINDS: dict[str, tuple[tuple[str, type[BaseModel]], ...]] = {
    "architecture": (("", Architecture),),
    "sweep": (("", Sweep),),
    "dataset": (
        ("streets: ", StreetsConfig),
        ("camvid: ", CamvidConfig),
        ("folder: ", FolderConfig),
        ("folder, a class: ", ClassSpec),
    ),
    "training": (("", TrainingConfig),),
    "profiling": (("", ProfilingConfig),),
    "search": (("", Search),),
    "space": (("", Space),),
}
# Keys of a kind that are those of a sweep, which the README says.
SAME = {"search": ("base", "board", "power_mode", "device", "timeout_s", "memory_limit"), "space": ("base", "axes")}
SHOWN = ("jetseg-nano", "jetseg-nano-released", "cgnet", "dabnet", "fastscnn", "ddrnet23-slim")
COLUMNS = ("parameters", "macs", "test", "latency", "fps", "memory")


def key_table(kind: str) -> str:
    """Every key of a spec with its values, its default and what it is."""
    lines = ["| key | values | default | what it is |", "| --- | --- | --- | --- |"]
    left_out = SAME.get(kind, ())
    for prefix, model in KINDS[kind]:
        lines += [
            f"| {prefix}`{name}` | {values} | {default} | {what} |"
            for name, values, default, what in _keys(model)
            if name not in left_out
        ]
    return "\n".join(lines)


def bounds_table() -> str:
    """What is bounded, and by how much."""
    lines = ["| of | at most |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {what} | {most} |" for what, most in BOUNDS)])


def study_table() -> str:
    """Some rows of a kept study, as it prints them."""
    study = read_study(ROOT / "reports" / "paper" / "realtime")
    rows = [row for row in study.rows() if row.name in SHOWN]
    page = to_markdown(build_table(rows, find_columns(COLUMNS), study.title))
    table = [line for line in page.splitlines() if line.startswith("|")]
    return "\n".join(re.sub(r"<ins>|</ins>|\*\*", "", line) for line in table)


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    docs = field_docs(model)
    groups: dict[type[BaseModel] | None, list[str]] = {}  # fields of one kind, of which the keys are listed once
    for name, field in model.model_fields.items():
        groups.setdefault(_inner(field.annotation), []).append(name)
    for name, field in model.model_fields.items():
        if not prefix and name in LEFT_OUT:
            continue
        inner = _inner(field.annotation)
        if inner is not None and inner is not Budget:
            if name == groups[inner][0]:
                names = ",".join(groups[inner])
                yield from _keys(inner, prefix + (f"{{{names}}}." if "," in names else f"{names}."))
            continue
        yield f"{prefix}{name}", _values(field), _default(field), docs.get(name, "")


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The spec that a field holds, if its keys are to be listed one by one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _values(field: FieldInfo) -> str:
    """What a field takes, in a few words."""
    return _type_words(field.annotation).replace("|", "\\|")


def _type_words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_words(arguments[0])
    if origin is Literal:
        return " ".join(str(each) for each in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_words(each) for each in arguments if each is not type(None)))
    if origin is tuple and arguments == (int, int):
        return "HxW"
    if origin is tuple:
        return "list" if arguments[-1] is Ellipsis else "[" + ", ".join(map(_type_words, arguments)) + "]"
    if origin in (dict, list):
        return "keys with values" if origin is dict else "list"
    names = {int: "count", float: "number", str: "text", bool: "true false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required" if field.default_factory is None else ""
    if value is None or value == () or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return (
            "x".join(map(str, value))
            if all(isinstance(each, int) for each in value) and len(value) == 2
            else (", ".join(map(str, value)))
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


def made(text: str) -> str:
    """A README with its made parts made anew."""

    def fill(match: re.Match[str]) -> str:
        what, name = match[1].split(": ")
        tables = {"table": study_table, "bounds": bounds_table}
        return f"<!-- {match[1]} -->\n{tables[what]() if what in tables else key_table(name)}\n<!-- end -->"

    return re.sub(r"<!-- ((?:keys|table|bounds): [a-z]+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    for path in (ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("jetbench/*/README.md"))):
        path.write_text(made(path.read_text()))
