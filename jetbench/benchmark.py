"""The centre: one variant in, trained weights out, with all that is needed to build and profile them again."""

import hashlib
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from jetbench.architecture import AnyArchitecture
from jetbench.errors import DataError, SpecError
from jetbench.experiment import DatasetConfig, Floor, TrainingConfig
from jetbench.models.build import build_model
from jetbench.probe.alone import WAITING, machine_shared
from jetbench.probe.machine import keep_freed_memory
from jetbench.profiling.environment import describe_environment, set_arithmetic
from jetbench.record import Environment, TrainingResult
from jetbench.spec import Spec
from jetbench.training.data import SegmentationData, load_data
from jetbench.training.distillation import Teacher
from jetbench.training.loop import Report, train


class TrainRequest(Spec):
    """Train `architecture` on `dataset` and write its best weights to `weights_file`.

    `digest` is the data's where it was asked for; where this runs, it must be the same. With a `checkpoint_file` a
    training that was killed goes on from there.
    """

    architecture: AnyArchitecture
    dataset: DatasetConfig
    digest: str | None = None
    training: TrainingConfig
    device: str
    weights_file: str
    floors: tuple[Floor, ...] = ()
    checkpoint_file: str | None = None


class TrainReply(Spec):
    """What a training found."""

    training: TrainingResult
    environment: Environment


class SavedNetwork(Spec):
    """What stands beside the weights in a file, so that they can be built and fed again without their sweep."""

    architecture: AnyArchitecture
    num_classes: int
    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def run_training(request: TrainRequest, report: Report) -> TrainReply:
    """Build, seed and train one network; its weights are saved with all that is needed to build it again."""
    device = torch.device(request.device)
    flushes = set_arithmetic(request.training.threads, flush_denormals=True)
    # Half of a step would else go into taking the same memory from the system again and again.
    keeps = keep_freed_memory() if device.type == "cpu" else False
    data = load_data(request.dataset)
    if request.digest not in (None, data.info.digest):
        raise DataError(
            f"the data here are not those of the study: {data.info.describe()}, digest {data.info.digest}; there "
            f"{request.digest}"
        )
    teacher, taught_by = None, None
    if request.training.teacher is not None:
        teacher, taught_by = _load_teacher(Path(request.training.teacher), data)
    torch.manual_seed(request.training.seed)
    model = build_model(request.architecture, data.info.num_classes, data.info.size)
    saved = SavedNetwork(
        architecture=request.architecture,
        num_classes=data.info.num_classes,
        input_size=data.info.size,
        mean=data.mean,
        std=data.std,
    )
    metadata = {"jetbench": saved.model_dump_json(), **({"teacher": taught_by} if taught_by else {})}
    report(0.0, WAITING)
    with machine_shared():
        report(0.0, "begins")
        # Not before: a training that waits would show on the GPU that is profiled meanwhile.
        model = model.to(device)
        result = train(
            *(model, data, request.training, device, Path(request.weights_file), metadata, report, request.floors),
            checkpoint_file=Path(request.checkpoint_file) if request.checkpoint_file else None,
            teacher=teacher.to(device) if teacher is not None else None,
        )
    if taught_by is not None:
        result = result.model_copy(update={"teacher": taught_by})
    return TrainReply(training=result, environment=describe_environment(device, flushes, keeps))


def _load_teacher(path: Path, data: SegmentationData) -> tuple[Teacher, str]:
    """The teacher in a weights file, and what a record calls it.

    Raises:
        SpecError: it is no such file, or its network has other classes.
    """
    model, saved = load_network(path)
    if saved.num_classes != data.info.num_classes:
        raise SpecError(
            f"training.teacher: {path} has {saved.num_classes} classes, the data {data.info.num_classes}: a teacher "
            "must have been trained on the same ones"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    teacher = Teacher(model, (saved.mean, saved.std), (data.mean, data.std))
    return teacher, f"{saved.architecture.name} ({digest})"


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
