"""Rules that turn the fields of an Architecture into pyramid, stages, channels, groups and taps; no torch.

Plans and closed-form costs both use these rules, so they cannot disagree. Results that many variants share are cached,
because screening needs them millions of times.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from jetbench.errors import SpecError
from jetbench.spec.architecture import (
    COMBINATIONS,
    Architecture,
    AttentionName,
    Branch,
    ChannelRule,
    FirstStage,
    Form,
    Fusion,
    GroupRule,
    JetConv,
    Layout,
    Shortcut,
    Skip,
    Stage,
    StageName,
    Taps,
)
from jetbench.spec.values import Size

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
TAPPED: tuple[StageName, ...] = ("s3", "s2", "s1")


def format_size(size: Size) -> str:
    """The size as `HxW`, as the command line reads it."""
    return f"{size[0]}x{size[1]}"


def pyramid_levels(input_size: Size, smallest_map: int) -> tuple[int, ...]:
    """Longer sides of the pyramid: halved, rounding up, until a side is at most `smallest_map`."""
    levels = [max(input_size)]
    while levels[-1] > smallest_map:
        levels.append(halve(levels[-1]))
    return tuple(levels)


def halve(side: int) -> int:
    """Output side of a stride-2 convolution with "same" padding."""
    return (side + 1) // 2


class Thirds(NamedTuple):
    """The levels of each third of the pyramid."""

    s1: tuple[int, ...]
    s2: tuple[int, ...]
    s3: tuple[int, ...]


@lru_cache(maxsize=4096)
def split_levels(form: Form, smallest_map: int, input_size: Size) -> Thirds:
    """The levels of each third of the pyramid; `s1` begins with the input's own level, which is S0's.

    Raises:
        SpecError: the size is too small.
    """
    levels = pyramid_levels(input_size, smallest_map)
    third = len(levels) // 3
    where = f"size {format_size(input_size)}"
    if third == 0:
        raise SpecError(
            f"{where} gives {len(levels)} pyramid level(s) {list(levels)} with "
            f"smallest_map={smallest_map}; at least 3 are needed, one for each third: "
            "use a larger size or a smaller smallest_map"
        )
    if third == 1 and form == "released":
        raise SpecError(
            f"{where} gives {len(levels)} pyramid levels {list(levels)}, which leaves S1 empty; the released "
            f"code needs 6 levels (a longer side over {smallest_map * 16}): use a larger size, or form: paper"
        )
    return Thirds(levels[:third], levels[third : 2 * third], levels[2 * third :])


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The place of one block: its stage and sizes, which do not depend on channels. Compared by identity."""

    stage: StageName
    residual: bool
    level: int
    stride: int
    in_size: Size
    out_size: Size


def list_steps(architecture: Architecture, num_classes: int, input_size: Size) -> tuple[Step, ...]:
    """The blocks of the encoder in order, without their channels.

    Raises:
        SpecError: too few classes, or the size is too small.
    """
    if num_classes < 2:
        raise SpecError(f"num_classes={num_classes}: segmentation needs at least 2 classes")
    if min(input_size) < 1:
        raise SpecError(f"size {format_size(input_size)}: both sides must be at least 1 pixel")
    return _steps(architecture.form, architecture.smallest_map, _repeats(architecture), input_size)


_Repeats = tuple[int, int, int]


def _repeats(architecture: Architecture) -> _Repeats:
    stages = architecture.stages
    return stages.s1.repeats, stages.s2.repeats, stages.s3.repeats


@lru_cache(maxsize=4096)
def _steps(form: Form, smallest_map: int, repeats: _Repeats, input_size: Size) -> tuple[Step, ...]:
    thirds = split_levels(form, smallest_map, input_size)
    size = (halve(input_size[0]), halve(input_size[1]))
    steps = [Step("s0", False, thirds.s1[0], 2, input_size, size)]
    stages: tuple[tuple[StageName, tuple[int, ...]], ...] = (
        ("s1", thirds.s1[1:]),
        ("s2", thirds.s2),
        ("s3", thirds.s3),
    )
    for (name, levels), count in zip(stages, repeats, strict=True):
        for level in levels:
            steps += [Step(name, True, level, 1, size, size)] * count
            stride = 1 if level <= smallest_map else 2
            out_size = size if stride == 1 else (halve(size[0]), halve(size[1]))
            steps.append(Step(name, False, level, stride, size, out_size))
            size = out_size
    return tuple(steps)


