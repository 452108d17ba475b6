"""A training that is killed goes on as if it had not been; a real process is killed, and a real disk is full."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from jetbench import build_model, load_architecture
from jetbench.data.cache import SegmentationData
from jetbench.execution.worker import CHECKPOINT
from jetbench.records.record import TrainingResult
from jetbench.spec.training import Floor, TrainingConfig
from jetbench.training import checkpoint as module
from jetbench.training.checkpoint import Checkpoint
from jetbench.training.loop import train

CPU = torch.device("cpu")


class KilledError(Exception):
    pass


def run(
    streets: SegmentationData,
    folder: Path,
    until: int | None = None,
    name: str = "jetseg-nano",
    checkpoints: Path | None = None,
    **more: Any,
) -> TrainingResult:
    config = {"budget": "9 steps", "batch_size": 4, "evaluations": 3, **more}
    asked = TrainingConfig.model_validate(config)

    def report(share: float, text: str) -> None:
        if until is not None and f"step {until}," in text:
            raise KilledError

    torch.manual_seed(asked.seed)
    model = build_model(load_architecture(name), 11, streets.info.size)
    checkpoint = (checkpoints or folder) / CHECKPOINT
    return train(model, streets, asked, CPU, folder / "w.safetensors", {}, report, checkpoint_file=checkpoint)


AUGMENTED = {"augmentation": {"flip": True, "scale": [0.7, 1.4], "light": 0.2}}


@pytest.mark.parametrize(
    "more",
    [
        {},
        AUGMENTED,
        {"loss": "cross-entropy", "budget": "2.25 epochs", "proxies": True},
        {"optimizer": "sgd", "schedule": "polynomial", "warm_up": 0.2, "moving_average": 0.9, "clip_gradients": 1.0},
    ],
    ids=str,
)
def test_after_a_kill_it_goes_on_at_the_same_step_with_the_same_result(
    streets: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    monkeypatch.setattr(module, "LARGEST_SHARE", 1e9)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected = run(streets, whole, **more)
    for until in (5, 7):
        with pytest.raises(KilledError):
            run(streets, killed, until, **more)
    found = run(streets, killed, **more)
    assert found.resumed == (4, 6)
    for field in ("steps", "epochs", "loss_curve", "val", "test", "class_weights", "proxies"):
        assert getattr(found, field) == getattr(expected, field), field
    one, other = (load_file(folder / "w.safetensors") for folder in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_drawn_at_random_in_a_network_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENet has dropout."""
    from jetbench.data.cache import load_data
    from jetbench.spec.dataset import StreetsConfig

    monkeypatch.setattr(module, "EVERY_S", 0.0)
    monkeypatch.setattr(module, "LARGEST_SHARE", 1e9)
    data = load_data(StreetsConfig(size=(64, 96), train=8, val=2, test=2))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected = run(data, whole, name="enet", budget="4 steps", evaluations=1)
    with pytest.raises(KilledError):
        run(data, killed, 3, name="enet", budget="4 steps", evaluations=1)
    found = run(data, killed, name="enet", budget="4 steps", evaluations=1)
    assert found.resumed == (2,)
    assert found.loss_curve == expected.loss_curve
    assert found.test == expected.test


