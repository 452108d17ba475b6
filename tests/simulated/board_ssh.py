"""A real SSH server on a simulated board, with the board's own Python and locks."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.execution.made_up import wait_until
from tests.simulated.boards import command_on, need_boards


@dataclass
class Reached:
    """How to reach a board: `ssh`, the command up to the host, and `target`, the host."""

    ssh: list[str]
    target: str
    process: "subprocess.Popen[bytes]"

    def run(self, command: str) -> str:
        """What a shell command prints there."""
        program = [*self.ssh, self.target, command]
        return subprocess.run(program, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout

    def cut(self) -> None:
        """End every connection, as a pulled cable does, but for the minutes until that is noticed."""
        self.run("pkill -9 -f 'sshd: root@'")


@contextmanager
def reached(board: str, folder: Path, **environment: str) -> Iterator[Reached]:
    """Serve SSH on a simulated board, at a port of its own; `environment` is that of its sessions.

    Skips the test where there is no SSH server, or this is not root.
    """
    need_boards()
    server = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if server is None or shutil.which("ssh") is None or os.getuid() != 0:
        pytest.skip("needs OpenSSH's server (Debian: apt-get install openssh-server), and to be root for it")
    keys = folder / f"{board}-keys"
    keys.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    (folder / f"{board}-tmp").mkdir()
    told = {"TMPDIR": f"{folder}/{board}-tmp", "XDG_CACHE_HOME": f"{folder}/{board}-cache", "JETBENCH_LOCKS": "/run"}
    settings = {
        "HostKey": keys / "host", "AuthorizedKeysFile": keys / "user.pub", "StrictModes": "no", "PidFile": "none",
        "UsePAM": "no", "PermitRootLogin": "prohibit-password", "ListenAddress": "127.0.0.1",
        "SetEnv": " ".join(f"{key}={value}" for key, value in {**told, **environment}.items()),
    }  # fmt: skip
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    begin = f'mkdir -p /run/sshd && exec {server} -D -e -f /dev/null -p {port} "$@"'
    program, known = command_on(board, folder, ["bash", "-c", begin, "sshd", *options], "--service", "none")
    process = subprocess.Popen(
        program, env=known, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    accept = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    ssh = ["ssh", "-p", port, "-i", str(keys / "user"), *accept, "-o", "BatchMode=yes"]
    found = Reached(ssh, "root@127.0.0.1", process)
    try:
        wait_until(lambda: "here" in found.run("echo here"), "an SSH server", 30, process)
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
