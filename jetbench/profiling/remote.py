"""A board on another machine, reached by SSH: the bundle goes there, its probe measures, the result comes back.

The probe holds the board's own lock, and ends when the connection does. A bundle that was not finished stays on the
board, so the same command goes on where it was.
"""

import json
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jetbench.errors import ProfilingError, SpecError, visible
from jetbench.files import read_json
from jetbench.probe import machine
from jetbench.probe.packed import DAMAGED, REQUEST, RESULT, SUMS
from jetbench.profiling.bundle import settings_for, write_bundle
from jetbench.profiling.case import Case
from jetbench.profiling.collect import collect
from jetbench.progress import Report
from jetbench.records.record import Record
from jetbench.spec.dataset import DatasetConfig, Split
from jetbench.spec.device import Device, device_names, is_device, load_device

SSH, PYTHON = "JETBENCH_SSH", "JETBENCH_GATEWAY_PYTHON"
USUAL_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=10 -o ServerAliveCountMax=3"
"""Without questions, which a progress bar would hide; a silent connection ends after half a minute."""
LOST = 255  # ssh's own exit code
SHORT_S, SEND_S = 120.0, 1800.0
PLACE = '"${XDG_CACHE_HOME:-$HOME/.cache}/jetbench/bundles/%s"'
IDENTIFY = "\nimport json\nprint(json.dumps(board_identity()))\n"


