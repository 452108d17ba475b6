"""Which answer is the latest at a frame, and what it scores on a street that moves."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jetbench.data.labels import VOID
from jetbench.data.sequences import Sequence, load_sequence
from jetbench.data.streets import render_scene
from jetbench.errors import SpecError
from jetbench.probe.timing import Pass, run_paced
from jetbench.spec.base import parse_spec
from jetbench.spec.dataset import CamvidConfig, FolderConfig, StreetsConfig
from jetbench.training.streaming import score_stream, serve
from tests.cli.test_verbs import jetbench

SIZE = (64, 96)


@pytest.mark.parametrize(
    ("latency", "answers"),
    [
        (1e-12, [0, 1, 2, 3, 4, 5]),  # no delay at all
        (0.5, [None, 0, 1, 2, 3, 4]),  # any real network is one frame late
        (1.0, [None, 0, 1, 2, 3, 4]),
        (1.5, [None, None, 0, 1, 1, 3]),  # takes frame 0 at 0, 1 at 1.5, 3 at 3: done at 1.5, 3, 4.5
        (2.5, [None, None, None, 0, 0, 2]),
        (10.0, [None] * 6),
    ],
)
def test_an_answer_is_there_when_it_is_finished(latency: float, answers: list[int | None]) -> None:
    assert list(serve([latency], 1.0, 6).answers) == answers


@pytest.mark.parametrize("latency", [0.004, 0.02, 0.05, 0.21])
def test_a_camera_that_is_computed_drops_what_one_that_is_served_drops(latency: float) -> None:
    now = [0.0]

    def run() -> None:
        now[0] += latency

    paced = run_paced(
        Pass(run, lambda: None), 30.0, 4.0, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)
    )
    computed = serve([latency], 30.0, paced["frames"])
    assert computed.served == paced["frames"] - paced["dropped"]


def truth(frames: Sequence) -> torch.Tensor:
    """The labels as a network's answers; what has no class gets the first."""
    return torch.from_numpy(np.where(frames.labels == VOID, 0, frames.labels))


def test_a_late_answer_of_the_truth_scores_what_has_not_moved() -> None:
    """With the labels as answers, the score at no delay is 1, and falls with the delay."""
    frames = load_sequence(StreetsConfig(size=SIZE), 10.0)
    classes = truth(frames)
    scores = []
    for latency in (1e-12, 0.1, 0.2, 0.5):
        counts = score_stream(classes, frames, [latency], 11).counts
        assert counts is not None
        scores.append(counts.miou)
    assert scores[0] == 1.0
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.9
    assert score_stream(classes, frames, [1e6], 11).counts is None
    # A street that stands still costs a late answer nothing.
    still = load_sequence(StreetsConfig(size=SIZE), 10.0, speed=0.0)
    counts = score_stream(truth(still), still, [0.5], 11).counts
    assert counts is not None
    assert counts.miou == 1.0


def test_the_street_is_one_and_the_camera_drives() -> None:
    begin, again, ahead = (render_scene(np.random.default_rng([0, 1, 0]), SIZE, travel) for travel in (0.0, 0.0, 2.0))
    assert np.array_equal(begin.image, again.image)
    assert 0.02 < (begin.labels != ahead.labels).mean() < 0.5
    frames = load_sequence(StreetsConfig(size=SIZE), 15.0, speed=4.0)
    assert len(frames.images) == sum(frames.lengths) == 4 * 45
    first = render_scene(np.random.default_rng([0, 1, 0]), SIZE)
    assert np.array_equal(frames.labels[0], first.labels)  # the first frames are scenes of val


def test_data_whose_images_do_not_follow_one_another_are_refused(tmp_path: Path) -> None:
    config = parse_spec(
        FolderConfig,
        {"path": str(tmp_path), "size": SIZE, "classes": [{"name": "road", "ids": [0]}, {"name": "sky", "ids": [1]}]},
        "folder",
    )
    with pytest.raises(SpecError, match="do not follow one another"):
        load_sequence(config, 30.0)


def test_val_of_camvid_follows_at_fifteen_a_second(real_camvid: Path) -> None:
    camvid = CamvidConfig(path=str(real_camvid), size=SIZE)
    frames = load_sequence(camvid, 15.0)
    assert frames.lengths == (101,)
    with pytest.raises(SpecError, match="labelled at 15 frames a second"):
        load_sequence(camvid, 30.0)


@pytest.mark.slow
def test_a_study_is_scored_at_the_latencies_of_its_boards(tmp_path: Path) -> None:
    from tests.profiling.test_bundle import TINY

    (tmp_path / "tiny.yaml").write_text(TINY + "include_base: false\n")
    jetbench("sweep", "tiny.yaml", cwd=tmp_path)
    data = ("--dataset", "streets", "--stream", "10")
    said = jetbench("evaluate", "reports/tiny", *data, "--all", "--out", "shown", cwd=tmp_path)
    assert "base_channels=4" in said
    assert "the camera drives 10 m/s" in said
    assert (tmp_path / "shown" / "streaming.png").stat().st_size > 1000
    (weights, *_) = sorted((tmp_path / "reports/tiny/weights").glob("*.safetensors"))
    said = jetbench("evaluate", str(weights), *data, "--latency", "20ms,300ms", cwd=tmp_path)
    assert "entered" in said
    refused = jetbench("evaluate", str(weights), "--dataset", "streets", "--stream", "0", cwd=tmp_path, code=2)
    assert "expected frames a second" in refused
    refused = jetbench("evaluate", str(weights), "--dataset", "streets", "--latency", "1s", cwd=tmp_path, code=2)
    assert "belong to --stream" in refused
