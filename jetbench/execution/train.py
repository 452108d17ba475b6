"""The training phase of a job: trains one variant and saves its weights, with all that is needed to rebuild it."""

from pathlib import Path

import torch

from jetbench.data.cache import SegmentationData, load_data
from jetbench.errors import DataError, SpecError
from jetbench.execution.requests import TrainReply, TrainRequest
from jetbench.files import digest_of
from jetbench.models.build import build_model
from jetbench.models.weights import SavedNetwork, load_weights
from jetbench.probe.alone import WAITING, machine_shared
from jetbench.probe.machine import keep_freed_memory
from jetbench.probe.run import set_arithmetic
from jetbench.profiling.environment import describe_environment
from jetbench.progress import Report
from jetbench.training.beginning import load_beginning
from jetbench.training.distillation import Teacher
from jetbench.training.loop import train


def run_training(request: TrainRequest, report: Report) -> TrainReply:
    """Build, seed and train one network; save its weights with all that is needed to rebuild it."""
    device = torch.device(request.device)
    flushes = set_arithmetic(request.training.threads, flush_denormals=True)
    # Otherwise half of the time of a step is spent on requesting the same memory from the system again.
    keeps = keep_freed_memory() if device.type == "cpu" else False
    data = load_data(request.dataset)
    if request.digest not in (None, data.info.digest):
        raise DataError(
            f"the data on this machine differ from the study's: {data.info.describe()}, digest {data.info.digest}; "
            f"the study's digest is {request.digest}"
        )
    teacher, taught_by = None, None
    if request.training.teacher is not None:
        teacher, taught_by = _load_teacher(Path(request.training.teacher), data)
    torch.manual_seed(request.training.seed)
    model = build_model(request.architecture, data.info.num_classes, data.info.size)
    begun = None
    if request.training.init is not None:
        begun = load_beginning(model, Path(request.training.init))
    saved = SavedNetwork(
        architecture=request.architecture,
        num_classes=data.info.num_classes,
        input_size=data.info.size,
        mean=data.mean,
        std=data.std,
        class_names=data.info.class_names,
        classes=data.info.classes,
        ignore=data.info.ignore,
    )
    metadata = {"jetbench": saved.model_dump_json(), **({"teacher": taught_by} if taught_by else {})}
    report(0.0, WAITING)
    with machine_shared(lambda text: report(0.0, text)):
        report(0.0, "begins")
        # Not earlier: a waiting training would disturb the GPU that another job profiles meanwhile.
        model = model.to(device)
        result = train(
            model=model,
            data=data,
            config=request.training,
            device=device,
            weights_file=Path(request.weights_file),
            metadata=metadata,
            report=report,
            floors=request.floors,
            checkpoint_file=Path(request.checkpoint_file) if request.checkpoint_file else None,
            teacher=teacher.to(device) if teacher is not None else None,
        )
    result = result.model_copy(update={"teacher": taught_by, "init": begun})
    return TrainReply(
        training=result,
        environment=describe_environment(device, flushes, keeps),
        weights=digest_of(Path(request.weights_file)),
    )


def _load_teacher(path: Path, data: SegmentationData) -> tuple[Teacher, str]:
    """The teacher in a weights file, and its name for a record.

    Raises:
        SpecError: the file is not a weights file, or its network has another number of classes.
    """
    model, saved = load_weights(path)
    if saved.num_classes != data.info.num_classes:
        raise SpecError(
            f"training.teacher: {path} has {saved.num_classes} classes, the data {data.info.num_classes}: a teacher "
            "must have been trained on the same classes"
        )
    digest = digest_of(path)[:12]
    teacher = Teacher(model, (saved.mean, saved.std), (data.mean, data.std))
    return teacher, f"{saved.architecture.name} ({digest})"
