"""The sampler's process: writes a sensor's readings to its output as JSON lines until its input is closed.

It is a separate process, so that a sensor's library, threads and crashes cannot disturb the measured one, and so that
the cost of sampling can be measured.
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
    """A sensor's stream from a separate process, as a context manager: `samples` grows while it is open.

    Raises:
        SamplerError: on entering, if the sensor sends nothing.
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
        # Not started by -m: this way the package is found from any folder, and nothing else is imported.
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
        self._messages: List[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._began.wait(self.start_timeout_s)
        if not self.meta:
            self.close()
            reasons = self._messages[-1:] or ["the sensor sent nothing within {:g} s".format(self.start_timeout_s)]
            raise SamplerError((self.errors or reasons)[0])
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the process; its samples are kept."""
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
            message = self._messages[-1] if self._messages else "it gave no reason"
            self.errors.append("the sampler ended with code {}: {}".format(self._process.returncode, message))

    @property
    def is_alive(self) -> bool:
        """True while the sensor sends samples."""
        return self._process.poll() is None and not self.errors

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # printed by a library
            if not isinstance(message, dict):
                continue
            if "meta" in message:
                self.meta = message["meta"]
                self._began.set()
            elif "error" in message:
                self.errors.append(message["error"])
                self._began.set()
            else:
                self.samples.append(message)
        self._began.set()

    def _listen(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            if line.strip():
                self._messages.append(line.strip()[:300])
                del self._messages[:-5]


def main() -> int:
    """Stream the sensor named by the first argument, at the interval in seconds of the second."""
    sensor = importlib.import_module("." + sys.argv[1], __name__.rsplit(".", 1)[0] + ".sensors")
    interval = float(sys.argv[2]) if len(sys.argv) > 2 else sensor.DEFAULT_INTERVAL_S
    stopped = threading.Event()
    failed: List[str] = []
    lock = threading.Lock()

    def emit(message: Dict[str, Any]) -> None:
        if "error" in message:
            failed.append(message["error"])
        if "t" in message:
            message["cpu_s"] = time.process_time()
        with lock:
            try:
                print(json.dumps(message), flush=True)
            except (OSError, ValueError):
                stopped.set()  # the reader is gone

    def watch() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=watch, daemon=True).start()
    sensor.stream(interval, emit, stopped)
    return 4 if failed else 0
