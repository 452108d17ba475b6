from typing import Any

import pytest
import torch
from torch import nn

from jetbench import build_model, load_architecture, plan_architecture
from jetbench.lint import Finding, lint_plan, receptive_field
from jetbench.models.jetseg import JetSeg


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
    assert "less than the height and width of a 720x960 image" in finding.what
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
    assert finding.where[0] == "block 0 (2 groups, 2 branches)"
    assert findings("groups-split-branches", groups=1, **two) == findings("groups-split-branches", **one) == []


def test_a_group_of_the_mix_really_sees_one_branch_only() -> None:
    changes: dict[str, Any] = {"jetconv.branches": "3a 5a", "jetconv.shortcut": "none", "groups": "at-most-2"}
    plan = plan_architecture(load_architecture("jetseg-nano", **changes), 3, (64, 96))
    jetconv: nn.Module = JetSeg(plan).get_submodule("encoder.blocks.1.operations.jetconv")
    jetconv(torch.randn(1, plan.blocks[1].jetconv.in_channels, 16, 16))[:, 0].sum().backward()
    first, second = (jetconv.get_parameter(f"depthwise.branches.{n}.0.weight").grad for n in (0, 1))
    assert isinstance(first, torch.Tensor)
    assert first.abs().sum() > 0
    assert second is None or not second.any()  # output channel 0 never sees the 5-kernel
