"""expand_sweep: every variant of a sweep, each checked before anything runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jetbench.errors import SpecError, list_by_cause
from jetbench.network.plan import AnyPlan, plan_network
from jetbench.spec.architecture import AnyArchitecture, Baseline, InCode
from jetbench.spec.base import override, parse_spec
from jetbench.spec.catalog import find, is_foreign_name, name_loss, read_architecture, read_extended
from jetbench.spec.sources import is_model
from jetbench.spec.sweep import Sweep, VariantGroup
from jetbench.spec.training import TrainingConfig

RECORDS = "records.jsonl"
"""The rows of a report folder (see `records.folder`)."""
TRAINING = "training."
SEED, BUDGET, LOSS = "training.seed", "training.budget", "training.loss"
REPEATS = {"budgets": BUDGET, "seeds": SEED}
"""Sweep fields that repeat every variant with several values, and the training key that each sets."""
SHORTENED = ("jetconv.", "stages.", "decoder.", "arguments.", TRAINING)


@dataclass(frozen=True)
class Variant:
    """One network of a sweep with its training. `also_named` lists other names in the sweep for the same variant."""

    name: str
    changes: dict[str, Any]
    architecture: AnyArchitecture
    training: TrainingConfig
    plan: AnyPlan
    also_named: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Equal for variants that are the same network with the same training."""
        return f"{self.plan.fingerprint} {self.training.identity}"


def read_sweep(name: str, changes: Mapping[str, Any] | None = None) -> Sweep:
    """The sweep of that bundled name or .yaml path, with dotted keys replaced.

    A changed `training.budget` or `training.seed` replaces all `budgets` or `seeds`.

    Raises:
        SpecError: no such sweep exists, or a key breaks a rule.
    """
    path = find("sweep", name)
    raw = {"name": path.stem, **read_extended("sweep", path)}
    if "axes" in raw:
        raise SpecError(f"{path}: is a search or a space, not a sweep; run `jetbench search` or `jetbench screen`")
    changes = dict(changes or {})
    for field, key in REPEATS.items():
        if key in changes:
            changes.setdefault(field, [])
    sweep = parse_spec(Sweep, override(raw, changes), str(path))
    check_code(path, _bases(sweep), _losses(sweep))
    return sweep


def check_code(path: Path, bases: Iterable[str], losses: Iterable[str]) -> None:
    """Raise if a sweep or search would name code that whoever gave away its report folder has chosen.

    Raises:
        SpecError: the YAML file lies in a report folder, and a network or loss in it is of the user's own.
    """
    if not (path.parent / RECORDS).exists():
        return
    for what, code in (
        *(("base", base) for base in bases if is_foreign_name(base)),
        *(("loss", loss) for loss in losses if is_model(loss)),
    ):
        raise SpecError(
            f"{path}: is the YAML of a report folder, which may come from others, and its {what} {code} would be "
            "imported as code; copy the YAML to a folder of your own"
        )


def _bases(sweep: Sweep) -> Iterator[str]:
    """Every architecture that a sweep names."""
    yield sweep.base
    for group in sweep.variants:
        yield from map(str, (group.grid or {}).get("base", ()))
        yield from (str(changes["base"]) for changes in (group.cases or {}).values() if "base" in changes)


def _losses(sweep: Sweep) -> Iterator[str]:
    """Every loss that a sweep names."""
    yield sweep.training.loss
    for group in sweep.variants:
        yield from map(str, (group.grid or {}).get(LOSS, ()))
        yield from (str(changes[LOSS]) for changes in (group.cases or {}).values() if LOSS in changes)


def read_quoted(names: Sequence[str]) -> tuple[Baseline, ...]:
    """The baselines whose published figures a sweep's tables show.

    Raises:
        SpecError: a name is given twice or does not name a baseline.
    """
    baselines = []
    if len(set(names)) < len(names):
        raise SpecError(f"quoted: a name is listed twice ({', '.join(names)}); list each once")
    for name in names:
        architecture = read_architecture(name, {})
        if not isinstance(architecture, Baseline):
            raise SpecError(f"quoted: {name} is not a baseline; list a JetSeg network under variants: to run it")
        baselines.append(architecture)
    return tuple(baselines)


