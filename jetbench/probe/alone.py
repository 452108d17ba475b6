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
from typing import Callable, Iterator, List, Optional

PR_SET_PDEATHSIG = 1
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a link or a pipe in its place is not followed, nor waited for
WAITING = "waiting for the machine"
"""What a report begins with while a job waits for one of these locks. The wait does not count as its time."""

Tell = Callable[[str], None]


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
def machine_to_itself(tell: Tell = lambda text: None) -> Iterator[None]:
    """Hold the machine for a profile: meanwhile no other profile and no training of any sweep runs.

    `tell` is called with a text while another process holds the machine, which it names.

    Two locks in `lock_place()`: a profile locks the gate, so that no new training enters, and then
    waits for the room, until all trainings have left it.
    """
    with _locked("gate", fcntl.LOCK_EX, tell), _locked("room", fcntl.LOCK_EX, tell):
        yield


@contextlib.contextmanager
def machine_shared(tell: Tell = lambda text: None) -> Iterator[None]:
    """Hold the machine for a training: other trainings may run meanwhile, a profile may not."""
    with contextlib.ExitStack() as inside:
        with _locked("gate", fcntl.LOCK_SH, tell):
            inside.enter_context(_locked("room", fcntl.LOCK_SH, tell))
        yield


def lock_place() -> Path:
    """The folder of the machine's locks: one for all users, whatever TMPDIR says; JETBENCH_LOCKS names another.

    Containers that share a machine have folders of their own; mount one folder into all of them and name it.
    """
    return Path(os.environ.get("JETBENCH_LOCKS") or "/tmp")


@contextlib.contextmanager
def _locked(name: str, how: int, tell: Tell) -> Iterator[None]:
    path = lock_place() / "jetbench-{}.lock".format(name)
    while True:
        descriptor = _open(path)
        try:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                tell(describe_wait(descriptor))
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


def describe_wait(descriptor: int) -> str:
    """What a job waits for: the process that holds the lock of an open file, if it is not of the same driver."""
    own = _driver_of(os.getpid())
    for pid in _holders(descriptor):
        driver = _driver_of(pid)
        if driver != own:
            return "{}, held by pid {}{}".format(WAITING, driver, _describe_process(driver))
    return WAITING


def _holders(descriptor: int) -> List[int]:
    """Processes that hold a lock on an open file, from /proc/locks; none where the system does not tell."""
    status = os.fstat(descriptor)
    place = "{:02x}:{:02x}:{}".format(os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    found = []
    for line in _lines("/proc/locks"):
        fields = line.split()
        if len(fields) == 8 and fields[1] == "FLOCK" and fields[5] == place:  # a waiting one has an arrow more
            found.append(int(fields[4]))
    return [pid for pid in found if pid > 0]


def _driver_of(pid: int) -> int:
    """The process that a person started: the first ancestor that is no module of ours, as workers are."""
    while any(word.startswith("jetbench.") for word in _command(pid)):
        parent = _parent(pid)
        if parent is None:
            break
        pid = parent
    return pid


def _parent(pid: int) -> Optional[int]:
    stat = "".join(_lines("/proc/{}/stat".format(pid))).rpartition(")")[2].split()
    return int(stat[1]) if len(stat) > 1 and int(stat[1]) > 1 else None


def _command(pid: int) -> List[str]:
    return "".join(_lines("/proc/{}/cmdline".format(pid))).split("\0")


def _describe_process(pid: int) -> str:
    """The command of a process without its interpreter, and its folder: ` (jetbench sweep nano, in /home/me)`."""
    words = [word for word in _command(pid) if word]
    if not words:
        return ""
    ours = [number for number, word in enumerate(words) if os.path.basename(word) == "jetbench"]
    start = ours[0] if ours else 0
    command = " ".join([os.path.basename(words[start]), *words[start + 1 :]])[:80]
    try:
        return " ({}, in {})".format(command, os.readlink("/proc/{}/cwd".format(pid)))
    except OSError:  # another user's
        return " ({})".format(command)


def _lines(path: str) -> List[str]:
    try:
        with open(path, errors="replace") as file:
            return file.readlines()
    except OSError:
        return []


def _open(path: Path) -> int:
    try:
        return os.open(str(path), FLAGS)  # first without O_CREAT: the kernel may refuse another user's file
    except FileNotFoundError:
        descriptor = os.open(str(path), FLAGS | os.O_CREAT, 0o644)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o644)  # despite the umask: other users lock it too
        return descriptor
