"""Chooser and View: the interfaces that give a driver the next variant, and that show its progress to a person."""

import contextlib
from collections.abc import Sequence
from typing import Protocol

from jetbench.execution.executor import Progress
from jetbench.execution.requests import Phase
from jetbench.network.variants import Variant
from jetbench.records.record import Failure, Profile, Record
from jetbench.spec.training import Floor

TRAIN_AND_PROFILE: tuple[Phase, ...] = ("train", "profile")


class Chooser(Protocol):
    """Chooses the variants to run next, and learns from records."""

    phases: tuple[Phase, ...]
    """The order in which a variant is trained and profiled. A phase that is missing is not run."""

    may_wait: bool
    """True if no choice depends on a profile, so that profiles can wait and run in batches."""

    def ask(self) -> Variant | None:
        """The next variant; None if there is no variant now. Ask again after the next record."""

    def stop(self, variant: Variant, profile: Profile | None) -> Failure | None:
        """Why a variant ends here, or None. Called before anything is run (no profile yet) and after its profile."""

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """The mIoU that the variant's training must reach to continue."""

    def learn(self, record: Record) -> None:
        """Take the record of a variant that `ask` returned, from this run or an earlier one."""


class View(Protocol):
    """Shows the driver's progress to a person."""

    def begin(self, total: int, landed: int) -> None:
        """The study begins; `landed` of its `total` variants already have a record."""

    def show(self, landed: int, running: Sequence[Progress], left_s: float | None) -> None:
        """Show the present state, with the forecast of the time left (None: unknown); called several times a second."""

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """One more variant has a record."""

    def note(self, text: str) -> None:
        """Show a message to the person."""

    def prepare(self, done: int, total: int) -> None:
        """Images are being decoded before the study begins: `done` of `total`."""


class SilentView:
    """Shows nothing: for scripts."""

    def begin(self, total: int, landed: int) -> None:
        """See `View`."""

    def show(self, landed: int, running: Sequence[Progress], left_s: float | None) -> None:
        """See `View`."""

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """See `View`."""

    def note(self, text: str) -> None:
        """See `View`."""

    def prepare(self, done: int, total: int) -> None:
        """See `View`."""


class SuppressedView:
    """A view that ignores write errors, so that a full disk for its output does not end the study."""

    def __init__(self, view: View) -> None:
        self._view = view

    def show(self, landed: int, running: Sequence[Progress], left_s: float | None) -> None:
        """See `View`."""
        with contextlib.suppress(OSError):
            self._view.show(landed, running, left_s)

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """See `View`."""
        with contextlib.suppress(OSError):
            self._view.land(record, landed, left_s)

    def note(self, text: str) -> None:
        """See `View`."""
        with contextlib.suppress(OSError):
            self._view.note(text)
