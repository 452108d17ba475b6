"""Alone on the machine: the locks that keep a profile to itself, and a job's end with whoever started it.

The kernel lifts a lock when its process ends, however it ends, so nothing has to be mended after a crash.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Iterator

PR_SET_PDEATHSIG = 1
WAITING = "waiting for the machine"
"""What a job reports while it waits for a lock here: its time limit stands still meanwhile."""


def signal_name(number: int) -> str:
    """SIGKILL for 9; real-time signals have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies, so that nothing measures beside orphans."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def machine_to_itself() -> Iterator[None]:
    """Hold the machine for a profile: no other profile, and no training of any sweep, runs meanwhile.

    Two locks in the machine's temporary folder: who profiles shuts the gate, so that no new training enters, and
    waits until the room is empty.
    """
    with _locked("gate", fcntl.LOCK_EX), _locked("room", fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def machine_shared() -> Iterator[None]:
    """Train beside other trainings, but not beside a profile."""
    with contextlib.ExitStack() as inside:
        with _locked("gate", fcntl.LOCK_SH):
            inside.enter_context(_locked("room", fcntl.LOCK_SH))
        yield


@contextlib.contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    path = Path(tempfile.gettempdir()) / "jetbench-{}.lock".format(name)
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, how)
            held = os.fstat(descriptor)
            try:
                there = os.stat(str(path))
            except FileNotFoundError:
                continue  # somebody has tidied up meanwhile: a lock on a file that is gone keeps nobody out
            if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino):
                yield
                return
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(str(path), os.O_RDONLY)  # first: the kernel may refuse to "create" another user's file
    except FileNotFoundError:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_CREAT, 0o644)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o644)  # whatever the umask: other users lock it too
        return descriptor
