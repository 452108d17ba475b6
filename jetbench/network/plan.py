"""An Architecture at one input size and class count: every block with its channels, groups and sizes; no torch.

Models are built from the plan and costs are counted from it. Its fingerprint is the identity of a variant: two specs
with the same plan are the same network.
"""

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Any

from jetbench.errors import SpecError
from jetbench.network.rules import (
    IMAGE_CHANNELS,
    TAPPED,
    StageRule,
    Step,
    block_channels,
    has_shortcut,
    list_steps,
    resolve_fusion,
    stage_rules,
    tapped_blocks,
)
from jetbench.spec.architecture import (
    ActivationName,
    AnyArchitecture,
    Architecture,
    AttentionName,
    Baseline,
    BaselineName,
    Branch,
    Foreign,
    Fusion,
    Layout,
    Skip,
    StageName,
    only_jetseg,
)
from jetbench.spec.values import Size


@dataclass(frozen=True, slots=True)
class JetConvPlan:
    """One JetConv: depthwise branches, then a grouped 1x1 mix (section 2.1)."""

    in_channels: int
    out_channels: int
    stride: int
    layout: Layout
    branches: tuple[Branch, ...]
    groups: int
    shortcut: bool

    @property
    def mixed_channels(self) -> int:
        """Channels that enter the 1x1 mix: the parallel layout stacks one partial sum per branch."""
        return self.in_channels * (len(self.branches) if self.layout == "parallel" else 1)


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """One block of the encoder. `level` is the longer side of its input; the S0 block has no expansion."""

    level: int
    stage: StageName
    residual: bool
    in_channels: int
    expanded_channels: int | None
    out_channels: int
    stride: int
    expand_groups: int
    reduce_groups: int
    jetconv: JetConvPlan
    attention: AttentionName
    skip: Skip
    in_size: tuple[int, int]
    out_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TapPlan:
    """One feature map that the decoder reads: the last encoder output whose longer side is `level`."""

    stage: StageName
    level: int
    block: int
    channels: int
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DecoderPlan:
    """RegSeg-style decoder; `taps` go from deep to shallow."""

    taps: tuple[TapPlan, ...]
    head_channels: int
    fusion: Fusion
    num_classes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A network ready to be built or counted."""

    input_size: tuple[int, int]
    activation: ActivationName
    blocks: tuple[BlockPlan, ...]
    decoder: DecoderPlan

    @property
    def num_classes(self) -> int:
        """K, the channels of the logits."""
        return self.decoder.num_classes

    @property
    def fingerprint(self) -> str:
        """12 hex digits that two plans share only if they describe the same network."""
        return _fingerprint(self)


@dataclass(frozen=True, slots=True)
class BaselinePlan:
    """A baseline ready to be built; its layers are in code, so the plan holds only its name."""

    network: BaselineName
    input_size: Size
    num_classes: int

    @property
    def fingerprint(self) -> str:
        """12 hex digits that two plans share only if they describe the same network."""
        return _fingerprint(self)


@dataclass(frozen=True, slots=True)
class ForeignPlan:
    """A network of the user's own, ready to be built: the source of its layers, and the arguments as JSON."""

    name: str
    model: str
    digest: str
    arguments: str
    output: str | int | None
    input_size: Size
    num_classes: int

    @property
    def fingerprint(self) -> str:
        """12 hex digits that two plans share only if their source, factory and arguments are the same."""
        factory = self.model.rpartition(":")[2]
        parts = [self.digest, factory, self.arguments, self.output, self.input_size, self.num_classes]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


CodePlan = BaselinePlan | ForeignPlan
"""A plan of a network whose layers are in code, which is counted by running it."""
AnyPlan = Plan | BaselinePlan | ForeignPlan
SMALLEST_SIDE = 64
"""The smallest image side that baselines accept; below it their deepest maps are empty."""


