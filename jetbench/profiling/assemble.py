"""assemble: builds the Profile of a network from the findings of all processes that measured it."""

from collections.abc import Sequence
from typing import Any

import torch

from jetbench.errors import ProfilingError
from jetbench.network.operations import Operation, add_up
from jetbench.profiling.environment import describe_environment
from jetbench.profiling.findings import ProcessFindings
from jetbench.profiling.roofline import estimate
from jetbench.records.energy import Energy
from jetbench.records.measurement import (
    Comparison,
    Latency,
    Standard,
    Watch,
)
from jetbench.records.record import Environment, Estimate, Profile
from jetbench.spec.device import Device
from jetbench.spec.profiling import ProfilingConfig


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
    standard: Standard | None = None,
) -> Profile:
    """The Profile of one network.

    Args:
        network: the network's number in each of `processes`.
        processes: the processes that timed it.
        alone: the process that measured everything but the latency; may be one of `processes`.
        input_size: (height, width) of its images.
        config: its settings.
        target: the device it was measured on.
        operations: its operations for one image, for the roofline estimate; None: no estimate.
        reference: name of network 0, if the others are compared with it.
        images_ratio: images per pass of network 0 over images per pass of this one; times are compared per image.
        standard: the standard network's passes in `processes`.
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
        fix = f"; install NVIDIA's for JetPack {target.jetpack}" if target.jetpack else ""
        place = f"the processor of {target.title}"
        notes["processor"] = (
            f"measured on {place}, not on its GPU: this torch finds no CUDA device, or the CPU was requested{fix}"
        )
        notes["estimate"] = f"no estimate for {place}: the peaks in the device's YAML are those of its GPU"
    elif operations is not None:
        gpu = environment.device if target.gpus else None
        result = estimate(operations, target, config.dtype, config.batch_size, gpu, _clock_share(target, watches))
        if isinstance(result, str):
            notes["estimate"] = result
        else:
            roof = result
    comparison = None
    if reference is not None and network > 0 and all(process.control for process in processes):
        comparison = _compare(reference, network, processes, images_ratio)
    if rest.parameters is None or rest.macs is None:
        raise ProfilingError("the counts are missing: the process that measures all but the latency did not count")
    return Profile(
        device=target.name,
        runs_on="its processor" if on_processor else "device",
        input_size=input_size,
        parameters=rest.parameters,
        macs=rest.macs,
        flops=rest.flops,
        eq2_flops=rest.eq2_flops,
        peak_activation_bytes=rest.peak_activation_bytes,
        bytes_moved=rest.bytes_moved,
        counters=rest.counters,
        parts=rest.parts,
        kernels=rest.kernels,
        peaks=rest.peaks,
        estimate=roof,
        model_latency=Latency(batch_size=config.batch_size, runs=tuple(run.model for run in runs if run.model)),
        end_to_end_latency=Latency(
            batch_size=config.batch_size, runs=tuple(run.end_to_end for run in runs if run.end_to_end)
        ),
        comparison=comparison,
        standard=standard,
        cold_start=rest.cold_start,
        paced=rest.paced,
        soak=rest.soak,
        memory=rest.memory,
        energy=rest.energy,
        denormals=rest.denormals,
        finite=rest.finite,
        deployment=rest.deployment,
        watches=watches,
        notes=notes,
        environment=environment.model_copy(update=_board(rest.energy, alone.watch, environment)),
    )


def _board(energy: Energy | None, watch: Watch, environment: Environment) -> dict[str, Any]:
    """Power mode and clocks as jtop reports them; without jtop, as the machine's files show them.

    jetson_clocks fixes the GPU's lowest clock at its highest.
    """
    meta, state = energy.meta if energy else {}, watch.before
    clocks = meta.get("jetson_clocks")
    if clocks is None and state.power_mode and state.gpu_min_hz and state.gpu_max_hz:
        clocks = state.gpu_min_hz == state.gpu_max_hz
    mode = meta.get("power_mode") or state.power_mode or environment.power_mode
    return {"power_mode": mode, "jetson_clocks": clocks}


def _clock_share(target: Device, watches: Sequence[Watch]) -> float | None:
    """The GPU's median clock in the run over the clock that the peaks are for; None if either is unknown."""
    clocks = sorted(hz for watch in watches for hz in watch.gpu_hz)
    if not clocks or target.gpu_clock_hz is None:
        return None
    return clocks[len(clocks) // 2] / target.gpu_clock_hz


def _compare(reference: str, network: int, processes: Sequence[ProcessFindings], images_ratio: float) -> Comparison:
    """Ratios of the times per image to those of network 0, round by round; `control` are those of network 0's copy."""
    ratios, control = [], []
    for process in processes:
        base, own, twin = process.networks[0].model, process.networks[network].model, process.control
        if base and own and twin:
            ratios.append(tuple(images_ratio * a / b for a, b in zip(own.samples_s, base.samples_s, strict=True)))
            control.append(tuple(a / b for a, b in zip(twin.samples_s, base.samples_s, strict=True)))
    return Comparison(reference=reference, ratios=tuple(ratios), control=tuple(control))


def assemble_estimate(
    operations: Sequence[Operation],
    input_size: tuple[int, int],
    config: ProfilingConfig,
    target: Device,
    why: str,
    mode: str | None = None,
) -> Profile:
    """The Profile of a network for another device: counted and estimated.

    Args:
        operations: for one image.
        input_size: (height, width) of its images.
        config: its settings.
        target: the device.
        why: says why nothing is measured.
        mode: a power mode of the device, whose clock of the GPU the estimate takes.
    """
    cost, notes = add_up(operations), dict.fromkeys(("latency", "memory", "power_w"), why)
    share = target.clock_share(mode) if mode is not None else None
    result: Estimate | str = f"no estimate: the GPU clock of {mode} is not in the file of {target.name}"
    if mode is None or share is not None:
        result = estimate(operations, target, config.dtype, config.batch_size, None, share)
    if isinstance(result, str):
        notes["estimate"] = result
    elif share is not None:
        notes["estimate"] = (
            f"with the GPU at {share:.0%} of its clock, the cap of {mode}, and the memory at its full one"
        )
    return Profile(
        device=target.name,
        input_size=input_size,
        parameters=cost.parameters,
        macs=cost.macs,
        flops=cost.flops,
        eq2_flops=cost.eq2_flops,
        peak_activation_bytes=cost.peak_activation_bytes,
        bytes_moved=cost.bytes_moved,
        estimate=None if isinstance(result, str) else result,
        notes=notes,
        environment=describe_environment(torch.device("cpu"), None).model_copy(update={"power_mode": mode}),
    )
