"""The centre: one variant in, what was found out. Training and profiling are two jobs, each in a fresh process."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from jetbench.architecture import Architecture
from jetbench.errors import SpecError
from jetbench.experiment import DatasetConfig, ProfilingConfig, TrainingConfig
from jetbench.models.build import build_model
from jetbench.profiling.environment import describe_environment
from jetbench.profiling.profile import profile_model
from jetbench.record import Environment, Profile, TrainingResult
from jetbench.spec import Spec
from jetbench.training.data import load_data
from jetbench.training.loop import Report, train


class TrainRequest(Spec):
    """Train `architecture` on `dataset` and write its best weights to `weights_file`."""

    architecture: Architecture
    dataset: DatasetConfig
    training: TrainingConfig
    device: str
    weights_file: str


class TrainReply(Spec):
    """What a training found."""

    training: TrainingResult
    environment: Environment


class ProfileRequest(Spec):
    """Profile the network saved in `weights_file`."""

    weights_file: str
    profiling: ProfilingConfig
    device: str


class SavedNetwork(Spec):
    """What stands beside the weights in a file, so that they can be built and fed again without their sweep."""

    architecture: Architecture
    num_classes: int
    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def run_training(request: TrainRequest, report: Report) -> TrainReply:
    """Build, seed and train one network; its weights are saved with all that is needed to build it again."""
    device = torch.device(request.device)
    torch.set_num_threads(request.training.threads)
    # Denormals appear in REU's tail and slow a CPU several times over; profiling flushes them too.
    flushes = torch.set_flush_denormal(True)
    data = load_data(request.dataset)
    torch.manual_seed(request.training.seed)
    model = build_model(request.architecture, data.info.num_classes, data.info.size).to(device)
    saved = SavedNetwork(
        architecture=request.architecture,
        num_classes=data.info.num_classes,
        input_size=data.info.size,
        mean=data.mean,
        std=data.std,
    )
    metadata = {"jetbench": saved.model_dump_json()}
    result = train(model, data, request.training, device, Path(request.weights_file), metadata, report)
    return TrainReply(training=result, environment=describe_environment(device, flushes))


def run_profile(request: ProfileRequest, report: Report) -> Profile:
    """Profile saved weights, one profile at a time on this machine's device."""
    report(0.0, "waiting for the device")
    with device_lock(request.device):
        report(0.1, "measuring")
        model, saved = load_network(Path(request.weights_file))
        device = torch.device(request.device)
        return profile_model(
            model.to(device).eval(), saved.input_size, request.profiling, device, saved.mean, saved.std
        )


def load_network(path: Path) -> tuple[nn.Module, SavedNetwork]:
    """The network in a weights file of ours, built and filled.

    Raises:
        SpecError: the file is missing, is no safetensors file, or does not say what network it belongs to.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such weights file") from None
    except (SafetensorError, OSError) as error:
        raise SpecError(f"{path}: not a safetensors file that can be read ({error})") from None
    if "jetbench" not in metadata:
        raise SpecError(
            f"{path}: does not say which network it belongs to; only weights that jetbench saved can be used"
        )
    saved = SavedNetwork.model_validate(json.loads(metadata["jetbench"]))
    model = build_model(saved.architecture, saved.num_classes, saved.input_size)
    model.load_state_dict(tensors)
    return model, saved


@contextmanager
def device_lock(device: str) -> Iterator[None]:
    """Hold this machine's profiling lock for `device`: two profiles beside each other would measure each other."""
    name = "".join(letter if letter.isalnum() else "-" for letter in device)
    path = Path(tempfile.gettempdir()) / f"jetbench-profile-{name}.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY)  # first, since the kernel may refuse to "create" another user's file
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
