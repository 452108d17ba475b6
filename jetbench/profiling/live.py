"""profile_module: a torch module that exists already is measured, as a network of the user's own, in this process."""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import torch
from torch import nn

from jetbench.errors import SpecError
from jetbench.models.build import without_training_heads
from jetbench.models.foreign import ForeignNetwork, pick_output
from jetbench.models.weights import GREY_MEAN, GREY_STD
from jetbench.network.operations import Operation
from jetbench.network.plan import plan_network
from jetbench.probe.alone import WAITING, machine_to_itself
from jetbench.profiling.assemble import assemble, assemble_estimate
from jetbench.profiling.findings import Network
from jetbench.profiling.host import Site
from jetbench.profiling.listing import placed
from jetbench.profiling.power import check_sensor
from jetbench.profiling.process import measure_process
from jetbench.profiling.standard import standard_case, standard_times
from jetbench.profiling.trace import image_to_trace, trace_operations, with_unused
from jetbench.progress import Report
from jetbench.records.record import Profile, Record, profile_key
from jetbench.spec.architecture import Foreign
from jetbench.spec.device import Device
from jetbench.spec.profiling import ProfilingConfig


def profile_module(
    module: nn.Module,
    config: ProfilingConfig,
    site: Site,
    size: tuple[int, int],
    output: str | int | None = None,
    report: Report = lambda share, text: None,
) -> Record:
    """The record of a module that this process holds; the module is copied and not changed.

    Its architecture is a network of the user's own. What identifies it is its structure (its printed form, and the
    names, shapes and types of its tensors), and its weights by their digest.

    Args:
        module: maps (N, 3, H, W) to logits (N, K, H, W), or to what holds them.
        config: how to run it, and how long to measure; its `processes` are ignored.
        site: where to measure.
        size: (height, width) of the images.
        output: which output holds the logits, if it returns several.
        report: called with the finished share (0 to 1) and what is being measured.

    Raises:
        SpecError: it cannot be copied, or does not map images of this size to logits.
        ProfilingError: a requested sensor cannot be read.
    """
    name = type(module).__name__
    if config.runs_file:
        raise SpecError(
            f"{name}: {config.backend} runs a file, and none is made of a module that a script holds; write an "
            "architecture YAML (jetbench init model), or choose a backend of PyTorch"
        )
    network = _wrapped(module, name, output, size)
    if site.torch_device is None:
        operations = _operations(network, size)
        profile = assemble_estimate(operations, size, config, site.device, f"not measured: {site.remark}")
    else:
        check_sensor(config.power)
        report(0.0, WAITING)
        with machine_to_itself(lambda text: report(0.0, text)), _settings_kept():
            where = torch.device(site.torch_device)
            profile = profile_model(network, size, config, where, site.device, report=report)
    made = Foreign(
        name=name, model=f"{type(module).__module__}:{name}", output=output, digest=_digest_of_structure(module)
    )
    record = Record(
        kind="profile",
        key="",
        variant=name,
        changes={},
        architecture=made,
        fingerprint=plan_network(made, network.num_classes, size).fingerprint,
        profiling_config=config.model_copy(update={"processes": 1, "max_processes": None}),
        weights=_digest_of_weights(module),
        profile=profile.model_copy(update={"num_classes": network.num_classes}),
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    return record.model_copy(update={"key": profile_key(record)})


def _wrapped(module: nn.Module, name: str, output: str | int | None, size: tuple[int, int]) -> ForeignNetwork:
    """A copy on the CPU in float32, whose output is its logits."""
    try:
        copied = without_training_heads(copy.deepcopy(module)).cpu().float()
    except Exception as error:  # anything may be in a module of the user's
        raise SpecError(f"{name}: cannot be copied ({type(error).__name__}: {error})") from None
    images = torch.zeros(1, 3, *size)
    try:
        with torch.inference_mode():
            returned = copied(images)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        raise SpecError(
            f"{name}: it fails on an image of {size[0]}x{size[1]} ({type(error).__name__}: {reason})"
        ) from None
    logits = pick_output(returned, output, name)
    if logits.dim() != 4:
        raise SpecError(f"{name}: its output has the shape {tuple(logits.shape)}; expected logits (N, K, h, w)")
    return ForeignNetwork(copied, name, output, logits.shape[1]).eval()


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Restore the settings of torch that a measurement changes, since this process goes on."""
    threads = torch.get_num_threads()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    flushes = float(torch.tensor(1e-40) * 1.0) == 0.0  # torch does not say it
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


def _digest_of_structure(module: nn.Module) -> str:
    tensors = [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in module.state_dict().items()]
    return hashlib.sha256("\n".join([str(module), *tensors]).encode()).hexdigest()[:12]


def _digest_of_weights(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _operations(network: nn.Module, size: tuple[int, int]) -> tuple[Operation, ...]:
    plain = copy.deepcopy(network).cpu().float()
    operations = trace_operations(plain, image_to_trace(plain, size))
    if not isinstance(network, ForeignNetwork):
        return tuple(placed(operation) for operation in operations)
    return tuple(with_unused([placed(operation, "network") for operation in operations], plain))


def profile_model(
    model: nn.Module,
    input_size: tuple[int, int],
    config: ProfilingConfig,
    device: torch.device,
    target: Device,
    mean: tuple[float, float, float] = GREY_MEAN,
    std: tuple[float, float, float] = GREY_STD,
    report: Report = lambda share, text: None,
) -> Profile:
    """Profile a copy of `model` in this one process.

    Args:
        model: maps (N, 3, H, W) to logits (N, K, H, W); it is not changed.
        input_size: (height, width) of the images.
        config: how to run it, and how long to measure; `processes` is ignored.
        device: where to measure.
        target: the device of the registry that this machine is.
        mean: channel means in 0..255 that the end-to-end path subtracts.
        std: channel deviations that it divides by.
        report: called with the finished share (0 to 1) and what is being measured.
    """
    network = Network("the model", lambda: copy.deepcopy(model), input_size, config, mean, std)
    beside = standard_case(config)
    findings = measure_process(
        [network],
        device,
        ("latency", "rest"),
        target,
        standard=beside.network() if beside is not None else None,
        report=report,
    )
    return assemble(
        network=0,
        processes=[findings],
        alone=findings,
        input_size=input_size,
        config=config,
        target=target,
        operations=_operations(model, input_size),
        standard=standard_times([findings]),
    )
