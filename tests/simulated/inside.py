"""Runs inside a simulated board: the jtop service, the rails that follow the load, one command, one fault.

    inside.py [--service none|plain|PYTHONPATH] [--fault NAME] -- COMMAND...

The rails rise while the command's main thread uses its core; every change is written down as the truth.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

BOARD = Path(os.environ["BOARD"])
SOCKET = Path("/run/jtop.sock")
LOOK_S = 0.005
FAULT_AFTER_S = 1.5  # of load


def put(path: str, value: int) -> None:
    """Replace a sensor's file in one step: a reader never finds it empty."""
    new = Path(path + ".new")
    new.write_text(f"{value}\n")
    new.replace(path)


class Rails(threading.Thread):
    """Moves the board's rails with the load of one process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        told = json.loads((BOARD / "rails.json").read_text())
        self.rails, self.total = told["rails"], told["total"]
        self.truth: list[tuple[float, float]] = []
        self.pid: int | None = None
        self.loaded = threading.Event()
        self.stopped = threading.Event()

    def used(self) -> float:
        """CPU seconds of the process's main thread."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def set(self, load: bool) -> None:
        watts = 0.0
        for label, rail in self.rails.items():
            ma = rail["idle_ma"] + (rail["load_ma"] if load else 0)
            if Path(rail["current"]).exists():
                put(rail["current"], ma)
                if rail["power"]:
                    put(rail["power"], ma * rail["millivolts"] // 1000)
            watts += ma * rail["millivolts"] / 1e6 if label in self.total else 0.0
        self.truth.append((time.monotonic(), watts))

    def run(self) -> None:
        is_on = False
        self.set(is_on)
        # The kernel counts a running thread's time in steps of some ms: one look alone would flicker.
        looks = deque([(time.monotonic(), self.used())], maxlen=5)
        while not self.stopped.wait(LOOK_S):
            looks.append((time.monotonic(), self.used()))
            (last, used), (now, use) = looks[0], looks[-1]
            on = use - used > 0.5 * (now - last)
            if on != is_on:
                is_on = on
                self.set(on)
                if on:
                    self.loaded.set()


def start_service(kind: str) -> "subprocess.Popen[bytes] | None":
    if kind == "none":
        return None
    environment = {**os.environ, "JTOP_SERVICE": "True"}
    if kind != "plain":
        environment["PYTHONPATH"] = os.pathsep.join([kind, environment["PYTHONPATH"]])
    log = (BOARD / "service.log").open("wb")
    command = [sys.executable, str(Path(sys.executable).parent / "jtop"), "--force"]
    service = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    for _ in range(200):
        if SOCKET.exists():
            return service
        time.sleep(0.05)
    sys.exit(f"the jtop service did not start: {(BOARD / 'service.log').read_text()[-500:]}")


def break_it(fault: str, service: "subprocess.Popen[bytes] | None", rails: Rails) -> None:
    first = next(rail for rail in rails.rails.values() if rail["load_ma"])
    if fault == "kill" and service:
        os.killpg(service.pid, signal.SIGKILL)
    elif fault == "stale":
        Path(first["current"]).write_text("")  # the service's reader dies of an empty file, its clients do not notice
        rails.stopped.set()
    elif fault == "rail":
        Path(first["current"]).rename(first["current"] + ".gone")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--service", default="plain")
    parser.add_argument("--fault", default="")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    service = start_service(asked.service)
    if asked.fault == "hang" and service:
        os.killpg(service.pid, signal.SIGSTOP)
    rails = Rails()
    command = subprocess.Popen(asked.command)
    rails.pid = command.pid
    rails.start()

    def later() -> None:
        rails.loaded.wait()
        time.sleep(float(os.environ.get("FAULT_AFTER_S", FAULT_AFTER_S)))
        break_it(asked.fault, service, rails)

    if asked.fault:
        threading.Thread(target=later, daemon=True).start()
    code = command.wait()
    rails.stopped.set()
    rails.join()
    if service:
        os.killpg(service.pid, signal.SIGKILL)
    (BOARD / "truth.json").write_text(json.dumps(rails.truth))
    return code


if __name__ == "__main__":
    sys.exit(main())
