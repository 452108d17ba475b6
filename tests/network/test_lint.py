from typing import Any

import pytest
import torch
from torch import nn

from jetbench import build_model, load_architecture, plan_architecture
from jetbench.models.jetseg import JetSeg
from jetbench.network.lint import Finding, lint_plan, receptive_field


def findings(rule: str, size: Any = (512, 512), name: Any = "jetseg-nano", **changes: Any) -> list[Finding]:
    plan = plan_architecture(load_architecture(name, **changes), 11, size)
    return [finding for finding in lint_plan(plan) if finding.rule == rule]


def test_dead_layers_of_the_release_are_found_and_the_paper_form_has_none() -> None:
    (finding,) = findings("dead-layers", name="jetseg-nano-released")
    assert finding.what.startswith("11,164 parameters (36.3 %)")
    assert finding.where[0] == "block 5"
    assert findings("dead-layers") == []


def test_dead_layers_are_those_that_get_no_gradient() -> None:
    architecture = load_architecture("jetseg-nano", **{"decoder.taps.s3": "first"})
    model = build_model(architecture, 3, (272, 272))
    model(torch.randn(2, 3, 272, 272)).square().mean().backward()
    dead = sum(parameter.numel() for parameter in model.parameters() if parameter.grad is None)
    (finding,) = [f for f in lint_plan(plan_architecture(architecture, 3, (272, 272))) if f.rule == "dead-layers"]
    assert finding.what.startswith(f"{dead:,} parameters")


def test_a_kernel_that_reaches_beyond_its_map_is_named_with_map_and_reach() -> None:
    found = findings("dilation-beyond-the-map", (40, 300), **{"jetconv.branches": "7a"})
    assert found[0].what == "kernel 7a reaches 9 pixels to each side along the height of a map that has 5"
    assert found[0].where == ("block 3", "block 4")
    assert findings("dilation-beyond-the-map") == []


def test_weights_beyond_the_map_are_really_dead() -> None:
    # Block 3's map is 5 pixels high: of a 7-kernel with dilation 3 only the offsets -3, 0 and 3 ever meet it.
    plan = plan_architecture(load_architecture("jetseg-nano", **{"jetconv.branches": "7a"}), 3, (40, 300))
    model = JetSeg(plan)
    model(torch.randn(2, 3, 40, 300)).square().mean().backward()
    tall = model.get_submodule("encoder.blocks.3.operations.jetconv.depthwise.branches.0.0").weight
    assert isinstance(tall, torch.Tensor)
    assert tall.grad is not None
    assert tall.grad.abs().sum(dim=(0, 1, 3)).gt(0).tolist() == [False, False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("branches", "alike"), [("3a 3a", True), ("3a 5a", False), ("3 3a", False), ("3a 3ad1", True), ("5ad1 5a", False)]
)
def test_branches_that_compute_the_same_are_found(branches: str, alike: bool) -> None:
    assert bool(findings("branches-alike", **{"jetconv.branches": branches})) == alike


def test_branches_that_a_small_map_makes_alike_are_found() -> None:
    # Dilations 8 and 9 are alike where a map has at most 8 pixels: only the middle of the pair is left of either.
    (finding,) = findings("branches-alike", (40, 40), smallest_map=2, **{"jetconv.branches": "5ad8 5ad9"})
    plan = plan_architecture(load_architecture("jetseg-nano", smallest_map=2), 11, (40, 40))
    sides = [block.out_size[0] for block in plan.blocks]
    assert finding.where == tuple(f"block {n} ({side}x{side})" for n, side in enumerate(sides) if n and side <= 8)
    assert len(finding.where) < len(sides) - 1


def test_a_chain_without_anything_between_is_one_convolution() -> None:
    (finding,) = findings("branches-alike", **{"jetconv.layout": "sequential"})
    assert "one linear depthwise convolution" in finding.why


