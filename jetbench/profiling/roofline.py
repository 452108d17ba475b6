"""The roofline estimate: the least time of a device by its data sheet for a network's operations. Not a measurement."""

from collections.abc import Sequence

from jetbench.network.operations import BYTES, WIDTH, Operation
from jetbench.records.record import Estimate
from jetbench.spec.device import Device, Peak, PeakName
from jetbench.spec.profiling import DType

HAS_RULE: tuple[DType, ...] = ("fp32", "fp16")
NO_PEAKS = "no estimate: the peaks of {name} are missing in its YAML (jetbench/devices), and none are assumed"


def estimate(
    operations: Sequence[Operation],
    device: Device,
    dtype: DType,
    batch_size: int,
    gpu: str | None = None,
    clock_share: float | None = None,
) -> Estimate | str:
    """Seconds per batch by the roofline of each kernel, or a text that says why an estimate is impossible.

    Args:
        operations: operations for one image, from `list_operations` or `profiling.trace`.
        device: the device with the peaks.
        dtype: type of weights and feature maps; fp16 convolutions use the tensor cores' peak if the device has one.
        batch_size: images per pass; parameters are read once for all of them.
        gpu: name of the graphics card, for a device that lists several.
        clock_share: the GPU's clock in the run over the clock that the peaks are for; it scales the arithmetic peaks.
    """
    name, peaks = device.peaks_of(gpu)
    if "bandwidth" not in peaks or "fp32" not in peaks:
        return NO_PEAKS.format(name=name)
    if dtype not in HAS_RULE:
        return f"no estimate: the {dtype} peak of {name} is missing in its YAML"
    used: dict[PeakName, Peak] = {"bandwidth": peaks["bandwidth"]}

    def peak(operation: Operation) -> float:
        wanted: Sequence[PeakName] = ("fp16", "fp32") if dtype == "fp16" else ("fp32",)
        if dtype == "fp16" and operation.kind == "convolution":
            wanted = ("fp16_tensor", *wanted)
        chosen = next(key for key in wanted if key in peaks)
        used[chosen] = peaks[chosen]
        return peaks[chosen].value * (clock_share or 1.0)

    seconds = by_memory = 0.0
    for operation in operations:
        made = sum(tensor.bytes for tensor in operation.makes)
        moved = batch_size * (operation.read_bytes + made) + operation.parameter_bytes
        transfer = moved * WIDTH[dtype] / BYTES / peaks["bandwidth"].value
        arithmetic = batch_size * operation.flops / peak(operation)
        seconds += max(transfer, arithmetic)
        by_memory += transfer if transfer >= arithmetic else 0.0
    return Estimate(
        device=name,
        dtype=dtype,
        batch_size=batch_size,
        seconds=seconds,
        memory_bound_share=by_memory / seconds,
        peaks={key: value.value for key, value in used.items()},
        sources=tuple(
            f"{key} {value.source}" + (f" ({value.derived})" if value.derived else "") for key, value in used.items()
        ),
        clock_share=clock_share,
    )


def least_seconds(operations: Sequence[Operation], device: Device) -> float | None:
    """Lower bound of the seconds for one image by the data sheet, for any kernel fusion; None without peaks.

    It is the time of the convolutions' multiply-accumulates at the device's highest peak. Memory traffic is left out,
    because small weights can stay in a cache between passes, and fused kernels keep maps in a cache.
    """
    _, peaks = device.peaks_of(None)
    arithmetic = [peak.value for name, peak in peaks.items() if name != "bandwidth"]
    return 2 * sum(operation.macs for operation in operations) / max(arithmetic) if arithmetic else None
