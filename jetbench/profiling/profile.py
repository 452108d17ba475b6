"""profile_model: every number about one network in eval mode, on one device, with the reason for each missing one."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from jetbench.experiment import ProfilingConfig
from jetbench.profiling.counts import count_parameters, count_with_fvcore, count_with_thop
from jetbench.profiling.environment import describe_environment, set_arithmetic
from jetbench.profiling.latency import measure_end_to_end_latency, measure_latency
from jetbench.profiling.memory import measure_peak_memory
from jetbench.profiling.trace import trace_operations
from jetbench.record import CounterResult, Profile

NO_POWER = (
    "no power sensor is read by this version: it measures power on no device yet, so there is none here; "
    "never filled in from a datasheet"
)


def profile_model(
    model: nn.Module,
    input_size: tuple[int, int],
    config: ProfilingConfig,
    device: torch.device,
    mean: tuple[float, ...] = (127.5, 127.5, 127.5),
    std: tuple[float, ...] = (64.0, 64.0, 64.0),
    report: Callable[[float, str], None] = lambda share, text: None,
) -> Profile:
    """Profile `model` on `device`; it keeps its mode, hooks and values.

    Args:
        model: maps (N, 3, H, W) to logits (N, K, H, W), on `device`.
        input_size: (height, width) of the images.
        config: threads, warm-up and stopping rule.
        device: where to measure.
        mean: channel means in 0..255 that the end-to-end path subtracts.
        std: channel deviations that it divides by.
        report: told the finished share (0 to 1) and what is being measured.
    """
    flushes = set_arithmetic(config.threads, config.flush_denormals)
    was_training = model.training
    model.eval()
    try:
        return _profile(model, input_size, config, device, _Channels(mean, std, device), flushes, report)
    finally:
        model.train(was_training)


class _Channels:
    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> None:
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1)


def _profile(
    model: nn.Module,
    input_size: tuple[int, int],
    config: ProfilingConfig,
    device: torch.device,
    channels: _Channels,
    flushes: bool,
    report: Callable[[float, str], None],
) -> Profile:
    pixels = random_pixels(config, input_size)
    images = (pixels.to(device).permute(0, 3, 1, 2).contiguous().float() - channels.mean) / channels.std
    notes = {"power_w": NO_POWER}
    report(0.1, "memory")
    peak, how = measure_peak_memory(model, images)
    notes["peak_memory_bytes"] = how
    report(0.2, "counts")
    counters: list[CounterResult] = []
    for count in (count_with_fvcore, count_with_thop):
        try:
            found = count(model, images)
            counters.append(
                CounterResult(
                    tool=found.tool,
                    version=found.version,
                    distribution=found.distribution,
                    macs=found.total,
                    by_operation=found.by_operation,
                    unsupported=found.unsupported,
                )
            )
        except (RuntimeError, ImportError, ValueError, TypeError, KeyError) as error:
            tool = count.__name__.removeprefix("count_with_")
            counters.append(CounterResult(tool=tool, version="unknown", macs=None))
            notes[tool] = f"{tool} failed: {type(error).__name__}: {error}"
    operations = trace_operations(model, images[:1].to("meta"))
    if uncounted := sorted({operation.kernel for operation in operations if operation.kind == "uncounted"}):
        notes["macs"] = f"operations without a rule of ours, in no total: {', '.join(uncounted)}"
    report(0.4, "latency of the model")
    model_latency = measure_latency(model, images, config)
    report(0.7, "latency end to end")
    end_to_end = measure_end_to_end_latency(model, pixels, config, channels.mean, channels.std)
    return Profile(
        input_size=input_size,
        parameters=count_parameters(model),
        macs=sum(operation.macs for operation in operations),
        counters=tuple(counters),
        model_latency=model_latency,
        end_to_end_latency=end_to_end,
        peak_memory_bytes=peak,
        power_w=None,
        notes=notes,
        environment=describe_environment(device, flushes),
    )


def random_pixels(config: ProfilingConfig, input_size: tuple[int, int]) -> Tensor:
    """A seeded batch of camera bytes, uint8 (N, H, W, 3)."""
    generator = np.random.default_rng(config.seed)
    shape = (config.batch_size, *input_size, 3)
    return torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))
