"""Measures one or more networks in one process."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from jetbench.deploy.backends import TORCH_FORMS
from jetbench.errors import ProfilingError, is_out_of_memory
from jetbench.network.operations import Operation, add_up
from jetbench.probe.engines import Layer, open_engine
from jetbench.probe.passes import DTYPES, count_denormals
from jetbench.probe.peaks import measure_peaks
from jetbench.probe.run import Loaded, Session, set_arithmetic
from jetbench.probe.timing import run_paced, run_soak
from jetbench.profiling.counts import count_with_fvcore, count_with_thop
from jetbench.profiling.deployed import describe_deployment, parts_of_file, parts_of_layers
from jetbench.profiling.environment import describe_environment
from jetbench.profiling.file_counts import operations_of_file
from jetbench.profiling.findings import Findings, Network, Part, ProcessFindings
from jetbench.profiling.kernels import NOT_OF_A_BATCH, kernels_of_layers, time_kernels
from jetbench.profiling.parts import describe_parts, time_parts
from jetbench.profiling.peak_memory import bytes_of_weights, measure_peak_memory
from jetbench.profiling.power import capture_energy, read_energy
from jetbench.profiling.trace import image_to_trace, trace_operations
from jetbench.progress import Report
from jetbench.records.measurement import (
    KernelTime,
    LatencyRun,
    Memory,
    Paced,
    Soak,
    Watch,
)
from jetbench.records.record import CounterResult
from jetbench.spec.device import Device
from jetbench.spec.profiling import ProfilingConfig

LAYER_PASSES = 5
ONLY_KERNELS = "not measured: the command asked for the latency and the times of kernels only"


def measure_process(
    networks: Sequence[Network],
    device: torch.device,
    parts: Sequence[Part],
    target: Device,
    control: bool = False,
    standard: Network | None = None,
    report: Report = lambda share, text: None,
) -> ProcessFindings:
    """Measure networks in this process.

    Args:
        networks: networks with the same threads, denormals and memory settings, which apply to the whole process.
        device: where they run.
        parts: `latency` times all of them in turn; `rest` measures memory, energy, paced and soak runs and the counts,
            `kernels` of these only the kernels and our counts; both allow only one network.
        target: the device whose sensors and total rule apply.
        control: also time a second copy of the first network.
        standard: also time this network in the same rounds.
        report: called with the finished share (0 to 1) and what is being measured.

    Raises:
        ProfilingError: a sensor that is requested by name cannot be read, or a setting cannot run here.
    """
    config = networks[0].config.model_dump()
    for backend in {network.config.backend for network in networks if network.artefact is not None}:
        import_module(backend)  # so that no import is in a cold start, or in the growth of the memory
    session = Session(config)
    observer = session.observer
    with torch.inference_mode():
        report(0.02, "building the network")
        loaded = [_load(network, device) for network in networks]
        twin = _load(networks[0], device) if control else None
        report(0.05, "warming up")
        for network in (*loaded, twin):
            if network is not None:
                network.warm_up()
        memory = session.read_memory(device)
        findings: list[dict[str, Any]] = [{"cold_start": network.cold_start, "notes": {}} for network in loaded]
        turns = None
        if "latency" in parts:
            report(0.1, "latency")
            with observer.watching_gpu() if device.type == "cuda" else nullcontext():
                beside = None if standard is None else partial(_load, standard, device)
                turns = session.time_in_turn(loaded, config, copy=twin, load_standard=beside)
            for finding, run in zip(findings, turns.runs, strict=True):
                finding |= run
        if "rest" in parts:
            (only,), (description,) = loaded, networks
            findings[0] |= _measure_rest(
                only, description, device, target, session, report, findings[0]["notes"], memory
            )
    watch = Watch.model_validate(observer.finish())
    if "kernels" in parts:
        report(0.9, "kernels")
        findings[0] |= _time_kernels(loaded[0], networks[0], findings[0]["notes"])
    if "rest" in parts:
        report(0.9, "counts")
        findings[0] |= _explain(loaded[0], networks[0], findings[0]["notes"])
    return ProcessFindings(
        networks=tuple(Findings.model_validate(finding) for finding in findings),
        control=_run_of(turns.control if turns else None),
        standard=_run_of(turns.standard if turns else None),
        watch=watch,
        environment=describe_environment(device, session.flushes, session.keeps),
    )


def _run_of(raw: dict[str, Any] | None) -> LatencyRun | None:
    return None if raw is None else LatencyRun.model_validate(raw)


def _load(network: Network, device: torch.device) -> Loaded:
    config = network.config

    def build(images: torch.Tensor) -> tuple[Any, Any]:
        if network.artefact is not None:
            return None, _open(network.label, network.artefact.path, config)
        module = _build_module(network, device)
        if network.file is not None:
            return module, module
        form = TORCH_FORMS[config.torch_backend]
        runs = form.prepare(module, images)
        return module if form.keeps_module else None, runs

    dtype = "fp32" if network.artefact is not None else config.dtype  # the images of a file are fp32
    try:
        return Loaded(build, device, network.input_size, config.model_dump(), network.mean, network.std, dtype)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        if "not implemented for" in reason:
            raise ProfilingError(f"{network.label}: this torch cannot run {config.dtype} here ({reason})") from None
        if config.backend == "compiled" and type(error).__module__.startswith("torch._"):
            raise ProfilingError(f"{network.label}: torch.compile fails here ({reason}); leave out --backend") from None
        raise


def _open(label: str, path: str, config: ProfilingConfig) -> Any:
    """The engine of a file.

    Raises:
        ProfilingError: its runtime cannot open it.
    """
    try:
        return open_engine(config.file_backend, path, config.dtype, config.threads, config.flush_denormals)
    except Exception as error:  # errors of runtimes have no common class
        if is_out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise ProfilingError(f"{label}: {config.backend} cannot open {path} ({reason})") from None


def _build_module(network: Network, device: torch.device) -> nn.Module:
    dtype = torch.float32 if network.artefact is not None else DTYPES[network.config.dtype]
    module = network.build().eval().to(device=device, dtype=dtype)
    if network.config.channels_last:
        # The overloads of `to` do not include a call with a memory format alone.
        return module.to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]
    return module


def _measure_rest(
    loaded: Loaded,
    network: Network,
    device: torch.device,
    target: Device,
    session: Session,
    report: Report,
    notes: dict[str, str],
    memory: dict[str, Any],
) -> dict[str, Any]:
    config, observer = network.config, session.observer
    findings: dict[str, Any] = {}
    images = loaded.images
    if config.rate:
        report(0.4, f"{config.rate:g} frames a second for {config.paced_seconds:g} s")
        findings["paced"] = Paced(**run_paced(loaded.end_to_end, config.rate, config.paced_seconds))
    if config.soak_seconds:
        report(0.5, f"soak of {config.soak_seconds:g} s")
        with observer.watching_gpu() if device.type == "cuda" else nullcontext():
            soak = run_soak(loaded.model, config.soak_seconds, between=observer.pulse)
        findings["soak"] = Soak(batch_size=config.batch_size, **soak)
    raw, note = capture_energy(loaded.model, target, config, lambda text: report(0.6, text))
    energy = None
    if raw is not None:
        observer.take(raw["samples"], raw["load"])
        energy = read_energy(raw, target, config.batch_size)
        note = "; ".join(filter(None, (energy.problem, note)))
    if note:
        notes["power_w"] = note
    report(0.8, "memory")
    # Recording allocations slows passes, so it comes after everything that is timed.
    if network.artefact is not None:
        peak, how = None, f"not measured: {config.backend} holds its memory outside torch's allocator"
        weights_bytes = network.artefact.exported.file.bytes
    elif config.cuda_graph:
        peak, how = None, "not measured: a CUDA graph has taken its memory when it was captured"
        weights_bytes = bytes_of_weights(loaded.runs if loaded.module is None else loaded.module)
    else:
        holder = loaded.runs if loaded.module is None else loaded.module
        peak, how = measure_peak_memory(holder, images, loaded.model.run)
        weights_bytes = bytes_of_weights(holder)
    notes["peak_memory_bytes"] = how
    findings |= {
        "energy": energy,
        "finite": bool(torch.isfinite(loaded.runs(images)).all()),
        "memory": Memory(
            weights_bytes=weights_bytes,
            image_bytes=images.nbytes,
            allocator_peak_bytes=peak,
            **memory,
            **observer.memory(),
        ),
    }
    return findings


def _explain(loaded: Loaded, network: Network, notes: dict[str, str]) -> dict[str, Any]:
    """What explains the numbers: denormals, times of the parts, counts, and how a runtime executed its file."""
    config, images = network.config, loaded.images
    findings: dict[str, Any] = {}
    layers: list[Layer] = []
    if network.artefact is not None:
        layers = loaded.runs.list_layers(images, LAYER_PASSES)
        findings["deployment"] = describe_deployment(loaded.runs.describe(), layers, network.artefact, config.dtype)
    if network.file is not None:
        operations = operations_of_file(network.file, loaded.size)
        findings["parts"] = parts_of_file(operations, layers) if layers else ()
        notes["layers"] = (
            f"{_of_runtime(config.backend)}; the parts are the outermost modules that the file names"
            if findings["parts"]
            else "not measured: the file does not say which parts its network has"
        )
        # Its exporter may have folded batch norm, and equation 2 counts modules, so that is left out.
        totals = _totals(operations, notes)
        return findings | {name: value for name, value in totals.items() if name != "eq2_flops"}
    findings["peaks"] = measure_peaks(images.device, config.dtype)
    module = _build_module(network, images.device) if loaded.module is None else loaded.module
    if network.artefact is not None:
        samples = parts_of_layers(layers, module)
        notes["layers"] = _of_runtime(config.backend)
    else:
        samples = _time_parts(loaded, network, notes)
        if images.device.type == "cpu":
            findings["denormals"] = count_denormals(module, images)
            set_arithmetic(config.threads, config.flush_denormals)
    plain = copy.deepcopy(module).cpu().float()
    operations = trace_operations(plain, image_to_trace(plain, loaded.size))
    findings |= _count(plain, operations, loaded.size, notes, samples)
    return findings | {"kernels": _by_kernel(loaded, config, plain, operations, layers, notes)}


def _time_kernels(loaded: Loaded, network: Network, notes: dict[str, str]) -> dict[str, Any]:
    """The times of the kernels and our counts; the notes say that nothing else was measured."""
    notes |= dict.fromkeys(("memory", "power_w", "layers"), ONLY_KERNELS)
    config, images = network.config, loaded.images
    module = _build_module(network, images.device) if loaded.module is None else loaded.module
    plain = copy.deepcopy(module).cpu().float()
    operations = trace_operations(plain, image_to_trace(plain, loaded.size))
    findings: dict[str, Any] = {"peaks": measure_peaks(images.device, config.dtype), **_totals(operations, notes)}
    layers: list[Layer] = []
    if network.artefact is not None:
        layers = loaded.runs.list_layers(images, LAYER_PASSES)
        findings["deployment"] = describe_deployment(loaded.runs.describe(), layers, network.artefact, config.dtype)
    return findings | {"kernels": _by_kernel(loaded, config, plain, operations, layers, notes)}


def _by_kernel(
    loaded: Loaded,
    config: ProfilingConfig,
    plain: nn.Module,
    operations: Sequence[Operation],
    layers: Sequence[Layer],
    notes: dict[str, str],
) -> tuple[KernelTime, ...]:
    """The times by part and class of kernel, and the note that says how they were measured, or why they were not."""
    if config.batch_size > 1:
        notes["kernels"] = NOT_OF_A_BATCH.format(size=config.batch_size)
        return ()
    if layers:
        notes["kernels"] = _of_runtime(config.backend)
        return kernels_of_layers(layers, plain, operations, config.dtype)
    if config.backend != "eager":
        notes["kernels"] = f"not measured: {config.backend} tells no times of kernels"
        return ()
    kernels = time_kernels(loaded.module, loaded.images)
    notes["kernels"] = (
        f"median of {len(kernels[0].samples_s)} passes with the clock read, and the device idle, before and after "
        "every kernel"
    )
    return kernels


def _of_runtime(backend: str) -> str:
    return (
        f"median of {LAYER_PASSES} passes by the profile of {backend}, in a session of its own; a layer that it made "
        "of several counts for the part of the first"
    )


def _time_parts(loaded: Loaded, network: Network, notes: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of each part; empty for a compiled or traced network, which runs as a whole."""
    config = network.config
    if config.backend != "eager":
        notes["layers"] = f"not measured: a {config.backend} network runs as a whole"
        return {}
    samples = time_parts(loaded.module, loaded.images)
    count = len(next(iter(samples.values())))
    notes["layers"] = (
        f"median of {count} passes with the clock read, and the device idle, at both ends of each part; the parts "
        "explain the latency but do not add up to it"
    )
    return samples


