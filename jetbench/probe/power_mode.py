"""Power modes of a Jetson: set by name through nvpmodel or jtop, and given back whatever happens.

While a mode is held, a guard, a process of its own, waits for the end of the process that holds it, and restores what
was before: after Ctrl-C, SIGKILL and a lost connection. If the guard is killed too, a journal stays, and `restore` (at
the next command) works by it. Needs Python 3.6; never ran on a Jetson.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any, Dict, Optional, Sequence, Tuple

from .alone import lock_place, machine_to_itself
from .children import command_of, environment
from .sensors import jtop

JOURNAL, CLOCKS = "jetbench-power-mode.json", "clocks.txt"
TIMEOUT_S = 30
ASK_JTOP = """
import sys, time
from jtop import jtop
wanted = int(sys.argv[1])
with jtop() as client:
    client.nvpmodel = wanted
    for _ in range(100):
        if client.ok() and client.nvpmodel.id == wanted:
            sys.exit(0)
        time.sleep(0.1)
sys.exit(1)
"""


class PowerModeError(Exception):
    """A power mode cannot be read, set or restored; the message says why."""


def _run(program: str, *arguments: str) -> str:
    """What a program of NVIDIA's prints; with sudo, if this is not root and sudo asks for no password.

    Raises:
        PowerModeError: it is missing, or does not end; or jetson_clocks, whose work cannot be read back, fails.
    """
    command = [program, *arguments]
    if os.getuid() != 0 and arguments[:1] not in (("-q",), ("-p",), ("--show",)):
        command = ["sudo", "-n", *command]
    try:
        done = subprocess.run(
            command, input="NO\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
            timeout=TIMEOUT_S,
        )  # fmt: skip
    except FileNotFoundError:
        raise PowerModeError("{} is not here: power modes are those of a Jetson".format(command[0])) from None
    except subprocess.TimeoutExpired:
        raise PowerModeError("{} did not end within {} s".format(program, TIMEOUT_S)) from None
    if program == "jetson_clocks" and done.returncode:
        raise PowerModeError("{} fails: {}".format(" ".join(command), _last_line(done.stdout)))
    return done.stdout


def list_modes() -> Dict[str, int]:
    """The board's own power modes: the id of each name. Ids mean other modes on other boards."""
    lines = re.findall(r"POWER_MODEL: *ID=(\d+) +NAME=(\S+)", _run("nvpmodel", "-p", "--verbose"))
    return {name: int(number) for number, name in lines}


def current() -> Tuple[int, str]:
    """The id and the name of the mode that the board is in.

    Raises:
        PowerModeError: nvpmodel does not say.
    """
    text = _run("nvpmodel", "-q")
    match = re.search(r"Power Mode: *(\S+)\s+(\d+)", text)
    if match is None:
        raise PowerModeError("nvpmodel -q does not say the mode: {}".format(_last_line(text)))
    return int(match.group(2)), match.group(1)


def set_mode(number: int) -> None:
    """Set a mode by its id, and read it back.

    Raises:
        PowerModeError: the board is not in that mode afterwards: it wants a reboot, or this user may not set it.
    """
    with machine_to_itself():  # not while another command measures
        text = _run("nvpmodel", "-m", str(number))
        is_id, name = current()
        if is_id != number and "reboot" not in text.lower() and _set_through_jtop(number):
            is_id, name = current()
    if is_id == number:
        return
    if "reboot" in text.lower():
        raise PowerModeError("this mode wants a reboot, which jetbench never does; the board stays in {}".format(name))
    raise PowerModeError("the board stays in {}: {}".format(name, _last_line(text)))


def _set_through_jtop(number: int) -> bool:
    """Ask the jtop service, which is root and serves the members of its group; False if it does not run here.

    jetson-stats is AGPL-3.0, so another process imports it. It asks for a reboot by itself only if it is forced.
    """
    if jtop.missing() is not None:
        return False
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_JTOP, str(number)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=TIMEOUT_S, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no answer"


def _journal() -> str:
    return str(lock_place() / JOURNAL)