def expand_sweep(sweep: Sweep, num_classes: int, input_size: tuple[int, int]) -> tuple[Variant, ...]:
    """All distinct variants, in the sweep's order, the base first; identical ones are merged under the first name.

    Raises:
        SpecError: some variants cannot be built; the message lists all of them, each with its key, value and rule.
    """
    variants: dict[str, Variant] = {}
    problems: list[tuple[str, str]] = []
    names: set[str] = set()
    for name, changes in _repeated(sweep):
        if name in names:
            raise SpecError(f"{sweep.name}: two variants are called {name!r}; give each value once, or rename one")
        names.add(name)
        try:
            variant = build_variant(sweep, name, changes, num_classes, input_size)
        except SpecError as error:
            problems.append((name, str(error).removeprefix(f"{name}:").lstrip()))
            continue
        identity = variant.identity
        if identity in variants:
            first = variants[identity]
            variants[identity] = Variant(
                first.name, first.changes, first.architecture, first.training, first.plan, (*first.also_named, name)
            )
        else:
            variants[identity] = variant
    if problems:
        listed = list_by_cause(problems)
        raise SpecError(
            f"{sweep.name}: {len(problems):,} of {len(names):,} variants cannot be built; nothing was run\n{listed}"
        )
    both = sorted({variant.architecture.name for variant in variants.values()} & set(sweep.quoted))
    if both:
        raise SpecError(
            f"{sweep.name}: quoted: {', '.join(both)} is also run, and its row shows its published figures; remove it "
            "from quoted:"
        )
    if not variants:
        raise SpecError(f"{sweep.name}: the sweep has no variants; give variants:, or include_base: true")
    return tuple(variants.values())


def variant_names(sweep: Sweep) -> list[str]:
    """The names of a sweep's variants, in its order; includes several names of the same network."""
    return [name for name, _ in _repeated(sweep)]


def _repeated(sweep: Sweep) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and changes of each variant, once with each of the sweep's budgets and seeds."""
    given: dict[str, list[Any]] = {}
    for field, key in REPEATS.items():
        values = [str(value) if key == BUDGET else value for value in getattr(sweep, field)]
        if len(set(values)) < len(values):
            raise SpecError(
                f"{sweep.name}: {field}: a value is listed twice ({', '.join(map(str, values))}); list each once"
            )
        if values:
            given[key] = values
    for name, changes in _wanted(sweep):
        for field, key in REPEATS.items():
            if key in given and key in changes:
                raise SpecError(
                    f"{sweep.name}: {name} sets {key}, and {field}: sets it for all variants; keep only one of them"
                )
        for choice in product(*given.values()):
            more = dict(zip(given, choice, strict=True))
            yield ", ".join(filter(None, (name, describe_changes(more)))), {**changes, **more}


def _wanted(sweep: Sweep) -> Iterator[tuple[str, dict[str, Any]]]:
    if sweep.include_base:
        yield sweep.base, {}
    for group in sweep.variants:
        yield from _members(group)


def _members(group: VariantGroup) -> Iterator[tuple[str, dict[str, Any]]]:
    if group.cases is not None:
        yield from group.cases.items()
    if group.grid is not None:
        for values in product(*group.grid.values()):
            changes = dict(zip(group.grid, values, strict=True))
            yield describe_changes(changes), changes


def shorten_key(key: str) -> str:
    """`branches` of `jetconv.branches`: a dotted key without the prefix that goes without saying."""
    return next((key.removeprefix(prefix) for prefix in SHORTENED if key.startswith(prefix)), key)


def describe_changes(changes: Mapping[str, Any], labels: Mapping[str, str] = MappingProxyType({})) -> str:
    """A short name for a set of changes: `branches=3a 5a, groups=4`; a changed base appears by its name alone.

    Args:
        changes: values by dotted key.
        labels: other words for a key (`groups`), for a key with its value (`groups=gcd`), or for a base.
    """
    parts = []
    for key, value in changes.items():
        text = " ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        if key == "base":
            parts.append(labels.get(text, text))
            continue
        short = shorten_key(key)
        whole = next((labels[name] for name in (f"{key}={text}", f"{short}={text}") if name in labels), None)
        parts.append(whole or f"{labels.get(key, labels.get(short, short))}={text}")
    return ", ".join(parts)


def label_of(name: str, changes: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """What tables and pictures call a variant: its own label, else its changes in the words of the labels."""
    if name in labels or not labels:
        return labels.get(name, name)
    return describe_changes(changes, labels) if name == describe_changes(changes) else name


def build_variant(
    sweep: Sweep, name: str, changes: Mapping[str, Any], num_classes: int, input_size: tuple[int, int]
) -> Variant:
    """One variant of a sweep, checked and planned.

    Raises:
        SpecError: it cannot be built.
    """
    of_training = {key.removeprefix(TRAINING): value for key, value in changes.items() if key.startswith(TRAINING)}
    of_network = {key: value for key, value in changes.items() if not key.startswith(TRAINING) and key != "base"}
    base = str(changes.get("base", sweep.base))
    architecture = read_architecture(base, of_network, source=name if changes else None)
    training = sweep.training
    if of_training:
        raw = override(sweep.training.model_dump(mode="json"), of_training)
        training = parse_spec(TrainingConfig, raw, f"{name}: training")
    training = name_loss(training)
    if isinstance(architecture, InCode) and training.batch_size == 1:
        raise SpecError(
            "training.batch_size=1: some baselines normalise one value per image, which needs at least 2 images"
        )
    plan = plan_network(architecture, num_classes, input_size)
    return Variant(name, dict(changes), architecture, training, plan)
