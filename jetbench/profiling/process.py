"""One process's measurements of one or more networks."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from jetbench.errors import ProfilingError
from jetbench.models.build import compile_whole, to_torchscript
from jetbench.network.operations import add_up
from jetbench.probe import machine
from jetbench.probe.observer import Observer
from jetbench.probe.passes import (
    DTYPES,
    Normalise,
    count_denormals,
    end_to_end_pass,
    model_pass,
    random_pixels,
    wait_for,
)
from jetbench.probe.timing import Stop, run_paced, run_soak, sample_rounds, time_pass, warm_up
from jetbench.profiling.counts import count_with_fvcore, count_with_thop
from jetbench.profiling.environment import describe_environment, set_arithmetic
from jetbench.profiling.findings import Findings, Network, Part, ProcessFindings
from jetbench.profiling.parts import describe_parts, time_parts
from jetbench.profiling.peak_memory import measure_peak_memory
from jetbench.profiling.power import capture_energy, read_energy
from jetbench.profiling.trace import trace_operations
from jetbench.records.measurement import (
    ColdStart,
    LatencyRun,
    Memory,
    Paced,
    Soak,
    Watch,
)
from jetbench.records.record import CounterResult
from jetbench.spec.device import Device


class _Loaded:
    """A network on its device, in its type and layout, with what it is fed."""

    def __init__(self, network: Network, device: torch.device) -> None:
        config = network.config
        self.network, self.config = network, config
        self.pixels = random_pixels(config.batch_size, network.input_size, config.seed)
        start = time.perf_counter()  # what first touches a GPU makes its context, which belongs to a cold start
        self.normalise = Normalise(network.mean, network.std, device, DTYPES[config.dtype], config.channels_last)
        self.images = self.normalise(self.pixels)
        self.module = network.build().eval().to(device=device, dtype=DTYPES[config.dtype])
        if config.channels_last:
            # Its overloads do not know that a memory format alone is enough.
            self.module = self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        runs: Any = self.module
        if config.backend == "compiled":
            runs = compile_whole(self.module)
        elif config.backend == "traced":
            runs = to_torchscript(self.module, self.images)
        wait_for(device)()
        self.load_s = time.perf_counter() - start
        self.model = model_pass(runs, self.images)
        self.end_to_end = end_to_end_pass(runs, self.pixels, self.normalise)
        self.first_pass_s = time_pass(self.model)
        self.warmup: tuple[list[float], bool] | None = None

    def warm_up(self) -> None:
        if self.warmup is None:
            config = self.config
            self.warmup = warm_up(self.model, config.warmup_iterations, config.max_warmup_seconds)
            time_pass(self.end_to_end)

    def latency_run(self, wall: Sequence[float], cpu: Sequence[float], stopped_by: str) -> LatencyRun:
        warmup, settled = self.warmup or ([], None)
        return LatencyRun.model_validate(
            {
                "samples_s": tuple(wall),
                "cpu_s": tuple(cpu),
                "warmup_s": tuple(warmup),
                "settled": settled,
                "stopped_by": stopped_by,
            }
        )


def measure_process(
    networks: Sequence[Network],
    device: torch.device,
    parts: Sequence[Part],
    target: Device,
    control: bool = False,
    report: Callable[[float, str], None] = lambda share, text: None,
) -> ProcessFindings:
    """Measure networks in this process.

    Args:
        networks: they share their threads, denormals and memory settings, which are a process's.
        device: where they run.
        parts: `latency` times all of them in turn; `rest` is memory, energy, paced and soak runs and the counts, for
            which there must be one network alone.
        target: whose sensors and total rule apply.
        control: time a second copy of the first network beside them.
        report: told the finished share (0 to 1) and what is being measured.

    Raises:
        ProfilingError: a sensor that was asked for by name cannot be read, or a setting cannot run here.
    """
    config = networks[0].config
    observer = Observer()
    baseline = machine.process_memory()
    keeps = machine.keep_freed_memory() if config.keep_freed_memory else False
    flushes = set_arithmetic(config.threads, config.flush_denormals)
    machine.reset_peak()
    with torch.inference_mode():
        report(0.02, "building the network")
        loaded = [_load(network, device) for network in networks]
        copied = [_load(networks[0], device)] if control else []
        report(0.05, "warming up")
        for each in (*loaded, *copied):
            each.warm_up()
        found: list[dict[str, Any]] = [
            {"cold_start": ColdStart(load_s=each.load_s, first_pass_s=each.first_pass_s), "notes": {}}
            for each in loaded
        ]
        twin = None
        if "latency" in parts:
            report(0.1, "latency")
            passes = [timed for each in loaded for timed in (each.model, each.end_to_end)]
            passes += [each.model for each in copied]
            stop = Stop(config.precision, config.min_iterations, config.min_seconds, config.max_seconds)
            with observer.watching_gpu() if device.type == "cuda" else nullcontext():
                rounds = sample_rounds(passes, stop, between=observer.pulse)
            for number, each in enumerate(loaded):
                for offset, name in enumerate(("model", "end_to_end")):
                    wall, cpu = rounds.wall_s[2 * number + offset], rounds.cpu_s[2 * number + offset]
                    found[number][name] = each.latency_run(wall, cpu, rounds.stopped_by)
            if copied:
                twin = copied[0].latency_run(rounds.wall_s[-1], rounds.cpu_s[-1], rounds.stopped_by)
        if "rest" in parts:
            (only,) = loaded
            found[0] |= _measure_rest(only, device, target, observer, baseline, report, found[0]["notes"])
    watch = Watch.model_validate(observer.finish())
    if "rest" in parts:
        report(0.9, "counts")
        samples = _time_parts(loaded[0], found[0]["notes"])
        found[0] |= _count(loaded[0], found[0]["notes"], samples)
    environment = describe_environment(device, flushes, keeps)
    return ProcessFindings(
        networks=tuple(Findings(**each) for each in found), control=twin, watch=watch, environment=environment
    )


def _load(network: Network, device: torch.device) -> _Loaded:
    try:
        return _Loaded(network, device)
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        if "not implemented for" in reason:
            raise ProfilingError(
                f"{network.label}: this torch cannot run {network.config.dtype} here ({reason})"
            ) from None
        if network.config.backend == "compiled" and type(error).__module__.startswith("torch._"):
            raise ProfilingError(f"{network.label}: torch.compile fails here ({reason}); leave out --backend") from None
        raise


def _measure_rest(
    loaded: _Loaded,
    device: torch.device,
    target: Device,
    observer: Observer,
    baseline: dict[str, int | None],
    report: Callable[[float, str], None],
    notes: dict[str, str],
) -> dict[str, Any]:
    config = loaded.config
    found: dict[str, Any] = {}
    images = loaded.images
    process_peak = machine.process_memory()["peak_bytes"]
    reserved = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None
    if config.rate:
        report(0.4, f"{config.rate:g} frames a second for {config.paced_seconds:g} s")
        found["paced"] = Paced(**run_paced(loaded.end_to_end, config.rate, config.paced_seconds))
    if config.soak_seconds:
        report(0.5, f"soak of {config.soak_seconds:g} s")
        with observer.watching_gpu() if device.type == "cuda" else nullcontext():
            soak = run_soak(loaded.model, config.soak_seconds, between=observer.pulse)
        found["soak"] = Soak(batch_size=config.batch_size, **soak)
    raw, note = capture_energy(loaded.model, target, config, lambda text: report(0.6, text))
    energy = None
    if raw is not None:
        observer.take(raw["samples"], raw["load"])
        energy = read_energy(raw, target, config.batch_size)
        note = "; ".join(filter(None, (energy.problem, note)))
    if note:
        notes["power_w"] = note
    report(0.8, "memory")
    # Counting allocations slows passes, so it comes after everything that is timed.
    peak, how = measure_peak_memory(loaded.module, images, loaded.model.run)
    notes["peak_memory_bytes"] = how
    output = loaded.module(images)
    found |= {
        "energy": energy,
        "denormals": count_denormals(loaded.module, images) if device.type == "cpu" else None,
        "finite": bool(torch.isfinite(output).all()),
        "memory": Memory(
            weights_bytes=sum(tensor.nbytes for tensor in loaded.module.state_dict().values()),
            image_bytes=images.nbytes,
            allocator_peak_bytes=peak,
            reserved_bytes=reserved,
            process_baseline_bytes=baseline["resident_bytes"],
            process_peak_bytes=process_peak,
            **observer.memory(),
        ),
    }
    set_arithmetic(config.threads, config.flush_denormals)
    return found


def _time_parts(loaded: _Loaded, notes: dict[str, str]) -> dict[str, list[float]]:
    """How long each part takes; nothing of a network that runs as a whole."""
    config = loaded.config
    if config.backend != "eager":
        notes["layers"] = f"not measured: a {config.backend} network runs as a whole"
        return {}
    samples = time_parts(loaded.module, loaded.images)
    count = len(next(iter(samples.values())))
    notes["layers"] = (
        f"median of {count} passes with the clock read at both ends of each part, the device idle there; it explains "
        "the latency and is not it"
    )
    return samples


def _count(loaded: _Loaded, notes: dict[str, str], samples: dict[str, list[float]]) -> dict[str, Any]:
    """Parameters, MACs and FLOPs of one image in float32, by our own count and by fvcore and thop."""
    plain = copy.deepcopy(loaded.module).cpu().float()
    images = torch.zeros(1, 3, *loaded.network.input_size)
    counters: list[CounterResult] = []
    for count in (count_with_fvcore, count_with_thop):
        try:
            told = count(plain, images)
            counters.append(
                CounterResult(
                    tool=told.tool,
                    version=told.version,
                    distribution=told.distribution,
                    macs=told.total,
                    by_operation=told.by_operation,
                    unsupported=told.unsupported,
                )
            )
        except (RuntimeError, ImportError, ValueError, TypeError, KeyError) as error:
            tool = count.__name__.removeprefix("count_with_")
            counters.append(CounterResult(tool=tool, version="unknown", macs=None))
            notes[tool] = f"{tool} failed: {type(error).__name__}: {error}"
    operations = trace_operations(plain, images.to("meta"))
    cost = add_up(operations)
    if cost.uncounted:
        notes["macs"] = f"operations without a rule of ours, in no total: {', '.join(sorted(cost.uncounted))}"
    return {
        "parameters": sum(parameter.numel() for parameter in plain.parameters()),
        "macs": cost.macs,
        "flops": cost.flops,
        "eq2_flops": cost.eq2_flops,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "bytes_moved": cost.bytes_moved,
        "counters": tuple(counters),
        "parts": describe_parts(plain, operations, samples),
    }
