"""Runs one case in a process of its own, in a fresh folder, with limits of time and memory, and judges what it did."""

import contextlib
import hashlib
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_SECONDS, MOST_BYTES = 10.0, 1.5 * 2**30
ALLOWED = {0, 2, 3, 4}
HIDDEN = re.compile(b"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
PROBLEMS = ("traceback", "exit code", "too slow", "too much memory", "control character", "wrote outside", "lost a row")


@dataclass(frozen=True)
class Case:
    """What a case does: `prepare` writes its files to its folder and returns what runs there, in the child process.

    Args:
        surface: what it attacks.
        number: its number, which seeds it.
        run: called in the child, in its folder; returns the exit code.
        kept: files whose bytes must be the beginning of what they are afterwards.
    """

    surface: str
    number: int
    run: Callable[[], int]
    kept: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a case did."""

    case: Case
    code: int
    seconds: float
    memory: float
    problem: str | None
    output: bytes


def command_line(*arguments: str) -> Callable[[], int]:
    """Run a command as the console script does."""

    def run() -> int:
        from jetbench.__main__ import main

        sys.argv = ["jetbench", *arguments]
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1 if end.code else 0
        return 0

    return run


def listing(folder: Path, without: tuple[Path, ...]) -> dict[str, str]:
    """The files below a folder with the digests of their bytes, without those folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not any(path == left or left in path.parents for left in without) and path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run_case(case: Case, base: Path, inside: Path) -> Outcome:
    """Fork, run, wait, and judge.

    Args:
        case: what to run.
        base: the case's folder; nothing in it but `inside` and `cache` may change.
        inside: the folder in which it runs.
    """
    output = base.parent / f"{base.name}.txt"
    before, kept = listing(base, (inside, base / "cache")), {path: path.read_bytes() for path in case.kept}
    resting = output.with_suffix(".resting")
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        # The child's own: mapped files of its parent are not resident in it.
        resting.write_text(str(_resident()))
        _child(case, base, inside, output)
    code, usage, timed_out = _wait(pid, started)
    seconds, memory = time.monotonic() - started, max(0.0, 1024 * usage.ru_maxrss - float(resting.read_text()))
    resting.unlink()
    text = output.read_bytes()
    output.unlink()
    problem = None
    if b"Traceback (most recent call last)" in text:
        problem = "traceback"
    elif timed_out or seconds > MOST_SECONDS:
        problem = "too slow"
    elif code not in ALLOWED:
        problem = "exit code"
    elif memory > MOST_BYTES:
        problem = "too much memory"
    elif HIDDEN.search(text):
        problem = "control character"
    elif listing(base, (inside, base / "cache")) != before:
        problem = "wrote outside"
    elif any(not path.exists() or not path.read_bytes().startswith(content) for path, content in kept.items()):
        problem = "lost a row"
    return Outcome(case, code, seconds, memory, problem, text)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _child(case: Case, base: Path, inside: Path, output: Path) -> None:
    code = 1
    try:
        os.setsid()
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        # A test runner may have put other objects in their place.
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        os.close(0)
        os.open(os.devnull, os.O_RDONLY)
        os.chdir(inside)
        os.environ.update(
            HOME=str(base / "cache"),
            JETBENCH_CACHE=str(base / "cache"),
            JETBENCH_LOCKS=str(base / "cache"),
            COLUMNS="100",
        )
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**31, 2**31))
        try:
            code = case.run()
        except BaseException:
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    finally:
        os._exit(code)


def _wait(pid: int, started: float) -> tuple[int, resource.struct_rusage, bool]:
    timed_out = False
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what it left running
            code = os.waitstatus_to_exitcode(status)
            return code, usage, timed_out
        if time.monotonic() - started > 1.5 * MOST_SECONDS:
            timed_out = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.002)