@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_the_receptive_field_is_what_gradients_show(layout: str) -> None:
    changes: dict[str, Any] = {"jetconv.branches": "3a 5", "jetconv.layout": layout, "smallest_map": 150}
    changes |= {f"stages.{stage}.attention": "none" for stage in ("s1", "s2", "s3")}
    plan = plan_architecture(load_architecture("jetseg-nano", activation="relu", groups=1, **changes), 3, (513, 480))
    height, width = receptive_field(plan)
    assert height < 480
    model = JetSeg(plan).eval()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.1)  # positive, so that nothing cancels
    image = torch.ones(1, 3, 513, 480, requires_grad=True)
    deepest = model.encoder(image)[0]
    deepest[0, 0, deepest.shape[2] // 2, deepest.shape[3] // 2].backward()
    assert image.grad is not None
    touched = image.grad[0].abs().sum(dim=0).gt(0)
    rows, columns = touched.any(dim=1).nonzero(), touched.any(dim=0).nonzero()
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (height, width)


def test_a_receptive_field_smaller_than_the_image_is_a_finding_and_a_fitting_one_is_none() -> None:
    small: dict[str, Any] = {
        "jetconv.branches": "3ad1",
        "jetconv.layout": "sequential",
        "stages.s2.repeats": 0,
        "stages.s3.repeats": 0,
    }
    small |= {f"stages.{stage}.attention": "none" for stage in ("s1", "s2", "s3")}
    (finding,) = findings("receptive-field", (720, 960), **small)
    assert "less than the height and width of an image of 720x960" in finding.what
    assert "not at all" in finding.why
    (pooled,) = findings("receptive-field", (720, 960), **{**small, "stages.s1.attention": "cbam"})
    assert "only through the global pooling" in pooled.why


def test_groups_too_narrow_for_the_hardware_are_named_by_layer() -> None:
    narrow, cores = findings("narrow-groups")
    assert "block 1 expand (2 > 4)" in narrow.where
    assert "multiple of 4" in narrow.what
    assert "multiple of 8" in cores.what
    dense: dict[str, Any] = {"groups": 1, "jetconv.layout": "sequential"}
    (image,) = findings("narrow-groups", **dense)
    assert image.where == ("block 0 mix (3 > 8)",)


def test_groups_that_keep_the_branches_of_a_jetconv_apart_are_found() -> None:
    two: dict[str, Any] = {"jetconv.branches": "3a 5a"}
    one: dict[str, Any] = {"jetconv.branches": "3a"}
    (finding,) = findings("groups-split-branches", groups="at-most-2", **two)
    assert finding.where[0] == "block 0 (2 of 2 groups, 2 branches)"
    assert findings("groups-split-branches", groups=1, **two) == findings("groups-split-branches", **one) == []


@pytest.mark.parametrize(
    ("branches", "groups"),
    [("3a 5a", 2), ("3a 5a 7a", 2), ("3a 5a 7a", 4), ("3a 5a 7a", 8), ("3a 5a 7a", 1), ("3a", 4)],
)
def test_gradients_show_which_groups_miss_a_branch(branches: str, groups: int) -> None:
    changes: dict[str, Any] = {"jetconv.branches": branches, "jetconv.shortcut": "none", "stages.s1.groups": groups}
    plan = plan_architecture(load_architecture("jetseg-nano", groups=1, **changes), 3, (512, 512))
    block = plan.blocks[1]
    jetconv: nn.Module = JetSeg(plan).get_submodule("encoder.blocks.1.operations.jetconv")
    stacked = torch.randn(1, block.jetconv.mixed_channels, 4, 4, requires_grad=True)
    mixed = jetconv.get_submodule("mix")(stacked)
    short = 0
    for group in range(groups):
        channel = group * block.jetconv.out_channels // groups
        (gradient,) = torch.autograd.grad(mixed[:, channel].sum(), stacked, retain_graph=True)
        sums = gradient.abs().sum(dim=(0, 2, 3)).view(len(block.jetconv.branches), -1).sum(dim=1)
        short += bool((sums == 0).any())
    found = [finding for finding in lint_plan(plan) if finding.rule == "groups-split-branches"]
    where = [f"block 1 ({short} of {groups} groups, {len(block.jetconv.branches)} branches)"] if short else []
    assert [place for finding in found for place in finding.where] == where


def test_the_receptive_field_of_the_release_is_that_of_the_tap_in_use() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano-released"), 3, (512, 512))
    assert receptive_field(plan) == (365, 365)  # of block 4; that of block 9, which is dead, is 621
    (finding,) = findings("receptive-field", name="jetseg-nano-released")
    assert finding.where == ("tap s2, block 4",)


@pytest.mark.parametrize(
    ("attention", "grows"), [("none", 0), ("sam", 6), ("cbam", 6), ("eca", 0), ("sam-released", 0)]
)
def test_spatial_attention_widens_the_receptive_field(attention: str, grows: int) -> None:
    def field(name: str) -> tuple[int, int]:
        changes: dict[str, Any] = {f"stages.{stage}.attention": "none" for stage in ("s1", "s2", "s3")}
        changes["stages.s1.attention"] = name
        return receptive_field(plan_architecture(load_architecture("jetseg-nano", **changes), 3, (512, 512)))

    assert field(attention)[0] - field("none")[0] == grows * 4  # S1 has one block, behind two strides


def test_a_chain_of_convolutions_is_one_convolution_inside_the_map() -> None:
    changes: dict[str, Any] = {"jetconv.branches": "3 5", "jetconv.layout": "sequential"}
    plan = plan_architecture(load_architecture("jetseg-nano", **changes), 3, (512, 512))
    chain: nn.Module = JetSeg(plan).double().get_submodule("encoder.blocks.1.operations.jetconv.depthwise")
    channels = plan.blocks[1].jetconv.in_channels
    impulse = torch.zeros(1, channels, 15, 15, dtype=torch.float64)
    impulse[:, :, 7, 7] = 1
    kernel = chain(impulse)[:, :, 4:11, 4:11].flip((2, 3)).transpose(0, 1)  # 7x7: 3x3 after 5x5
    x = torch.randn(1, channels, 32, 32, dtype=torch.float64)
    difference = (chain(x) - nn.functional.conv2d(x, kernel, padding=3, groups=channels)).abs()
    assert difference[:, :, 3:-3, 3:-3].max() < 1e-12
    assert difference.max() > 1e-6


def test_the_kernel_of_an_attention_can_be_wider_than_its_map() -> None:
    found = findings("dilation-beyond-the-map", (40, 40), smallest_map=2, **{"stages.s3.attention": "sam"})
    assert "the kernel of sam reaches 3 pixels to each side along the height of a map that has 2" in [
        f.what for f in found
    ]


def test_the_decoder_is_looked_at_too() -> None:
    narrow = findings("narrow-groups", **{"decoder.head_channels": 7})[0]
    assert "decoder fuse (7 > 7)" in narrow.where
