import pytest

from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Operation, add_up
from jetbench.network.plan import plan_architecture
from jetbench.profiling.roofline import estimate
from jetbench.records.record import Estimate
from jetbench.spec.catalog import load_architecture
from jetbench.spec.device import Device, Peak, load_device


def nano() -> tuple[Operation, ...]:
    return list_operations(plan_architecture(load_architecture("jetseg-nano"), 11, (64, 96)))


def device(flops: float, bandwidth: float, **more: float) -> Device:
    peaks = {"fp32": flops, "bandwidth": bandwidth, **more}
    return Device.model_validate(
        {
            "name": "made-up",
            "title": "made up",
            "preset": "jetseg-nano",
            "accelerator": "cuda",
            "peaks": {key: Peak(value=value, source="made up") for key, value in peaks.items()},
        }
    )


def seconds(*arguments: object, **more: object) -> float:
    found = estimate(*arguments, **more)  # type: ignore[arg-type]
    assert isinstance(found, Estimate)
    return found.seconds


def test_with_endless_bandwidth_only_arithmetic_counts_and_the_other_way_round() -> None:
    operations = nano()
    cost = add_up(operations)
    assert seconds(operations, device(1e9, 1e18), "fp32", 1) == pytest.approx(cost.flops / 1e9)
    found = estimate(operations, device(1e18, 1e9), "fp32", 1)
    assert isinstance(found, Estimate)
    assert found.seconds == pytest.approx(cost.bytes_moved / 1e9)
    assert found.memory_bound_share == 1


def test_the_longer_of_both_is_taken_kernel_by_kernel() -> None:
    operations = nano()
    by_hand = sum(max(op.flops / 2e11, op.moved_bytes / 5e9) for op in operations)
    assert seconds(operations, device(2e11, 5e9), "fp32", 1) == pytest.approx(by_hand)


def test_parameters_are_read_once_for_a_batch() -> None:
    operations = nano()
    parameters = sum(op.parameter_bytes for op in operations)
    one, four = (seconds(operations, device(1e18, 1e9), "fp32", batch) for batch in (1, 4))
    assert four == pytest.approx(4 * one - 3 * parameters / 1e9)


def test_half_width_is_half_the_bytes_and_tensor_cores_take_the_convolutions() -> None:
    operations = nano()
    single = seconds(operations, device(1e18, 1e9), "fp32", 1)
    assert seconds(operations, device(1e18, 1e9), "fp16", 1) == pytest.approx(single / 2)
    convolutions = sum(op.flops for op in operations if op.kind == "convolution")
    rest = sum(op.flops for op in operations) - convolutions
    half = seconds(operations, device(1e9, 1e18, fp16=2e9, fp16_tensor=8e9), "fp16", 1)
    assert half == pytest.approx(convolutions / 8e9 + rest / 2e9)


def test_a_slower_clock_slows_arithmetic_and_not_memory() -> None:
    operations = nano()
    full = seconds(operations, device(1e9, 1e18), "fp32", 1)
    assert seconds(operations, device(1e9, 1e18), "fp32", 1, clock_share=0.5) == pytest.approx(2 * full)
    memory = seconds(operations, device(1e18, 1e9), "fp32", 1)
    assert seconds(operations, device(1e18, 1e9), "fp32", 1, clock_share=0.5) == pytest.approx(memory)


def test_without_a_peak_there_is_no_estimate_but_a_reason() -> None:
    assert "none are assumed" in str(estimate(nano(), load_device("cpu"), "fp32", 1))
    assert "bf16 peak of Jetson AGX Xavier" in str(estimate(nano(), load_device("agx"), "bf16", 1))
    assert "Quadro P400" in str(estimate(nano(), load_device("workstation"), "fp32", 1, "Quadro P400"))
