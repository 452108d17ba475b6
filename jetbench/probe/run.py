"""The measuring sequence of a profile here and of a bundle's probe on a board: load, first pass, warm up, time.

Needs Python 3.6 and torch alone.
"""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

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

    def read_memory(self, device: torch.device) -> Dict[str, Any]:
        """Memory of the process so far, with fields of `measurement.Memory`; the observer looks at the machine's."""
        self.observer.look_at_memory()
        return {
            "reserved_bytes": torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
            "process_baseline_bytes": self.baseline["resident_bytes"],
            "process_peak_bytes": machine.process_memory()["peak_bytes"],
        }

    def time_in_turn(
        self,
        loaded: Sequence["Loaded"],
        config: Config,
        copy: Optional["Loaded"],
        load_standard: Optional[Callable[[], "Loaded"]],
    ) -> "Turns":
        """`time_in_turn` with the standard network, loaded for it alone, so that no memory of the networks has it."""
        if load_standard is None:
            return time_in_turn(loaded, config, self.observer.pulse, copy=copy)
        self.observer.reads_memory = False
        standard = load_standard()
        standard.warm_up()
        turns = time_in_turn(loaded, config, self.observer.pulse, copy=copy, standard=standard)
        if standard.images.device.type == "cuda":
            del standard
            torch.cuda.empty_cache()
            self.observer.reads_memory = True  # a process keeps what it freed of the machine's own memory
        return turns


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


class Turns(NamedTuple):
    """What `time_in_turn` found: the `model` and `end_to_end` run of each network, and the runs of the two others."""

    runs: List[Dict[str, Any]]
    control: Optional[Dict[str, Any]]
    standard: Optional[Dict[str, Any]]


def time_in_turn(
    loaded: Sequence[Loaded],
    config: Config,
    between: Callable[[float], None],
    copy: Optional[Loaded] = None,
    standard: Optional[Loaded] = None,
) -> Turns:
    """Time networks in turn, round by round, until all of them are precise.

    Args:
        loaded: the networks, warmed up.
        config: settings of the run.
        between: called with the time (s) after each round, outside every timed region.
        copy: a second copy of the first network, timed in the same rounds.
        standard: the standard network, timed in the same rounds; they do not go on for its sake.
    """
    passes = [timed for network in loaded for timed in (network.model, network.end_to_end)]
    others = [network for network in (copy, standard) if network is not None]
    passes += [network.model for network in others]
    judged = len(passes) - (standard is not None)
    stop = Stop(config["precision"], config["min_iterations"], config["min_seconds"], config["max_seconds"])
    rounds = sample_rounds(passes, stop, between=between, judged=judged)

    def describe(network: Loaded, number: int) -> Dict[str, Any]:
        return network.describe_run(rounds.wall_s[number], rounds.cpu_s[number], rounds.stopped_by)

    runs = [
        {"model": describe(network, 2 * number), "end_to_end": describe(network, 2 * number + 1)}
        for number, network in enumerate(loaded)
    ]
    return Turns(
        runs,
        None if copy is None else describe(copy, 2 * len(loaded)),
        None if standard is None else describe(standard, len(passes) - 1),
    )
