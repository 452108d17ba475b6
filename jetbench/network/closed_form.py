"""The cost of an Architecture in closed form: parameters, MACs, equation 2 and peak activation memory.

Plain arithmetic over the rules of `rules.py`, without torch, modules or a list of operations, so that millions of
variants can be screened. `list_operations` lists the same costs kernel by kernel, and a trace of the built network
gives them too; the tests require these four totals to be equal in all three.
"""

from functools import lru_cache
from typing import NamedTuple

from jetbench.errors import SpecError
from jetbench.network.operations import ACTIVATION_KERNELS, BYTES, EQ2_NORM, whole
from jetbench.network.rules import (
    CBAM_REDUCTION,
    IMAGE_CHANNELS,
    SPATIAL_KERNEL,
    StageRule,
    Step,
    block_channels,
    eca_kernel,
    has_shortcut,
    list_steps,
    resolve_fusion,
    stage_rules,
    tapped_blocks,
)
from jetbench.spec.architecture import (
    AnyArchitecture,
    Architecture,
    AttentionName,
    Branch,
    Fusion,
    Layout,
    only_jetseg,
)
from jetbench.spec.values import Size


class QuickCost(NamedTuple):
    """The totals that screening needs, for one image in float32; `operations.Cost` defines each."""

    parameters: int
    macs: int
    eq2_flops: float
    peak_activation_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Weights plus peak activations by liveness, every operation out of place: neither measured nor a bound."""
        return BYTES * self.parameters + self.peak_activation_bytes


def cost_of(architecture: AnyArchitecture, num_classes: int, input_size: Size) -> QuickCost:
    """Parameters, MACs, equation 2 and peak activation memory of a JetSeg `architecture` for images of (height, width).

    Raises:
        SpecError: it cannot be built (the message names the key, the value and the rule), or it is a baseline.
    """
    jetseg = only_jetseg(architecture)
    try:
        return _add_up(jetseg, num_classes, input_size)
    except SpecError as error:
        raise SpecError(f"{architecture.name}: {error}") from None


def _add_up(architecture: Architecture, num_classes: int, input_size: Size) -> QuickCost:
    steps = list_steps(architecture, num_classes, input_size)
    rules = stage_rules(architecture)
    taps = tapped_blocks(architecture, input_size)
    # An activation made of several kernels needs its input, an intermediate result and its output at once.
    copies = 2 if len(ACTIVATION_KERNELS[architecture.activation]) == 1 else 3
    channels = IMAGE_CHANNELS
    parameters = macs = peak = waiting = kept = 0
    eq2 = 0.0
    features: dict[int, _Feature] = {}
    for number, step in enumerate(steps):
        block = _block_cost(rules[step.stage], step, channels, copies)
        channels = block.out_channels
        parameters += block.parameters
        macs += block.macs
        eq2 += block.eq2
        # `waiting`: maps kept for the decoder, in elements. `kept`: the input of this block, if the decoder reads it.
        peak = max(peak, waiting + block.peak_with_input, waiting + kept + block.peak_without_input)
        waiting += kept
        kept = 0
        if number in taps:
            pixels = step.out_size[0] * step.out_size[1]
            features[number] = number, channels, pixels
            kept = channels * pixels
    deep, middle, shallow = taps
    decoder = _decoder_cost(
        (features[deep], features[middle], features[shallow]),
        architecture.decoder.head_channels,
        resolve_fusion(architecture),
        num_classes,
        input_size[0] * input_size[1],
        copies,
    )
    return QuickCost(
        parameters + decoder.parameters,
        macs + decoder.macs,
        whole(eq2 + decoder.eq2),
        BYTES * max(peak, decoder.peak),
    )


class _BlockCost(NamedTuple):
    """One block. Peaks in elements: while the block needs its input, and after, when only the decoder may need it."""

    out_channels: int
    parameters: int
    macs: int
    eq2: float
    peak_with_input: int
    peak_without_input: int


@lru_cache(maxsize=262_144)
def _block_cost(rule: StageRule, step: Step, in_channels: int, copies: int) -> _BlockCost:
    expanded, out, expand_groups, mix_groups, reduce_groups = block_channels(rule, step, in_channels)
    branches = rule.residual_branches if step.residual else rule.branches
    weights, kernels = _branch_weights(branches, rule.layout)
    stacked = len(branches) if rule.layout == "parallel" else 1
    (height, width), (in_height, in_width) = step.out_size, step.in_size
    pixels, in_pixels = height * width, in_height * in_width
    entered = in_channels * in_pixels
    if expanded is None:
        depthwise, mix = in_channels * weights, stacked * in_channels // mix_groups * out
        made = out * pixels
        if rule.layout == "parallel":
            with_input, without = entered * (1 + stacked), max(2 * stacked * entered, stacked * entered + made)
        else:
            with_input, without = 2 * entered, max(2 * entered if kernels > 1 else 0, entered + made)
        return _BlockCost(
            out,
            depthwise + mix + 2 * out,
            depthwise * in_pixels + mix * pixels,
            depthwise * in_pixels + mix * in_pixels / 4 + (EQ2_NORM + 1) * made,
            with_input,
            max(without, copies * made),
        )

    wide = expanded * pixels
    expand = in_channels // expand_groups * expanded
    rest = expanded * weights + stacked * expanded // mix_groups * expanded + expanded // reduce_groups * out
    attention = _attention_cost(rule.attention, expanded, pixels)
    own_macs = (expand + rest) * pixels + attention.macs
    eq2 = expand * in_pixels / step.stride**2 + rest * pixels + attention.macs - attention.macs_1d
    eq2 += (EQ2_NORM + 2) * wide

    shortcut = has_shortcut(rule, step)
    skip = rule.skip if step.residual else "none"
    # The input of the JetConv stays in memory while its branches run; a skip around the operation has the same effect.
    stays = 1 if shortcut or skip == "operation" else 0
    jetconv = (2 * stacked + stays) * wide if rule.layout == "parallel" else (2 + stays) * wide
    if skip == "operation":
        # Each operation needs its input, result and sum at once. Channels and size stay the same throughout.
        attended = max(attention.peak, attention.peak_after + wide)
        with_input, without = 3 * wide, max(3 * wide, jetconv, attended)
    else:
        without = max(2 * wide, copies * wide, jetconv, attention.peak, attention.peak_after, wide + out * pixels)
        with_input = entered + wide
        if skip == "block":
            with_input, without = max(with_input, entered + without, 3 * entered), 0
    return _BlockCost(out, expand + rest + 2 * expanded + attention.parameters, own_macs, eq2, with_input, without)


@lru_cache(maxsize=65_536)
def _branch_weights(branches: tuple[Branch, ...], layout: Layout) -> tuple[int, int]:
    """Weights per channel of all depthwise convolutions of a JetConv, and the number of these convolutions."""
    weights = kernels = 0
    for branch in branches:
        k = branch.kernel_size
        weights += 2 * k if branch.asymmetric else k * k
        kernels += 2 if branch.asymmetric else 1
        if layout == "parallel":
            weights += k * k
            kernels += 1
    return weights, kernels


class _AttentionCost(NamedTuple):
    """Attention in one block. Peaks in elements: while its input map is needed, and after."""

    parameters: int
    macs: int
    macs_1d: int
    peak: int
    peak_after: int


@lru_cache(maxsize=65_536)
def _attention_cost(attention: AttentionName, channels: int, pixels: int) -> _AttentionCost:
    whole_map = channels * pixels
    spatial = 2 * SPATIAL_KERNEL**2
    if attention == "none":
        return _AttentionCost(0, 0, 0, 0, 0)
    if attention == "eca":
        kernel = eca_kernel(channels)
        macs = kernel * channels
        return _AttentionCost(kernel, macs, macs, whole_map + max(2 * channels, whole_map + channels), 0)
    if attention == "sam-released":
        # Mean, maximum and the position of the maximum (8 bytes) of the single map.
        peak = whole_map + max(2 * pixels, pixels + 4, whole_map + pixels + 1)
        return _AttentionCost(channels, channels * pixels, 0, peak, 2 * whole_map + 1)
    spatial_peak = whole_map + max(4 * pixels, whole_map + pixels)
    if attention == "sam":
        return _AttentionCost(spatial, spatial * pixels, 0, spatial_peak, 0)
    weights = 2 * channels * max(1, channels // CBAM_REDUCTION)
    channel_peak = whole_map + max(4 * channels, whole_map + channels)
    return _AttentionCost(weights + spatial, 2 * weights + spatial * pixels, 0, channel_peak, spatial_peak)


_Feature = tuple[int, int, int]
"""A tap: block number, channels, pixels."""


class _DecoderCost(NamedTuple):
    parameters: int
    macs: int
    eq2: float
    peak: int


@lru_cache(maxsize=65_536)
def _decoder_cost(
    features: tuple[_Feature, _Feature, _Feature],
    head: int,
    fusion: Fusion,
    num_classes: int,
    image_pixels: int,
    copies: int,
) -> _DecoderCost:
    """Cost of the decoder; `features` are the taps, deep to shallow."""
    (deep_block, deep_in, deep_pixels), (middle_block, middle_in, middle_pixels), (block, shallow_in, last) = features
    deep, middle, shallow = head * deep_pixels, head * middle_pixels, head * last
    fuse = shallow if fusion == "released" else middle
    logits = num_classes * last
    parameters = head * (deep_in + middle_in + shallow_in + 3 * head + 10 + num_classes) + num_classes
    macs = deep_in * deep + middle_in * middle + shallow_in * shallow + head * (fuse + 2 * shallow + logits)
    eq2 = macs + (EQ2_NORM + 1) * (deep + middle + fuse + 2 * shallow)

    # Each map stays in memory until the last head that reads it has run its convolution.
    shallow_map = shallow_in * last
    middle_map = 0 if middle_block == block else middle_in * middle_pixels
    deep_map = 0 if deep_block in (middle_block, block) else deep_in * deep_pixels
    peak = max(
        deep_map + middle_map + shallow_map + deep,
        middle_map + shallow_map + copies * deep,
        middle_map + shallow_map + deep + middle,
        shallow_map + deep + copies * middle,
        shallow_map + deep + middle + shallow,
        deep + middle + copies * shallow,
        # The deepest head is upsampled and added to the middle one.
        deep + 2 * middle + shallow,
        3 * middle + shallow,
        # Then come the fusion, the stack, the classifier and the upsampling to the size of the image.
        (1 + copies) * shallow if fusion == "released" else copies * middle + shallow,
        middle + 2 * shallow,
        4 * shallow,
        shallow + logits,
        logits + num_classes * image_pixels,
    )
    return _DecoderCost(parameters, macs, eq2, peak)
