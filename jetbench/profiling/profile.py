"""One process's measurements of one or more networks, and the Profile that those of all processes make together."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from jetbench.device import Device
from jetbench.energy import Energy
from jetbench.errors import ProfilingError
from jetbench.experiment import ProfilingConfig
from jetbench.measurement import (
    ColdStart,
    Comparison,
    Latency,
    LatencyRun,
    Memory,
    NetworkPart,
    Paced,
    Soak,
    Watch,
)
from jetbench.models.build import compile_whole, to_torchscript
from jetbench.operations import Operation, add_up
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
from jetbench.profiling.energy import capture_energy, read_energy
from jetbench.profiling.environment import describe_environment, set_arithmetic
from jetbench.profiling.layers import describe_parts, time_parts
from jetbench.profiling.memory import measure_peak_memory
from jetbench.profiling.roofline import estimate
from jetbench.profiling.trace import trace_operations
from jetbench.record import CounterResult, Environment, Profile
from jetbench.spec import Spec

Part = Literal["latency", "rest"]
GREY_MEAN, GREY_STD = (127.5, 127.5, 127.5), (64.0, 64.0, 64.0)


@dataclass(frozen=True)
class Network:
    """A network to be measured: how it is built (in eval mode or not, on the CPU, float32), and what it is fed."""

    label: str
    build: Callable[[], nn.Module]
    input_size: tuple[int, int]
    config: ProfilingConfig
    mean: tuple[float, ...] = GREY_MEAN
    std: tuple[float, ...] = GREY_STD


class Findings(Spec):
    """What one process found of one network."""

    cold_start: ColdStart
    model: LatencyRun | None = None
    end_to_end: LatencyRun | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    paced: Paced | None = None
    soak: Soak | None = None
    denormals: tuple[int, int] | None = None
    finite: bool | None = None
    parameters: int | None = None
    macs: int | None = None
    flops: int | None = None
    eq2_flops: float | None = None
    peak_activation_bytes: int | None = None
    bytes_moved: int | None = None
    counters: tuple[CounterResult, ...] = ()
    parts: tuple[NetworkPart, ...] = ()
    notes: dict[str, str] = Field(default_factory=dict)


class ProcessFindings(Spec):
    """What one process found of each network; `control` is a second copy of the first one."""

    networks: tuple[Findings, ...]
    control: LatencyRun | None = None
    watch: Watch
    environment: Environment


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


def assemble(
    network: int,
    processes: Sequence[ProcessFindings],
    alone: ProcessFindings,
    input_size: tuple[int, int],
    config: ProfilingConfig,
    target: Device,
    operations: Sequence[Operation] | None = None,
    reference: str | None = None,
    images_ratio: float = 1.0,
) -> Profile:
    """The Profile of one network.

    Args:
        network: its number in each of `processes`.
        processes: those that timed it.
        alone: the one that measured the rest of it; may be one of `processes`.
        input_size: (height, width) of its images.
        config: how it was run.
        target: the device it was measured on.
        operations: of one image, for the roofline; None leaves that out.
        reference: name of network 0, where the others are compared with it.
        images_ratio: images in a pass of network 0 over those in a pass of this one; times are compared per image.
    """
    rest, environment = alone.networks[0], alone.environment
    runs = [process.networks[network] for process in processes]
    notes = dict(rest.notes)
    watches = tuple(process.watch for process in processes)
    if alone not in processes:
        watches += (alone.watch,)
    on_processor = target.accelerator == "cuda" and environment.device == "cpu"
    roof = None
    if on_processor:
        mend = f"; install NVIDIA's for JetPack {target.jetpack}" if target.jetpack else ""
        what = f"the processor of {target.title}"
        notes["processor"] = (
            f"measured on {what}, not on its GPU: this torch finds no CUDA device, or was told to{mend}"
        )
        notes["estimate"] = f"no estimate for {what}: the peaks in its YAML are the GPU's"
    elif operations is not None:
        gpu = environment.device if target.gpus else None
        told = estimate(operations, target, config.dtype, config.batch_size, gpu, _clock_share(target, watches))
        if isinstance(told, str):
            notes["estimate"] = told
        else:
            roof = told
    comparison = None
    if reference is not None and network > 0 and all(process.control for process in processes):
        comparison = _compare(reference, network, processes, images_ratio)
    if rest.parameters is None or rest.macs is None:
        raise ProfilingError("the process that counts did not count")
    return Profile(
        device=target.name,
        input_size=input_size,
        parameters=rest.parameters,
        macs=rest.macs,
        flops=rest.flops,
        eq2_flops=rest.eq2_flops,
        peak_activation_bytes=rest.peak_activation_bytes,
        bytes_moved=rest.bytes_moved,
        counters=rest.counters,
        parts=rest.parts,
        estimate=roof,
        model_latency=Latency(batch_size=config.batch_size, runs=tuple(run.model for run in runs if run.model)),
        end_to_end_latency=Latency(
            batch_size=config.batch_size, runs=tuple(run.end_to_end for run in runs if run.end_to_end)
        ),
        comparison=comparison,
        cold_start=rest.cold_start,
        paced=rest.paced,
        soak=rest.soak,
        memory=rest.memory,
        energy=rest.energy,
        denormals=rest.denormals,
        finite=rest.finite,
        watches=watches,
        notes=notes,
        environment=environment.model_copy(update=_board(rest.energy, alone.watch)),
    )


def _board(energy: Energy | None, watch: Watch) -> dict[str, Any]:
    """Power mode and clocks as jtop tells them, else as the machine does."""
    meta = energy.meta if energy else {}
    return {
        "power_mode": meta.get("power_mode") or watch.before.power_mode,
        "jetson_clocks": meta.get("jetson_clocks"),
    }


def _clock_share(target: Device, watches: Sequence[Watch]) -> float | None:
    """The GPU's usual clock in the run over the one that the peaks are for."""
    clocks = sorted(hz for watch in watches for hz in watch.gpu_hz)
    if not clocks or target.gpu_clock_hz is None:
        return None
    return clocks[len(clocks) // 2] / target.gpu_clock_hz


def _compare(reference: str, network: int, processes: Sequence[ProcessFindings], images_ratio: float) -> Comparison:
    """Times per image over those of network 0, round by round."""
    ratios, control = [], []
    for process in processes:
        base, own, twin = process.networks[0].model, process.networks[network].model, process.control
        if base and own and twin:
            ratios.append(tuple(images_ratio * a / b for a, b in zip(own.samples_s, base.samples_s, strict=True)))
            control.append(tuple(a / b for a, b in zip(twin.samples_s, base.samples_s, strict=True)))
    return Comparison(reference=reference, ratios=tuple(ratios), control=tuple(control))


def profile_model(
    model: nn.Module,
    input_size: tuple[int, int],
    config: ProfilingConfig,
    device: torch.device,
    target: Device,
    mean: tuple[float, ...] = GREY_MEAN,
    std: tuple[float, ...] = GREY_STD,
    report: Callable[[float, str], None] = lambda share, text: None,
) -> Profile:
    """Profile a copy of `model` in this one process.

    Args:
        model: maps (N, 3, H, W) to logits (N, K, H, W); it is left as it is.
        input_size: (height, width) of the images.
        config: how to run it, and how long to look; its `processes` are the session's business.
        device: where to measure.
        target: the device from the registry that this is.
        mean: channel means in 0..255 that the end-to-end path subtracts.
        std: channel deviations that it divides by.
        report: told the finished share (0 to 1) and what is being measured.
    """
    network = Network("the model", lambda: copy.deepcopy(model), input_size, config, mean, std)
    found = measure_process([network], device, ("latency", "rest"), target, report=report)
    operations = trace_operations(copy.deepcopy(model).cpu().float(), torch.zeros(1, 3, *input_size, device="meta"))
    return assemble(0, [found], found, input_size, config, target, operations)
