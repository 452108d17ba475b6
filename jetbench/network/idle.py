"""Axes and cases that change nothing, and why: other values of theirs give the same network and training."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, product
from typing import Any

from jetbench.errors import SpecError
from jetbench.network.plan import AnyPlan, Plan, plan_architecture
from jetbench.network.rules import format_size
from jetbench.network.variants import TRAINING, Variant, build_variant, describe_changes
from jetbench.spec.architecture import Architecture
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import TrainingConfig

MOST_LOOKED_AT = 100  # combinations of the other axes
SIDES = (64, 128, 256, 512)  # beyond each of these longer sides the pyramid has one level more

SAME = "all its values give the same network and training"

Identity = Callable[[Mapping[str, Any]], str | None]
"""Equal for two sets of changes that give the same network and training; None if they cannot be built."""


def describe_idle(sweep: Sweep, variants: Sequence[Variant]) -> list[str]:
    """A sentence for each axis, null and case of a sweep that changes nothing.

    Args:
        sweep: the sweep.
        variants: from `expand_sweep`.
    """
    plan = variants[0].plan
    try:
        base = build_variant(sweep, sweep.base, {}, plan.num_classes, plan.input_size)
    except SpecError:
        return []  # the variants need no base that can be built

    def identity(changes: Mapping[str, Any]) -> str | None:
        try:
            return build_variant(sweep, "", changes, plan.num_classes, plan.input_size).identity
        except SpecError:
            return None

    lines: list[str] = []
    for group in sweep.variants:
        if group.grid is not None:
            lines += idle_axes(group.grid, combinations(group.grid), identity, base)
        for name, changes in (group.cases or {}).items():
            if identity(changes) == base.identity:
                lines.append(f"{name} changes nothing: {_reasons(changes, base) or 'it is the base again'}")
    lines += _unused_labels(sweep, variants)
    return [f"{line}." for line in dict.fromkeys(lines)]


def _unused_labels(sweep: Sweep, variants: Sequence[Variant]) -> list[str]:
    """Labels of nothing that this sweep has."""
    known = {sweep.base, *sweep.quoted}
    for variant in variants:
        known |= {variant.name, *variant.also_named}
    for group in sweep.variants:
        for changes in [*(group.cases or {}).values(), *(combinations(group.grid) if group.grid else ())]:
            for key, value in changes.items():
                text = describe_changes({key: value})
                known |= {key, text, text.partition("=")[0], f"{key}={text.partition('=')[2]}", str(value)}
    return [
        f"labels: {key!r} names no axis, value or variant of this sweep" for key in sweep.labels if key not in known
    ]


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The first combinations of a grid."""
    return [dict(zip(grid, values, strict=True)) for values in islice(product(*grid.values()), MOST_LOOKED_AT)]


def idle_axes(
    axes: Mapping[str, Sequence[Any]], looked_at: Iterable[Mapping[str, Any]], identity: Identity, base: Variant
) -> list[str]:
    """Which axes change nothing in any of those combinations, and which nulls only repeat the base's value.

    Args:
        axes: the values of each axis.
        looked_at: combinations of values; axes that do not apply are left out.
        identity: see `Identity`.
        base: the network that the axes change, and its training.
    """
    chosen = list(looked_at)
    lines = []
    for axis, values in axes.items():
        others = [each for each in chosen if axis in each] if len(values) > 1 else []
        if others and all(_is_same(axis, values, each, identity) for each in others):
            lines.append(f"{axis} changes nothing: {_reasons([axis], base) or SAME}")
        elif None in values and len(values) > 1 and identity({axis: None}) == base.identity:
            lines.append(f"{axis}: null means as {base.architecture.name} has it, so that value is the base again")
    return lines


def _is_same(axis: str, values: Sequence[Any], other: Mapping[str, Any], identity: Identity) -> bool:
    """True if every value of an axis gives the same network and training beside those of the other axes."""
    first = identity({**other, axis: values[0]})
    return first is not None and all(identity({**other, axis: value}) == first for value in values[1:])


def _reasons(keys: Iterable[str], base: Variant) -> str:
    return "; ".join(dict.fromkeys(reason for key in keys if (reason := _reason(key, base))))


def _reason(key: str, base: Variant) -> str:
    plan, training = base.plan, base.training
    if key.startswith(TRAINING):
        return _reason_of_training(key.removeprefix(TRAINING), training)
    match = re.match(r"stages\.(s[0-3])\.(\w+)", key)
    if match is None or not isinstance(plan, Plan):
        return ""
    blocks = [block for block in plan.blocks if block.stage == match[1]]
    stage = match[1].upper()
    if not blocks:
        return f"{stage} has no block at {format_size(plan.input_size)}{_where_it_has(match[1], base, plan)}"
    if match[2] in ("residual_branches", "skip") and not any(block.residual for block in blocks):
        return f"{stage} has no residual block (repeats is 0)"
    return ""


def _where_it_has(stage: str, base: Variant, plan: AnyPlan) -> str:
    """From which image size on a stage has a block."""
    if not isinstance(base.architecture, Architecture):
        return ""
    for side in SIDES:
        try:
            larger = plan_architecture(base.architecture, plan.num_classes, (side + 2, side + 2))
        except SpecError:
            continue  # too small for this network
        if any(block.stage == stage for block in larger.blocks):
            return f" (a longer side over {side} has one)"
    return ""


def _reason_of_training(key: str, training: TrainingConfig) -> str:
    if key.startswith("jetloss") and training.loss != "jetloss":
        return f"the loss is {training.loss}"
    if key.startswith("ohem") and training.loss != "ohem":
        return f"the loss is {training.loss}"
    if key == "momentum" and training.optimizer != "sgd":
        return f"the optimizer is {training.optimizer}"
    if key.startswith("distillation") and training.teacher is None:
        return "there is no teacher"
    return ""
