"""Design problems of a planned network: dead layers, dilation beyond the map, narrow groups, ...; measures nothing.

A finding states a fact about shapes (a weight that only ever sees padding) or a hardware rule (channels per group). A
sweep must show whether it costs accuracy or time on a device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from jetbench.network.list_operations import list_operations
from jetbench.network.operations import dead_operations
from jetbench.network.plan import BlockPlan, JetConvPlan, Plan, TapPlan
from jetbench.network.rules import SPATIAL_KERNEL, format_size
from jetbench.spec.architecture import Branch
from jetbench.spec.values import Size

# Tensor cores take 8 half-precision channels at once (NVIDIA's guide to matrix multiplication), NEON 4 floats.
TENSOR_CORE_CHANNELS = 8
VECTOR_CHANNELS = 4
GLOBAL_ATTENTION = ("cbam", "cbam-released", "sam-released", "eca")
SPATIAL_ATTENTION = ("cbam", "cbam-released", "sam")


@dataclass(frozen=True, slots=True)
class Finding:
    """One design problem: where it is, what it is, why it matters, and how to fix it."""

    rule: str
    where: tuple[str, ...]
    what: str
    why: str
    remedy: str


def lint_plan(plan: Plan) -> tuple[Finding, ...]:
    """All findings about a network at its input size, the most serious first."""
    rules = (_dead_layers, _wide_dilation, _same_branches, _split_branches, _receptive_field, _narrow_groups)
    return tuple(finding for rule in rules for finding in rule(plan))


def _dead_layers(plan: Plan) -> Iterator[Finding]:
    operations = list_operations(plan)
    dead = [operations[index] for index in sorted(dead_operations(operations))]
    if dead:
        parameters, macs = sum(op.parameters for op in dead), sum(op.macs for op in dead)
        share = 100 * parameters / sum(op.parameters for op in operations)
        yield Finding(
            "dead-layers",
            tuple(dict.fromkeys(op.part if op.part != "decoder" else f"decoder {op.layer}" for op in dead)),
            f"{parameters:,} parameters ({share:.1f} %) and {macs:,} MACs never reach the output",
            "they cost time and memory, get no gradient, and do not change the output",
            "tap a deeper level (decoder.taps), or use decoder.fusion: regseg, which reads all three taps",
        )


def _kernels(block: BlockPlan) -> Iterator[tuple[str, int]]:
    """Name and outermost offset (pixels) of each kernel of a block."""
    for branch in block.jetconv.branches:
        half = branch.kernel_size // 2
        yield f"kernel {branch}", branch.dilation * half
        if block.jetconv.layout == "parallel" and branch.dilation > 1:
            yield f"the undilated kernel after {branch}", half
    if block.attention in SPATIAL_ATTENTION:
        yield f"the kernel of {block.attention}", SPATIAL_KERNEL // 2


def _jetconv_size(block: BlockPlan) -> Size:
    return block.in_size if block.expanded_channels is None else block.out_size


def _wide_dilation(plan: Plan) -> Iterator[Finding]:
    places: dict[tuple[str, str, int, int], list[str]] = {}
    for number, block in enumerate(plan.blocks):
        for name, reach in dict.fromkeys(_kernels(block)):
            for axis, side in zip(("height", "width"), _jetconv_size(block), strict=True):
                if reach >= side and reach > 0:
                    places.setdefault((name, axis, side, reach), []).append(f"block {number}")
    for (name, axis, side, reach), where in places.items():
        yield Finding(
            "dilation-beyond-the-map",
            tuple(where),
            f"{name} reaches {reach} pixels to each side along the {axis} of a map that has {side}",
            "its outermost weights only ever see padding: they are dead, and the kernel acts as a smaller one",
            "a smaller dilation or kernel there (stages.sN.branches), a larger image, or fewer levels (smallest_map)",
        )


def _signature(branch: Branch, layout: str, size: Size) -> tuple[object, ...]:
    """What a branch can compute at a size: the offsets that fall inside the map, and whether they are separable."""

    def offsets(k: int, dilation: int, side: int) -> tuple[int, ...]:
        half = k // 2
        return tuple(dilation * n for n in range(-half, half + 1) if abs(dilation * n) < side)

    k = branch.kernel_size
    rows, columns = (offsets(k, branch.dilation, side) for side in size)
    separable = branch.asymmetric and len(rows) > 1 and len(columns) > 1
    after = tuple(offsets(k, 1, side) for side in size) if layout == "parallel" else ()
    return rows, columns, separable, after


def _same_branches(plan: Plan) -> Iterator[Finding]:
    places: dict[tuple[Branch, Branch], list[str]] = {}
    for number, block in enumerate(plan.blocks):
        jetconv = block.jetconv
        if jetconv.layout != "parallel":
            continue
        size = _jetconv_size(block)
        for one, other in combinations(jetconv.branches, 2):
            if _signature(one, jetconv.layout, size) == _signature(other, jetconv.layout, size):
                places.setdefault((one, other), []).append(f"block {number} ({format_size(size)})")
    for (one, other), where in places.items():
        yield Finding(
            "branches-alike",
            tuple(where),
            f"branches {one} and {other} can compute the same functions there",
            "the second branch costs as much as any other but adds no new scale",
            "give the branches different kernels or dilations that fit into the map",
        )
    chains = [
        f"block {number}"
        for number, block in enumerate(plan.blocks)
        if block.jetconv.layout == "sequential" and len(block.jetconv.branches) > 1
    ]
    if chains:
        yield Finding(
            "branches-alike",
            tuple(chains),
            "the branches run one after another with no normalisation or activation between them",
            "inside the map they amount to one linear depthwise convolution with a larger kernel; they differ from it "
            "only near the border, where each branch pads again",
            "jetconv.layout: parallel, or fewer kernels",
        )


def _split_branches(plan: Plan) -> Iterator[Finding]:
    where = []
    for number, block in enumerate(plan.blocks):
        jetconv = block.jetconv
        if jetconv.layout != "parallel":
            continue
        width = jetconv.mixed_channels // jetconv.groups
        seen = [
            {channel // jetconv.in_channels for channel in range(group * width, (group + 1) * width)}
            for group in range(jetconv.groups)
        ]
        short = sum(len(sums) < len(jetconv.branches) for sums in seen)
        if short:
            where.append(f"block {number} ({short} of {jetconv.groups} groups, {len(jetconv.branches)} branches)")
    if where:
        yield Finding(
            "groups-split-branches",
            tuple(where),
            "groups of the 1x1 mix that receive the partial sums of only some of the branches",
            "the sums are stacked one after another and not shuffled, so the outputs of a group miss the other scales",
            "groups: 1 in that stage (stages.sN.groups)",
        )


def receptive_field(plan: Plan) -> tuple[int, int]:
    """Receptive field (height, width) in image pixels of the deepest tap in use, without global pooling."""
    field, step = [1, 1], 1
    for block in plan.blocks[: _deepest_tap(plan).block + 1]:
        if block.expanded_channels is not None:
            step *= block.stride  # the expansion comes first and has the stride
        reach = _reach(block.jetconv)
        if block.attention in SPATIAL_ATTENTION:
            reach += SPATIAL_KERNEL - 1
        for axis in (0, 1):
            field[axis] += reach * step
        if block.expanded_channels is None:
            step *= block.stride
    return field[0], field[1]


def _deepest_tap(plan: Plan) -> TapPlan:
    """The deepest tap that affects the output; the released fusion drops the first tap."""
    return plan.decoder.taps[1 if plan.decoder.fusion == "released" else 0]


def _reach(jetconv: JetConvPlan) -> int:
    """Pixels of its own map by which a JetConv widens the receptive field, both sides together."""
    reaches = [branch.dilation * (branch.kernel_size - 1) for branch in jetconv.branches]
    if jetconv.layout == "sequential":
        return sum(reaches)
    return max(reach + branch.kernel_size - 1 for reach, branch in zip(reaches, jetconv.branches, strict=True))


def _receptive_field(plan: Plan) -> Iterator[Finding]:
    field, size, tap = receptive_field(plan), plan.input_size, _deepest_tap(plan)
    where = (f"tap {tap.stage}, block {tap.block}",)
    pools = any(block.attention in GLOBAL_ATTENTION for block in plan.blocks[: tap.block + 1])
    smaller = [axis for axis in (0, 1) if field[axis] < size[axis]]
    if smaller:
        sides = " and ".join(("height", "width")[axis] for axis in smaller)
        yield Finding(
            "receptive-field",
            where,
            f"the deepest tap in use sees {format_size(field)} pixels, less than the {sides} of an image of "
            f"{format_size(size)}",
            "pixels further away affect it "
            + ("only through the global pooling of its attention" if pools else "not at all"),
            "larger kernels or dilations, more repeats in S2 or S3, or a smaller image",
        )
    elif min(field[axis] / size[axis] for axis in (0, 1)) > 4:
        yield Finding(
            "receptive-field",
            where,
            f"the deepest tap in use sees {format_size(field)} pixels, over four times the {format_size(size)} image",
            "the deep kernels mostly cover padding, and padding costs the same MACs",
            "smaller kernels or dilations in S3, fewer repeats, or a larger image",
        )


def _narrow_groups(plan: Plan) -> Iterator[Finding]:
    cores: list[str] = []
    vectors: list[str] = []
    for place, in_channels, out_channels, groups in _pointwise(plan):
        per_group = in_channels // groups, out_channels // groups
        where = f"{place} ({per_group[0]} > {per_group[1]})"
        if any(count % VECTOR_CHANNELS for count in per_group):
            vectors.append(where)
        elif any(count % TENSOR_CORE_CHANNELS for count in per_group):
            cores.append(where)
    units = (
        (vectors, VECTOR_CHANNELS, "vector units that take 4 channels at once (NEON) and tensor cores"),
        (cores, TENSOR_CORE_CHANNELS, "tensor cores, which take 8 half-precision channels at once,"),
    )
    for places, count, unit in units:
        if places:
            yield Finding(
                "narrow-groups",
                tuple(places),
                f"channels per group that are not a multiple of {count}",
                f"they may leave {unit} partly idle: time falls less than the MACs do",
                "groups: at-most-N with a smaller N, or channels in steps of 8",
            )


def _pointwise(plan: Plan) -> Iterator[tuple[str, int, int, int]]:
    """Every 1x1 convolution except the classifier: its place, input and output channels, groups."""
    for number, block in enumerate(plan.blocks):
        jetconv = block.jetconv
        yield f"block {number} mix", jetconv.mixed_channels, jetconv.out_channels, jetconv.groups
        if block.expanded_channels is not None:
            yield f"block {number} expand", block.in_channels, block.expanded_channels, block.expand_groups
            yield f"block {number} reduce", block.expanded_channels, block.out_channels, block.reduce_groups
    head = plan.decoder.head_channels
    for tap in plan.decoder.taps:
        yield f"decoder head {tap.stage}", tap.channels, head, 1
    yield "decoder fuse", head, head, 1
    yield "decoder last", 2 * head, head, 1
