"""The files in a job's folder: request.json, progress.json, log.txt, and result.json or failure.json at the end."""

import shutil
from pathlib import Path
from typing import Any, Literal

from jetbench.execution.executor import Job
from jetbench.files import write_json
from jetbench.records.record import Status

EXIT_UNABLE = 74  # EX_IOERR: the machine, not the job, is at fault
LOG_TAIL_LINES = 12
REQUEST = "request.json"
KEPT = (REQUEST, "log.txt", "checkpoint")
STALE = ("result.json", "failure.json", "progress.json")


def make_folder(job: Job) -> None:
    """Make a job's folder without what an earlier attempt left; what is no file, or no folder, in its place goes.

    Raises:
        OSError: it cannot be made.
    """
    if job.folder.is_symlink() or (job.folder.exists() and not job.folder.is_dir()):
        job.folder.unlink()
    job.folder.mkdir(exist_ok=True)
    for path in (job.folder / name for name in (*STALE, *KEPT)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name in STALE or (path.exists() and not path.is_file()):
            path.unlink(missing_ok=True)


def write_request(job: Job) -> None:
    """Write a job's request, with the number of its attempt, where its process reads it."""
    request = job.request.model_copy(update={"attempt": job.attempt})
    write_json(job.folder / REQUEST, request.model_dump(mode="json"))


def failure(status: Status | Literal["unable"], reason: str) -> dict[str, Any]:
    """The content of failure.json."""
    return {"status": status, "reason": reason}


def log_tail(path: Path, start: int = 0) -> str:
    """The last lines of a job's log from byte `start` on, to append to a reason; "" if the log is empty."""
    try:
        lines = path.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return "; its log ends: " + " | ".join(lines[-LOG_TAIL_LINES:])[-600:] if lines else ""
