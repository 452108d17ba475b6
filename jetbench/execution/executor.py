"""The interface between the driver and an executor: the Job, its Outcome, and the Executor protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from jetbench.errors import SpecError
from jetbench.execution.requests import JobRequest, Phase
from jetbench.probe.machine import cores
from jetbench.records.record import Status

QUEUED = "waiting for a slot"
PROFILER = "profiler"
"""The token of the device that profiles, if no board is named. One profile holds it at a time."""


def token_of(board: str | None) -> str:
    """The token that a profile needs: the board's name, also if `board` is the path of its YAML."""
    return Path(board).stem if board else PROFILER


def check_threads(key: str, threads: int) -> None:
    """Raise if a setting asks for more threads than this machine has cores.

    Raises:
        SpecError: this machine has fewer cores.
    """
    if threads > cores():
        raise SpecError(f"{key}={threads} is more than the {cores()} cores of this machine")


@dataclass(frozen=True)
class Job:
    """One phase of one variant. `folder` holds its request, log, progress and result; no other job uses it.

    `needs` are slots: {"cpu": threads} or {"gpu": 1} for a training, {the device's token: 1} for a profile. `timeout_s`
    counts from the job's start, without the time that the job waits for the machine. Nothing depends on a profile that
    `may_wait`, so it can be delayed and run together with others.
    """

    key: str
    variant: str
    folder: Path
    request: JobRequest
    threads: int
    timeout_s: float
    needs: Mapping[str, int] = field(default_factory=dict)
    attempt: int = 1
    memory_bytes: int | None = None
    may_wait: bool = False

    @property
    def phase(self) -> Phase:
        """`train` or `profile`."""
        return self.request.phase


@dataclass(frozen=True)
class Outcome:
    """How a job ended, after so many `seconds` without its wait for the machine.

    `result` is None unless the status is ok; otherwise `reason` says what happened.

    `unable`: the machine, not the job, is at fault: a full disk, other data, a process that could not start. The job
    is run again.
    """

    job: Job
    status: Status | Literal["unable"]
    reason: str
    result: dict[str, Any] | None
    seconds: float


@dataclass(frozen=True)
class Progress:
    """A job that has not ended: finished share (0 to 1), a line about its state, seconds since it began.

    A job that waits for a slot has not begun; its line says what it waits for.
    """

    job: Job
    share: float
    text: str
    seconds: float
    has_begun: bool = True


class Executor(Protocol):
    """Runs jobs, each as soon as the slots that it needs are free."""

    @property
    def width(self) -> int:
        """Number of variants that are worth running at once."""

    @property
    def profiles_alone(self) -> bool:
        """True if no training runs during a profile, because they share a machine."""

    @property
    def wave(self) -> int:
        """Number of profiles that may wait to collect before they run, while trainings continue."""

    def submit(self, job: Job) -> None:
        """Take a job; it starts when the slots that it needs are free.

        Raises:
            OSError: its folder cannot be written now; the job is not taken.
        """

    def poll(self) -> list[Outcome]:
        """Jobs that have ended since the last call."""

    def running(self) -> list[Progress]:
        """Jobs that have not ended, oldest first."""

    def stop(self) -> None:
        """End all jobs and wait until they have ended; their partial results are dropped."""
