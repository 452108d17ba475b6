import pytest
import torch

from jetbench import build_model, load_architecture
from jetbench.models.parts import parts_of, rest_of
from jetbench.network.plan import plan_network
from jetbench.profiling.listing import list_network
from jetbench.profiling.parts import describe_parts, time_parts
from jetbench.profiling.trace import trace_operations

SIZE = (64, 96)


@pytest.mark.parametrize("name", ["jetseg-nano", "fastscnn", "enet", "segnet", "dfanet"])
def test_the_parts_add_up_to_the_network(name: str) -> None:
    module = build_model(load_architecture(name), 11, SIZE).eval()
    operations = trace_operations(module, torch.zeros(1, 3, *SIZE, device="meta"))
    parts = describe_parts(module, operations, {})
    listed = list_network(plan_network(load_architecture(name), 11, SIZE))
    assert sum(part.macs for part in parts) == sum(operation.macs for operation in listed)
    assert sum(part.parameters for part in parts) == sum(operation.parameters for operation in listed)
    assert all(part.median_s is None for part in parts)
    # The names are those by which costs are listed, so that times can stand beside them.
    by_part = {operation.part for operation in listed if operation.macs}
    assert by_part <= {part.name.split(".")[0] for part in parts}
    # Whatever computes is timed.
    timed = time_parts(module, torch.zeros(1, 3, *SIZE))
    assert {part.name for part in parts if part.macs} <= set(timed)


def test_times_are_of_each_pass_and_the_rest_is_what_is_left() -> None:
    module = build_model(load_architecture("jetseg-nano"), 11, SIZE).eval()
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    found = time_parts(module, torch.zeros(2, 3, *SIZE), clock)
    parts = parts_of(module)
    assert list(found) == [*parts, rest_of(module)]
    # Each part reads the clock twice, a second apart; a pass has two readings more around all of them.
    assert all(samples == [1.0] * len(samples) for name, samples in found.items() if name in parts)
    assert set(found["output"]) == {len(parts) + 1.0}
    assert len(found["decoder"]) >= 3


def test_no_hook_is_left_behind_when_a_pass_fails() -> None:
    module = build_model(load_architecture("jetseg-nano"), 11, SIZE).eval()
    with pytest.raises(RuntimeError):
        time_parts(module, torch.zeros(1, 4, *SIZE))
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())
