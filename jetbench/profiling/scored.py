"""score_profiles: profiles of files with what the files score, or the reason why that is unknown."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from jetbench.data.cache import SegmentationData
from jetbench.deploy.parity import open_file
from jetbench.deploy.score import FileNetwork, score_beside
from jetbench.errors import JetbenchError, ProfilingError
from jetbench.models.build import without_training_heads
from jetbench.models.weights import SavedNetwork, load_weights
from jetbench.profiling.case import Case
from jetbench.progress import Report
from jetbench.records.deployment import DeployedScore
from jetbench.records.record import Profile
from jetbench.spec.dataset import Split
from jetbench.training.evaluate import check_classes_of

SPLITS: tuple[Split, ...] = ("val",)
"""What files are scored on. `jetbench evaluate` scores test, which a study looks at once, for what it chose."""


def score_profiles(
    cases: Sequence[Case],
    profiles: Sequence[Profile],
    open_data: Callable[[], SegmentationData],
    report: Report = lambda share, text: None,
) -> list[Profile]:
    """Score the files of profiles on val, beside the PyTorch networks that they were made of.

    Args:
        cases: what was profiled.
        profiles: the profile of each case; those that no runtime ran stay as they are.
        open_data: the data; an error of the user's becomes the reason why files are not scored.
        report: called with the finished share.
    """
    kept = list(profiles)
    alike: dict[str | None, list[int]] = {}
    for number, profile in enumerate(profiles):
        if profile.deployment is not None:
            alike.setdefault(cases[number].weights_file, []).append(number)
    for weights_file, numbers in alike.items():
        scores: list[tuple[DeployedScore, ...]] = [()] * len(numbers)
        reason = ""
        report(0.9, "scoring")
        try:
            scores = _score(weights_file, [cases[number] for number in numbers], open_data, report)
        except JetbenchError as error:
            reason = f"not scored: {error}"
        for number, own in zip(numbers, scores, strict=True):
            deployment = profiles[number].deployment
            assert deployment
            scored = deployment.model_copy(update={"scores": own, "unscored": reason})
            kept[number] = kept[number].model_copy(update={"deployment": scored})
    return kept


def _score(
    weights_file: str | None, cases: Sequence[Case], open_data: Callable[[], SegmentationData], report: Report
) -> list[tuple[DeployedScore, ...]]:
    """The scores of files of one network on val.

    Raises:
        JetbenchError: there are no weights, or the data cannot be had or have another size.
    """
    if weights_file is None:
        raise ProfilingError("its weights are not those of a training")
    data = open_data()
    network, saved = load_weights(Path(weights_file))
    check_classes_of(saved, data.info.class_names, weights_file)
    if data.info.size != saved.input_size:
        raise ProfilingError(f"the network takes {saved.input_size[0]}x{saved.input_size[1]}, and the data differ")
    splits = [split for split in SPLITS if data.info.images[split]]
    return _score_cases(without_training_heads(network), saved, cases, data, splits, report)


def _score_cases(
    network: nn.Module,
    saved: SavedNetwork,
    cases: Sequence[Case],
    data: SegmentationData,
    splits: Sequence[Split],
    report: Report = lambda share, text: None,
) -> list[tuple[DeployedScore, ...]]:
    """The scores of each case's file on each split, beside PyTorch's network on the same images.

    Args:
        network: in eval mode, on the CPU, in float32.
        saved: the metadata of its weights.
        cases: cases whose backend runs a file.
        data: decoded images and labels, of the size that the network takes.
        splits: splits with labelled images.
        report: called with the finished share.
    """
    runs = []
    for case in cases:
        artefact = case.with_artefact().artefact
        assert artefact
        config = case.config
        run, _ = open_file(
            Path(artefact.path), artefact.exported.file.format, config.file_backend, config.dtype, config.threads
        )
        runs.append(FileNetwork(run, saved, config.batch_size))
    scored = [score_beside(network, runs, saved, data, split, report) for split in splits]
    return [tuple(each[number] for each in scored) for number in range(len(cases))]
