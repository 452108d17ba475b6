import os
import re
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jetbench import SpecError, build_model, load_architecture, plan_architecture
from jetbench.network.closed_form import cost_of
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Operation, add_up
from jetbench.profiling.counts import count_parameters
from jetbench.profiling.trace import trace_own
from jetbench.search.screen import list_fields
from jetbench.spec.architecture import Architecture
from tests.spaces import FIELDS, architecture_changes

# `make benchmark` runs all 2,000 in some three minutes; a test run takes the first few hundred of them.
EXAMPLES = int(os.environ.get("JETBENCH_EXAMPLES", "400"))

# Measured on the authors' release, 32 classes at 512x512: parameters, MACs of its convolutions, and what its own tool
# for equation 2 counts of BN (4 per element) and REU (1 per element) in millions. Its ECA is a 1-D convolution of 720
# MACs, which that tool does not count.
RELEASED_NANO = [
    (0, 32_140, 1041.924944, 57.344, 15.286272),
    (1, 32_448, 1024.557904, 57.344, 15.286272),
    (2, 34_361, 1070.498640, 57.344, 15.286272),
    (3, 31_632, 1022.395216, 57.344, 15.286272),
    (4, 32_016, 1026.917200, 57.344, 15.286272),
    (5, 31_945, 1076.724560, 60.489728, 16.072704),
]


@pytest.mark.parametrize(("combination", "parameters", "macs_m", "norm_m", "activation_m"), RELEASED_NANO)
def test_the_released_nano_costs_what_the_release_costs(
    combination: int, parameters: int, macs_m: float, norm_m: float, activation_m: float
) -> None:
    cost = cost_of(load_architecture("jetseg-nano-released", combination=combination), 32, (512, 512))
    assert cost.parameters == parameters
    assert cost.macs == round(macs_m * 1e6)
    assert cost.eq2_flops == cost.macs - 720 + round(norm_m * 1e6) + round(activation_m * 1e6)


@pytest.mark.parametrize(("name", "parameters"), [("agx", 358_085), ("workstation", 1_302_969)])
def test_the_larger_released_presets_have_the_releases_parameters(name: str, parameters: int) -> None:
    assert cost_of(load_architecture(f"jetseg-{name}-released"), 32, (720, 960)).parameters == parameters


def test_the_paper_form_of_nano_has_the_parameters_found_for_it_before() -> None:
    assert cost_of(load_architecture("jetseg-nano"), 11, (180, 240)).parameters == 64_548


def test_memory_is_weights_and_peak_activations() -> None:
    cost = cost_of(load_architecture("jetseg-nano"), 11, (512, 512))
    assert cost.memory_bytes == 4 * cost.parameters + cost.peak_activation_bytes


def test_the_random_space_varies_every_field_of_an_architecture() -> None:
    assert {*FIELDS, "combination"} == set(list_fields(Architecture)) - {"name", "description", "paper", "reported"}


def shape_of(operations: tuple[Operation, ...]) -> list[tuple[Any, ...]]:
    """Operations without their names, tensors numbered in the order in which they appear."""
    numbers: dict[int, int] = {}

    def renumber(tensors: Any) -> list[tuple[int, int]]:
        return [(numbers.setdefault(tensor.number, len(numbers)), tensor.bytes) for tensor in dict.fromkeys(tensors)]

    return [(*op[2:-3], op.convolution, renumber(op.reads), renumber(op.makes)) for op in operations]


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=architecture_changes(),
    size=st.one_of(
        st.sampled_from([(512, 512), (720, 960), (180, 240), (361, 479)]),
        st.tuples(st.integers(1, 1200), st.integers(40, 1200)),
    ),
    classes=st.integers(2, 200),
)
def test_closed_form_and_list_agree_at_any_size(changes: dict[str, Any], size: tuple[int, int], classes: int) -> None:
    architecture = load_architecture("jetseg-nano", **changes)
    try:
        plan = plan_architecture(architecture, classes, size)
    except SpecError:
        assume(False)
    listed = add_up(list_operations(plan))
    totals = (listed.parameters, listed.macs, listed.eq2_flops, listed.peak_activation_bytes)
    assert cost_of(architecture, classes, size) == totals


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=architecture_changes(), size=st.tuples(st.integers(4, 70), st.integers(40, 90)), classes=st.integers(2, 9)
)
def test_closed_form_list_and_built_network_agree_to_the_unit(
    changes: dict[str, Any], size: tuple[int, int], classes: int
) -> None:
    architecture = load_architecture("jetseg-nano", **changes)
    try:
        plan = plan_architecture(architecture, classes, size)
    except SpecError as error:
        with pytest.raises(SpecError, match=re.escape(str(error))):
            cost_of(architecture, classes, size)
        assume(False)  # so that all the examples that count are networks
    model, images = build_model(architecture, classes, size), torch.zeros(1, 3, *size)
    parameters = count_parameters(model)
    (traced, outputs), listed = trace_own(model, images), list_operations(plan)
    assert shape_of(listed) == shape_of(traced)
    counted = add_up(traced, outputs)
    assert add_up(listed) == counted
    assert counted.uncounted == {}
    assert counted.parameters == parameters
    quick_cost = cost_of(architecture, classes, size)
    assert quick_cost == (counted.parameters, counted.macs, counted.eq2_flops, counted.peak_activation_bytes)
