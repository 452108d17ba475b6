from typing import Any

import pytest

from jetbench import load_architecture, plan_architecture
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import (
    ACTIVATION_KERNELS,
    Operation,
    Tensor,
    add_up,
    dead_operations,
    peak_bytes,
    whole,
)
from jetbench.spec.architecture import ActivationName


def operations(size: tuple[int, int] = (512, 512), name: str = "jetseg-nano", **changes: Any) -> tuple[Operation, ...]:
    return list_operations(plan_architecture(load_architecture(name, **changes), 11, size))


def layer(part: str, name: str, among: tuple[Operation, ...]) -> Operation:
    (found,) = [operation for operation in among if (operation.part, operation.layer) == (part, name)]
    return found


def test_the_first_block_by_hand() -> None:
    listed, pixels = operations(), 512 * 512
    tall, square = layer("block 0", "jetconv 3x1", listed), layer("block 0", "jetconv 7x7", listed)
    assert (tall.parameters, tall.macs, tall.flops) == (3 * 3, 3 * 3 * pixels, 2 * 3 * 3 * pixels)
    assert (square.parameters, square.macs) == (3 * 49, 3 * 49 * pixels)
    assert square.moved_bytes == 4 * (3 * pixels + 3 * 49 + 3 * pixels)
    stack, mix = layer("block 0", "jetconv stack", listed), layer("block 0", "jetconv mix", listed)
    assert (stack.flops, stack.moved_bytes) == (0, 4 * 2 * 9 * pixels)
    assert (mix.parameters, mix.macs) == (9 * 8, 9 * 8 * 256 * 256)  # three branches of 3 channels to 8, stride 2
    norm = layer("block 0", "norm", listed)
    assert (norm.parameters, norm.flops, norm.eq2) == (2 * 8, 2 * 8 * 256 * 256, 4 * 8 * 256 * 256)


def test_equation_2_divides_the_inputs_area_and_macs_count_the_outputs() -> None:
    mix = layer("block 0", "jetconv mix", operations((181, 333)))
    assert mix.macs == 9 * 8 * 91 * 167
    assert mix.eq2 == 9 * 8 * 181 * 333 / 4
    assert mix.eq2 != mix.macs


def test_quarters_of_equation_2_stay_exact_and_whole_numbers_are_whole() -> None:
    assert whole(12.25) == 12.25
    assert isinstance(whole(12.0), int)
    cost = add_up(operations((181, 333)))
    assert cost.eq2_flops == cost.eq2_convolution + cost.eq2_normalisation + cost.eq2_activation


def test_cbam_runs_its_channel_network_twice_and_has_its_parameters_once() -> None:
    of_cbam = [op for op in operations() if op.part == "block 1" and op.layer == "cbam channel 1"]
    assert [op.parameters for op in of_cbam] == [16 * 2, 0]
    assert [op.macs for op in of_cbam] == [16 * 2, 16 * 2]
    spatial = layer("block 1", "cbam spatial", operations())
    assert (spatial.parameters, spatial.macs) == (2 * 49, 2 * 49 * 128 * 128)


def test_pooling_by_hand() -> None:
    mean, largest = (op for op in operations() if (op.part, op.layer) == ("block 1", "cbam pool"))
    pixels = 128 * 128
    assert (mean.flops, largest.flops) == (16 * pixels, 16 * (pixels - 1))
    assert mean.eq2 == largest.eq2 == 0  # the authors' tool counts none; the equation as printed would
    assert mean.eq2_pooling == largest.eq2_pooling == 16 * pixels
    assert [tensor.bytes for tensor in largest.makes] == [4 * 16, 8 * 16]  # values, and where they were


@pytest.mark.parametrize("name", list(ACTIVATION_KERNELS))
def test_an_activation_counts_once_in_equation_2_however_many_kernels_it_has(name: ActivationName) -> None:
    found = [op for op in operations(activation=name) if (op.part, op.layer) == ("block 0", "activation")]
    elements = 8 * 256 * 256
    assert sum(op.eq2 for op in found) == elements
    assert sum(op.flops for op in found) == elements * sum(flops for _, flops in ACTIVATION_KERNELS[name])


def test_the_classifier_has_the_only_bias() -> None:
    listed = operations()
    classifier = layer("decoder", "classifier", listed)
    pixels = classifier.elements // 11
    assert classifier.parameters == 64 * 11 + 11
    assert classifier.flops == 2 * 64 * 11 * pixels + 11 * pixels
    assert all(op.flops == 2 * op.macs for op in listed if op.kind == "convolution" and op is not classifier)


def test_the_image_gets_its_size_back() -> None:
    last = operations((181, 333))[-1]
    assert (last.part, last.kind, last.elements, last.flops) == (
        *("output", "interpolation", 11 * 181 * 333, 7 * 11 * 181 * 333),
    )


def test_totals_are_the_sums_of_the_operations() -> None:
    listed = operations()
    cost = add_up(listed)
    assert cost.flops == sum(cost.flops_by_kind.values()) == sum(op.flops for op in listed)
    assert cost.flops_by_kind["convolution"] == 2 * cost.macs + 11 * 256 * 256
    assert cost.weight_bytes == 4 * cost.parameters
    assert cost.arithmetic_intensity == cost.flops / cost.bytes_moved
    maxima = sum(op.elements for op in listed if op.kernel == "adaptive_max_pool2d")
    assert cost.activation_bytes == 4 * cost.activations + 8 * maxima  # the positions of maxima are 8 bytes each


def made_up(reads: list[tuple[int, int]], makes: list[tuple[int, int]]) -> Operation:
    read, made = (tuple(Tensor(*pair) for pair in pairs) for pairs in (reads, makes))
    return Operation("", "", "", "copy", 1, 0, 0, 0, 0, 0, 0, 0, read, made)


def test_liveness_by_hand() -> None:
    chain = [made_up([(0, 10)], [(1, 20)]), made_up([(1, 20)], [(2, 5)]), made_up([(2, 5)], [(3, 1)])]
    assert peak_bytes(chain) == 30  # image and first map; then 25, then 6
    skip = [*chain[:2], made_up([(0, 10), (2, 5)], [(3, 1)])]
    assert peak_bytes(skip) == 35  # the image waits for the last operation
    unread = [made_up([(0, 10)], [(1, 20), (2, 7)]), made_up([(1, 20)], [(3, 4)])]
    assert peak_bytes(unread) == 37  # a result that nobody reads is there while it is made


def test_dead_operations_by_hand() -> None:
    listed = [
        made_up([(0, 1)], [(1, 1)]),
        made_up([(1, 1)], [(2, 1)]),  # only read by the next, which nobody reads
        made_up([(2, 1)], [(3, 1)]),
        made_up([(1, 1)], [(4, 1)]),
    ]
    assert dead_operations(listed) == {1, 2}


def test_the_released_nano_has_the_dead_parameters_that_were_found_on_the_release() -> None:
    listed = operations(name="jetseg-nano-released")
    dead = dead_operations(listed)
    assert sum(listed[index].parameters for index in dead) == 11_164
    assert dead_operations(operations()) == frozenset()
