"""A worker whose jobs are made up: real processes, real locks and files, but what they find is no measurement.

What a job does is written in $MADE_UP/script.json: {"3-train": ["kill", "ok"]} for the attempts of the variant with
seed 3; "ok" where nothing is said. Every job notes in $MADE_UP/marks.jsonl when it began to work and when it ended.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jetbench.execution import worker
from jetbench.execution.requests import JobRequest, TrainReply
from jetbench.probe.alone import WAITING, machine_shared, machine_to_itself
from jetbench.progress import Report
from jetbench.records.record import Profile
from tests.made_up import ENVIRONMENT, profile, training
from tests.simulated.alive import is_alive

MADE_UP = Path(os.environ["MADE_UP"])
SECONDS = float(os.environ.get("MADE_UP_SECONDS", "0.1"))


def mark(event: str, seed: int, phase: str, attempt: int, **more: Any) -> None:
    """One line in one write: lines of several processes do not mix."""
    told = {"event": event, "seed": seed, "phase": phase, "attempt": attempt, "pid": os.getpid(), **more}
    line = json.dumps({**told, "at": time.monotonic()}) + "\n"
    descriptor = os.open(MADE_UP / "marks.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def run_phase(request: JobRequest, report: Report) -> TrainReply | Profile:
    """Do what the script says for this attempt."""
    phase, attempt = request.phase, request.attempt
    path = Path((request.train or request.profile).weights_file or "")  # type: ignore[union-attr]
    seed = int(re.findall(r"seed-(\d+)", path.name)[0])
    try:
        script = json.loads((MADE_UP / "script.json").read_text()).get(f"{seed}-{phase}", [])
    except FileNotFoundError:
        script = []
    what = script[attempt - 1] if attempt <= len(script) else "ok"
    report(0.0, WAITING)
    with machine_shared() if phase == "train" else machine_to_itself():
        report(0.0, "begins")
        mark("begin", seed, phase, attempt)
        if phase == "profile":
            check_alone(seed)
        act(what, report)
        if (MADE_UP / "lines").exists():
            for number in range(int((MADE_UP / "lines").read_text())):
                print(f"line {number}")
        if phase == "train":
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(int(os.environ.get("MADE_UP_BYTES", "10"))))
        mark("end", seed, phase, attempt)
    if phase == "train":
        return TrainReply(training=training(seed / 1000), environment=ENVIRONMENT)
    return profile(0.001 * (1 + seed))


def check_alone(seed: int) -> None:
    """Note which other jobs that began to work are still alive: a profile must see none."""
    marks = [json.loads(line) for line in (MADE_UP / "marks.jsonl").read_text().splitlines()]
    ended = {each["pid"] for each in marks if each["event"] == "end"}
    others = [e for e in marks if e["event"] == "begin" and e["pid"] not in (os.getpid(), *ended)]
    mark("beside", seed, "profile", 0, others=[e for e in others if is_alive(e["pid"])])


def act(what: str, report: Report) -> None:
    """Work for a moment, then end in the way that is asked for."""
    end = time.monotonic() + SECONDS
    while (now := time.monotonic()) < end:
        report(max(0.01, 1 - (end - now) / SECONDS), "made up")
        time.sleep(0.02)
    if what == "raise":
        raise ValueError("bad shape")
    if what == "exit":
        print("about to leave", flush=True)
        os._exit(7)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what in ("hang", "deaf"):
        if what == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"])
        time.sleep(600)
    if what == "memory slowly":  # 8 MiB a second: a look every half second sees it coming
        held = [os.urandom(2**20) * 100]
        while True:
            held.append(os.urandom(2**20))
            time.sleep(0.125)
    if what.startswith("memory"):  # so many MiB every 20 ms
        held = []
        while True:
            held.append(os.urandom(2**20) * int(what.removeprefix("memory ")))
            time.sleep(0.02)
    if what == "diverge":
        from jetbench.errors import DivergedError

        raise DivergedError("the loss was nan at step 3")


def main(folder: Path) -> int:
    """See `worker.main`."""
    return worker.main(folder, run_phase)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
