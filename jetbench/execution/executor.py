"""What the driver asks of whoever runs its jobs: the Job, its Outcome, and the Executor protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from jetbench.record import Status

Stage = Literal["train", "profile"]


@dataclass(frozen=True)
class Job:
    """One stage of one variant. `folder` holds its request, log, progress and result; no other job uses it."""

    key: str
    stage: Stage
    variant: str
    folder: Path
    request: dict[str, Any]
    threads: int
    timeout_s: float


@dataclass(frozen=True)
class Outcome:
    """How a job ended. `result` is there only when the status is ok; `reason` says what else happened."""

    job: Job
    status: Status
    reason: str
    result: dict[str, Any] | None
    seconds: float


@dataclass(frozen=True)
class Progress:
    """A running job: finished share (0 to 1), a line about its state, seconds since it began."""

    job: Job
    share: float
    text: str
    seconds: float


class Executor(Protocol):
    """Runs jobs side by side; the driver decides which may be."""

    def submit(self, job: Job) -> None:
        """Start a job now."""

    def poll(self) -> list[Outcome]:
        """Jobs that have ended since the last call."""

    def running(self) -> list[Progress]:
        """Jobs that are under way, oldest first."""

    def stop(self) -> None:
        """End all jobs and wait until they are gone; their half-made results are dropped."""