@dataclass(frozen=True)
class Remote:
    """A board that a command reaches.

    Args:
        name: how it is called in messages: `nvidia@agx.local`.
        reach: the command that runs a shell command on it, which is its last argument.
    """

    name: str
    reach: tuple[str, ...]

    def identify(self) -> dict[str, str]:
        """The names in the board's device tree.

        Raises:
            ProfilingError: it cannot be reached, or has no Python there.
        """
        with tempfile.TemporaryFile() as source:
            source.write(Path(machine.__file__).read_bytes() + IDENTIFY.encode())
            source.seek(0)
            answer = self.ask(f"{_python()} -", source)
        try:
            payload = json.loads(answer.decode(errors="replace").splitlines()[-1])
            return {str(key): str(value) for key, value in payload.items()}
        except (ValueError, IndexError, AttributeError):
            raise ProfilingError(f"{self.name}: does not say which board it is") from None

    def find_device(self, name: str = "auto") -> Device:
        """The device that the board is; `name`, if it is not `auto`.

        Raises:
            SpecError: the board is none that we know, or another one than `name`.
            ProfilingError: it cannot be reached.
        """
        identity = self.identify()
        model = visible(identity.get("model", "")) or "a machine that does not name itself"
        if name == "auto":
            boards = (device for each in device_names() if (device := load_device(each)).is_board)
            board = next((device for device in boards if is_device(device, identity)), None)
            if board is None:
                raise SpecError(f"--on {self.name}: is {model}, no board of `jetbench devices`; name it with --device")
            return board
        device = load_device(name)
        if device.is_board and not is_device(device, identity):
            raise SpecError(f"--on {self.name}: is {model}, not a {device.title}")
        return device

    def run(self, bundle: Path, result: Path, report: Report = lambda share, text: None) -> None:
        """Measure a bundle on the board, and write its result.json here.

        Args:
            bundle: the folder of the bundle, here.
            result: the file to write.
            report: called with the finished share and what is being measured.

        Raises:
            ProfilingError: the board cannot be reached, the connection ended, or the probe failed.
        """
        request = read_json(bundle / REQUEST) or {}
        place = PLACE % request["identity"][:16]
        report(0.0, f"sending the bundle to {self.name}")
        # The list of checksums is sent last: where it is, the bundle was sent whole.
        is_there = bool(self.ask(f"ls {place}/{SUMS} 2>/dev/null || true"))
        if not (is_there and self._probe(place, report)):  # never sent whole, or damaged since
            self._send(bundle, place)
            if not self._probe(place, report):
                raise ProfilingError(f"{self.name}: the bundle does not arrive as it was sent; is the disk sound?")
        result.write_bytes(self.ask(f"cat {place}/{RESULT}", None, SEND_S))
        self.ask(f"rm -rf {place}")

    def _send(self, bundle: Path, place: str) -> None:
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                for path in sorted(bundle.iterdir(), key=lambda each: each.name == SUMS):
                    tar.add(path, path.name)
            packed.seek(0)
            self.ask(f"rm -rf {place} && mkdir -p {place} && tar -C {place} -xf -", packed, SEND_S)

    def ask(self, command: str, stdin: IO[bytes] | None = None, limit_s: float = SHORT_S) -> bytes:
        """The output of a command on the board.

        Raises:
            ProfilingError: the command fails, or the board cannot be reached.
        """
        try:
            done = subprocess.run(
                [*self.reach, command], stdin=stdin or subprocess.DEVNULL, capture_output=True, timeout=limit_s
            )
        except OSError as error:
            raise ProfilingError(f"{self.name}: {error.filename}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise ProfilingError(f"{self.name}: no answer within {limit_s:.0f} s") from None
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            reason = visible(lines[-1])[:300] if lines else f"exit code {done.returncode}"
            hint = f"; log in once by hand: {shlex.join(self.reach)}" if done.returncode == LOST else ""
            raise ProfilingError(f"{self.name}: {reason}{hint}")
        return done.stdout

    def _probe(self, place: str, report: Report) -> bool:
        """Run the probe on the board; False if the bundle there is damaged.

        It ends when its standard input closes, so it does not outlive this process.
        """
        command = f"cd {place} && exec {_python()} -m probe . --leash --progress-json"
        process = subprocess.Popen(
            [*self.reach, command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
        messages: list[str] = []
        assert process.stderr
        try:
            for line in process.stderr:
                try:
                    progress = json.loads(line)
                    report(float(progress["share"]), visible(str(progress["text"]))[:200])
                except (ValueError, KeyError, TypeError):
                    messages.append(visible(line.strip()))  # an error, or a warning of torch
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        last = " | ".join(messages[-3:]) or f"exit code {code}"
        if code == DAMAGED:
            return False
        if code == LOST:
            raise ProfilingError(
                f"{self.name}: the connection ended ({last[:300]}). The probe there ends with it, and restores the "
                "power mode. What it has measured is kept there: the same command goes on"
            )
        if code:
            raise ProfilingError(f"the probe on {self.name} failed: {last}"[:900])
        return True


def _python() -> str:
    """The Python on the board that has torch."""
    return os.environ.get(PYTHON, "python3")


def open_remote(target: str) -> Remote:
    """The board that SSH reaches as `user@host`, `host` of ~/.ssh/config, or ssh://user@host:port.

    $JETBENCH_SSH is the command in place of `ssh`, as in `ssh -F FILE`.

    Raises:
        SpecError: it is no such name.
    """
    if not re.fullmatch(r"(ssh://)?[A-Za-z0-9._@:\[\]%/-]{1,255}", target) or target.startswith("-"):
        raise SpecError(f"--on {visible(target)[:80]}: expected user@host, as for ssh")
    return Remote(target, (*shlex.split(os.environ.get(SSH, USUAL_SSH)), target))


def profile_on(
    remote: Remote,
    cases: Sequence[Case],
    device: Device,
    dataset: DatasetConfig | None = None,
    modes: Sequence[str] = (),
    fixes_clocks: bool = False,
    report: Report = lambda share, text: None,
    split: Split = "val",
) -> list[Record]:
    """Profile networks on a board by SSH.

    Args:
        remote: the board.
        cases: networks with their settings; as `settings_for` says, PyTorch runs the traced network there.
        device: what the board is.
        dataset: what int8 files are calibrated on and all files scored on.
        modes: measure in each of these power modes.
        fixes_clocks: run jetson_clocks in each mode.
        report: called with the finished share and what is being measured.
        split: of the dataset, for the scores.

    Raises:
        SpecError: the board has no such runtime or number format.
        ProfilingError: the board cannot be reached, is another one, or nothing could be measured.
    """
    made = [case.model_copy(update={"config": settings_for(device, [case.config])[0]}) for case in cases]
    with tempfile.TemporaryDirectory(prefix="jetbench-") as name:
        folder = Path(name)
        report(0.0, "packing")
        write_bundle(folder / "bundle", made, device, dataset, None, modes, fixes_clocks, split=split)
        remote.run(folder / "bundle", folder / RESULT, report)
        records, _ = collect(folder / RESULT)
    for record in records:
        if record.measured.runs_on == "another machine":
            raise ProfilingError(f"{remote.name} is another machine: {record.measured.notes['processor']}")
    return records
