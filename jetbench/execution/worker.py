"""The process of one job: reads request.json in its folder, runs the stage, writes result.json or failure.json."""

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from jetbench.benchmark import TrainRequest, die_with, is_out_of_memory, run_training
from jetbench.errors import JetbenchError
from jetbench.execution.local import failure, read_json, write_json
from jetbench.record import Status
from jetbench.session import ProfileRequest, run_profile
from jetbench.training.loop import Report
from jetbench.training.metrics import DivergedError

REPORT_EVERY_S = 0.25


def main(folder: Path) -> int:
    """Run the job in `folder`; 0 if it has a result."""
    driver = os.environ.get("JETBENCH_DRIVER")
    if driver is not None:
        die_with(int(driver))
    request = read_json(folder / "request.json")
    if request is None:
        print(f"{folder}: no request.json to run", file=sys.stderr)
        return 2
    try:
        write_json(folder / "result.json", run_stage(request, reporter(folder)))
    except DivergedError as error:
        write_json(folder / "failure.json", failure("diverged", str(error)))
    except JetbenchError as error:
        write_json(folder / "failure.json", failure("error", str(error)))
    except Exception as error:
        # A boundary: whatever a variant does wrong becomes its row's reason, and the traceback stays in its log.
        traceback.print_exc()
        status: Status = "oom" if is_out_of_memory(error) else "error"
        write_json(folder / "failure.json", failure(status, f"{type(error).__name__}: {error}"))
    else:
        return 0
    return 1


def run_stage(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Run a training or a profile, as the request says."""
    if request["stage"] == "train":
        return run_training(TrainRequest.model_validate(request["train"]), report).model_dump(mode="json")
    return run_profile(ProfileRequest.model_validate(request["profile"]), report).model_dump(mode="json")


def reporter(folder: Path) -> Report:
    """A report function that leaves the newest progress in the job's folder, a few times a second at most."""
    last = 0.0

    def report(share: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_EVERY_S or share >= 1:
            last = time.monotonic()
            write_json(folder / "progress.json", {"share": share, "text": text})

    return report


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