def _count(
    plain: nn.Module,
    operations: Sequence[Operation],
    size: tuple[int, int],
    notes: dict[str, str],
    samples: dict[str, list[float]],
) -> dict[str, Any]:
    """Parameters, MACs and FLOPs for one image in float32, by our count and by those of fvcore and thop."""
    images = torch.zeros(1, 3, *size)
    counters: list[CounterResult] = []
    for count in (count_with_fvcore, count_with_thop):
        try:
            counted = count(plain, images)
            counters.append(
                CounterResult(
                    tool=counted.tool,
                    version=counted.version,
                    distribution=counted.distribution,
                    macs=counted.total,
                    by_operation=counted.by_operation,
                    unsupported=counted.unsupported,
                )
            )
        except Exception as error:  # a tool may fail in any way on a network of the user's own
            tool = count.__name__.removeprefix("count_with_")
            counters.append(CounterResult(tool=tool, version="unknown", macs=None))
            notes[tool] = f"{tool} failed: {type(error).__name__}: {error}"
    return {
        **_totals(operations, notes),
        "parameters": sum(parameter.numel() for parameter in plain.parameters()),
        "counters": tuple(counters),
        "parts": describe_parts(plain, operations, samples),
    }


def _totals(operations: Sequence[Operation], notes: dict[str, str]) -> dict[str, Any]:
    cost = add_up(operations)
    if cost.uncounted:
        notes["macs"] = (
            f"operations that we have no rule for, and that are in no total: {', '.join(sorted(cost.uncounted))}"
        )
    return {
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "eq2_flops": cost.eq2_flops,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "bytes_moved": cost.bytes_moved,
    }
