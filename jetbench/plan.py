"""An Architecture at one input size and class count: every block with its channels, groups and sizes; no torch.

The plan is what an architecture *means*. Models are built from it, costs are counted from it, and its fingerprint
is a variant's identity: two specs that give the same plan are the same network.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from jetbench.architecture import (
    COMBINATIONS,
    ActivationName,
    Architecture,
    AttentionName,
    Branch,
    Combination,
    Fusion,
    GroupRule,
    Layout,
    Skip,
    Stage,
    StageName,
    Tap,
)
from jetbench.errors import SpecError

IMAGE_CHANNELS = 3
CBAM_REDUCTION = 8
SPATIAL_KERNEL = 7
PAPER_BRANCHES = (
    Branch(kernel_size=3, asymmetric=True, dilation=1),
    Branch(kernel_size=5, asymmetric=True, dilation=2),
    Branch(kernel_size=7, asymmetric=True, dilation=3),
)
PAPER_ATTENTION: dict[str, AttentionName] = {"s1": "cbam", "s2": "sam", "s3": "eca"}
RELEASED_ATTENTION: dict[str, AttentionName] = {"s1": "cbam-released", "s2": "sam-released", "s3": "eca"}


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
    def fingerprint(self) -> str:
        """12 hex digits that two plans share only if they describe the same network."""
        text = json.dumps(asdict(self), sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: object) -> Any:
    if isinstance(value, Branch):
        return value.model_dump()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"a plan holds a {type(value).__name__}")


def plan_architecture(architecture: Architecture, num_classes: int, input_size: tuple[int, int]) -> Plan:
    """Every layer of `architecture` for images of `input_size` (height, width).

    Raises:
        SpecError: it cannot be built; the message names the key, the value and the rule.
    """
    if num_classes < 2:
        raise SpecError(f"{architecture.name}: num_classes={num_classes}: segmentation needs at least 2 classes")
    if min(input_size) < 1:
        raise SpecError(f"{architecture.name}: size {format_size(input_size)}: both sides must be at least 1 pixel")
    levels = pyramid_levels(input_size, architecture.smallest_map)
    thirds = split_levels(architecture, levels, input_size)
    blocks = tuple(_plan_blocks(architecture, thirds, input_size))
    return Plan(
        input_size=input_size,
        activation=architecture.activation,
        blocks=blocks,
        decoder=_plan_decoder(architecture, thirds, blocks, num_classes),
    )


def format_size(size: tuple[int, int]) -> str:
    """`HxW`, as the command line reads it."""
    return f"{size[0]}x{size[1]}"


def pyramid_levels(input_size: tuple[int, int], smallest_map: int) -> tuple[int, ...]:
    """Longer sides of the pyramid: halved, rounding up, until one is at most `smallest_map`."""
    levels = [max(input_size)]
    while levels[-1] > smallest_map:
        levels.append(halve(levels[-1]))
    return tuple(levels)


def halve(side: int) -> int:
    """Output side of a stride-2 convolution that keeps the size otherwise."""
    return (side + 1) // 2


def split_levels(
    architecture: Architecture, levels: tuple[int, ...], input_size: tuple[int, int]
) -> dict[StageName, tuple[int, ...]]:
    """The levels of each third of the pyramid; `s1` begins with the input's own level, which is S0's."""
    third = len(levels) // 3
    where = f"{architecture.name}: size {format_size(input_size)}"
    if third == 0:
        raise SpecError(
            f"{where} gives {len(levels)} pyramid level(s) {list(levels)} with "
            f"smallest_map={architecture.smallest_map}; 3 are needed, one for each third: "
            "use a larger size or a smaller smallest_map"
        )
    if third == 1 and architecture.form == "released":
        raise SpecError(
            f"{where} gives {len(levels)} pyramid levels {list(levels)}, which leaves S1 empty; the released "
            f"code needs 6 (a longer side over {architecture.smallest_map * 16}): use a larger size, or form: paper"
        )
    return {"s1": levels[:third], "s2": levels[third : 2 * third], "s3": levels[2 * third :]}


def _plan_blocks(
    architecture: Architecture, thirds: dict[StageName, tuple[int, ...]], input_size: tuple[int, int]
) -> Iterator[BlockPlan]:
    first, *rest = thirds["s1"]
    block = _plan_first_block(architecture, first, input_size)
    yield block
    stages: tuple[tuple[StageName, Stage, tuple[int, ...]], ...] = (
        ("s1", architecture.stages.s1, tuple(rest)),
        ("s2", architecture.stages.s2, thirds["s2"]),
        ("s3", architecture.stages.s3, thirds["s3"]),
    )
    for name, stage, levels in stages:
        for level in levels:
            for _ in range(stage.repeats):
                block = _plan_block(architecture, name, stage, level, True, block)
                yield block
            block = _plan_block(architecture, name, stage, level, False, block)
            yield block


def _plan_first_block(architecture: Architecture, level: int, input_size: tuple[int, int]) -> BlockPlan:
    stage = architecture.stages.s0
    out_channels = min(stage.channels or architecture.base_channels, architecture.max_channels)
    rule = stage.groups or architecture.groups
    branches = _branches(architecture, "s0", residual=False)
    jetconv = _plan_jetconv(architecture, branches, IMAGE_CHANNELS, out_channels, rule, "stages.s0", 2, residual=False)
    return BlockPlan(
        level=level,
        stage="s0",
        residual=False,
        in_channels=IMAGE_CHANNELS,
        expanded_channels=None,
        out_channels=out_channels,
        stride=2,
        expand_groups=1,
        reduce_groups=1,
        jetconv=jetconv,
        attention="none",
        skip="none",
        in_size=input_size,
        out_size=(halve(input_size[0]), halve(input_size[1])),
    )


def _plan_block(
    architecture: Architecture, name: StageName, stage: Stage, level: int, residual: bool, previous: BlockPlan
) -> BlockPlan:
    in_channels, in_size = previous.out_channels, previous.out_size
    if residual:
        expanded = out_channels = in_channels
    else:
        expansion = stage.expansion or architecture.expansion
        expanded = min(in_channels * expansion, architecture.max_expanded_channels)
        out_channels = min(_out_channels(architecture, name, stage, in_channels), architecture.max_channels)
    stride = 1 if residual or level <= architecture.smallest_map else 2
    rule = stage.groups or architecture.groups
    where = f"stages.{name} at level {level}{' (residual)' if residual else ''}"
    attention = stage.attention or (RELEASED_ATTENTION if architecture.form == "released" else PAPER_ATTENTION)[name]
    skip: Skip = architecture.skip or ("operation" if architecture.form == "released" else "block")
    branches = _branches(architecture, name, residual)
    return BlockPlan(
        level=level,
        stage=name,
        residual=residual,
        in_channels=in_channels,
        expanded_channels=expanded,
        out_channels=out_channels,
        stride=stride,
        expand_groups=_groups(architecture, rule, in_channels, expanded, f"{where}, expansion"),
        reduce_groups=_groups(architecture, rule, expanded, out_channels, f"{where}, reduction"),
        jetconv=_plan_jetconv(architecture, branches, expanded, expanded, rule, where, 1, residual),
        attention=attention,
        skip=skip if residual else "none",
        in_size=in_size,
        out_size=in_size if stride == 1 else (halve(in_size[0]), halve(in_size[1])),
    )


def _out_channels(architecture: Architecture, name: StageName, stage: Stage, in_channels: int) -> int:
    """Section 2.3: S1 adds the base channels, S2 twice the base, S3 doubles; `stages.sN.channels` overrules it."""
    if stage.channels is None:
        growth = {"s1": architecture.base_channels, "s2": 2 * architecture.base_channels, "s3": in_channels}
        return in_channels + growth[name]
    if isinstance(stage.channels, int):
        return stage.channels
    amount = int(stage.channels[1:])
    return in_channels + amount if stage.channels[0] == "+" else in_channels * amount


def _branches(architecture: Architecture, name: StageName, residual: bool) -> tuple[Branch, ...]:
    stage = getattr(architecture.stages, name)
    if residual and stage.residual_branches is not None:
        return tuple(stage.residual_branches)
    chosen = stage.branches or architecture.jetconv.branches
    if chosen is not None:
        return tuple(chosen)
    if architecture.form == "paper":
        return PAPER_BRANCHES
    listed: tuple[Branch, ...] = getattr(_combination(architecture), f"{name}_residual" if residual else name)
    return listed


def _combination(architecture: Architecture) -> Combination:
    return COMBINATIONS[architecture.combination or 0]


def _plan_jetconv(
    architecture: Architecture,
    branches: tuple[Branch, ...],
    in_channels: int,
    out_channels: int,
    rule: GroupRule,
    where: str,
    stride: int,
    residual: bool,
) -> JetConvPlan:
    released = architecture.form == "released"
    layout = architecture.jetconv.layout or ("sequential" if released else "parallel")
    shortcut = architecture.jetconv.shortcut or ("residual" if released else "matching")
    mixed = in_channels * (len(branches) if layout == "parallel" else 1)
    same_shape = stride == 1 and in_channels == out_channels
    return JetConvPlan(
        in_channels=in_channels,
        out_channels=out_channels,
        stride=stride,
        layout=layout,
        branches=branches,
        groups=_groups(architecture, rule, mixed, out_channels, f"{where}, JetConv mix"),
        shortcut=same_shape and (shortcut == "matching" or (shortcut == "residual" and residual)),
    )


def _groups(architecture: Architecture, rule: GroupRule, in_channels: int, out_channels: int, where: str) -> int:
    divisors = common_divisors(in_channels, out_channels)
    if rule == "gcd":
        return divisors[-1]
    if rule == "mean-divisor":
        return mean_divisor(divisors)
    if isinstance(rule, str):
        limit = int(rule.removeprefix("at-most-"))
        return max(divisor for divisor in divisors if divisor <= limit)
    if rule not in divisors:
        raise SpecError(
            f"{architecture.name}: groups={rule} at {where}: must divide both {in_channels} input and {out_channels} "
            f"output channels, whose common divisors are {list(divisors)}; at-most-{rule} takes the largest that fits"
        )
    return rule


def common_divisors(in_channels: int, out_channels: int) -> tuple[int, ...]:
    """Common divisors of two channel counts, ascending."""
    smaller = min(in_channels, out_channels)
    return tuple(n for n in range(1, smaller + 1) if in_channels % n == 0 and out_channels % n == 0)


def mean_divisor(divisors: tuple[int, ...]) -> int:
    """The divisor nearest to the divisors' mean, the smaller on a tie: the paper's convenient number of groups."""
    mean = sum(divisors) / len(divisors)
    return min(divisors, key=lambda divisor: (abs(divisor - mean), divisor))


def _plan_decoder(
    architecture: Architecture,
    thirds: dict[StageName, tuple[int, ...]],
    blocks: tuple[BlockPlan, ...],
    num_classes: int,
) -> DecoderPlan:
    released = architecture.form == "released"
    asked = architecture.decoder.taps
    usual = _combination(architecture).taps if released else None
    taps: list[TapPlan] = []
    for name in ("s3", "s2", "s1"):
        tap = getattr(asked, name)
        if tap is None:
            tap = getattr(usual, name) if usual else "last"
        taps.append(_plan_tap(architecture, name, tap, thirds[name], blocks))
    return DecoderPlan(
        taps=tuple(taps),
        head_channels=architecture.decoder.head_channels,
        fusion=architecture.decoder.fusion or ("released" if released else "regseg"),
        num_classes=num_classes,
    )


def _plan_tap(
    architecture: Architecture, name: StageName, tap: Tap, levels: tuple[int, ...], blocks: tuple[BlockPlan, ...]
) -> TapPlan:
    if name == "s1":
        if len(levels) == 1:
            # S1 is empty, so the shallowest feature map there is comes from S0.
            return TapPlan("s1", max(blocks[0].out_size), 0, blocks[0].out_channels, blocks[0].out_size)
        levels = levels[1:]
    index = {"first": 0, "second": 1, "middle": len(levels) // 2, "last": len(levels) - 1}.get(str(tap), tap)
    if not isinstance(index, int) or index >= len(levels):
        raise SpecError(
            f"{architecture.name}: decoder.taps.{name}={tap}: this third has {len(levels)} level(s): {list(levels)}"
        )
    level = levels[index]
    # Several blocks may end at this size (residual ones keep it); the decoder takes the last.
    number = max(number for number, block in enumerate(blocks) if max(block.out_size) == level)
    return TapPlan(name, level, number, blocks[number].out_channels, blocks[number].out_size)