def read_journal() -> Optional[Dict[str, Any]]:
    """What a command that holds a mode wrote down before it changed it; None if no mode is held.

    A file of another user than root is not believed, as its place is open to everybody.
    """
    try:
        with os.fdopen(os.open(_journal(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_uid not in (0, os.getuid()):
                return None
            kept = json.load(file)
    except (OSError, ValueError):
        return None
    is_whole = isinstance(kept, dict) and isinstance(kept.get("name"), str) and isinstance(kept.get("pid"), int)
    if not is_whole or not isinstance(kept.get("id"), int) or not isinstance(kept.get("clocks"), (str, type(None))):
        return None
    return dict(kept)


def restore(pid: int) -> Optional[str]:
    """Give back what the journal of a process says; returns the name of the mode, or None if it has none.

    Raises:
        PowerModeError: the mode or the clocks cannot be set; the journal stays.
    """
    kept = read_journal()
    if kept is None or kept["pid"] != pid:
        return None
    set_mode(kept["id"])
    if kept["clocks"] is not None:
        _run("jetson_clocks", "--restore", kept["clocks"])
        shutil.rmtree(os.path.dirname(kept["clocks"]), ignore_errors=True)
    try:
        os.unlink(_journal())
    except OSError as error:
        raise PowerModeError("{}: cannot be removed ({})".format(_journal(), error.strerror)) from None
    return str(kept["name"])


def left_over() -> Optional[str]:
    """Restore what a command and its guard, both killed, left behind; a sentence about it, or None.

    Raises:
        PowerModeError: it cannot be restored.
    """
    kept = read_journal()
    if kept is None or any(_lives(pid) for pid in (kept["pid"], kept.get("guard"))):
        return None
    restore(kept["pid"])
    return "a command that was killed had left another power mode behind: {} is restored".format(kept["name"])


def _lives(pid: Optional[int]) -> bool:
    """True for a process that runs: one that ended, and that its parent has not asked about, does not."""
    try:
        with open("/proc/{}/stat".format(pid), encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


class Held:
    """The board's power mode for some time: `set` changes it, the end of the block gives it back.

    Args:
        fixes_clocks: also run jetson_clocks in each mode, which fixes all clocks at the mode's highest.
    """

    def __init__(self, fixes_clocks: bool = False) -> None:
        self._fixes_clocks = fixes_clocks
        self._guard = None  # type: Optional[subprocess.Popen[bytes]]

    def __enter__(self) -> "Held":
        """Write the journal and start the guard.

        Raises:
            PowerModeError: another command holds the mode, or it cannot be read.
        """
        left_over()
        _check_free()
        number, name = current()
        clocks = None
        if self._fixes_clocks:
            clocks = os.path.join(tempfile.mkdtemp(prefix="jetbench-"), CLOCKS)
            _run("jetson_clocks", "--store", clocks)
        kept = {"id": number, "name": name, "clocks": clocks, "pid": os.getpid(), "guard": None}
        _write(kept)
        self._guard = subprocess.Popen(
            command_of("power_mode", str(os.getpid())), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
            env=environment(JETBENCH_LOCKS=str(lock_place().absolute())),
        )  # fmt: skip
        _write(dict(kept, guard=self._guard.pid))
        return self

    def check(self, names: Sequence[str]) -> Dict[str, int]:
        """Check names before any of them is set; returns the board's modes.

        Raises:
            PowerModeError: the board has no such mode, or one is named twice.
        """
        modes = list_modes()
        for name in names:
            if name not in modes:
                raise PowerModeError(
                    "{}: no power mode of this board; it has {}".format(name or "an empty name", ", ".join(modes))
                )
            if list(names).count(name) > 1:
                raise PowerModeError("{}: is named twice".format(name))
        return modes

    def set(self, name: str) -> None:
        """Set a mode by its name.

        Raises:
            PowerModeError: the board has no such mode, or does not change to it.
        """
        modes = self.check([name])
        try:
            set_mode(modes[name])
        except PowerModeError as error:
            raise PowerModeError("{}: {}".format(name, error)) from None
        if self._fixes_clocks:
            _run("jetson_clocks")

    def __exit__(self, *error: Any) -> None:
        try:
            restore(os.getpid())
        finally:
            if self._guard is not None and self._guard.stdin is not None:
                self._guard.stdin.close()  # it finds no journal, and ends
                self._guard.wait()


def _check_free() -> None:
    """Raise if another process has a journal; a file there that is none is written over.

    Raises:
        PowerModeError: another command holds the mode, or another user's did.
    """
    held = read_journal()
    if held is not None:
        raise PowerModeError("process {} holds the power mode of this board".format(held["pid"]))
    if os.path.lexists(_journal()) and os.lstat(_journal()).st_uid not in (0, os.getuid()):
        raise PowerModeError(
            "{}: another user holds the power mode, or did when the command was killed; it is restored by a command "
            "of that user".format(_journal())
        )


def _write(kept: Dict[str, Any]) -> None:
    try:
        descriptor, part = tempfile.mkstemp(dir=str(lock_place()))
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.replace(part, _journal())
    except OSError as error:
        raise PowerModeError("{}: cannot be written ({})".format(_journal(), error.strerror)) from None


def guard(pid: int) -> int:
    """Wait for the end of a process, which holds the other end of stdin, then restore what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    try:
        restore(pid)
    except PowerModeError:
        return 1  # the journal stays for the next command
    return 0


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1])))
