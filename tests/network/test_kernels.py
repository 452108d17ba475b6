"""The classes of kernels: a convolution by its groups, kernel and dilation, others by their kind."""

import pytest

from jetbench import load_architecture
from jetbench.network.kernels import WORDS, class_of_convolution, kernel_class
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import RULES, Convolution
from jetbench.network.plan import plan_architecture


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (Convolution(8, 8, (7, 1), (3, 1), 1, 8, (4, 4)), "depthwise 7x1 d3"),
        (Convolution(8, 8, (3, 3), (1, 1), 1, 8, (4, 4)), "depthwise 3x3"),
        (Convolution(8, 16, (1, 1), (1, 1), 2, 4, (4, 4)), "grouped 1x1"),
        (Convolution(8, 16, (3, 3), (2, 2), 1, 1, (4, 4)), "3x3 d2"),
        (Convolution(1, 1, (1, 1), (1, 1), 1, 1, (4, 4)), "1x1"),  # one channel is no depthwise convolution
    ],
)
def test_a_convolution_is_named_by_groups_kernel_and_dilation(shape: Convolution, name: str) -> None:
    assert class_of_convolution(shape) == name


def test_every_kind_with_a_rule_has_a_word() -> None:
    assert set(WORDS) == set(RULES) - {"uncounted"}


def test_every_kernel_of_a_network_has_a_class_and_the_macs_are_those_of_convolutions() -> None:
    operations = list_operations(plan_architecture(load_architecture("jetseg-nano"), 11, (96, 128)))
    classes = {kernel_class(operation) for operation in operations}
    assert {"depthwise 7x1 d3", "depthwise 1x7 d3", "depthwise 7x7", "grouped 1x1", "1x1", "resize"} <= classes
    others = [operation for operation in operations if kernel_class(operation) in WORDS.values()]
    assert sum(operation.macs for operation in others if operation.convolution is not None) == 0