def test_a_floor_that_came_later_is_no_floor_of_the_same_training(
    streets: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    with pytest.raises(KilledError):
        run(streets, tmp_path, 2)
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano"), 11, streets.info.size)
    asked = TrainingConfig.model_validate({"budget": "9 steps", "batch_size": 4, "evaluations": 3})
    floor = Floor(evaluation=1, of=3, miou=1.0, why="made up")
    found = train(
        *(model, streets, asked, CPU, tmp_path / "w.safetensors", {}),
        floors=[floor],
        checkpoint_file=tmp_path / CHECKPOINT,
    )
    assert found.resumed == ()
    assert found.stopped


@pytest.mark.parametrize("other", [{"seed": 1}, {"learning_rate": 0.02}, {"loss": "dice"}], ids=str)
def test_the_checkpoint_of_another_training_is_not_gone_on_from(
    streets: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    with pytest.raises(KilledError):
        run(streets, tmp_path, 2)
    assert run(streets, tmp_path, budget="2 steps", evaluations=1, **other).resumed == ()


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04half a file", None])
def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path: Path, content: bytes | None) -> None:
    saved = Checkpoint(tmp_path / CHECKPOINT, "me")
    saved.save({"step": 3, "weights": torch.ones(1000)})
    assert Checkpoint(tmp_path / CHECKPOINT, "me").load() is not None
    assert Checkpoint(tmp_path / CHECKPOINT, "you").load() is None
    whole = saved.path.read_bytes()
    saved.path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert saved.load() is None
    for at in range(0, len(whole), 97):  # torch's reader would take many of them for what was saved
        saved.path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert saved.load() is None


def test_it_takes_no_more_than_its_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    saved = Checkpoint(tmp_path / CHECKPOINT, "me")
    assert not saved.is_due
    now[0] += module.EVERY_S
    assert saved.is_due
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        now[0] += 10.0
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    saved.save({})
    now[0] += 499.0
    assert not saved.is_due
    now[0] += 1.0
    assert saved.is_due


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs rights that this user has not")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_leaves_the_last_checkpoint_whole(disk: Path) -> None:
    saved = Checkpoint(disk / CHECKPOINT, "me")
    saved.save({"step": 1, "weights": torch.ones(20_000)})
    with pytest.raises(OSError, match="No space left"):
        saved.save({"step": 2, "weights": torch.ones(100_000)})
    assert [path.name for path in disk.iterdir()] == [CHECKPOINT]
    state = saved.load()
    assert state
    assert state["step"] == 1


def test_a_training_goes_on_where_there_is_no_room_for_its_checkpoint(
    streets: SegmentationData,
    disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = run(streets, tmp_path)
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    monkeypatch.setattr(module, "LARGEST_SHARE", 1e9)
    with (disk / "log.txt").open("w", buffering=1) as log:
        (disk / "filler").write_bytes(bytes(2**18 - 2**13))
        monkeypatch.setattr(sys, "stderr", log)
        found = run(streets, tmp_path, checkpoints=disk)
    assert (found.loss_curve, found.val, found.test) == (expected.loss_curve, expected.val, expected.test)
    assert "no checkpoint at step 1: [Errno 28] No space left on device" in (disk / "log.txt").read_text()
    assert sorted(path.name for path in disk.iterdir()) == ["filler", "log.txt"]


def test_without_room_for_its_weights_a_training_ends_at_its_checkpoint(
    streets: SegmentationData, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    (disk / "filler").write_bytes(bytes(2**18 - 2**13))
    with pytest.raises(OSError, match="No space left on device"):
        run(streets, disk)
    assert [path.name for path in disk.iterdir()] == ["filler"]


WORKER = """
import sys
from pathlib import Path
from jetbench.execution import worker
from jetbench.training import checkpoint
checkpoint.EVERY_S, checkpoint.LARGEST_SHARE = 0.0, 1e9
worker.REPORT_EVERY_S = 0.0
sys.exit(worker.main(Path(sys.argv[1])))
"""


def job(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    request = {
        "architecture": load_architecture("jetseg-nano").model_dump(mode="json"),
        "dataset": {"name": "streets", "size": "64x96", "train": 16, "val": 4, "test": 4},
        "training": {"budget": "14 steps", "batch_size": 4, "evaluations": 2},
        "device": "cpu",
        "weights_file": str(folder / "weights" / "w.safetensors"),
    }
    (folder / "request.json").write_text(json.dumps({"train": request}))
    environment = {name: value for name, value in os.environ.items() if name != "JETBENCH_DRIVER"}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], env=environment)


@pytest.mark.slow
def test_a_killed_process_is_gone_on_from_by_the_next_and_its_result_is_that_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    assert job(tmp_path / "whole").wait(timeout=120) == 0
    process = job(tmp_path / "killed")
    saved, progress = tmp_path / "killed" / CHECKPOINT, tmp_path / "killed" / "progress.json"
    end = time.monotonic() + 90
    while not (saved.exists() and progress.exists() and json.loads(progress.read_text())["share"] >= 0.4):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert job(tmp_path / "killed").wait(timeout=120) == 0
    whole, found = (
        json.loads((tmp_path / name / "result.json").read_text())["result"]["training"] for name in ("whole", "killed")
    )
    assert found["resumed"]
    assert found["resumed"][0] >= 5
    for field in ("loss_curve", "val", "test", "steps"):
        assert found[field] == whole[field]
    assert not saved.exists()  # there is a result
    weights = [load_file(tmp_path / name / "weights" / "w.safetensors") for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
