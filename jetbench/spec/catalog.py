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
    """The YAML file of a bundled `name`, or `name` itself if it is a path.

    A path that does not exist is looked up among the bundled files by its file name, so that `sweeps/nano.yaml` works
    from any folder.

    Raises:
        SpecError: no such file exists; the message lists the bundled names.
    """
    return find_yaml(SHELF / kind, name, Path(kind).name, kind)


def find_yaml(folder: Path, name: str, what: str, kind: str | None = None) -> Path:
    """The file of that name in a folder, or `name` itself if it is a path.

    Args:
        folder: where the bundled files are.
        name: a bundled name, or the path of a .yaml file.
        what: what the files are, for the message.
        kind: the folder as a user types it; by default `what`.

    Raises:
        SpecError: no such file exists; the message lists the bundled names.
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
    raise SpecError(f"{name}: no such file, and no bundled {what} of that name; {hint}bundled: {', '.join(known)}")


def names(kind: str) -> list[str]:
    """Names of the bundled files of a kind (`architectures` or `sweeps`), sorted."""
    return sorted(path.stem for path in (SHELF / kind).glob("*.yaml"))


def load_architecture(name: str, /, **changes: Any) -> AnyArchitecture:
    """The architecture of that name (or .yaml path), with fields replaced: `combination=3`, `activation="relu"`.

    Args:
        name: a bundled name, see `jetbench list`, or the path of a YAML file.
        **changes: new values; a key may be dotted: `**{"stages.s2.repeats": 2}`. Baselines have nothing to change.

    Raises:
        SpecError: no such architecture exists, or a value breaks a rule.
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
    """`load_architecture` with the changes as a mapping; `source` names their origin in messages.

    Reported figures do not hold for a changed network, so they are dropped.
    """
    path = find("architectures", name)
    raw = {"name": path.stem, **_read_once(path, path.stat().st_mtime_ns)}
    if is_baseline(raw):
        if fields := sorted(set(changes) - {"name", "description"}):
            raise SpecError(f"{raw['name']}: is a baseline, which has nothing to vary; leave out {', '.join(fields)}")
        return parse_spec(Baseline, override(raw, changes), source or str(path))
    if set(changes) - {"name", "description", "paper", "reported"}:
        raw.pop("reported", None)
    return parse_spec(Architecture, override(raw, changes), source or str(path))


def baseline_names() -> list[str]:
    """Names of the bundled baselines, sorted; includes those with reported figures only."""
    return [name for name in names("architectures") if is_baseline(_raw(name))]


def jetseg_names() -> list[str]:
    """Names of the bundled JetSeg networks, sorted."""
    return [name for name in names("architectures") if not is_baseline(_raw(name))]


def _raw(name: str) -> dict[str, Any]:
    path = SHELF / "architectures" / f"{name}.yaml"
    return _read_once(path, path.stat().st_mtime_ns)
