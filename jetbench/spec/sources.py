"""Source code of networks and losses that users bring: its digest, and whether a person named it in this command.

Code is imported only if this command named it: a YAML file of the user's own, or --model. A record, weights, a bundle
or the sweep.yaml of a report folder name it too, but they may come from others.
"""

import ast
import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from jetbench.errors import SpecError
from jetbench.spec.base import describe_value
from jetbench.spec.bounds import Name

NAMED = "JETBENCH_NAMED_SOURCES"
"""Environment variable with the sources that this command named, by their digest, as JSON; its jobs inherit it."""
MOST_FILES = 20_000
MOST_ARGUMENTS, MOST_DEPTH, MOST_NAMED = 100, 6, 1000


def _check_plain(value: Any, depth: int = 0) -> Any:
    """`value`, if it is plain data of a bounded depth; otherwise a ValueError."""
    if depth > MOST_DEPTH:
        raise ValueError("arguments: nested too deeply")
    if isinstance(value, Mapping):
        return {str(key): _check_plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_check_plain(each, depth + 1) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"arguments: expected plain values, found {describe_value(value)}")


def _check_model(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= MOST_NAMED and is_model(value):
        return value
    raise ValueError(f"expected FILE.py:factory or package.module:factory (given: {describe_value(value)})")


Model = Annotated[str, BeforeValidator(_check_model)]
"""The function or class that makes a network: `FILE.py:factory` or `package.module:factory`."""
Arguments = Annotated[dict[Name, Any], BeforeValidator(_check_plain), Field(max_length=MOST_ARGUMENTS)]
"""Keyword arguments of a factory: plain values."""


def split_model(model: str) -> tuple[str, str]:
    """The module or file, and the factory, of `package.module:factory` or `file.py:factory`."""
    place, _, factory = model.rpartition(":")
    return place, factory


def is_model(text: str) -> bool:
    """True for `file.py:factory` and `package.module:factory`, and not for a name or the path of a YAML file."""
    return bool(re.fullmatch(r".+\.py:[A-Za-z_][\w.]*|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text))


def is_file(model: str) -> bool:
    """True if a file, and not an installed module, holds the factory."""
    return split_model(model)[0].endswith(".py")


def absolute(model: str, folder: Path) -> str:
    """The model with the path of its file made absolute; a relative one is beside `folder`'s YAML."""
    place, factory = split_model(model)
    return f"{(folder / Path(place).expanduser()).resolve()}:{factory}" if is_file(model) else model


def digest_of_source(model: str) -> str:
    """12 hex digits of the source: of a file and the neighbours that it imports, or of all Python files of a package.

    Nothing is imported: which neighbours there are is read from the import statements.

    Raises:
        SpecError: there is no such file or package.
    """
    place, _ = split_model(model)
    if is_file(model):
        path = Path(place)
        if not path.is_file():
            raise SpecError(f"model: {model}: no such file {path}")
        return _digest_of((path, *neighbours_of(path)), path.parent)
    top = place.partition(".")[0]
    try:
        package = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        package = None
    if package is None:
        where = "; write FILE.py:factory for a file" if "/" in place or not place.isidentifier() else ""
        raise SpecError(f"model: {model}: no package {top} is installed here{where}")
    folders = [Path(each) for each in package.submodule_search_locations or ()]
    if folders:
        files = sorted(path for folder in folders for path in folder.rglob("*.py"))[:MOST_FILES]
        return _digest_of(tuple(files), folders[0])
    return _digest_of((Path(package.origin),), Path(package.origin).parent) if package.origin else "built-in"


def neighbours_of(path: Path) -> tuple[Path, ...]:
    """The Python files in the folder of a file that it imports, or that one of these imports; sorted."""
    known, waiting = {path}, [path]
    while waiting and len(known) < MOST_FILES:
        file = waiting.pop()
        for name in _imports_of(file):
            module, package = path.parent / f"{name}.py", path.parent / name
            files = {module} if module.is_file() else set(package.rglob("*.py")) if package.is_dir() else set()
            waiting += files - known
            known |= files
    return tuple(sorted(known - {path}))


def _imports_of(path: Path) -> set[str]:
    """The outermost names of the modules that a file's import statements name; none if it is not Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names = [each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names}


@lru_cache(maxsize=256)
def _digest_at(files: tuple[tuple[Path, int, int], ...], folder: Path) -> str:
    digest = hashlib.sha256()
    for path, *_ in files:
        digest.update(os.path.relpath(path, folder).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _digest_of(files: tuple[Path, ...], folder: Path) -> str:
    try:
        stats = [(path, path.stat()) for path in files]
        return _digest_at(tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats), folder)
    except OSError as error:
        raise SpecError(f"{error.filename}: cannot be read ({error.strerror})") from None


def name_source(model: str, digest: str) -> None:
    """Remember that a person named this source in this command, and where it is; its jobs inherit that."""
    os.environ[NAMED] = json.dumps({**_named(), digest: split_model(model)[0]}, sort_keys=True)


def _named() -> dict[str, str]:
    try:
        places = json.loads(os.environ.get(NAMED) or "{}")
    except ValueError:
        return {}
    return places if isinstance(places, dict) else {}


def named_source(name: str, model: str, digest: str) -> str:
    """The model to import, at the place where this command named its source.

    Raises:
        SpecError: nobody named a source of this digest in this command, or it has changed since.
    """
    factory = split_model(model)[1]
    place = _named().get(digest)
    if place is None:
        raise SpecError(
            f"{name}: its layers are in {model} (source {digest}); code is imported only if the command names it: give "
            f"--model {model}, whose source must be the same"
        )
    if (now := digest_of_source(f"{place}:{factory}")) != digest:
        raise SpecError(f"{name}: {place} changed while this command ran (source {now}, it was {digest})")
    return f"{place}:{factory}"


Packed = dict[str, tuple[str, dict[str, bytes]]]
"""Named sources by digest: the package, or the name of a file, with the content of it and its neighbours by path."""


def pack_sources() -> Packed:
    """The sources that this command named, for its jobs on other machines; packages must be installed there."""
    packed: Packed = {}
    for digest, place in _named().items():
        path = Path(place)
        if not is_file(f"{place}:"):
            packed[digest] = place, {}
        elif path.is_file():
            files = (path, *neighbours_of(path))
            packed[digest] = path.name, {os.path.relpath(file, path.parent): file.read_bytes() for file in files}
    return packed


def unpack_sources(packed: Packed, folder: Path) -> None:
    """Write sources into a folder of their own each; they are the ones that this process, and its jobs, may import."""
    places = {}
    for digest, (place, files) in packed.items():
        for name, content in files.items():
            file = folder / digest / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        places[digest] = str(folder / digest / place) if files else place
    os.environ[NAMED] = json.dumps(places, sort_keys=True)


def import_path(model: str) -> None:
    """Let a file of the user's import its neighbours, as a script may."""
    place, _ = split_model(model)
    if is_file(model) and (folder := str(Path(place).parent)) not in sys.path:
        sys.path.append(folder)
