"""Processes that start at once: a server loads the worker's modules once and forks for each job.

Only for trainings on a CPU, on Linux. A fork is safe while the server has one thread and has not used a GPU; if a
module has started threads, each job starts a new interpreter after all. Profiles get a new process. The server ends
with the driver, and its children end with it.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from jetbench.errors import is_disk_trouble
from jetbench.execution.job_folder import EXIT_UNABLE
from jetbench.probe.alone import die_with


class Forked:
    """A process of the server, similar to `subprocess.Popen`; `pid` is None until it has begun."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.returncode: int | None = None


class Server:
    """The driver's side: starts the server, requests processes from it, and learns when they end."""

    def __init__(self, worker: str, modules: Sequence[str], driver: int) -> None:
        """Begin to load `modules` and `worker`; each process runs the `main(folder)` of `worker`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jetbench.execution.preload", worker, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "JETBENCH_DRIVER": str(driver), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._replies = self._process.stdin, self._process.stdout
        os.set_blocking(self._replies.fileno(), False)
        self._children: dict[int, Forked] = {}
        self._rest = b""
        self.pid = self._process.pid

    @property
    def is_alive(self) -> bool:
        """True if the server still takes requests."""
        return self._process.poll() is None

    def start(self, folder: Path, log: Path) -> Forked:
        """A process that runs the worker in `folder`; it begins when the modules are loaded.

        Raises:
            OSError: the server is gone.
        """
        number, child = len(self._children), Forked()
        self._requests.write(json.dumps({"id": number, "folder": str(folder), "log": str(log)}).encode() + b"\n")
        self._requests.flush()
        self._children[number] = child
        return child

    def listen(self) -> None:
        """Read which processes have begun and ended; if the server has ended, so have they."""
        if self._replies.closed:
            return  # `stop` has ended them all
        alive = self.is_alive  # checked before reading, so that its last messages are read
        while part := self._replies.read(65536):
            *lines, self._rest = (self._rest + part).split(b"\n")
            for line in lines:
                reply = json.loads(line)
                child = self._children[reply["id"]]
                child.pid, child.returncode = reply.get("pid", child.pid), reply.get("code")
        if not alive:
            for child in self._children.values():
                child.returncode = EXIT_UNABLE if child.returncode is None else child.returncode

    def stop(self) -> None:
        """End the server and all processes that it has started."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for child in self._children.values():
            child.returncode = EXIT_UNABLE if child.returncode is None else child.returncode
        for stream in (self._requests, self._replies):
            with contextlib.suppress(OSError):
                stream.close()


def serve(worker: str, modules: Sequence[str]) -> None:
    """Load the modules, then fork for each line of standard input until it closes."""
    die_with(int(os.environ["JETBENCH_DRIVER"]))
    # Modules may print to standard output, which must not mix with the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for name in (*modules, worker):
        importlib.import_module(name)
    is_safe = len(os.listdir("/proc/self/task")) == 1
    gc.collect()
    gc.freeze()  # so that collecting in a child does not copy what it shares with the server
    ends, wake = os.pipe()
    for end in (ends, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    children: dict[int, int] = {}
    unread = b""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        selector.register(ends, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == ends:
                    with contextlib.suppress(BlockingIOError):
                        os.read(ends, 65536)
                    _tell_ends(replies.fileno(), children)
                    continue
                part = os.read(key.fd, 65536)
                if not part:
                    return
                *lines, unread = (unread + part).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    server = os.getpid()
                    try:
                        pid = os.fork()
                    except OSError:  # too many processes, or no memory for one more: not the job's fault
                        reply = {"id": request["id"], "code": EXIT_UNABLE}
                        os.write(replies.fileno(), json.dumps(reply).encode() + b"\n")
                        continue
                    if pid == 0:
                        signal.set_wakeup_fd(-1)
                        for end in (ends, wake, replies.fileno()):
                            os.close(end)
                        _run(worker, request, server, is_safe)
                    children[pid] = request["id"]
                    os.write(replies.fileno(), json.dumps({"id": request["id"], "pid": pid}).encode() + b"\n")


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing. SIGCHLD needs a handler to wake the server, because an ignored signal does not."""


def _tell_ends(replies: int, children: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        number = children.pop(pid, None)
        if number is None:
            continue  # a child of a module
        reply = {"id": number, "pid": pid, "code": os.waitstatus_to_exitcode(status)}
        os.write(replies, json.dumps(reply).encode() + b"\n")


def _run(worker: str, request: dict[str, str], server: int, is_safe: bool) -> None:
    """In the child: become an independent process, run the job, and end without the server's clean-up."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ["JETBENCH_DRIVER"] = str(server)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((nothing, log, log)):
            os.dup2(descriptor, number)
        if not is_safe:  # a module has started threads, which a fork does not copy: start a new interpreter
            os.execv(sys.executable, [sys.executable, "-m", worker, request["folder"]])
        code = importlib.import_module(worker).main(Path(request["folder"]))
    except BaseException as error:
        code = EXIT_UNABLE if is_disk_trouble(error) else 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