@dataclass(frozen=True, slots=True, eq=False)
class StageRule:
    """One stage with the defaults of its form filled in. Compared by identity, which is fast: equal ones are cached."""

    stage: StageName
    branches: tuple[Branch, ...]
    residual_branches: tuple[Branch, ...]
    channels: ChannelRule
    max_channels: int
    expansion: int
    max_expanded_channels: int
    groups: GroupRule
    attention: AttentionName
    layout: Layout
    shortcut: Shortcut
    skip: Skip


class _Common(NamedTuple):
    """The fields that all stages of an architecture share."""

    form: Form
    combination: int
    base_channels: int
    max_channels: int
    max_expanded_channels: int
    expansion: int
    groups: GroupRule
    skip: Skip | None
    jetconv: JetConv


def stage_rules(architecture: Architecture) -> dict[StageName, StageRule]:
    """The rules of S0 to S3."""
    stages = architecture.stages
    common = _Common(
        form=architecture.form,
        combination=architecture.combination or 0,
        base_channels=architecture.base_channels,
        max_channels=architecture.max_channels,
        max_expanded_channels=architecture.max_expanded_channels,
        expansion=architecture.expansion,
        groups=architecture.groups,
        skip=architecture.skip,
        jetconv=architecture.jetconv,
    )
    return {
        "s0": _stage_rule("s0", stages.s0, common),
        "s1": _stage_rule("s1", stages.s1, common),
        "s2": _stage_rule("s2", stages.s2, common),
        "s3": _stage_rule("s3", stages.s3, common),
    }


@lru_cache(maxsize=65_536)
def _stage_rule(name: StageName, stage: FirstStage | Stage, common: _Common) -> StageRule:
    form, combination, base, max_channels, max_expanded, expansion, groups, skip, jetconv = common
    released = form == "released"
    listed = COMBINATIONS[combination] if released else None
    chosen = stage.branches or jetconv.branches
    branches = residual = chosen or (getattr(listed, name) if listed else PAPER_BRANCHES)
    attention: AttentionName = "none"
    channels: ChannelRule = stage.channels or base
    if isinstance(stage, Stage):
        # Section 2.3: S1 adds the base channels, S2 twice the base, S3 doubles.
        channels = stage.channels or {"s1": f"+{base}", "s2": f"+{2 * base}", "s3": "x2"}[name]
        expansion = stage.expansion or expansion
        attention = stage.attention or (RELEASED_ATTENTION if released else PAPER_ATTENTION)[name]
        usual = getattr(listed, f"{name}_residual") if listed else PAPER_BRANCHES
        residual = stage.residual_branches or chosen or usual
    return StageRule(
        stage=name,
        branches=tuple(branches),
        residual_branches=tuple(residual),
        channels=channels,
        max_channels=max_channels,
        expansion=expansion,
        max_expanded_channels=max_expanded,
        groups=stage.groups or groups,
        attention=attention,
        layout=jetconv.layout or ("sequential" if released else "parallel"),
        shortcut=jetconv.shortcut or ("residual" if released else "matching"),
        skip=skip or ("operation" if released else "block"),
    )


class BlockChannels(NamedTuple):
    """Channels and groups of one block; `expanded` is None in S0, which has no expansion."""

    expanded: int | None
    out: int
    expand_groups: int
    mix_groups: int
    reduce_groups: int


def block_channels(rule: StageRule, step: Step, in_channels: int) -> BlockChannels:
    """Channels and groups of the block at `step`, given its `in_channels`.

    Raises:
        SpecError: a fixed group count does not divide the channels.
    """
    branches = len(rule.residual_branches if step.residual else rule.branches) if rule.layout == "parallel" else 1
    where, groups = "", rule.groups
    try:
        if step.stage == "s0":
            where = "JetConv mix"
            out = min(grow(rule.channels, in_channels), rule.max_channels)
            return BlockChannels(None, out, 1, group_count(groups, in_channels * branches, out), 1)
        if step.residual:
            expanded = out = in_channels
        else:
            expanded = min(in_channels * rule.expansion, rule.max_expanded_channels)
            out = min(grow(rule.channels, in_channels), rule.max_channels)
        where = "expansion"
        expand_groups = group_count(groups, in_channels, expanded)
        where = "reduction"
        reduce_groups = group_count(groups, expanded, out)
        where = "JetConv mix"
        return BlockChannels(
            expanded, out, expand_groups, group_count(groups, expanded * branches, expanded), reduce_groups
        )
    except SpecError as error:
        place = "" if step.stage == "s0" else f" at level {step.level}{' (residual)' if step.residual else ''}"
        raise SpecError(f"groups={groups} at stages.{step.stage}{place}, {where}: {error}") from None


