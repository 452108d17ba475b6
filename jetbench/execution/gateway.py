"""Profiles a board from another machine: sends the network there as a bundle, and fetches the result.

For boards whose system is too old for jetbench or Ray. On the machine that holds the board's token, $JETBENCH_GATEWAY
is the command that runs a shell command on the board (`ssh nvidia@agx.local`), and $JETBENCH_GATEWAY_PYTHON is the
Python on the board that has torch.
"""

import json
import os
import shlex
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from jetbench.errors import ProfilingError
from jetbench.execution.profile import case_of
from jetbench.execution.requests import ProfileRequest
from jetbench.profiling.bundle import collect, write_bundle
from jetbench.progress import Report
from jetbench.records.record import Profile
from jetbench.spec.device import load_device

GATEWAY, PYTHON = "JETBENCH_GATEWAY", "JETBENCH_GATEWAY_PYTHON"
PREPARE = 'd=$(mktemp -d) && cd "$d" && tar -xf - && echo "$d"'
SHORT_S = 120.0


def gateway_of(request: ProfileRequest) -> list[str] | None:
    """The command that reaches the board of this request from this machine; None if $JETBENCH_GATEWAY is not set."""
    command = os.environ.get(GATEWAY)
    return shlex.split(command) if command and request.board else None


def profile_through(gateway: list[str], request: ProfileRequest, report: Report) -> Profile:
    """Profile a network on a board that `gateway` reaches. The probe there keeps other profiles off the board.

    Args:
        gateway: what to put before a shell command for the board, such as ("ssh", "nvidia@agx.local").
        request: names the board.
        report: called with the finished share (0 to 1) and what is being measured.

    Raises:
        ProfilingError: the board cannot be reached, is a different one, or its probe failed; the message says why.
    """
    board, case = load_device(request.board or ""), case_of(request)
    if request.forms:
        raise ProfilingError(f"through a gateway, {board.title} runs one form of a network; leave out forms")
    if case.config.backend != "traced":
        raise ProfilingError(
            f"through a gateway, {board.title} runs traced networks only: set profiling.backend=traced, so that "
            "the row says so"
        )
    with tempfile.TemporaryDirectory(prefix="jetbench-gateway-") as name:
        folder = Path(name)
        write_bundle(folder / "bundle", case, board)
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                tar.add(folder / "bundle", "bundle")
            packed.seek(0)
            folder_on_board = _ask(gateway, PREPARE, packed).decode().strip()
        try:
            _probe(gateway, folder_on_board, report)
            (folder / "result.json").write_bytes(
                _ask(gateway, f"cat {shlex.quote(folder_on_board)}/bundle/result.json")
            )
        finally:
            _ask(gateway, f"rm -rf {shlex.quote(folder_on_board)}", must=False)
        record, _ = collect(folder / "result.json")
        profile = record.profile
        assert profile
        if profile.runs_on == "another machine":
            raise ProfilingError(f"the gateway reaches another machine: {profile.notes['processor']}")
        return profile


def _ask(gateway: list[str], command: str, stdin: IO[bytes] | None = None, must: bool = True) -> bytes:
    """The output of a short command on the board."""
    try:
        done = subprocess.run(
            [*gateway, command], stdin=stdin or subprocess.DEVNULL, capture_output=True, timeout=SHORT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProfilingError(f"{GATEWAY}: {' '.join(gateway)}: {error}") from None
    if done.returncode and must:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise ProfilingError(f"{GATEWAY}: {' '.join(gateway)}: {reason}")
    return done.stdout


def _probe(gateway: list[str], folder_on_board: str, report: Report) -> None:
    """Run the probe on the board. It ends when its standard input closes, so that it does not outlive this process."""
    python = os.environ.get(PYTHON, "python3")
    command = f"cd {shlex.quote(folder_on_board)}/bundle && exec {python} -m probe . --leash --progress-json"
    process = subprocess.Popen(
        [*gateway, command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    messages: list[str] = []
    assert process.stderr
    for line in process.stderr:
        try:
            progress = json.loads(line)
            report(float(progress["share"]), str(progress["text"]))
        except (ValueError, KeyError, TypeError):
            messages.append(line.strip())  # an error, or a warning of torch
    if process.wait():
        last = " | ".join(messages[-3:]) or f"exit code {process.returncode}"
        raise ProfilingError(f"the probe on the board failed: {last}"[:600])
