"""Reads clocks, temperatures and memory about once a second during a measurement, outside every timed region."""

import os
import time
from contextlib import ExitStack, contextmanager
from typing import Any, Dict, Iterator, List, Sequence, Set

from . import machine
from .sampler import Sampler, SamplerError

PULSE_S = 1.0


class Observer:
    """The machine's state as observed since this object was made."""

    def __init__(self) -> None:
        self.before = machine.read_state()
        self.gpu_hz: List[float] = []
        self.cpu_hz: List[float] = []
        self.hottest: Dict[str, float] = dict(self.before["temperatures_c"])
        self.available, self.nvmap = [self.before["available_bytes"]], [self.before["nvmap_bytes"]]
        self.throttled: Set[str] = set()
        self.gpu_processes: Set[int] = set()
        self.reads_memory = True
        self._last = -PULSE_S

    def pulse(self, now: float) -> None:
        """Read the machine's state, unless the last reading is less than `PULSE_S` old."""
        if now - self._last < PULSE_S:
            return
        self._last = now
        folder = machine.gpu_clock_folder()
        gpu = machine.read_number(folder + "/cur_freq") if folder else None
        cpu = machine.cpu_clocks()
        if gpu:
            self.gpu_hz.append(gpu)
        if cpu:
            self.cpu_hz.append(max(cpu))
        self._heat(machine.temperatures())
        self.look_at_memory()

    def look_at_memory(self) -> None:
        """Read the machine's memory now, unless something else is loaded than the network (`reads_memory`)."""
        if not self.reads_memory:
            return
        memory = machine.read_memory()
        self.available.append(memory["available_bytes"])
        self.nvmap.append(memory["nvmap_bytes"])

    def take(self, samples: Sequence[Dict[str, Any]], load: Sequence[Sequence[float]]) -> None:
        """Take clocks, temperatures, throttling and processes from a sensor's samples in the `load` windows."""
        for sample in samples:
            if not any(window[0] <= sample["t"] <= window[1] for window in load):
                continue
            if sample.get("gpu_hz"):
                self.gpu_hz.append(sample["gpu_hz"])
            self._heat(sample.get("temperatures_c", {}))
            self.throttled |= set(sample.get("throttled", ()))
            self.gpu_processes |= set(sample.get("gpu_processes", ()))
            if self.reads_memory:
                self.nvmap.append(sample.get("nvmap_bytes"))

    @contextmanager
    def watching_gpu(self) -> Iterator[None]:
        """Observe a discrete GPU meanwhile, about once a second from a separate process; does nothing without NVML.

        `pulse` observes a Jetson's GPU, in /sys.
        """
        start, sampler = time.monotonic(), None
        with ExitStack() as opened:
            try:
                sampler = opened.enter_context(Sampler("nvml", PULSE_S))
            except SamplerError:
                pass
            yield
        if sampler is not None:
            self.take(sampler.samples, [(start, time.monotonic())])

    def _heat(self, temperatures: Dict[str, float]) -> None:
        for zone, celsius in temperatures.items():
            self.hottest[zone] = max(celsius, self.hottest.get(zone, celsius))

    def finish(self) -> Dict[str, Any]:
        """The observations from the beginning to now, with the fields of `measurement.Watch`."""
        return {
            "before": self.before,
            "after": machine.read_state(),
            "gpu_hz": self.gpu_hz,
            "cpu_hz": self.cpu_hz,
            "hottest_c": self.hottest,
            "throttled": sorted(self.throttled),
            "gpu_processes": sorted(self.gpu_processes),
            "own_pids": [os.getpid()],
        }

    def memory(self) -> Dict[str, Any]:
        """Shared GPU memory and available memory, at first and at worst, with the fields of `measurement.Memory`."""
        return {
            "nvmap_baseline_bytes": self.nvmap[0],
            "nvmap_peak_bytes": max((value for value in self.nvmap if value is not None), default=None),
            "available_baseline_bytes": self.available[0],
            "available_least_bytes": min((value for value in self.available if value is not None), default=None),
        }
