import pytest

from jetbench import SpecError, load_architecture, plan_architecture


def test_nano_at_512_has_the_blocks_of_section_2() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (512, 512))
    blocks = [(b.level, b.stage, b.residual, b.in_channels, b.expanded_channels, b.out_channels) for b in plan.blocks]
    assert blocks == [
        (512, "s0", False, 3, None, 8),
        (256, "s1", False, 8, 16, 16),
        (128, "s2", True, 16, 16, 16),
        (128, "s2", False, 16, 32, 32),
        (64, "s2", True, 32, 32, 32),
        (64, "s2", False, 32, 64, 48),
        (32, "s3", True, 48, 48, 48),
        (32, "s3", False, 48, 64, 64),
        (16, "s3", True, 64, 64, 64),
        (16, "s3", False, 64, 64, 64),
    ]


def test_the_smallest_level_is_not_halved_again() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (512, 512))
    assert plan.blocks[-1].stride == 1
    assert plan.blocks[-1].out_size == (16, 16)


def test_odd_sizes_round_up_on_both_sides() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (181, 333))
    assert [block.out_size for block in plan.blocks][:3] == [(91, 167), (46, 84), (46, 84)]


def test_with_five_levels_s1_is_empty_and_the_shallow_tap_is_s0() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (180, 240))
    assert "s1" not in {block.stage for block in plan.blocks}
    assert plan.decoder.taps[-1].block == 0


def test_the_released_form_refuses_sizes_that_leave_s1_empty() -> None:
    with pytest.raises(SpecError, match=r"180x240 gives 5 pyramid levels .* leaves S1 empty; .* form: paper"):
        plan_architecture(load_architecture("jetseg-nano-released"), 11, (180, 240))


@pytest.mark.parametrize("size", [(16, 16), (32, 20), (1, 1)])
def test_too_small_a_size_is_refused_with_the_rule(size: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="3 are needed, one for each third: use a larger size"):
        plan_architecture(load_architecture("jetseg-nano"), 11, size)


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(SpecError, match="num_classes=1: segmentation needs at least 2"):
        plan_architecture(load_architecture("jetseg-nano"), 1, (512, 512))


def test_a_group_count_that_does_not_divide_names_the_layer_and_the_way_out() -> None:
    with pytest.raises(
        SpecError, match=r"groups=4 at stages.s0, JetConv mix: must divide both 9 input and 8 output .*at-most-4"
    ):
        plan_architecture(load_architecture("jetseg-nano", groups=4), 11, (512, 512))


def test_group_rules_give_their_counts() -> None:
    def groups(rule: object) -> list[int]:
        plan = plan_architecture(load_architecture("jetseg-nano", groups=rule), 11, (512, 512))
        return [block.expand_groups for block in plan.blocks[1:]]

    assert groups(1) == [1] * 9
    assert groups("gcd") == [8, 16, 16, 32, 32, 48, 16, 64, 64]
    assert groups("at-most-4") == [4] * 9
    assert groups("mean-divisor") == [4, 8, 8, 8, 8, 12, 8, 16, 16]


def test_a_stage_can_have_its_own_groups_channels_and_expansion() -> None:
    changes = {"stages.s2.groups": 1, "stages.s2.channels": "x3", "stages.s2.expansion": 3, "stages.s0.channels": 12}
    plan = plan_architecture(load_architecture("jetseg-nano", **changes), 11, (512, 512))
    block = plan.blocks[3]
    assert (block.in_channels, block.expanded_channels, block.out_channels, block.expand_groups) == (20, 60, 60, 1)


@pytest.mark.parametrize(
    ("combination", "levels"),
    [
        (0, [16, 64, 256]),
        (1, [16, 64, 256]),
        (3, [16, 64, 256]),
        (5, [16, 128, 256]),
    ],
)
def test_the_released_taps_are_those_of_the_combination(combination: int, levels: list[int]) -> None:
    plan = plan_architecture(load_architecture("jetseg-nano-released", combination=combination), 32, (512, 512))
    assert [tap.level for tap in plan.decoder.taps] == levels


def test_a_tap_beyond_its_third_is_refused() -> None:
    with pytest.raises(SpecError, match=r"decoder.taps.s2=2: this third has 2 level\(s\): \[128, 64\]"):
        plan_architecture(load_architecture("jetseg-nano", **{"decoder.taps.s2": 2}), 11, (512, 512))


def test_names_do_not_change_the_fingerprint_and_every_real_change_does() -> None:
    def fingerprint(**changes: object) -> str:
        return plan_architecture(load_architecture("jetseg-nano", **changes), 11, (512, 512)).fingerprint

    base = fingerprint()
    assert fingerprint(name="other", description="other") == base
    assert fingerprint(**{"jetconv.branches": "3a 5a 7a"}) == base  # what the form means anyway
    changed = [
        fingerprint(**{key: value})
        for key, value in {
            "activation": "relu",
            "skip": "operation",
            "groups": 1,
            "jetconv.layout": "sequential",
            "jetconv.shortcut": "none",
            "jetconv.branches": "3a 5a 7ad1",
            "stages.s1.attention": "none",
            "stages.s2.repeats": 0,
            "stages.s3.residual_branches": "3",
            "decoder.taps.s2": "first",
            "decoder.fusion": "released",
            "decoder.head_channels": 32,
        }.items()
    ]
    assert len({base, *changed}) == len(changed) + 1
