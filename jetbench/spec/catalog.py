"""Finds the architectures and sweeps that ship with jetbench, by name; a name that ends in .yaml is a path."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jetbench.errors import SpecError
from jetbench.files import describe_start, open_plain
from jetbench.spec.architecture import (
    AnyArchitecture,
    Architecture,
    Baseline,
    Foreign,
    is_baseline,
    is_foreign,
    only_jetseg,
)
from jetbench.spec.base import override, parse_spec, read_yaml
from jetbench.spec.sources import absolute, digest_of_source, is_model, name_source
from jetbench.spec.training import TrainingConfig

PACKAGE = Path(__file__).parent.parent
BUNDLED = PACKAGE / "_bundled"  # exists only in a wheel
SHELF = BUNDLED if BUNDLED.is_dir() else PACKAGE.parent  # a checkout reads its own top level


Kind = Literal["architecture", "sweep", "search", "space"]
FOLDERS: dict[Kind, str] = {
    "architecture": "architectures",
    "sweep": "sweeps",
    "search": "sweeps",
    "space": "sweeps/spaces",
}
MOST_NAME = 240  # bytes: file systems take no longer names
SEARCH = "search-"  # the names of bundled searches begin so; they lie beside the sweeps


def find(kind: Kind, name: str) -> Path:
    """The YAML file of a bundled `name`, or `name` itself if it is a path.

    A path that does not exist is looked up among the bundled files by its file name, so that `sweeps/nano.yaml` works
    from any folder.

    Raises:
        SpecError: no such file exists; the message lists the bundled names.
    """
    return find_yaml(SHELF / FOLDERS[kind], name, kind, names(kind), FOLDERS[kind])


def find_yaml(folder: Path, name: str, what: str, known: Sequence[str], typed: str = "") -> Path:
    """The file of that name in a folder, or `name` itself if it is a path.

    Args:
        folder: where the bundled files are.
        name: a bundled name, or the path of a .yaml file.
        what: what a file is, for the message.
        known: the bundled names, for the message.
        typed: the folder as a user types it before a bundled name, if at all.

    Raises:
        SpecError: no such file exists; the message lists the bundled names.
    """
    if any(len(os.fsencode(part)) > MOST_NAME for part in Path(name).parts):
        raise SpecError(f"{name[:60]}...: no {what} has so long a name")
    is_path = name.endswith((".yaml", ".yml"))
    if is_path and Path(name).exists():
        return Path(name)
    stem = Path(name).stem if is_path else name
    path = folder / f"{stem}.yaml"
    if path.is_file() and ("/" not in name or Path(name).parent == Path(typed)):
        return path
    if not name:
        problem = "an empty name; give the name of a bundled file or a path"
    elif Path(name).is_dir():
        problem = f"{name}: is a folder; give a .yaml file, or a bundled name"
    elif (other := kind_of_file(name)) and (Path(name).exists() or "." in Path(name).name):
        article = "an" if what[0] in "aeiou" else "a"
        raise SpecError(
            f"{name}: {other[0]}; {article} {what} is a name from `jetbench list` or a .yaml file; {other[1]}"
        )
    elif Path(name).exists():
        found = _what_it_is(Path(name)) or "its name does not end in .yaml"
        problem = f"{name}: {found}; give a .yaml file, or a bundled name"
    else:
        problem = f"{name}: {'no such file' if is_path else f'no bundled {what} has that name'}"
    close = suggest(stem, known)
    hint = f"did you mean {', '.join(close[:-1])}{' or ' * (len(close) > 1)}{close[-1]}? " if close else ""
    raise SpecError(f"{problem}; {hint}bundled: {', '.join(known)}")


OTHER_FILES = {
    ".onnx": ("is an ONNX file", "`evaluate` scores one that `export` wrote; nothing else runs it"),
    ".engine": ("is a TensorRT engine", "jetbench does not run it"),
    ".plan": ("is a TensorRT engine", "jetbench does not run it"),
    ".trt": ("is a TensorRT engine", "jetbench does not run it"),
    ".tflite": ("is a TensorFlow Lite file", "write the network in torch: FILE.py:factory"),
    ".pb": ("is a TensorFlow graph", "write the network in torch: FILE.py:factory"),
    ".h5": ("is a Keras file", "write the network in torch: FILE.py:factory"),
    ".keras": ("is a Keras file", "write the network in torch: FILE.py:factory"),
    ".pt": ("holds weights of torch", "begin a training from them with --init, and name their network"),
    ".pth": ("holds weights of torch", "begin a training from them with --init, and name their network"),
    ".ckpt": ("holds weights of torch", "begin a training from them with --init, and name their network"),
    ".safetensors": ("is a weights file", "`profile`, `evaluate` and `predict` take weights"),
    ".py": ("is Python source", "name the function that makes the network, too: FILE.py:factory"),
}
"""What a file is by the ending of its name, and what can be done with it."""


def kind_of_file(name: str) -> tuple[str, str] | None:
    """What a file is by its ending, and the way out; None if the ending says nothing."""
    return OTHER_FILES.get(Path(name).suffix.lower())


def suggest(name: str, known: Sequence[str]) -> list[str]:
    """Up to three known names that have all words of `name` (`orin`, `orin-agx`), else the most similar one."""
    words = set(name.lower().replace("_", "-").split("-"))
    alike = [each for each in known if words <= set(each.split("-"))]
    return alike[:3] or get_close_matches(name, known, n=1)


def _what_it_is(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return describe_start(file.read(64))
    except OSError:
        return ""


def read_extended(kind: Kind, path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; `extends:` names another of its kind, whose keys it has where it does not set them.

    A name with .yaml is looked up beside the file first. Keys within keys are replaced one by one, lists as a whole,
    and `dataset:` as a whole if its name is another.

    Raises:
        SpecError: a file cannot be read, or files extend each other in a circle.
    """
    raw, seen = read_yaml(path), [path.resolve()]
    chain = [raw]
    while (other := chain[-1].pop("extends", None)) is not None:
        if not isinstance(other, str):
            raise SpecError(f"{path}: extends: expected the name of another {kind}, or the path of its .yaml file")
        beside = seen[-1].parent / other
        found = beside if other.endswith((".yaml", ".yml")) and beside.is_file() else find(kind, other)
        if found.resolve() in seen:
            raise SpecError(f"{path}: extends: {other} extends this file in turn; remove one of the two")
        seen.append(found.resolve())
        chain.append(read_yaml(found))
    merged: dict[str, Any] = {}
    for layer in reversed(chain):
        own = {key: value for key, value in merged.items() if key not in ("name", "description")}
        merged = _laid_over(own, layer)
    return merged


