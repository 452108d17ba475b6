"""The one measuring sequence, for a profile here and for a bundle's probe on a board: load, first pass, warm up, time.

Needs Python 3.6 and torch alone.
"""

import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

from . import machine
from .observer import Observer
from .passes import DTYPES, Normalise, end_to_end_pass, model_pass, random_pixels, wait_for
from .timing import Stop, sample_rounds, time_pass, warm_up

Config = Dict[str, Any]
"""Settings of a run, as `ProfilingConfig` has them."""


def set_arithmetic(threads: int, flush_denormals: bool) -> bool:
    """Fix what changes numbers and times behind a program's back; says whether denormals are flushed now.

    TF32 is off, so that fp32 is fp32 on every GPU. Denormals appear in REU's tail and slow a CPU several times over.
    """
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return bool(torch.set_flush_denormal(flush_denormals) and flush_denormals)


class Session:
    """A process that measures: what it watches, what it held before, and the settings that it has."""

    def __init__(self, config: Config) -> None:
        self.observer = Observer()
        self.baseline = machine.process_memory()
        self.keeps = machine.keep_freed_memory() if config["keep_freed_memory"] else False
        self.flushes = set_arithmetic(config["threads"], config["flush_denormals"])
        machine.reset_peak()


class Loaded:
    """A network on its device, with what it is fed, after its very first pass.

    Args:
        build: given a batch, makes the module in eval mode on the device, and what runs it: itself, compiled or traced.
        device: where it runs.
        size: (height, width) of its images.
        config: settings of the run.
        mean: channel means in 0..255 that the end-to-end path subtracts.
        std: channel deviations that it divides by.
    """

    def __init__(
        self,
        build: Callable[[torch.Tensor], Tuple[Any, Any]],
        device: torch.device,
        size: Tuple[int, int],
        config: Config,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.size, self._config = size, config
        self.pixels = random_pixels(config["batch_size"], size, config["seed"])
        start = time.perf_counter()  # what first touches a GPU makes its context, which belongs to a cold start
        self.normalise = Normalise(mean, std, device, DTYPES[config["dtype"]], config["channels_last"])
        self.images = self.normalise(self.pixels)
        self.module, runs = build(self.images)
        wait_for(device)()
        self.load_s = time.perf_counter() - start
        self.model = model_pass(runs, self.images)
        self.end_to_end = end_to_end_pass(runs, self.pixels, self.normalise)
        self.first_pass_s = time_pass(self.model)
        self._warmup = None  # type: Optional[Tuple[List[float], bool]]

    @property
    def cold_start(self) -> Dict[str, float]:
        """Seconds of loading and of the very first pass."""
        return {"load_s": self.load_s, "first_pass_s": self.first_pass_s}

    def warm_up(self) -> None:
        """Run until passes take the same time, once."""
        if self._warmup is None:
            self._warmup = warm_up(self.model, self._config["warmup_iterations"], self._config["max_warmup_seconds"])
            time_pass(self.end_to_end)

    def describe_run(self, wall: Sequence[float], cpu: Sequence[float], stopped_by: str) -> Dict[str, Any]:
        """Samples of one path, as `LatencyRun` has them."""
        warmup, settled = self._warmup or ([], None)
        return {
            "samples_s": list(wall),
            "cpu_s": list(cpu),
            "warmup_s": list(warmup),
            "settled": settled,
            "stopped_by": stopped_by,
        }


def time_in_turn(
    loaded: Sequence[Loaded], copies: Sequence[Loaded], config: Config, between: Callable[[float], None]
) -> Tuple[List[Dict[str, Any]], Optional[Dict[str, Any]]]:
    """Time networks in turn, round by round, beside a copy of the first one.

    Args:
        loaded: the networks, warmed up.
        copies: a second copy of the first one, or nothing.
        config: settings of the run.
        between: told the time (s) after each round, outside every timed region.

    Returns:
        Of each network its `model` and `end_to_end` run; and the copy's run.
    """
    passes = [timed for each in loaded for timed in (each.model, each.end_to_end)]
    passes += [each.model for each in copies]
    stop = Stop(config["precision"], config["min_iterations"], config["min_seconds"], config["max_seconds"])
    rounds = sample_rounds(passes, stop, between=between)
    runs = []
    for number, each in enumerate(loaded):
        model, whole = 2 * number, 2 * number + 1
        runs.append(
            {
                "model": each.describe_run(rounds.wall_s[model], rounds.cpu_s[model], rounds.stopped_by),
                "end_to_end": each.describe_run(rounds.wall_s[whole], rounds.cpu_s[whole], rounds.stopped_by),
            }
        )
    twin = copies[0].describe_run(rounds.wall_s[-1], rounds.cpu_s[-1], rounds.stopped_by) if copies else None
    return runs, twin
