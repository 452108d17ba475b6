"""A real PostgreSQL server for a test: made in a folder, started on a free port, stopped and started again at will."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

ACCOUNT = "nobody"  # the server refuses to be root


class PostgreSQL:
    """A server of this test alone."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("pg_ctl") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), default=None)
        if found is None or not (Path(found).resolve().parent / "initdb").exists():
            pytest.skip("needs the PostgreSQL server (Debian: apt-get install postgresql)")
        pytest.importorskip("psycopg", reason="needs psycopg: pip install 'jetbench[postgresql]'")
        self.programs, self.data = Path(found).resolve().parent, folder / "data"
        # Not below pytest's own folder, which is closed to others.
        self.data.mkdir(parents=True)
        self.is_root = os.geteuid() == 0
        if self.is_root:
            account = pwd.getpwnam(ACCOUNT)
            for path in (folder, self.data):
                os.chown(path, account.pw_uid, account.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.run("initdb", "--auth=trust", "--username=jetbench", "--no-sync", "-D", str(self.data))
        self.start()

    @property
    def address(self) -> str:
        return f"postgresql://jetbench:secret@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if self.is_root:
            command = [
                "setpriv",
                f"--reuid={ACCOUNT}",
                f"--regid={pwd.getpwnam(ACCOUNT).pw_gid}",
                "--clear-groups",
                *command,
            ]
        done = subprocess.run(command, cwd=self.data, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", str(self.data / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self.data))

    def pids(self) -> list[int]:
        """All of its processes, without the first one."""
        first = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return [int(pid) for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split()]
