"""Where a runtime keeps maps in blocks of channels: the rules of convolutions, and no map reordered twice."""

import pytest

from jetbench.network.layouts import Layouts, Reorder, in_blocks
from jetbench.network.operations import Convolution, Kind, Operation, Tensor

SIZE = (4, 4)


def shape(ins: int, outs: int, groups: int = 1) -> Convolution:
    return Convolution(ins, outs, (1, 1), (1, 1), 1, groups, SIZE)


@pytest.mark.parametrize(
    ("convolution", "expected"),
    [
        (shape(3, 16), True),  # from an image, whose three channels are read in their own order
        (shape(16, 8), False),
        (shape(24, 24), True),  # rounded up to 32
        (shape(32, 32, 32), True),
        (shape(24, 24, 24), False),  # a depthwise convolution of 24 channels is not
        (shape(64, 64, 4), True),  # 16 channels a group
        (shape(64, 64, 8), False),
    ],
)
def test_a_convolution_is_computed_in_blocks_of_16_where_its_groups_allow_it(
    convolution: Convolution, expected: bool
) -> None:
    assert in_blocks(convolution, 16) == expected


def operation(
    kernel: str, reads: list[int], makes: int, convolution: Convolution | None = None, size: int = 100
) -> Operation:
    kind: Kind = "convolution" if convolution else "activation"
    read = tuple(Tensor(number, size) for number in reads)
    return Operation("", "", kernel, kind, 1, 0, 0, 0, 0, 0, 0, 0, read, (Tensor(makes, size),), convolution)


CHAIN = [
    operation("convolution", [1], 2, shape(3, 32)),
    operation("native_batch_norm", [2], 3),
    operation("exp", [3], 4),
    operation("mul", [3, 4], 5),
    operation("convolution", [5], 6, shape(32, 32)),
    operation("convolution", [5], 7, shape(32, 32)),
    operation("add", [6, 7], 8),
    operation("convolution", [8], 9, shape(32, 8)),
]


def test_a_chain_is_reordered_where_a_kernel_needs_channels_in_order() -> None:
    placed = list(Layouts(16).follow(CHAIN))
    assert [each.is_blocked for each in placed] == [True, True, False, False, True, True, True, False]
    # Out of blocks for Exp, and not again for the product; into blocks once for two convolutions; out for the last.
    assert [each.reorders for each in placed] == [
        (),
        (),
        (Reorder("out of blocks", 3, 100),),
        (),
        (Reorder("into blocks", 5, 100),),
        (),
        (),
        (Reorder("out of blocks", 8, 100),),
    ]


def test_without_blocks_nothing_is_reordered() -> None:
    assert all(not each.is_blocked and not each.reorders for each in Layouts(0).follow(CHAIN))


def test_what_was_known_at_the_beginning_counts() -> None:
    """A part of a network begins with maps in blocks, some of them reordered for another part."""
    (last,) = Layouts(16, blocked=[8]).follow(CHAIN[-1:])
    assert last.reorders == (Reorder("out of blocks", 8, 100),)
    (last,) = Layouts(16, blocked=[8], reordered=[("out of blocks", 8)]).follow(CHAIN[-1:])
    assert last.reorders == ()
