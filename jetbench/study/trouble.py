"""Waits for a folder or a database that cannot be written now."""

import time
from collections import Counter

MOST_RUNS = 3  # of a job that runs longer than `limit_s` and then meets the trouble
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0


class Trouble:
    """A folder or database that cannot be written: since when it has failed, and when to retry.

    It is the same trouble until a record could be written, or until nothing has met it for `limit_s`. A job that takes
    longer than `limit_s` before it meets the trouble is run three times at most.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.is_there = False
        self._since: float | None = None
        self._last_met: dict[str, float] = {}
        self._met_again: Counter[str] = Counter()
        self._tries, self._next, self._passed = 0, 0.0, 0.0

    @property
    def limit(self) -> str:
        """The limit in words: `60 s`, or `10 min` from two minutes on."""
        return f"{self.limit_s:g} s" if self.limit_s < 120 else f"{self.limit_s / 60:g} min"

    def meet(self, job: str | None = None) -> bool:
        """A job (or the driver, if None) has met the trouble; returns True if the trouble is new."""
        now, was_there = time.monotonic(), self.is_there
        if not was_there and self._since is not None and now - self._passed > self.limit_s:
            self._since, self._tries = None, 0  # the last trouble is too long ago to be the same
        if job is not None:
            if now - self._last_met.get(job, now) > self.limit_s:
                self._met_again[job] += 1
            self._last_met[job] = now
        self.is_there = True
        if self._since is None:
            self._since = now
        if not was_there or now >= self._next:  # many jobs may meet it at once: count them as one try
            self._next = now + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._tries, 10), self.limit_s / 4)
            self._tries += 1
        return not was_there

    def may_try(self) -> bool:
        """True if there is no trouble, or it is time to try again."""
        return not self.is_there or time.monotonic() >= self._next

    @property
    def why_hopeless(self) -> str | None:
        """Why to give up: the trouble has lasted too long, or one job always meets it. None if neither holds."""
        if self._since is not None and time.monotonic() - self._since > self.limit_s:
            return f"This has lasted for {self.limit}"
        if max(self._met_again.values(), default=0) >= MOST_RUNS - 1:
            return f"It was met in {MOST_RUNS} long runs of one job"
        return None

    def pass_by(self) -> None:
        """The trouble is over for now."""
        self.is_there, self._passed = False, time.monotonic()

    def forget(self) -> None:
        """A record could be written, so the next trouble is a new one."""
        self._since, self._tries = None, 0
        self._last_met.clear()
        self._met_again.clear()
