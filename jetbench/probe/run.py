"""The measuring sequence of a profile here and of a bundle's probe on a board: load, first pass, warm up, time.

Needs Python 3.6 and torch alone.
"""

import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

from . import machine
from .cuda_graph import Graphed
from .observer import Observer
from .passes import DTYPES, Normalise, end_to_end_pass, model_pass, random_pixels, wait_for
from .timing import Stop, sample_rounds, time_pass, warm_up

Config = Dict[str, Any]
"""Settings of a run, with the keys of `ProfilingConfig`."""


def set_arithmetic(threads: int, flush_denormals: bool) -> bool:
    """Fix the global settings that change numbers and times; returns whether denormals are flushed now.

    TF32 is off, so that fp32 means fp32 on every GPU. Denormals appear in REU's tail and slow a CPU several times.
    """
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return bool(torch.set_flush_denormal(flush_denormals) and flush_denormals)


class Session:
    """A process that measures: its observer, its memory before the network was loaded, and its settings."""

    def __init__(self, config: Config) -> None:
        self.observer = Observer()
        self.baseline = machine.process_memory()
        self.keeps = machine.keep_freed_memory() if config["keep_freed_memory"] else False
        self.flushes = set_arithmetic(config["threads"], config["flush_denormals"])
        machine.reset_peak()


class Loaded:
    """A network on its device, with its input, after its first pass.

    Args:
        build: given a batch, returns the module in eval mode on the device (None if what runs does not need it), and
            what runs: the module itself, another form of it, or an engine.
        device: where it runs.
        size: (height, width) of its images.
        config: settings of the run.
        mean: channel means in 0..255 that the end-to-end path subtracts.
        std: channel deviations that it divides by.
        dtype: number format of the images; that of the settings by default.
    """

    def __init__(
        self,
        build: Callable[[torch.Tensor], Tuple[Any, Any]],
        device: torch.device,
        size: Tuple[int, int],
        config: Config,
        mean: Sequence[float],
        std: Sequence[float],
        dtype: Optional[str] = None,
    ) -> None:
        self.size, self._config = size, config
        self.pixels = random_pixels(config["batch_size"], size, config["seed"])
        start = time.perf_counter()  # the first use of a GPU creates its context, which is part of a cold start
        self.normalise = Normalise(mean, std, device, DTYPES[dtype or config["dtype"]], config["channels_last"])
        self.images = self.normalise(self.pixels)
        self.module, self.runs = build(self.images)
        if config.get("cuda_graph"):
            self.runs = Graphed(self.runs, self.images)
        wait_for(device)()
        self.load_s = time.perf_counter() - start
        self.model = model_pass(self.runs, self.images)
        self.end_to_end = end_to_end_pass(self.runs, self.pixels, self.normalise)
        self.first_pass_s = time_pass(self.model)
        self._warmup = None  # type: Optional[Tuple[List[float], bool]]

    @property
    def cold_start(self) -> Dict[str, float]:
        """Seconds of loading and of the first pass."""
        return {"load_s": self.load_s, "first_pass_s": self.first_pass_s}

    def warm_up(self) -> None:
        """Run passes until their times are stable. Later calls do nothing."""
        if self._warmup is None:
            self._warmup = warm_up(self.model, self._config["warmup_iterations"], self._config["max_warmup_seconds"])
            time_pass(self.end_to_end)

    def describe_run(self, wall: Sequence[float], cpu: Sequence[float], stopped_by: str) -> Dict[str, Any]:
        """Samples of one path, with the fields of `LatencyRun`."""
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
    """Time networks in turn, round by round, together with a copy of the first one.

    Args:
        loaded: the networks, warmed up.
        copies: a second copy of the first one, or nothing.
        config: settings of the run.
        between: called with the time (s) after each round, outside every timed region.

    Returns:
        The `model` and `end_to_end` run of each network, and the run of the copy (None without one).
    """
    passes = [timed for network in loaded for timed in (network.model, network.end_to_end)]
    passes += [network.model for network in copies]
    stop = Stop(config["precision"], config["min_iterations"], config["min_seconds"], config["max_seconds"])
    rounds = sample_rounds(passes, stop, between=between)
    runs = []
    for number, network in enumerate(loaded):
        model, whole = 2 * number, 2 * number + 1
        runs.append(
            {
                "model": network.describe_run(rounds.wall_s[model], rounds.cpu_s[model], rounds.stopped_by),
                "end_to_end": network.describe_run(rounds.wall_s[whole], rounds.cpu_s[whole], rounds.stopped_by),
            }
        )
    twin = copies[0].describe_run(rounds.wall_s[-1], rounds.cpu_s[-1], rounds.stopped_by) if copies else None
    return runs, twin
