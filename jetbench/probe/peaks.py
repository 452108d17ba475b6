"""The peaks of this machine: PyTorch's fastest convolution, copy and launch, measured in a second or two.

A network's kernels are compared with them: the same processor, threads and number format, on the same day.
Needs Python 3.6 and torch alone.
"""

import statistics
import time
from typing import Any, Callable, Dict, List  # noqa: F401 (in a comment of types)

import torch
from torch.nn import functional

from .passes import DTYPES, wait_for
from .timing import Pass, time_pass

CONVOLUTIONS = ((256, 1, 64), (128, 3, 64), (64, 3, 128))
"""(channels, kernel, side): dense, from as many channels to as many, of which the fastest counts."""
COPIED = 2**23
"""Numbers in the copied tensor: more than caches hold."""
LAUNCHES = 100
CHANNELS, KERNEL = 8, 7  # of a depthwise convolution of one pixel
PASSES, MAX_SECONDS = 9, 0.15


def measure_peaks(device: torch.device, dtype: str, clock: Callable[[], float] = time.perf_counter) -> Dict[str, Any]:
    """Time a few convolutions, a copy and many tiny kernels, with the arithmetic settings of this process.

    Args:
        device: where they run.
        dtype: number format of the profile; a processor computes in fp32 whatever it is, and int8 takes that of fp16.
        clock: seconds; tests pass their own.

    Returns:
        The fields of `measurement.Peaks`.
    """
    name = "fp32" if device.type == "cpu" or dtype == "fp32" else "bf16" if dtype == "bf16" else "fp16"
    kind, wait = DTYPES[name], wait_for(device)
    rates = []
    with torch.no_grad():
        for channels, kernel, side in CONVOLUTIONS:
            images = torch.zeros(1, channels, side, side, device=device, dtype=kind)
            weights = torch.zeros(channels, channels, kernel, kernel, device=device, dtype=kind)
            seconds = _seconds(_convolution(images, weights, kernel // 2), wait, clock)
            rates.append(channels**2 * kernel**2 * side**2 / seconds)
        source = torch.zeros(COPIED, device=device, dtype=kind)
        target = torch.zeros_like(source)
        copied = _seconds(lambda: target.copy_(source), wait, clock)
        number = torch.zeros(1, device=device, dtype=kind)
        pixel = torch.zeros(1, CHANNELS, 1, 1, device=device, dtype=kind)
        filters = torch.zeros(CHANNELS, 1, KERNEL, KERNEL, device=device, dtype=kind)
        launched = _seconds(lambda: _repeat(lambda: number + 1), wait, clock)
        convolved = _seconds(lambda: _repeat(lambda: _depthwise(pixel, filters)), wait, clock)
    return {
        "dtype": name,
        "macs_per_s": max(rates),
        "bytes_per_s": 2 * source.numel() * source.element_size() / copied,
        "launch_s": launched / LAUNCHES,
        "depthwise_launch_s": convolved / LAUNCHES,
    }


def _convolution(images: torch.Tensor, weights: torch.Tensor, padding: int) -> Callable[[], Any]:
    return lambda: functional.conv2d(images, weights, padding=padding)


def _depthwise(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(images, weights, padding=KERNEL // 2, groups=CHANNELS)


def _repeat(run: Callable[[], Any]) -> None:
    for _ in range(LAUNCHES):
        run()


def _seconds(run: Callable[[], Any], wait: Callable[[], None], clock: Callable[[], float]) -> float:
    """The median of some passes after one that is not counted."""
    timed = Pass(run, wait)
    time_pass(timed, clock)
    samples = []  # type: List[float]
    while len(samples) < PASSES and (len(samples) < 3 or sum(samples) < MAX_SECONDS):
        samples.append(time_pass(timed, clock))
    return float(statistics.median(samples))