@lru_cache(maxsize=4096)
def grow(rule: ChannelRule, in_channels: int) -> int:
    """Output channels by a rule: a count, or `+N` or `xN` of the input channels."""
    if isinstance(rule, int):
        return rule
    amount = int(rule[1:])
    return in_channels + amount if rule[0] == "+" else in_channels * amount


def has_shortcut(rule: StageRule, step: Step) -> bool:
    """True if a JetConv adds its input to its output; never in S0, where the shapes differ."""
    if step.stage == "s0":
        return False
    return rule.shortcut == "matching" or (rule.shortcut == "residual" and step.residual)


@lru_cache(maxsize=65_536)
def group_count(rule: GroupRule, in_channels: int, out_channels: int) -> int:
    """Groups of a 1x1 convolution by a rule: a count, `mean-divisor`, `gcd` or `at-most-N`.

    Raises:
        SpecError: the count does not divide both.
    """
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
            f"must divide both {in_channels} input and {out_channels} output channels, whose common divisors are "
            f"{list(divisors)}; at-most-{rule} takes the largest that fits"
        )
    return rule


def common_divisors(in_channels: int, out_channels: int) -> tuple[int, ...]:
    """Common divisors of two channel counts, ascending."""
    largest = math.gcd(in_channels, out_channels)
    return tuple(n for n in range(1, largest + 1) if largest % n == 0)


def mean_divisor(divisors: tuple[int, ...]) -> int:
    """The divisor nearest to the mean of the divisors, the smaller on a tie: the paper's "convenient" group count."""
    mean = sum(divisors) / len(divisors)
    return min(divisors, key=lambda divisor: (abs(divisor - mean), divisor))


def eca_kernel(channels: int) -> int:
    """ECA's kernel size: |log2(C) / 2 + 1 / 2| truncated, plus 1 if that is even."""
    size = int(abs(math.log2(channels) / 2 + 0.5))
    return size if size % 2 else size + 1


def resolve_fusion(architecture: Architecture) -> Fusion:
    """How the decoder fuses its heads; the default depends on the form."""
    return architecture.decoder.fusion or ("released" if architecture.form == "released" else "regseg")


def tapped_blocks(architecture: Architecture, input_size: Size) -> tuple[int, ...]:
    """Numbers of the blocks that the decoder reads, deep to shallow; of several at one size it reads the last.

    Raises:
        SpecError: a third of the pyramid does not have the level that its tap names.
    """
    combination = (architecture.combination or 0) if architecture.form == "released" else None
    return _tapped_blocks(
        architecture.decoder.taps,
        combination,
        architecture.form,
        architecture.smallest_map,
        _repeats(architecture),
        input_size,
    )


@lru_cache(maxsize=4096)
def _tapped_blocks(
    taps: Taps, combination: int | None, form: Form, smallest_map: int, repeats: _Repeats, input_size: Size
) -> tuple[int, ...]:
    thirds = split_levels(form, smallest_map, input_size)
    steps = _steps(form, smallest_map, repeats, input_size)
    blocks = []
    for name in TAPPED:
        tap = getattr(taps, name)
        if tap is None:
            tap = "last" if combination is None else getattr(COMBINATIONS[combination].taps, name)
        levels = getattr(thirds, name)
        if name == "s1":
            if len(levels) == 1:
                # S1 is empty, so the shallowest feature map comes from S0.
                blocks.append(0)
                continue
            levels = levels[1:]
        index = {"first": 0, "second": 1, "middle": len(levels) // 2, "last": len(levels) - 1}.get(str(tap), tap)
        if not isinstance(index, int) or index >= len(levels):
            raise SpecError(f"decoder.taps.{name}={tap}: this third has {len(levels)} level(s): {list(levels)}")
        blocks.append(max(number for number, step in enumerate(steps) if max(step.out_size) == levels[index]))
    return tuple(blocks)
