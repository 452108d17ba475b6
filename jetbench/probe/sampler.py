"""The sampler's process: writes what a sensor reads to its output as JSON lines until its input is closed.

A process of its own, so that a sensor's library, threads and crashes stay out of the one that is measured, and so that
what sampling costs can be told.
"""

import importlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0


class SamplerError(Exception):
    """A sensor could not be read; the text says why."""


class Sampler:
    """A sensor's stream from a process of its own, as a context: `samples` grows while it is open.

    Raises:
        SamplerError: on entering, when the sensor does not begin to tell.
    """

    def __init__(
        self, sensor: str, interval_s: Optional[float] = None, start_timeout_s: float = START_TIMEOUT_S
    ) -> None:
        self.sensor, self.interval_s, self.start_timeout_s = sensor, interval_s, start_timeout_s
        self.meta: Dict[str, Any] = {}
        self.samples: List[Dict[str, Any]] = []
        self.errors: List[str] = []
        self._began = threading.Event()

    def __enter__(self) -> "Sampler":
        package = __name__.rsplit(".", 1)[0]
        root = Path(__file__).resolve().parents[package.count(".") + 1]
        # Started by path and not by -m: the package is found wherever this is run from, and nothing else is imported.
        code = "import sys; sys.path.insert(0, {!r}); from {}.sampler import main; sys.exit(main())".format(
            str(root), package
        )
        command = [sys.executable, "-c", code, self.sensor]
        if self.interval_s is not None:
            command.append(str(self.interval_s))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._said: List[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._began.wait(self.start_timeout_s)
        if not self.meta:
            self.close()
            said = self._said[-1:] or ["it did not begin within {:g} s".format(self.start_timeout_s)]
            raise SamplerError((self.errors or said)[0])
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the process; what it had read stays."""
        if self._process.stdin:
            try:
                self._process.stdin.close()
            except OSError:
                pass
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_TIMEOUT_S)
        self._listener.join(STOP_TIMEOUT_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        if self._process.returncode != 0 and not self.errors:
            said = self._said[-1] if self._said else "without a word"
            self.errors.append("the sampler ended with code {}: {}".format(self._process.returncode, said))

    @property
    def is_alive(self) -> bool:
        """Does the sensor still tell?"""
        return self._process.poll() is None and not self.errors

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                continue  # a library's own words
            if not isinstance(told, dict):
                continue
            if "meta" in told:
                self.meta = told["meta"]
                self._began.set()
            elif "error" in told:
                self.errors.append(told["error"])
                self._began.set()
            else:
                self.samples.append(told)
        self._began.set()

    def _listen(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            if line.strip():
                self._said.append(line.strip()[:300])
                del self._said[:-5]


def main() -> int:
    """Stream the sensor named by the first argument, at the interval in seconds of the second."""
    sensor = importlib.import_module("." + sys.argv[1], __name__.rsplit(".", 1)[0] + ".sensors")
    interval = float(sys.argv[2]) if len(sys.argv) > 2 else sensor.DEFAULT_INTERVAL_S
    stopped = threading.Event()
    failed: List[str] = []
    lock = threading.Lock()

    def emit(told: Dict[str, Any]) -> None:
        if "error" in told:
            failed.append(told["error"])
        if "t" in told:
            told["cpu_s"] = time.process_time()
        with lock:
            try:
                print(json.dumps(told), flush=True)
            except (OSError, ValueError):
                stopped.set()  # nobody reads any more

    def watch() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=watch, daemon=True).start()
    sensor.stream(interval, emit, stopped)
    return 4 if failed else 0
