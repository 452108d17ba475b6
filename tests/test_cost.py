import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetbench import SpecError, build_model, load_architecture, plan_architecture
from jetbench.cost import count_plan, eca_kernel, total
from jetbench.profiling.counts import count_macs, count_parameters

# Measured on the authors' release: parameters, and MACs of its convolutions in millions, 32 classes at 512x512.
RELEASED_NANO = [
    (0, 32_140, 1041.924944),
    (1, 32_448, 1024.557904),
    (2, 34_361, 1070.498640),
    (3, 31_632, 1022.395216),
    (4, 32_016, 1026.917200),
    (5, 31_945, 1076.724560),
]


@pytest.mark.parametrize(("combination", "parameters", "macs_m"), RELEASED_NANO)
def test_the_released_nano_costs_what_the_release_costs(combination: int, parameters: int, macs_m: float) -> None:
    architecture = load_architecture("jetseg-nano-released", combination=combination)
    cost = total(count_plan(plan_architecture(architecture, 32, (512, 512))))
    assert cost.parameters == parameters
    assert cost.macs == round(macs_m * 1e6)


@pytest.mark.parametrize(("name", "parameters"), [("agx", 358_085), ("workstation", 1_302_969)])
def test_the_larger_released_presets_have_the_releases_parameters(name: str, parameters: int) -> None:
    plan = plan_architecture(load_architecture(f"jetseg-{name}-released"), 32, (720, 960))
    assert total(count_plan(plan)).parameters == parameters


def test_the_paper_form_of_nano_has_the_parameters_found_for_it_before() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (180, 240))
    assert total(count_plan(plan)).parameters == 64_548


def test_the_first_block_by_hand() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (512, 512))
    costs = {layer.layer: (layer.parameters, layer.macs) for layer in count_plan(plan) if layer.part == "block 0"}
    pixels = 512 * 512
    assert costs["jetconv 3x1"] == (3 * 3, 3 * 3 * pixels)
    assert costs["jetconv 7x7"] == (3 * 49, 3 * 49 * pixels)
    assert costs["jetconv mix"] == (9 * 8, 9 * 8 * 256 * 256)  # three branches of 3 channels to 8, stride 2
    assert costs["norm"] == (2 * 8, 0)


def test_cbam_runs_its_channel_network_twice() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (512, 512))
    costs = {layer.layer: (layer.parameters, layer.macs) for layer in count_plan(plan) if layer.part == "block 1"}
    assert costs["cbam channel 1"] == (16 * 2, 2 * 16 * 2)
    assert costs["cbam spatial"] == (2 * 49, 2 * 49 * 128 * 128)


@pytest.mark.parametrize(
    ("channels", "kernel"), [(8, 3), (16, 3), (32, 3), (48, 3), (64, 3), (128, 5), (256, 5), (512, 5)]
)
def test_ecas_kernel_is_odd_and_grows_with_the_logarithm_of_the_channels(channels: int, kernel: int) -> None:
    assert eca_kernel(channels) == kernel


branches = st.lists(st.sampled_from(["1", "3", "3a", "5", "5a", "5ad1", "7a", "7", "3d2"]), min_size=1, max_size=4)
stage = st.fixed_dictionaries(
    {
        "repeats": st.integers(0, 2),
        "channels": st.sampled_from([None, "+4", "x2", 24]),
        "expansion": st.sampled_from([None, 1, 3]),
        "branches": st.none() | branches,
        "residual_branches": st.none() | branches,
        "attention": st.sampled_from([None, "none", "cbam", "cbam-released", "sam", "sam-released", "eca"]),
        "groups": st.sampled_from([None, 1, "gcd", "at-most-4"]),
    }
)
space = st.fixed_dictionaries(
    {
        "form": st.sampled_from(["paper", "released"]),
        "base_channels": st.sampled_from([4, 6, 8, 12]),
        "groups": st.sampled_from(["mean-divisor", "gcd", 1, "at-most-2", "at-most-8"]),
        "activation": st.sampled_from(["reu", "tanhexp", "relu", "silu", "hardswish"]),
        "skip": st.sampled_from([None, "block", "operation", "none"]),
        "jetconv.layout": st.sampled_from([None, "parallel", "sequential"]),
        "jetconv.shortcut": st.sampled_from([None, "matching", "residual", "none"]),
        "jetconv.branches": st.none() | branches,
        "stages.s1": stage,
        "stages.s2": stage,
        "stages.s3": stage,
        "decoder.head_channels": st.sampled_from([8, 24]),
        "decoder.taps.s2": st.sampled_from([None, "first", "middle", "last"]),
        "decoder.fusion": st.sampled_from([None, "regseg", "released"]),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(changes=space, size=st.tuples(st.integers(40, 90), st.integers(40, 90)), smallest=st.sampled_from([2, 8]))
def test_the_closed_form_equals_the_built_network(
    changes: dict[str, object], size: tuple[int, int], smallest: int
) -> None:
    architecture = load_architecture("jetseg-nano", smallest_map=smallest, **changes)
    try:
        plan = plan_architecture(architecture, 5, size)
    except SpecError:
        assert architecture.form == "released"  # 5 levels or fewer leave its S1 empty
        return
    model = build_model(architecture, 5, size).eval()
    images = torch.randn(1, 3, *size)
    cost = total(count_plan(plan))
    assert cost.parameters == count_parameters(model)
    assert cost.macs == count_macs(model, images)
    with torch.inference_mode():
        assert model(images).shape == (1, 5, *size)
