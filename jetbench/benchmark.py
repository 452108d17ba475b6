"""The centre: one variant in, trained weights out, with all that is needed to build and profile them again."""

import ctypes
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from jetbench.architecture import Architecture
from jetbench.errors import SpecError
from jetbench.experiment import DatasetConfig, Floor, TrainingConfig
from jetbench.models.build import build_model
from jetbench.profiling.environment import describe_environment, set_arithmetic
from jetbench.record import Environment, TrainingResult
from jetbench.spec import Spec
from jetbench.training.data import load_data
from jetbench.training.loop import Report, train

PR_SET_PDEATHSIG = 1


class TrainRequest(Spec):
    """Train `architecture` on `dataset` and write its best weights to `weights_file`."""

    architecture: Architecture
    dataset: DatasetConfig
    training: TrainingConfig
    device: str
    weights_file: str
    floors: tuple[Floor, ...] = ()


class TrainReply(Spec):
    """What a training found."""

    training: TrainingResult
    environment: Environment


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
    flushes = set_arithmetic(request.training.threads, flush_denormals=True)
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
    report(0.0, "waiting for a profile to end")
    with machine_shared():
        result = train(
            model, data, request.training, device, Path(request.weights_file), metadata, report, request.floors
        )
    return TrainReply(training=result, environment=describe_environment(device, flushes))


def load_network(path: Path) -> tuple[nn.Module, SavedNetwork]:
    """The network in a weights file of ours, built and filled.

    Raises:
        SpecError: the file is missing, is no safetensors file, or does not say what network it belongs to.
    """
    if path.is_dir():
        raise SpecError(f"{path}: is a folder, not a weights file")
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
    try:
        saved = SavedNetwork.model_validate_json(metadata["jetbench"])
        model = build_model(saved.architecture, saved.num_classes, saved.input_size)
        model.load_state_dict(tensors)
    except (ValidationError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"{path}: its network cannot be built by this version of jetbench ({reason})") from None
    return model, saved


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies, so that nothing measures beside orphans."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def is_out_of_memory(error: Exception) -> bool:
    """Did a job run out of memory? torch says so in several ways, on a CPU by the text alone."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "alloc_cpu" in str(error))


@contextmanager
def machine_to_itself() -> Iterator[None]:
    """Hold the machine for a profile: no other profile, and no training of any sweep, runs meanwhile.

    Two locks in the machine's temporary folder: who profiles shuts the gate, so that no new training enters, and
    waits until the room is empty. The kernel lifts both when the process ends, however it ends.
    """
    with _locked("gate", fcntl.LOCK_EX), _locked("room", fcntl.LOCK_EX):
        yield


@contextmanager
def machine_shared() -> Iterator[None]:
    """Train beside other trainings, but not beside a profile."""
    with ExitStack() as inside:
        with _locked("gate", fcntl.LOCK_SH):
            inside.enter_context(_locked("room", fcntl.LOCK_SH))
        yield


@contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    path = Path(tempfile.gettempdir()) / f"jetbench-{name}.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY)  # first, since the kernel may refuse to "create" another user's file
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
