"""Alone on the machine: locks that keep other jobs out during a profile, and a job's end with its parent process.

The kernel releases a lock when its process ends, however it ends, so nothing has to be cleaned up after a crash.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import Iterator

PR_SET_PDEATHSIG = 1
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a link or a pipe in its place is not followed, nor waited for
WAITING = "waiting for the machine"
"""What a job reports while it waits for one of these locks. The wait does not count towards its time limit."""


def signal_name(number: int) -> str:
    """The name of a signal: SIGKILL for 9, "signal 34" for a real-time signal, which has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies, so that nothing measures beside orphans."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before prctl was called
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def machine_to_itself() -> Iterator[None]:
    """Hold the machine for a profile: meanwhile no other profile and no training of any sweep runs.

    Two locks in `lock_place()`: a profile locks the gate, so that no new training enters, and then
    waits for the room, until all trainings have left it.
    """
    with _locked("gate", fcntl.LOCK_EX), _locked("room", fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def machine_shared() -> Iterator[None]:
    """Hold the machine for a training: other trainings may run meanwhile, a profile may not."""
    with contextlib.ExitStack() as inside:
        with _locked("gate", fcntl.LOCK_SH):
            inside.enter_context(_locked("room", fcntl.LOCK_SH))
        yield


def lock_place() -> Path:
    """The folder of the machine's locks: one for all users, whatever TMPDIR says; JETBENCH_LOCKS names another.

    Containers that share a machine have folders of their own; mount one folder into all of them and name it.
    """
    return Path(os.environ.get("JETBENCH_LOCKS") or "/tmp")


@contextlib.contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    path = lock_place() / "jetbench-{}.lock".format(name)
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, how)
            locked = os.fstat(descriptor)
            try:
                on_disk = os.stat(str(path))
            except FileNotFoundError:
                continue  # the file was deleted meanwhile: a lock on a deleted file keeps nobody out
            if (locked.st_dev, locked.st_ino) == (on_disk.st_dev, on_disk.st_ino):
                yield
                return
        finally:
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(str(path), FLAGS)  # first without O_CREAT: the kernel may refuse another user's file
    except FileNotFoundError:
        descriptor = os.open(str(path), FLAGS | os.O_CREAT, 0o644)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o644)  # despite the umask: other users lock it too
        return descriptor
