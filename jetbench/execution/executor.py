"""What the driver asks of whoever runs its jobs: the Job, its Outcome, and the Executor protocol."""

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
"""The token of the device that profiles, where no board is named: one profile holds it at a time."""


def token_of(board: str | None) -> str:
    """The token that a profile needs: the board's name, also where a path to its YAML is given."""
    return Path(board).stem if board else PROFILER


def check_threads(key: str, threads: int) -> None:
    """Refuse more threads than this machine has cores.

    Raises:
        SpecError: there are fewer cores.
    """
    if threads > cores():
        raise SpecError(f"{key}={threads} is more than the {cores()} cores of this machine")


@dataclass(frozen=True)
class Job:
    """One phase of one variant. `folder` holds its request, log, progress and result; no other job uses it.

    `needs` are slots: {"cpu": threads} or {"gpu": 1} for a training, {the device's token: 1} for a profile. `timeout_s`
    counts from the job's start, without the time that it waits for the machine. A profile that `may_wait` is one that
    nothing depends on: it can be run together with others.
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
        """Is it a training or a profile?"""
        return self.request.phase


@dataclass(frozen=True)
class Outcome:
    """How a job ended. `result` is there only when the status is ok; `reason` says what else happened.

    `unable` says nothing about the job but of where it ran: a full disk, other data, a process that could not begin.
    """

    job: Job
    status: Status | Literal["unable"]
    reason: str
    result: dict[str, Any] | None
    seconds: float


@dataclass(frozen=True)
class Progress:
    """A job that has not ended: finished share (0 to 1), a line about its state, seconds since it began.

    One that waits for a slot has not begun; its line says for what.
    """

    job: Job
    share: float
    text: str
    seconds: float
    has_begun: bool = True


class Executor(Protocol):
    """Runs jobs, each as soon as what it needs is free."""

    @property
    def width(self) -> int:
        """How many variants are worth having under way at once."""

    @property
    def wave(self) -> int:
        """How many profiles that may wait are worth having there before they run, while trainings go on."""

    def submit(self, job: Job) -> None:
        """Take a job; it starts when what it needs is free.

        Raises:
            OSError: its folder cannot be written to now; the job is not taken.
        """

    def poll(self) -> list[Outcome]:
        """Jobs that have ended since the last call."""

    def running(self) -> list[Progress]:
        """Jobs that have not ended, oldest first."""

    def stop(self) -> None:
        """End all jobs and wait until they are gone; their half-made results are dropped."""
