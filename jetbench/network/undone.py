"""The choices of a network undone, one at a time: one branch less, undilated, one group, a narrower decoder, and so on.

Each is another network, so that what a choice costs can be measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jetbench.errors import SpecError
from jetbench.network.plan import plan_architecture
from jetbench.network.rules import stage_rules
from jetbench.spec.architecture import Architecture, Branch, StageName
from jetbench.spec.base import override
from jetbench.spec.values import Size

STAGES: tuple[StageName, ...] = ("s0", "s1", "s2", "s3")
LEAST_HEAD = 8  # channels of the decoder


def name_undone(base: str, words: str) -> str:
    """The name of the network in which a choice of `base` is undone."""
    return f"{base}: {words}"


def words_of(base: str, name: str) -> str | None:
    """The choice that is undone in the network `name`; None if it is not `base` with a choice undone."""
    prefix = name_undone(base, "")
    return name.removeprefix(prefix) if name.startswith(prefix) else None


class Undone(NamedTuple):
    """A network in which one choice is undone: in words, and its fields that differ."""

    words: str
    changes: dict[str, Any]
    architecture: Architecture


def undo_choices(architecture: Architecture, num_classes: int, input_size: Size) -> tuple[Undone, ...]:
    """Every choice of a JetSeg network that can be undone at this size; a change that changes nothing is left out."""
    known = {plan_architecture(architecture, num_classes, input_size).fingerprint}
    undone = []
    for words, changes in _changes(architecture):
        raw = override(architecture.model_dump(mode="json"), changes)
        try:
            changed = Architecture.model_validate({**raw, "name": words})
            fingerprint = plan_architecture(changed, num_classes, input_size).fingerprint
        except (SpecError, ValueError):
            continue  # its rules do not allow it
        if fingerprint not in known:
            known.add(fingerprint)
            undone.append(Undone(words, changes, changed))
    return tuple(undone)


def _changes(architecture: Architecture) -> list[tuple[str, dict[str, Any]]]:
    branches = _branches_of(architecture)
    head = architecture.decoder.head_channels
    shorter = {key: _without_largest(own) for key, own in branches.items()}
    flat = {key: [_flat(each) for each in own] for key, own in branches.items()}
    groups = {"groups": 1, **{f"stages.{stage}.groups": None for stage in STAGES}}
    attention = {f"stages.{stage}.attention": "none" for stage in STAGES[1:]}
    other = "relu" if architecture.activation != "relu" else "hardswish"
    return [
        ("one branch less", shorter),
        ("no dilation", flat),
        ("one group", groups),
        (f"head of {max(LEAST_HEAD, head // 2)}", {"decoder.head_channels": max(LEAST_HEAD, head // 2)}),
        (other, {"activation": other}),
        ("no attention", attention),
    ]


def _branches_of(architecture: Architecture) -> Mapping[str, Sequence[Branch]]:
    """The branches of each stage by the key of the field that sets them."""
    branches: dict[str, Sequence[Branch]] = {}
    for stage, rule in stage_rules(architecture).items():
        branches[f"stages.{stage}.branches"] = rule.branches
        if stage != "s0":
            branches[f"stages.{stage}.residual_branches"] = rule.residual_branches
    return branches


def _without_largest(branches: Sequence[Branch]) -> list[str]:
    """All but the branch with the largest kernel; the only one stays."""
    kept = list(branches)
    if len(kept) > 1:
        kept.remove(max(kept, key=lambda branch: branch.kernel_size))
    return [_name(branch) for branch in kept]


def _flat(branch: Branch) -> str:
    return _name(branch.model_copy(update={"dilation": 1}))


def _name(branch: Branch) -> str:
    """The branch as YAML has it, with its dilation."""
    dilation = f"d{branch.dilation}" if branch.kernel_size > 1 else ""
    return f"{branch.kernel_size}{'a' * branch.asymmetric}{dilation}"
