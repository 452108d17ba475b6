"""Finds the architectures and sweeps that ship with jetbench, by name; a name that ends in .yaml is a path."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from jetbench.errors import SpecError
from jetbench.spec.architecture import (
    AnyArchitecture,
    Architecture,
    Baseline,
    is_baseline,
    only_jetseg,
)
from jetbench.spec.base import override, parse_spec, read_yaml

PACKAGE = Path(__file__).parent.parent
BUNDLED = PACKAGE / "_bundled"  # exists only in a wheel
SHELF = BUNDLED if BUNDLED.is_dir() else PACKAGE.parent  # a checkout reads its own top level


def find(kind: str, name: str) -> Path:
    """The YAML file of a bundled `name`, or `name` itself where it is a path.

    A path that does not exist is looked up on the shelf by its file name, so that `sweeps/nano.yaml` works from any
    folder.

    Raises:
        SpecError: there is no such file; the message lists what there is.
    """
    return find_yaml(SHELF / kind, name, Path(kind).name, kind)


def find_yaml(folder: Path, name: str, what: str, kind: str | None = None) -> Path:
    """The file of that name in a folder, or `name` itself where it is a path; `kind` is the folder as a user types it.

    Raises:
        SpecError: there is no such file; the message lists what there is.
    """
    if name.endswith((".yaml", ".yml")) and Path(name).exists():
        return Path(name)
    stem = Path(name).stem if name.endswith((".yaml", ".yml")) else name
    path = folder / f"{stem}.yaml"
    if path.is_file() and ("/" not in name or Path(name).parent == Path(kind or what)):
        return path
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    close = get_close_matches(stem, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise SpecError(f"{name}: no such file, and none of the bundled {what}; {hint}bundled: {', '.join(known)}")


def names(kind: str) -> list[str]:
    """Names of the bundled files of a kind (`architectures` or `sweeps`), sorted."""
    return sorted(path.stem for path in (SHELF / kind).glob("*.yaml"))


def load_architecture(name: str, /, **changes: Any) -> AnyArchitecture:
    """The architecture of that name (or .yaml path), with fields replaced: `combination=3`, `activation="relu"`.

    Args:
        name: a bundled name, see `jetbench list`, or the path of a YAML file.
        **changes: new values; a key may be dotted: `**{"stages.s2.repeats": 2}`. Baselines have nothing to change.

    Raises:
        SpecError: no such architecture, or a value that breaks a rule.
    """
    return read_architecture(name, changes)


def load_jetseg(name: str, /, **changes: Any) -> Architecture:
    """`load_architecture` for a JetSeg network.

    Raises:
        SpecError: it is a baseline, which has no JetBlocks.
    """
    return only_jetseg(read_architecture(name, changes))


@lru_cache(maxsize=64)  # a sweep builds thousands of variants of one file
def _read_once(path: Path, changed: int) -> dict[str, Any]:
    return read_yaml(path)


def read_architecture(name: str, changes: Mapping[str, Any], source: str | None = None) -> AnyArchitecture:
    """`load_architecture` with the changes as a mapping; `source` says in messages where they come from.

    What was reported of a network does not hold for a changed one, and is left out of it.
    """
    path = find("architectures", name)
    raw = {"name": path.stem, **_read_once(path, path.stat().st_mtime_ns)}
    if is_baseline(raw):
        if fields := sorted(set(changes) - {"name", "description"}):
            raise SpecError(f"{raw['name']}: is a baseline, nothing of it varies; leave out {', '.join(fields)}")
        return parse_spec(Baseline, override(raw, changes), source or str(path))
    if set(changes) - {"name", "description", "paper", "reported"}:
        raw.pop("reported", None)
    return parse_spec(Architecture, override(raw, changes), source or str(path))


def baseline_names() -> list[str]:
    """Names of the bundled baselines, sorted; those of which there are only reported figures too."""
    return [name for name in names("architectures") if is_baseline(_raw(name))]


def jetseg_names() -> list[str]:
    """Names of the bundled JetSeg networks, sorted."""
    return [name for name in names("architectures") if not is_baseline(_raw(name))]


def _raw(name: str) -> dict[str, Any]:
    path = SHELF / "architectures" / f"{name}.yaml"
    return _read_once(path, path.stat().st_mtime_ns)