def _laid_over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = value
        if (
            isinstance(below, dict)
            and isinstance(value, dict)
            and value.get("name", below.get("name")) == (below.get("name"))
        ):
            merged[key] = _laid_over(below, value)
    return merged


def names(kind: Kind) -> list[str]:
    """Names of the bundled files of a kind, sorted."""
    stems = sorted(path.stem for path in (SHELF / FOLDERS[kind]).glob("*.yaml"))
    if kind in ("sweep", "search"):
        return [stem for stem in stems if stem.startswith(SEARCH) == (kind == "search")]
    return stems


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


def read_base(name: str) -> dict[str, Any]:
    """The mapping of a network that axes may change: of a JetSeg network, or of one of the user's own.

    Raises:
        SpecError: it is a baseline, which has nothing to vary.
    """
    if is_foreign_name(name):
        return read_architecture(name, {}).model_dump(mode="json")
    load_jetseg(name)
    return {"name": name, **read_yaml(find("architecture", name))}


def parse_variable(raw: Mapping[str, Any], source: str) -> Architecture | Foreign:
    """The network of a mapping of `read_base` in which fields were changed.

    Raises:
        SpecError: a value breaks a rule.
    """
    return parse_spec(Foreign, raw, source) if is_foreign(raw) else parse_spec(Architecture, raw, source)


@lru_cache(maxsize=64)  # a sweep builds thousands of variants of one file
def _read_once(path: Path, changed: int) -> dict[str, Any]:
    return read_yaml(path)


def read_architecture(name: str, changes: Mapping[str, Any], source: str | None = None) -> AnyArchitecture:
    """`load_architecture` with the changes as a mapping; `source` names their origin in messages.

    Reported figures do not hold for a changed network, so they are dropped.
    """
    if is_model(name):
        model = absolute(name, Path())
        raw = {"name": Path(model.partition(":")[0]).stem.rpartition(".")[2] or "mine", "model": model}
        return named_here(parse_spec(Foreign, override(raw, changes), source or name))
    path = find("architecture", name)
    raw = {"name": path.stem, **_read_once(path, path.stat().st_mtime_ns)}
    if is_foreign(raw):
        raw = {**raw, "model": absolute(str(raw["model"]), path.parent)}
        found = parse_spec(Foreign, override(raw, changes), source or str(path))
        return named_here(found.model_copy(update={"model": absolute(found.model, path.parent)}))
    if is_baseline(raw):
        if fields := sorted(set(changes) - {"name", "description"}):
            raise SpecError(f"{raw['name']}: is a baseline, which has nothing to vary; leave out {', '.join(fields)}")
        return parse_spec(Baseline, override(raw, changes), source or str(path))
    if set(changes) - {"name", "description", "paper", "reported"}:
        raw.pop("reported", None)
    return parse_spec(Architecture, override(raw, changes), source or str(path))


def is_foreign_name(name: str) -> bool:
    """True if a name or path stands for a network of the user's own, whose code would be imported."""
    if is_model(name):
        return True
    try:
        path = find("architecture", name)
    except SpecError:
        return False
    return is_foreign(_read_once(path, path.stat().st_mtime_ns))


def named_here(foreign: Foreign) -> Foreign:
    """A network that a person named in this command, with the digest of its source; its code may be imported from now.

    Raises:
        SpecError: its source is not here.
    """
    try:
        digest = digest_of_source(foreign.model)
    except SpecError as error:
        raise SpecError(f"{foreign.name}: {error}") from None
    name_source(foreign.model, digest)
    return foreign.model_copy(update={"digest": digest})


def name_loss(training: TrainingConfig) -> TrainingConfig:
    """A training that a person asked for in this command; a loss of the user's own may be imported from now.

    Raises:
        SpecError: its source is not here.
    """
    if not training.has_own_loss:
        return training
    model = absolute(training.loss, Path())
    try:
        digest = digest_of_source(model)
    except SpecError as error:
        raise SpecError(f"training.loss: {str(error).removeprefix('model: ')}") from None
    name_source(model, digest)
    return training.model_copy(update={"loss": model, "loss_source": digest})


def baseline_names() -> list[str]:
    """Names of the bundled baselines, sorted; includes those with reported figures only."""
    return [name for name in names("architecture") if is_baseline(_raw(name))]


def jetseg_names() -> list[str]:
    """Names of the bundled JetSeg networks, sorted."""
    return [name for name in names("architecture") if not is_baseline(_raw(name))]


def _raw(name: str) -> dict[str, Any]:
    path = SHELF / "architectures" / f"{name}.yaml"
    return _read_once(path, path.stat().st_mtime_ns)
