"""The process of one job: reads request.json in its folder, runs the job, writes result.json or failure.json."""

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jetbench.errors import DataError, DivergedError, JetbenchError, is_disk_trouble, is_out_of_memory
from jetbench.execution.job_folder import EXIT_UNABLE, REQUEST, failure
from jetbench.execution.requests import JobRequest, ProfileReply, TrainReply
from jetbench.files import read_json, write_json
from jetbench.probe.alone import WAITING, die_with
from jetbench.progress import Report
from jetbench.records.record import RECORD_VERSION, Profile, Status
from jetbench.spec.base import Spec, first_problem

REPORT_EVERY_S = 0.25
CHECKPOINT = "checkpoint"
# Modules that jobs need and that take seconds to load.
HEAVY = ("jetbench.execution.train", "jetbench.execution.profile")

RunPhase = Callable[[JobRequest, Report], Spec]


def run_phase(request: JobRequest, report: Report) -> TrainReply | Profile | ProfileReply:
    """Run a training or a profile, as the request says."""
    if request.train is not None:
        from jetbench.execution.train import run_training

        return run_training(request.train, report)
    from jetbench.execution.gateway import gateway_of, profile_through
    from jetbench.execution.profile import run_profile

    assert request.profile
    gateway = gateway_of(request.profile)
    if gateway is None:
        return run_profile(request.profile, report)
    return profile_through(gateway, request.profile, report)


def main(folder: Path, run: RunPhase = run_phase) -> int:
    """Run the job in `folder`; returns 0 if it has a result."""
    driver = os.environ.get("JETBENCH_DRIVER")
    if driver is not None:
        die_with(int(driver))
    raw = read_json(folder / REQUEST)
    if raw is None:
        print(f"{folder}: there is no {REQUEST}", file=sys.stderr)
        return 2
    try:
        request = JobRequest.model_validate(raw)
    except ValidationError as error:
        print(f"{folder / REQUEST}: {first_problem(error)}", file=sys.stderr)
        return 2
    reporter = Reporter(folder)
    if request.train is not None:
        # In this job's folder, wherever it runs, so that another attempt in this folder continues from it.
        train = request.train.model_copy(update={"checkpoint_file": str(folder / CHECKPOINT)})
        request = request.model_copy(update={"train": train})
    try:
        try:
            result = run(request, reporter)
            write_json(folder / "result.json", {**reporter.describe(request), "result": result.model_dump(mode="json")})
            with contextlib.suppress(OSError):
                (folder / CHECKPOINT).unlink(missing_ok=True)
            return 0
        except DivergedError as error:
            report = failure("diverged", str(error))
        except DataError as error:
            # The driver could read the same data, so this machine is at fault.
            report = failure("unable", str(error))
        except JetbenchError as error:
            report = failure("oom" if is_out_of_memory(error) else "error", str(error))
        except Exception as error:
            if is_disk_trouble(error):
                raise
            # Any error of a variant becomes the reason in its row; the traceback goes to its log.
            traceback.print_exc()
            status: Status = "oom" if is_out_of_memory(error) else "error"
            report = failure(status, f"{type(error).__name__}: {error}")
        write_json(folder / "failure.json", report)
        return 1
    except Exception as error:
        if not is_disk_trouble(error) and folder.is_dir():
            raise
        with contextlib.suppress(OSError):
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_UNABLE


class Reporter:
    """Writes the newest progress to the job's folder, at most a few times a second; measures how long the job waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began, self.started = time.time(), time.monotonic()
        self.waited_s = 0.0
        self._waits_since: float | None = None
        self._last = 0.0

    def __call__(self, share: float, text: str) -> None:
        """Report progress; on a full disk it is not written, and the job continues."""
        now, waits = time.monotonic(), text.startswith(WAITING)
        changes = waits != (self._waits_since is not None)
        if self._waits_since is not None and not waits:
            self.waited_s += now - self._waits_since
        self._waits_since = (self._waits_since or now) if waits else None
        if now - self._last >= REPORT_EVERY_S or share >= 1 or changes:
            self._last = now
            with contextlib.suppress(OSError):
                write_json(
                    self.folder / "progress.json",
                    {"share": share, "text": text, "waited_s": self.waited_s, "waits_since": self._waits_since},
                )

    def describe(self, request: JobRequest) -> dict[str, Any]:
        """Which process ran which attempt, when (seconds since 1970), for how long, and how long of that it waited."""
        return {
            "records": RECORD_VERSION,
            "attempt": request.attempt,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": self.began,
            "seconds": time.monotonic() - self.started,
            "waited_s": self.waited_s,
        }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
