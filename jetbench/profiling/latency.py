"""How long one forward pass takes, as a camera loop would see it.

The host clock is read with the device idle on both sides of every pass, so a sample is launch overhead plus
computation plus synchronisation. Samples are kept raw: medians, percentiles and FPS are derived in `record.Latency`.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from jetbench.errors import ProfilingError
from jetbench.experiment import ProfilingConfig
from jetbench.record import Latency


def measure_latency(
    model: nn.Module,
    images: Tensor,
    config: ProfilingConfig,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Time the network alone: normalised images to logits at the input's size, upsampling included.

    Args:
        model: network in eval mode, on the device of `images`.
        images: one batch, (N, 3, H, W), normalised floats.
        config: warm-up length and stopping rule.
        clock: returns seconds; tests pass a fake one.

    Raises:
        ProfilingError: `model` is in training mode.
    """
    _refuse_training(model)
    return _sample(lambda: model(images), images, config, clock)


def measure_end_to_end_latency(
    model: nn.Module,
    pixels: Tensor,
    config: ProfilingConfig,
    mean: Tensor,
    std: Tensor,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Time a camera frame's whole way: bytes on the host, to device, normalise, network, argmax, classes to the host.

    Args:
        model: network in eval mode, on the device of `mean` and `std`.
        pixels: one batch as decoded, uint8 (N, H, W, 3), on the host.
        config: warm-up length and stopping rule.
        mean: channel means in 0..255, (1, 3, 1, 1).
        std: channel deviations, (1, 3, 1, 1).
        clock: returns seconds; tests pass a fake one.

    Raises:
        ProfilingError: `model` is in training mode.
    """
    _refuse_training(model)

    def frame() -> Tensor:
        images = pixels.to(mean.device).permute(0, 3, 1, 2).contiguous().float()
        classes: Tensor = model((images - mean) / std).argmax(dim=1)
        return classes.to(torch.uint8).cpu()

    return _sample(frame, mean, config, clock)


def _refuse_training(model: nn.Module) -> None:
    if model.training:
        raise ProfilingError("latency of a model in training mode is not its inference latency; call model.eval()")


def _sample(run: Callable[[], Tensor], on: Tensor, config: ProfilingConfig, clock: Callable[[], float]) -> Latency:
    samples_s: list[float] = []
    with torch.inference_mode():
        for _ in range(config.warmup_iterations):
            run()
        wait_for(on.device)
        begin = end = clock()
        while len(samples_s) < config.min_iterations or end - begin < config.min_seconds:
            start = clock()
            run()
            wait_for(on.device)
            end = clock()
            samples_s.append(end - start)
    return Latency(batch_size=config.batch_size, samples_s=tuple(samples_s))


def wait_for(device: torch.device) -> None:
    """Block until all work queued on `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
