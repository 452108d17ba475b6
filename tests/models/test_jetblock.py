import dataclasses

import torch

from jetbench import load_architecture, plan_architecture
from jetbench.models.jetblock import ChannelShuffle, JetBlock
from jetbench.network.plan import BlockPlan


def residual_block(skip: str) -> tuple[JetBlock, BlockPlan]:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (512, 512)).blocks[2]
    assert plan.residual
    torch.manual_seed(0)
    plan = dataclasses.replace(plan, skip=skip)  # type: ignore[arg-type]
    return JetBlock(plan, "reu").eval(), plan


def test_shuffle_deals_channels_out_across_groups() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert ChannelShuffle(2)(x).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert ChannelShuffle(1)(x) is x


def test_the_papers_skip_goes_around_the_block() -> None:
    around, _ = residual_block("block")
    bare, _ = residual_block("none")
    x = torch.randn(1, 16, 8, 8)
    assert torch.allclose(around(x), x + bare(x))


def test_the_releases_skip_goes_around_each_operation() -> None:
    block, _ = residual_block("operation")
    x = torch.randn(1, 16, 8, 8)
    expected = x
    for operation in block.operations:
        expected = expected + operation(expected)
    assert torch.allclose(block(x), expected)
    assert len(block.operations) == 8


def test_the_first_block_has_no_expansion() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (512, 512)).blocks[0]
    block = JetBlock(plan, "reu")
    assert [name for name, _ in block.operations.named_children()] == ["jetconv", "norm", "activation"]
    assert block(torch.randn(1, 3, 15, 21)).shape == (1, 8, 8, 11)
