"""How tests run a driver over made-up jobs (see tests/simulated): as a process of its own that can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetbench.records.folder import read_records
from jetbench.records.record import Record
from tests.landed import count_landed
from tests.simulated.alive import is_alive

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Study:
    """A folder with a study of made-up jobs, its script and its marks."""

    base: Path
    drivers: "list[subprocess.Popen[str]]" = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.base / "study"

    def script(self, **jobs: list[str]) -> None:
        """What jobs do: train_3=["kill", "ok"]."""
        told = {"-".join(reversed(name.split("_"))): what for name, what in jobs.items()}
        (self.base / "script.json").write_text(json.dumps(told))

    def start(
        self,
        variants: int,
        prefix: tuple[str, ...] = (),
        enter: Callable[[], None] = lambda: None,
        **settings: Any,
    ) -> "subprocess.Popen[str]":
        """A driver that has begun, after `enter` in its process; upper-case settings are environment variables."""

        def prepare() -> None:
            # Tests that run in the background inherit an ignored SIGINT; a person's driver does not.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            enter()

        self.base.mkdir(exist_ok=True)
        environment = {key: str(value) for key, value in settings.items() if key.isupper()}
        pairs = [f"{key}={value}" for key, value in settings.items() if not key.isupper()]
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.simulated.driver", str(self.folder), str(variants), *pairs],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={
                **os.environ,
                "MADE_UP": str(self.base),
                "PYTHONPATH": str(ROOT),
                "JETBENCH_LOCKS": str(self.base),
                **environment,
            },
            preexec_fn=prepare,
        )
        self.drivers.append(process)
        return process

    def end(self) -> None:
        """End drivers that a failed test has left."""
        for process in self.drivers:
            if process.poll() is None:
                process.kill()
            if process.stdout and not process.stdout.closed:
                process.communicate()

    def run(self, variants: int, code: int = 0, **settings: Any) -> str:
        """What a driver prints until it ends with that exit code."""
        process = self.start(variants, **settings)
        text, _ = process.communicate(timeout=300)
        assert process.returncode == code, text
        assert "Traceback" not in text
        return text

    def marks(self) -> list[dict[str, Any]]:
        """What the jobs noted."""
        path = self.base / "marks.jsonl"
        if not path.exists():
            return []
        # The last line may be on its way.
        return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]

    def working(self) -> list[dict[str, Any]]:
        """Where jobs that work now began."""
        marks = self.marks()
        ended = {mark["pid"] for mark in marks if mark["event"] == "end"}
        return [m for m in marks if m["event"] == "begin" and m["pid"] not in ended and is_alive(m["pid"])]

    def records(self) -> dict[str, Record]:
        """Every record by its variant; each has exactly one line."""
        found = read_records(self.folder)
        assert len(found) == count_landed(self.folder)
        return {record.variant: record for record in found}


def wait_until(is_so: Callable[[], Any], what: str, seconds: float = 60, process: Any = None) -> Any:
    """What `is_so` returns once it is true."""
    limit = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < limit, f"not in time: {what}"
        if process is not None:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    return found
