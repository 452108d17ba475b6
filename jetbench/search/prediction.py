"""The latency model of a search: read, and checked to be of the search's device, machine, setting, size and classes."""

from importlib import import_module
from pathlib import Path

from jetbench.data.cache import Source
from jetbench.deploy.backends import check_installed
from jetbench.errors import SpecError
from jetbench.network.rules import format_size
from jetbench.profiling.latency_model import LatencyModel
from jetbench.profiling.latency_predict import read_model
from jetbench.spec.device import Device
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.search import Search

SETTING = (
    *("backend", "dtype", "batch_size", "threads", "channels_last", "cuda_graph"),
    *("flush_denormals", "keep_freed_memory"),
)
"""Settings of a profile that a latency model must share."""


def model_of(asked: Search, source: Source) -> LatencyModel | None:
    """The latency model of a search; None if it has none.

    Raises:
        SpecError: the search asks for no latency, the file is no latency model, or it was learnt at another size or
            with another number of classes.
    """
    if asked.latency_model is None:
        return None
    if "latency" not in asked.objectives and asked.limits.latency is None:
        raise SpecError(
            f"latency_model: {asked.latency_model} predicts latencies, and this search neither minimises nor limits "
            "them; use --objectives miou,latency or --max-latency, or leave the model out"
        )
    model = read_model(Path(asked.latency_model))
    size, classes = source.size, len(source.class_names)
    if (model.input_size, model.num_classes) != (size, classes):
        raise SpecError(
            f"latency_model: {asked.latency_model} was learnt at {format_size(model.input_size)} with "
            f"{model.num_classes} classes, and the data are {format_size(size)} with {classes}"
        )
    return model


def check_model(asked: Search, model: LatencyModel | None, board: Device | None, is_this_machine: bool) -> None:
    """Refuse a latency model of another device, machine, power mode, runtime or setting than the search's.

    Raises:
        SpecError: what differs.
    """
    if model is None:
        return
    own, theirs = asked.profiling, model.config
    pairs = {name: (str(getattr(own, name)), str(getattr(theirs, name))) for name in SETTING}
    pairs["device"] = (board.name if board is not None else "unknown", model.device)
    if asked.power_mode is not None:
        pairs["power_mode"] = (asked.power_mode, str(model.environment.power_mode))
    if is_this_machine and board is not None:
        pairs |= _of_this_machine(model, board, own)
    for name, (wanted, learnt) in pairs.items():
        if wanted != learnt:
            raise SpecError(
                f"latency_model: {asked.latency_model} was learnt with {name} {learnt}, and this search has {wanted}; "
                "a model holds for its own device and setting"
            )


def _of_this_machine(model: LatencyModel, board: Device, config: ProfilingConfig) -> dict[str, tuple[str, str]]:
    """What this machine and the one that the model was learnt on must share: (here, there) by name."""
    from jetbench.probe.machine import power_mode
    from jetbench.profiling.environment import describe_environment
    from jetbench.profiling.host import torch_device

    here, there = describe_environment(torch_device(board), None), model.environment
    runtime = f"torch {here.torch}"
    if config.runs_file:
        check_installed(config)
        version = str(import_module(config.file_backend).__version__).split("-")[0]
        runtime = f"{config.file_backend} {version}"
    pairs = {"processor": (here.cpu, there.cpu), "GPU": (here.device, there.device)}
    pairs["runtime"] = (runtime, model.runtime)
    if board.is_board:
        pairs["power_mode"] = (str(power_mode()), str(there.power_mode))
    return pairs
