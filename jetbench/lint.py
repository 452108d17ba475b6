"""What in a planned network works against itself, with the reason and a way out; nothing here is measured.

A finding is a fact about shapes (a weight that only ever meets padding) or a rule of hardware (so many channels to a
group). Whether it costs accuracy or time on a device, a sweep must show.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from jetbench.architecture import Branch
from jetbench.operations import dead_operations
from jetbench.plan import BlockPlan, JetConvPlan, Plan
from jetbench.rules import SPATIAL_KERNEL, Size, format_size
from jetbench.walk import list_operations

# Tensor cores take 8 half-precision channels at once (NVIDIA's guide to matrix multiplication), NEON 4 floats.
TENSOR_CORE_CHANNELS = 8
VECTOR_CHANNELS = 4
GLOBAL_ATTENTION = ("cbam", "cbam-released", "sam-released", "eca")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that works against itself: where, what is the case, why it matters, and what can be done."""

    rule: str
    where: tuple[str, ...]
    what: str
    why: str
    remedy: str


def lint_plan(plan: Plan) -> tuple[Finding, ...]:
    """All findings about a network at its size, the gravest first."""
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
            "they run and take memory, get no gradient, and change nothing",
            "tap a deeper level (decoder.taps), or use decoder.fusion: regseg, which reads all three taps",
        )


def _sides(branch: Branch, size: Size) -> tuple[tuple[str, int, int], ...]:
    """Each axis along which a branch's dilated kernel reaches: its name, the map's side, the outermost offset."""
    reach = branch.dilation * (branch.kernel_size // 2)
    return ("height", size[0], reach), ("width", size[1], reach)


def _jetconv_size(block: BlockPlan) -> Size:
    return block.in_size if block.expanded_channels is None else block.out_size


def _wide_dilation(plan: Plan) -> Iterator[Finding]:
    places: dict[tuple[str, str, int, int], list[str]] = {}
    for number, block in enumerate(plan.blocks):
        for branch in dict.fromkeys(block.jetconv.branches):
            for axis, side, reach in _sides(branch, _jetconv_size(block)):
                if reach >= side and reach > 0:
                    places.setdefault((str(branch), axis, side, reach), []).append(f"block {number}")
    for (name, axis, side, reach), where in places.items():
        yield Finding(
            "dilation-beyond-the-map",
            tuple(where),
            f"kernel {name} reaches {reach} pixels to each side along the {axis} of a map that has {side}",
            "its outermost weights only ever meet padding: they are dead, and the kernel is a smaller one",
            "a smaller dilation or kernel there (stages.sN.branches), a larger image, or fewer levels (smallest_map)",
        )


def _signature(branch: Branch, layout: str, size: Size) -> tuple[object, ...]:
    """What a branch can compute at a size: the offsets that ever meet the map, and whether they are separable."""

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
            "a second branch of the same reach costs as much as another and adds no other scale",
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
            "together they are one linear depthwise convolution: what each of them adds cannot be told apart",
            "jetconv.layout: parallel, or fewer kernels",
        )


def _split_branches(plan: Plan) -> Iterator[Finding]:
    where = [
        f"block {number} ({block.jetconv.groups} groups, {len(block.jetconv.branches)} branches)"
        for number, block in enumerate(plan.blocks)
        if block.jetconv.layout == "parallel" and 1 < len(block.jetconv.branches) <= block.jetconv.groups
    ]
    if where:
        yield Finding(
            "groups-split-branches",
            tuple(where),
            "as many groups in the 1x1 mix as branches, or more",
            "the partial sums of the branches are stacked, not shuffled: an output channel sees one of them, not all",
            "fewer groups than branches in that stage (stages.sN.groups)",
        )


def receptive_field(plan: Plan) -> tuple[int, int]:
    """Height and width in image pixels that one value of the deepest tap depends on, global pooling left out."""
    field, step = [1, 1], 1
    for number, block in enumerate(plan.blocks):
        if number > plan.decoder.taps[0].block:
            break
        if block.expanded_channels is not None:
            step *= block.stride  # the expansion comes first and has the stride
        reach = _reach(block.jetconv)
        if block.attention in ("cbam", "cbam-released", "sam"):
            reach += SPATIAL_KERNEL - 1
        for axis in (0, 1):
            field[axis] += reach * step
        if block.expanded_channels is None:
            step *= block.stride
    return field[0], field[1]


def _reach(jetconv: JetConvPlan) -> int:
    """How many pixels a JetConv's kernels add to either side of the receptive field, in its own map."""
    each = [branch.dilation * (branch.kernel_size - 1) for branch in jetconv.branches]
    if jetconv.layout == "sequential":
        return sum(each)
    return max(reach + branch.kernel_size - 1 for reach, branch in zip(each, jetconv.branches, strict=True))


def _receptive_field(plan: Plan) -> Iterator[Finding]:
    field, size = receptive_field(plan), plan.input_size
    pools = any(block.attention in GLOBAL_ATTENTION for block in plan.blocks[: plan.decoder.taps[0].block + 1])
    smaller = [axis for axis in (0, 1) if field[axis] < size[axis]]
    if smaller:
        sides = " and ".join(("height", "width")[axis] for axis in smaller)
        yield Finding(
            "receptive-field",
            (f"tap {plan.decoder.taps[0].stage}, block {plan.decoder.taps[0].block}",),
            f"the deepest tap sees {format_size(field)} pixels, less than the {sides} of a {format_size(size)} image",
            "what lies further away reaches it "
            + ("only through the global pooling of its attention" if pools else "not at all"),
            "larger kernels or dilations, more repeats in S2 or S3, or a smaller image",
        )
    elif min(field[axis] / size[axis] for axis in (0, 1)) > 4:
        yield Finding(
            "receptive-field",
            (f"tap {plan.decoder.taps[0].stage}, block {plan.decoder.taps[0].block}",),
            f"the deepest tap sees {format_size(field)} pixels, more than four times the image of {format_size(size)}",
            "much of what the deep kernels cover is padding, and padding costs the same MACs",
            "smaller kernels or dilations in S3, fewer repeats, or a larger image",
        )


def _narrow_groups(plan: Plan) -> Iterator[Finding]:
    cores: list[str] = []
    vectors: list[str] = []
    for number, block in enumerate(plan.blocks):
        jetconv = block.jetconv
        convolutions = [("mix", jetconv.mixed_channels, jetconv.out_channels, jetconv.groups)]
        if block.expanded_channels is not None:
            convolutions.append(("expand", block.in_channels, block.expanded_channels, block.expand_groups))
            convolutions.append(("reduce", block.expanded_channels, block.out_channels, block.reduce_groups))
        for name, in_channels, out_channels, groups in convolutions:
            each = in_channels // groups, out_channels // groups
            place = f"block {number} {name} ({each[0]} > {each[1]})"
            if any(count % VECTOR_CHANNELS for count in each):
                vectors.append(place)
            elif any(count % TENSOR_CORE_CHANNELS for count in each):
                cores.append(place)
    for where, count, unit in (
        (vectors, VECTOR_CHANNELS, "vector units (NEON: 4 floats) and tensor cores"),
        (cores, TENSOR_CORE_CHANNELS, "tensor cores (8 half-precision channels)"),
    ):
        if where:
            yield Finding(
                "narrow-groups",
                tuple(where),
                f"channels per group that are no multiple of {count}",
                f"they leave {unit} partly idle: fewer MACs, but not in proportion less time",
                "groups: at-most-N with a smaller N, or base_channels in steps of 8",
            )