@lru_cache(maxsize=1024)
def _fingerprint(plan: AnyPlan) -> str:
    text = json.dumps(_described(plan), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def later(default: Any) -> Any:
    """A field added after the first version: left out of fingerprints while it has its default."""
    return field(default=default, metadata={"is_later": True})


def _described(value: object) -> Any:
    """A plan as plain data."""
    if is_dataclass(value) and not isinstance(value, type):
        members = [(member, getattr(value, member.name)) for member in fields(value)]
        return {
            member.name: _described(content)
            for member, content in members
            if not (member.metadata.get("is_later") and content == member.default)
        }
    if isinstance(value, Branch):
        return value.model_dump()
    return [_described(item) for item in value] if isinstance(value, tuple) else value


@lru_cache(maxsize=1024)  # a sweep asks for the same network with every seed
def plan_architecture(architecture: AnyArchitecture, num_classes: int, input_size: Size) -> Plan:
    """Every layer of a JetSeg `architecture` for images of `input_size` (height, width).

    Raises:
        SpecError: it cannot be built (the message names the key, the value and the rule), or it is a baseline.
    """
    jetseg = only_jetseg(architecture)
    try:
        return _plan(jetseg, num_classes, input_size)
    except SpecError as error:
        raise SpecError(f"{architecture.name}: {error}") from None


def plan_network(architecture: AnyArchitecture, num_classes: int, input_size: Size) -> AnyPlan:
    """`plan_architecture` for any network, baselines included.

    Raises:
        SpecError: it cannot be built, or too little about it is published.
    """
    if isinstance(architecture, Foreign):
        return ForeignPlan(
            name=architecture.name,
            model=architecture.model,
            digest=architecture.digest,
            arguments=json.dumps(architecture.arguments, sort_keys=True),
            output=architecture.output,
            input_size=(input_size[0], input_size[1]),
            num_classes=num_classes,
        )
    if not isinstance(architecture, Baseline):
        return plan_architecture(architecture, num_classes, input_size)
    if architecture.network is None:
        raise SpecError(
            f"{architecture.name}: too little is published to build it ({'; '.join(architecture.assumed)}); list it "
            "under quoted: in a sweep to show its reported figures"
        )
    if num_classes < 2:
        raise SpecError(f"{architecture.name}: num_classes={num_classes} must be at least 2")
    if min(input_size) < SMALLEST_SIDE:
        raise SpecError(
            f"{architecture.name}: input size {input_size[0]}x{input_size[1]} is too small; baselines take at least "
            f"{SMALLEST_SIDE}x{SMALLEST_SIDE}"
        )
    return BaselinePlan(architecture.network, (input_size[0], input_size[1]), num_classes)


def _plan(architecture: Architecture, num_classes: int, input_size: Size) -> Plan:
    rules = stage_rules(architecture)
    blocks: list[BlockPlan] = []
    channels = IMAGE_CHANNELS
    for step in list_steps(architecture, num_classes, input_size):
        blocks.append(plan_block(rules[step.stage], step, channels))
        channels = blocks[-1].out_channels
    taps = []
    for name, number in zip(TAPPED, tapped_blocks(architecture, input_size), strict=True):
        block = blocks[number]
        taps.append(TapPlan(name, max(block.out_size), number, block.out_channels, block.out_size))
    decoder = DecoderPlan(
        taps=tuple(taps),
        head_channels=architecture.decoder.head_channels,
        fusion=resolve_fusion(architecture),
        num_classes=num_classes,
    )
    return Plan(input_size=input_size, activation=architecture.activation, blocks=tuple(blocks), decoder=decoder)


def plan_block(rule: StageRule, step: Step, in_channels: int) -> BlockPlan:
    """One block of the encoder, given the channels that enter it.

    Raises:
        SpecError: a fixed number of groups does not divide the channels.
    """
    expanded, out, expand_groups, mix_groups, reduce_groups = block_channels(rule, step, in_channels)
    first = expanded is None
    jetconv = JetConvPlan(
        in_channels=in_channels if expanded is None else expanded,
        out_channels=out if expanded is None else expanded,
        stride=step.stride if first else 1,
        layout=rule.layout,
        branches=rule.residual_branches if step.residual else rule.branches,
        groups=mix_groups,
        shortcut=has_shortcut(rule, step),
    )
    return BlockPlan(
        level=step.level,
        stage=step.stage,
        residual=step.residual,
        in_channels=in_channels,
        expanded_channels=expanded,
        out_channels=out,
        stride=step.stride,
        expand_groups=expand_groups,
        reduce_groups=reduce_groups,
        jetconv=jetconv,
        attention=rule.attention,
        skip=rule.skip if step.residual else "none",
        in_size=step.in_size,
        out_size=step.out_size,
    )
