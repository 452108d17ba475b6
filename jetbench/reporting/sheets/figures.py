"""Every number of a profile with its class (counted, measured, estimated, reported, missing) and its origin."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.records.energy import Energy
from jetbench.records.measurement import Latency, Watch
from jetbench.records.record import Profile, Record
from jetbench.reporting import units
from jetbench.reporting.tables.published import describe_figure
from jetbench.spec.architecture import Baseline, Foreign
from jetbench.spec.device import Device
from jetbench.spec.profiling import Backend, ProfilingConfig

Class = Literal["counted", "measured", "estimated", "reported", "missing"]
FIRST_PASS: dict[Backend, str] = {
    "eager": "the very first",
    "folded": "the first after folding",
    "compiled": "compilation included",
    "traced": "the first after tracing",
    "onnxruntime": "the first after loading",
    "openvino": "the first after compiling",
    "tensorrt": "the first after reading the engine",
}


@dataclass(frozen=True)
class Figure:
    """One number in SI units, its class, its text with a unit, and its origin or why it is missing (`how`)."""

    quantity: str
    value: float | None
    kind: Class
    label: str
    text: str
    how: str = ""


def list_figures(record: Record, device: Device) -> list[Figure]:
    """Every number of a profile, also missing ones with the reason.

    Published FPS are those of a baseline or of a network of the user's; for JetSeg they come from the device.
    """
    profile, config = record.measured, record.profiling_config
    figures = _counted(profile)
    figures += _latency_figures(profile, config)
    figures += _deployment_figures(profile)
    figures += _memory_figures(profile)
    figures += _energy_figures(profile)
    figures += _estimated(profile)
    if isinstance(record.architecture, Baseline | Foreign):
        fps = [figure for figure in record.architecture.reported if figure.quantity == "fps"]
        return figures + [
            Figure("reported_fps", each.fps, "reported", "FPS", f"{each.fps:g}", describe_figure(each)) for each in fps
        ]
    for claim in device.reported:
        text = f"{claim.value:g}"
        how = f"{claim.network}; {claim.protocol}; {claim.source}"
        figures.append(Figure(f"reported_{claim.quantity.lower()}", claim.value, "reported", claim.quantity, text, how))
    return figures


def _missing(quantity: str, label: str, why: str) -> Figure:
    return Figure(quantity, None, "missing", label, units.MISSING, why)


def _counted(profile: Profile) -> list[Figure]:
    figures = [
        Figure("parameters", profile.parameters, "counted", "parameters", units.count(profile.parameters)),
        Figure(
            quantity="macs",
            value=profile.macs,
            kind="counted",
            label="MACs",
            text=units.MILLIONS.describe(profile.macs),
            how="; ".join(
                filter(
                    None, ("of convolutions and matrix products, one image; 1 MAC = 2 FLOPs", profile.notes.get("macs"))
                )
            ),
        ),
    ]
    if profile.flops is not None:
        figures.append(
            Figure(
                "flops", profile.flops, "counted", "FLOPs", units.MILLIONS.describe(profile.flops), "see jetbench count"
            )
        )
    for counter in profile.counters:
        if counter.macs is None:
            figures.append(
                _missing(f"{counter.tool}_macs", counter.tool, profile.notes.get(counter.tool, "the tool failed"))
            )
        else:
            text = units.MILLIONS.describe(counter.macs)
            how = f"{counter.tool} {counter.version}, by its own rules"
            figures.append(Figure(f"{counter.tool}_macs", counter.macs, "counted", f"  {counter.tool}", text, how))
    return figures


def _latency_figures(profile: Profile, config: ProfilingConfig) -> list[Figure]:
    if profile.model_latency is None or profile.end_to_end_latency is None:
        why = profile.notes.get("latency", "not measured")
        return [
            _missing("latency_model_s", "latency, model", why),
            _missing("latency_end_to_end_s", "latency, end to end", why),
        ]
    figures = []
    for key, label, latency in (
        ("model", "latency, model", profile.model_latency),
        ("end_to_end", "latency, end to end", profile.end_to_end_latency),
    ):
        median = latency.median_s
        figures.append(Figure(f"latency_{key}_s", median, "measured", label, _ms(median), describe_interval(latency)))
        if (interval := latency.interval_s) is not None:
            for end, value in zip(("low", "high"), interval, strict=True):
                how = "95 % interval of the median over processes"
                figures.append(Figure(f"latency_{key}_{end}_s", value, "measured", f"  {end}", _ms(value), how))
        for percent in (90, 95, 99):
            value = latency.percentile_s(percent)
            figures.append(Figure(f"latency_{key}_p{percent}_s", value, "measured", f"  p{percent}", _ms(value)))
        worst = latency.worst_s
        count = f"of {len(latency.samples_s)} passes"
        figures.append(Figure(f"latency_{key}_worst_s", worst, "measured", "  worst", _ms(worst), count))
        fps = latency.throughput_fps
        name = "FPS, model" if key == "model" else "FPS, end to end"
        figures.append(Figure(f"fps_{key}", fps, "measured", name, units.fps(fps), "images per second at the median"))
    if (compared := profile.comparison) is not None:
        interval = compared.interval
        span = f"[{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "no interval: too few processes"
        outcome = f"{'' if compared.is_significant else 'NOT '}significantly different"
        how = f"{span}; time per image over {compared.reference}'s, same rounds; {outcome}: {describe_control(profile)}"
        text = f"{compared.median:.3f}"
        figures.append(Figure("ratio_to_reference", compared.median, "measured", "ratio", text, how))
    if (cold := profile.cold_start) is not None:
        how = "network, weights, device and tracing, without imports"
        if config.runs_file:
            how = "reading the file and compiling it, without imports and export"
        figures.append(Figure("load_s", cold.load_s, "measured", "cold start, load", _ms(cold.load_s), how))
        how = FIRST_PASS[config.backend]
        first = cold.first_pass_s
        figures.append(Figure("first_pass_s", first, "measured", "cold start, first pass", _ms(first), how))
    if (paced := profile.paced) is not None:
        how = f"{paced.dropped} dropped, {paced.late} late, of {paced.frames} frames at {paced.rate:g} FPS, end to end"
        text = f"{paced.missed} ({units.percent(paced.missed / paced.frames)})"
        figures.append(Figure("missed_deadlines", paced.missed, "measured", "missed deadlines", text, how))
    if (soak := profile.soak) is not None:
        first_fps, steady = soak.first_fps, soak.steady_fps
        how = f"first tenth of {soak.seconds:.0f} s"
        figures.append(Figure("soak_first_fps", first_fps, "measured", "soak, first FPS", units.fps(first_fps), how))
        how = f"last fifth; {100 * (steady / first_fps - 1):+.1f} % compared with the first"
        figures.append(Figure("soak_steady_fps", steady, "measured", "soak, steady FPS", units.fps(steady), how))
    return figures


def _deployment_figures(profile: Profile) -> list[Figure]:
    """The file that ran, in which number formats it ran, and what it changes."""
    deployment = profile.deployment
    if deployment is None:
        return []
    file = deployment.file
    form = f"opset {file.opset}, IR {file.ir}" if file.format == "onnx" else "OpenVINO"
    options = ", ".join(f"{name} {value}" for name, value in deployment.options.items())
    how = f"{file.name}, {form}, SHA-256 {file.sha256[:12]}; {file.exporter}"
    how += f", in {file.seconds:.1f} s" if file.seconds is not None else ""
    figures = [
        Figure("runtime", None, "measured", "runtime", deployment.runtime, f"{deployment.executes}; {options}"),
        Figure("file_bytes", file.bytes, "measured", "  file", f"{file.bytes / 1e6:.2f} MB", how),
        Figure(
            quantity="convolutions_as_asked",
            value=deployment.share_as_asked,
            kind="measured",
            label="  precision",
            text=deployment.describe_precision(),
            how="convolutions by the number format in which they ran",
        ),
    ]
    if deployment.trtexec is not None:
        timed = deployment.trtexec
        text = _ms(timed.median_s)
        figures.append(
            Figure("gpu_compute_trtexec_s", timed.median_s, "measured", "  GPU compute", text, timed.describe())
        )
    if deployment.engine is not None:
        size = f"{deployment.engine.bytes / 1e6:.2f} MB"
        figures.append(
            Figure("engine_bytes", deployment.engine.bytes, "measured", "  engine", size, deployment.engine.describe())
        )
    if layouts := deployment.describe_layouts():
        how = "convolutions by the order of their output in memory"
        figures.append(Figure("layouts", None, "measured", "  layout", layouts, how))
    for parity in deployment.parities:
        share = parity.changed / parity.pixels
        how = f"{parity.describe()}; against PyTorch in float32"
        text = units.percent(share)
        figures.append(Figure("changed_pixels", share, "measured", "  pixels changed", text, how))
    for score in deployment.scores:
        ours, theirs = (units.PERCENT.describe(each.miou) for each in (score.deployed, score.torch))
        how = (
            f"PyTorch {theirs}, on the same {score.images} images; {score.changed:,} of {score.pixels:,} pixels change"
        )
        if score.image_change is not None:
            mean, half = (100 * each for each in score.image_change)
            how += f"; of an image {mean:+.2f} \N{PLUS-MINUS SIGN} {half:.2f} points"
        label = f"mIoU, {score.split} of {score.dataset}"
        figures.append(Figure(f"miou_{score.split}", score.deployed.miou, "measured", label, ours, how))
    if not deployment.scores:
        why = deployment.unscored or "not scored: no data were named"
        figures.append(_missing("miou_val", "mIoU of the file", why))
    return figures


def _ms(seconds: float) -> str:
    return units.MILLISECONDS.describe(seconds)


def describe_interval(latency: Latency) -> str:
    """The uncertainty of the median, and over how many processes it is taken."""
    interval, count = latency.interval_s, len(latency.runs)
    if interval is not None:
        low, high = (units.milliseconds(end) for end in interval)
        text = f"median of {count} processes, 95 % [{low}, {high}]"
    elif count > 1:
        low, high = (units.milliseconds(end) for end in (min(latency.medians_s), max(latency.medians_s)))
        text = f"median of {count} processes, {low} to {high}"
    else:
        within = latency.runs[0].interval_s
        span = (
            f"95 % within this process [{units.milliseconds(within[0])}, {units.milliseconds(within[1])}]"
            if within
            else ""
        )
        text = ", ".join(filter(None, ("one process only", span)))
    ends = {run.stopped_by for run in latency.runs}
    stop = "; stopped at the time limit" if ends == {"limit"} else "; some stopped at the time limit"
    return text + (stop if "limit" in ends else "")


def describe_control(profile: Profile) -> str:
    """By how much a second copy of the reference differed from it."""
    compared = profile.comparison
    return f"a copy of the reference differs by up to {compared.resolution:.1%}" if compared else ""


def _memory_figures(profile: Profile) -> list[Figure]:
    memory = profile.memory
    if memory is None:
        return [_missing("peak_memory_bytes", "peak memory", profile.notes.get("memory", "not measured"))]
    rows: list[tuple[str, str, float | None, str]] = [
        ("weights_bytes", "memory, weights", memory.weights_bytes, "running statistics included"),
        (
            "activations_peak_bytes",
            "  activations, peak",
            memory.activations_peak_bytes,
            "held by torch's allocator",
        ),
        (
            "peak_memory_bytes",
            "  allocator, peak",
            memory.allocator_peak_bytes,
            profile.notes.get("peak_memory_bytes", ""),
        ),
        ("reserved_bytes", "  reserved on the GPU", memory.reserved_bytes, "by torch's allocator"),
        (
            "process_growth_bytes",
            "  process, growth",
            memory.process_growth_bytes,
            f"high-water mark {units.mebibytes(memory.process_peak_bytes)} MiB; "
            f"{units.mebibytes(memory.process_baseline_bytes)} MiB before the network was built",
        ),
        (
            "nvmap_growth_bytes",
            "  board, GPU memory",
            memory.nvmap_growth_bytes,
            f"NvMap of the whole board, above {units.mebibytes(memory.nvmap_baseline_bytes)} MiB before",
        ),
        (
            "unified_growth_bytes",
            "  machine, available fell",
            memory.unified_growth_bytes,
            f"from {units.mebibytes(memory.available_baseline_bytes)} MiB; all programs",
        ),
    ]
    always = ("peak_memory_bytes",)
    figures = []
    for key, label, value, how in rows:
        if value is not None:
            figures.append(Figure(key, value, "measured", label, f"{units.mebibytes(value)} MiB", how))
        elif key in always:
            figures.append(_missing(key, label, how))
    return figures


def _energy_figures(profile: Profile) -> list[Figure]:
    energy = profile.energy
    why = profile.notes.get("power_w", "not measured")
    power = energy.power_w if energy else None
    if energy is None or power is None:
        return [_missing("power_w", "power", why), _missing("energy_j_per_image", "energy per image", why)]
    gross, net = energy.energy_j_per_image, energy.net_energy_j_per_image
    spread = ", ".join(units.millijoules(joules) for joules in energy.window_energies_j)
    figures = [
        Figure("power_w", power, "measured", "power", units.WATTS.describe(power), _describe_power(energy)),
        Figure(
            quantity="idle_w",
            value=energy.idle_w,
            kind="measured",
            label="  idle",
            text=units.WATTS.describe(energy.idle_w),
            how=f"network loaded, before and after; drift {energy.idle_drift_w or 0:+.2f} W",
        ),
        Figure(
            quantity="energy_j_per_image",
            value=gross,
            kind="measured",
            label="energy per image",
            text=units.MILLIJOULES.describe(gross),
            how=f"gross; windows: {spread} mJ",
        ),
        Figure(
            quantity="net_energy_j_per_image",
            value=net,
            kind="measured",
            label="  net",
            text=units.MILLIJOULES.describe(net),
            how="above idle",
        ),
    ]
    if (check := energy.cross_check_w) is not None:
        how = "the same sensor's power readings, as a check"
        figures.append(Figure("cross_check_w", check, "measured", "  by readings", units.WATTS.describe(check), how))
    total = set(energy.total_rails or ())
    for rail, watts in (energy.rails_w or {}).items():
        if len(energy.rails_w or {}) > 1:
            how = "in the total" if rail in total else "not in the total: part of another rail"
            figures.append(Figure(f"rail_{rail}_w", watts, "measured", f"  {rail}", units.WATTS.describe(watts), how))
    return figures


def _describe_power(energy: Energy) -> str:
    rails = "+".join(energy.total_rails or ())
    seconds = sum(end - start for start, end, _ in energy.load)
    return (
        f"{energy.sensor}, {rails}: {energy.scope}; {energy.sample_count} samples every {energy.interval_s:g} s in "
        f"{len(energy.load)} windows of {seconds:.0f} s together, {energy.coverage:.0%} covered"
    )


def _estimated(profile: Profile) -> list[Figure]:
    best = profile.estimate
    if best is None:
        why = profile.notes.get("estimate", "not estimated")
        return [_missing("estimated_latency_s", "latency at best", why)]
    clock = f", at {best.clock_share:.0%} of its clock" if best.clock_share else ""
    how = (
        f"ESTIMATE, not measured: roofline of {best.device}{clock}, kernel by kernel, nothing fused, no cache; "
        f"{best.memory_bound_share:.0%} of the time bound by memory"
    )
    figures = [
        Figure(
            "estimated_latency_s", best.seconds, "estimated", "latency at best", f"{_ms(best.seconds)} (estimate)", how
        ),
        Figure(
            quantity="estimated_fps",
            value=best.throughput_fps,
            kind="estimated",
            label="  FPS at best",
            text=f"{units.fps(best.throughput_fps)} (estimate)",
            how="; ".join(best.sources),
        ),
    ]
    if profile.model_latency is not None and profile.runs_on == "device":
        share = best.seconds / profile.model_latency.median_s
        how = "the estimate over the measured latency: the share of the data sheet's performance that is used"
        figures.append(Figure("roofline_share", share, "estimated", "  reached", units.percent(share), how))
    return figures


def describe_watches(watches: Sequence[Watch]) -> str:
    """The machine before, during and after: clocks, temperatures, throttling, other load; whatever it reports."""
    if not watches:
        return ""
    first, last = watches[0].before, watches[-1].after
    parts = []
    for what, clocks in (
        ("GPU clock", [hz for watch in watches for hz in watch.gpu_hz]),
        ("processor clock", [hz for watch in watches for hz in watch.cpu_hz]),
    ):
        if clocks:
            low, middle, high = (f"{hz / 1e6:.0f}" for hz in (min(clocks), statistics.median(clocks), max(clocks)))
            parts.append(f"{what} {middle} MHz" + (f" ({low} to {high})" if low != high else ""))
    for zone in sorted({zone for watch in watches for zone in watch.hottest_c}):
        before, after = (state.temperatures_c.get(zone) for state in (first, last))
        hottest = max(watch.hottest_c[zone] for watch in watches if zone in watch.hottest_c)
        ends = [f"{celsius:.1f}" for celsius in (before, after) if celsius is not None]
        parts.append(f"{zone} {' to '.join(ends)}{' ' * bool(ends)}\N{DEGREE SIGN}C, hottest {hottest:.1f}")
    counts = [state.throttle_events for state in (first, last) if state.throttle_events is not None]
    if len(counts) == 2:
        parts.append(f"{counts[1] - counts[0]} throttle events")
    if last.emc_hz is not None:
        parts.append(f"memory clock {last.emc_hz / 1e6:.0f} MHz")
    if last.fan_pwm is not None:
        parts.append(
            f"fan {last.fan_pwm / 255:.0%}" + (f", {last.fan_rpm:.0f} rpm" if last.fan_rpm is not None else "")
        )
    if last.power_mode and last.online_cores:
        parts.append(f"cores {last.online_cores} online")
    if last.power_mode and last.swap_used_bytes:
        parts.append(f"{last.swap_used_bytes / 2**20:.0f} MiB of swap in use")
    loads = [load for watch in watches if (load := watch.foreign_load) is not None]
    if loads:
        parts.append(f"other programs used {max(loads):.2f} cores at most")
    return ", ".join(parts)
