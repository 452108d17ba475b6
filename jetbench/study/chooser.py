"""Chooser and View: what a driver asks for the next variant, and what it shows to a person."""

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
    """Says which variants to run next, and learns from what lands."""

    phases: tuple[Phase, ...]
    """In which order a variant is trained and profiled; what is left out is not done."""

    may_wait: bool
    """True if nothing is chosen by a profile, so that profiles can wait until several of them run one after another."""

    def ask(self) -> Variant | None:
        """The next variant; None when there is none now: ask again when something has landed."""

    def stop(self, variant: Variant, profile: Profile | None) -> Failure | None:
        """Why a variant goes no further: asked before anything is run (no profile yet), and after its profile."""

    def floors(self, variant: Variant, profile: Profile | None) -> tuple[Floor, ...]:
        """What its training must reach to go on."""

    def learn(self, record: Record) -> None:
        """A variant that was asked for has landed, now or earlier."""


class View(Protocol):
    """Shows a person what the driver does."""

    def begin(self, total: int, landed: int) -> None:
        """The study begins, `landed` of its `total` variants being there already."""

    def show(self, landed: int, running: Sequence[Progress]) -> None:
        """The state now; called several times a second."""

    def land(self, record: Record, landed: int) -> None:
        """One more variant is done."""

    def note(self, text: str) -> None:
        """Something a person should know."""

    def prepare(self, done: int, total: int) -> None:
        """Images are decoded, before the study begins: `done` of `total`."""


class SilentView:
    """Shows nothing: for scripts."""

    def begin(self, total: int, landed: int) -> None:
        """See `View`."""

    def show(self, landed: int, running: Sequence[Progress]) -> None:
        """See `View`."""

    def land(self, record: Record, landed: int) -> None:
        """See `View`."""

    def note(self, text: str) -> None:
        """See `View`."""

    def prepare(self, done: int, total: int) -> None:
        """See `View`."""


class SuppressedView:
    """A view whose output may go to a full disk, which ends no study."""

    def __init__(self, view: View) -> None:
        self._view = view

    def show(self, landed: int, running: Sequence[Progress]) -> None:
        """See `View`."""
        with contextlib.suppress(OSError):
            self._view.show(landed, running)

    def land(self, record: Record, landed: int) -> None:
        """See `View`."""
        with contextlib.suppress(OSError):
            self._view.land(record, landed)

    def note(self, text: str) -> None:
        """See `View`."""
        with contextlib.suppress(OSError):
            self._view.note(text)
