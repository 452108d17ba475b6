"""A board behind a gateway: a real SSH server on a simulated Nano, reached by the job that holds the board's token."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jetbench.execution.executor import Job, Outcome
from jetbench.execution.local import LocalExecutor
from jetbench.execution.requests import JobRequest
from jetbench.records.record import Profile
from tests.execution.made_up import wait_until
from tests.simulated.board_ssh import Reached, reached


@pytest.fixture
def nano(tmp_path: Path) -> Iterator[Reached]:
    with reached("nano", tmp_path) as board:
        yield board


def job(folder: Path, board: str, **profiling: Any) -> Job:
    config = {
        "backend": "traced", "power": "none", "min_seconds": 0, "min_iterations": 5, "precision": 1,
        "warmup_iterations": 1, "processes": 2, **profiling,
    }  # fmt: skip
    decoder = {"head_channels": 8}
    architecture = {"base_channels": 4, "max_channels": 16, "max_expanded_channels": 16, "decoder": decoder}
    network = {"architecture": architecture, "num_classes": 11, "input_size": [64, 96]}
    request = {"untrained": network, "profiling": config, "device": "cpu", "board": board}
    return Job("key", "variant", folder, JobRequest.model_validate({"profile": request}), 1, 120, {board: 1})


@pytest.fixture
def executor(nano: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    monkeypatch.setenv("JETBENCH_GATEWAY", " ".join([*nano.ssh, nano.target]))
    monkeypatch.setenv("JETBENCH_GATEWAY_PYTHON", sys.executable)
    executor = LocalExecutor({"cpu": 1, "nano": 1, "agx": 1})
    yield executor
    executor.stop()


def outcome(executor: LocalExecutor) -> Outcome:
    found: list[Outcome] = wait_until(executor.poll, "an outcome", 120)
    return found[0]


@pytest.mark.server
def test_a_board_behind_a_gateway_is_measured_there_and_is_what_it_says(
    executor: LocalExecutor, tmp_path: Path, nano: Reached
) -> None:
    executor.submit(job(tmp_path / "job", "nano"))
    ended = outcome(executor)
    assert ended.status == "ok", ended.reason
    profile = Profile.model_validate(ended.result)
    assert profile.device == "nano"
    assert profile.model_latency
    assert len(profile.model_latency.runs) == 2
    assert nano.run("ls $TMPDIR; ls $XDG_CACHE_HOME/jetbench/bundles") == ""  # nothing is left on the board
    # Another board is not taken for it, and a setting that the board cannot have is not passed off as measured.
    executor.submit(job(tmp_path / "job", "agx"))
    ended = outcome(executor)
    assert ended.status == "error"
    assert "is another machine" in ended.reason
    executor.submit(job(tmp_path / "job", "nano", backend="eager"))
    assert "set profiling.backend=traced" in outcome(executor).reason


def words(nano: Reached) -> list[str]:
    """What of a probe runs on the board."""
    told = nano.run("ps -e -o args")
    return [what for what in ("-m probe", "--one") if what in told]


@pytest.mark.server
def test_a_probe_ends_with_the_job_that_started_it(executor: LocalExecutor, tmp_path: Path, nano: Reached) -> None:
    executor.submit(job(tmp_path / "job", "nano", min_seconds=60, min_iterations=10**6))
    wait_until(lambda: "--one" in words(nano), "a probe", 60)
    pid = executor._running[0].process.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert outcome(executor).status == "lost"
    wait_until(lambda: not words(nano), "the end of the probe", 20)
    # The board is free again at once.
    executor.submit(job(tmp_path / "job", "nano"))
    begun = time.monotonic()
    assert outcome(executor).status == "ok"
    assert time.monotonic() - begun < 60
    assert json.loads((tmp_path / "job" / "result.json").read_text())["result"]["device"] == "nano"


def test_a_board_that_cannot_be_reached_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETBENCH_GATEWAY", "bash -c 'echo no route to the board >&2; exit 255'")
    executor = LocalExecutor({"cpu": 1, "nano": 1})
    try:
        executor.submit(job(tmp_path / "job", "nano"))
        ended = outcome(executor)
        assert (ended.status, "no route to the board" in ended.reason) == ("error", True)
    finally:
        executor.stop()
