"""Import code that this command named, and call a factory in it."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from jetbench.errors import JetbenchError, SpecError
from jetbench.spec.base import describe_value
from jetbench.spec.sources import import_path, is_file, named_source, neighbours_of, split_model


def call_factory(name: str, model: str, digest: str, arguments: Mapping[str, Any], offered: Mapping[str, Any]) -> Any:
    """What the factory returns.

    Args:
        name: what it makes, for messages.
        model: `file.py:factory` or `package.module:factory`.
        digest: of the source when the command named it.
        arguments: keyword arguments.
        offered: further ones, which it gets if it has parameters of their names.

    Raises:
        SpecError: nobody named the source, it cannot be imported, or the factory is missing or fails.
    """
    place = named_source(name, model, digest)
    _, factory = split_model(place)
    try:
        make: Any = _import(place, digest)
    except JetbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise SpecError(f"{name}: {split_model(place)[0]} cannot be imported ({_on_one_line(error)})") from None
    for part in factory.split("."):
        if not hasattr(make, part):
            raise SpecError(f"{name}: {place}: has no {factory}")
        make = getattr(make, part)
    given = {**{key: value for key, value in offered.items() if _takes(make, key)}, **arguments}
    try:
        return make(**given)
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{key}={describe_value(value)}" for key, value in given.items())
        raise SpecError(f"{name}: {factory}({shown[:300]}) failed ({_on_one_line(error)})") from None


def _on_one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _takes(make: Any, name: str) -> bool:
    try:
        return name in inspect.signature(make).parameters
    except (TypeError, ValueError):
        return False


def _import(model: str, digest: str) -> ModuleType:
    """The module of a model; a file is run once in a process, as an import is: it may register what exists once."""
    place, _ = split_model(model)
    if not is_file(model):
        return importlib.import_module(place)
    name = f"jetbench_user_{Path(place).stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    import_path(model)
    _forget_changed(Path(place))
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise SpecError(f"{place}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _check_neighbours(Path(place))
    return module


_states: dict[Path, tuple[int, int]] = {}
"""Time and size of each neighbour when a file that imports it was run."""


def _forget_changed(path: Path) -> None:
    """Let neighbours of a file be imported anew that have changed since, as in a session that edits its network."""
    for file in neighbours_of(path):
        stat = file.stat()
        state = stat.st_mtime_ns, stat.st_size
        if _states.setdefault(file, state) != state:
            _states[file] = state
            top = _top_of(file, path)
            for name in [each for each in sys.modules if each == top or each.startswith(f"{top}.")]:
                del sys.modules[name]


def _top_of(neighbour: Path, path: Path) -> str:
    """The outermost name by which a file imports a neighbour."""
    return neighbour.relative_to(path.parent).parts[0].removesuffix(".py")


def _check_neighbours(path: Path) -> None:
    """Raise if a name that a file imports is another module here than the neighbour whose source was digested.

    Raises:
        SpecError: an installed package, or a file that was imported before, has the name of the neighbour.
    """
    for name in {_top_of(each, path) for each in neighbours_of(path)}:
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin is not None and not Path(origin).resolve().is_relative_to(path.parent.resolve()):
            raise SpecError(f"{path}: imports {name}, which is {origin} here and not the one beside it; rename it")
