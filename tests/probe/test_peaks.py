"""The peaks of the machine: rates by a clock that the test sets, and an order that holds on any machine."""

import torch

from jetbench.probe.peaks import CONVOLUTIONS, COPIED, LAUNCHES, measure_peaks


def test_rates_are_the_work_over_the_seconds_of_a_pass() -> None:
    """With a clock that gives every pass one second."""
    readings = iter(range(100_000))
    found = measure_peaks(torch.device("cpu"), "fp32", lambda: float(next(readings)))
    assert found["macs_per_s"] == max(c**2 * k**2 * side**2 for c, k, side in CONVOLUTIONS)
    assert found["bytes_per_s"] == 2 * 4 * COPIED
    assert found["launch_s"] == found["depthwise_launch_s"] == 1 / LAUNCHES


def test_a_processor_is_measured_in_fp32_whatever_is_profiled() -> None:
    readings = iter(range(100_000))
    assert measure_peaks(torch.device("cpu"), "int8", lambda: float(next(readings)))["dtype"] == "fp32"
