"""A board behind a gateway: a real SSH server on a simulated Nano, reached by the job that holds the board's token."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jetbench.execution.executor import Job, Outcome
from jetbench.execution.local import LocalExecutor
from jetbench.execution.requests import JobRequest
from jetbench.records.record import Profile
from tests.execution.made_up import wait_until
from tests.simulated.boards import command_on, need_boards


@dataclass
class Nano:
    """How to reach it."""

    ssh: list[str]

    def run(self, command: str) -> str:
        return subprocess.run([*self.ssh, command], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


@pytest.fixture
def nano(tmp_path: Path) -> Iterator[Nano]:
    need_boards()
    server = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if server is None or shutil.which("ssh") is None or os.getuid() != 0:
        pytest.skip("needs OpenSSH's server (Debian: apt-get install openssh-server), and to be root for it")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    settings = {
        "HostKey": tmp_path / "host", "AuthorizedKeysFile": tmp_path / "user.pub", "StrictModes": "no",
        "PidFile": "none", "UsePAM": "no", "PermitRootLogin": "prohibit-password", "ListenAddress": "127.0.0.1",
        "SetEnv": f"TMPDIR={tmp_path}/board-tmp",
    }  # fmt: skip
    (tmp_path / "board-tmp").mkdir()
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    begin = f"mkdir -p /run/sshd && exec {server} -D -e -f /dev/null -p {port} " + " ".join(options)
    program, told = command_on("nano", tmp_path, ["bash", "-c", begin], "--service", "none")
    process = subprocess.Popen(
        program, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    accept = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    board = Nano(["ssh", "-p", port, "-i", str(tmp_path / "user"), *accept, "-o", "BatchMode=yes", "root@127.0.0.1"])
    try:
        wait_until(lambda: "here" in board.run("echo here"), "an SSH server", 30, process)
        yield board
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


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
def executor(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    monkeypatch.setenv("JETBENCH_GATEWAY", " ".join(nano.ssh))
    monkeypatch.setenv("JETBENCH_GATEWAY_PYTHON", sys.executable)
    executor = LocalExecutor({"cpu": 1, "nano": 1, "agx": 1})
    yield executor
    executor.stop()


def outcome(executor: LocalExecutor) -> Outcome:
    found: list[Outcome] = wait_until(executor.poll, "an outcome", 120)
    return found[0]


@pytest.mark.server
def test_a_board_behind_a_gateway_is_measured_there_and_is_what_it_says(
    executor: LocalExecutor, tmp_path: Path, nano: Nano
) -> None:
    executor.submit(job(tmp_path / "job", "nano"))
    ended = outcome(executor)
    assert ended.status == "ok", ended.reason
    profile = Profile.model_validate(ended.result)
    assert profile.device == "nano"
    assert profile.model_latency
    assert len(profile.model_latency.runs) == 2
    assert nano.run("ls $TMPDIR | grep -v lock") == ""  # nothing is left on the board
    # Another board is not taken for it, and a setting that the board cannot have is not passed off as measured.
    executor.submit(job(tmp_path / "job", "agx"))
    ended = outcome(executor)
    assert ended.status == "error"
    assert "the gateway reaches another machine" in ended.reason
    executor.submit(job(tmp_path / "job", "nano", backend="eager"))
    assert "set profiling.backend=traced" in outcome(executor).reason


def words(nano: Nano) -> list[str]:
    """What of a probe runs on the board."""
    told = nano.run("ps -e -o args")
    return [what for what in ("-m probe", "--one") if what in told]


@pytest.mark.server
def test_a_probe_ends_with_the_job_that_started_it(executor: LocalExecutor, tmp_path: Path, nano: Nano) -> None:
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
