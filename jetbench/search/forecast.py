"""SearchForecast: how long the rest of a search takes, final trainings included, by the seconds of finished jobs."""

from collections.abc import Callable, Sequence

from jetbench.execution.executor import Progress
from jetbench.execution.requests import Phase
from jetbench.spec.search import Search


class SearchForecast:
    """The time left of a search, in seconds; see `study.forecast.Forecaster`.

    Which networks it will train is not known, so each counts as the mean of those before it. A profile of a network
    that a limit then refuses counts as part of the training after it.
    """

    def __init__(self, search: Search, finished: Callable[[], int], width: int, is_alone: bool) -> None:
        """A forecast that knows no finished job.

        Args:
            search: the search.
            finished: returns the number of ended trainings.
            width: number of trainings at once.
            is_alone: True if no training runs during a profile.
        """
        self._search, self._finished, self._width, self._is_alone = search, finished, max(1, width), is_alone
        self._seconds: dict[Phase, list[float]] = {"train": [], "profile": []}

    def took(self, key: str, phase: Phase, seconds: float | None) -> None:
        """A job has finished after so many seconds; None if that is not known."""
        if seconds is not None:
            self._seconds[phase].append(seconds)

    def drop(self, key: str) -> None:
        """Nothing more is run for a variant; its jobs were counted when they ended."""

    def again(self, key: str, phase: Phase) -> None:
        """A finished phase of a variant is run again; it counts as one more training."""

    def left(self, running: Sequence[Progress]) -> float | None:
        """Seconds until the trainings and the final ones have ended; None before a training has ended."""
        trained, profiled = self._seconds["train"], self._seconds["profile"]
        if not trained:
            return None
        train, profile = sum(trained) / len(trained), sum(profiled) / len(trained)
        begun = sum(job.share for job in running if job.has_begun and job.job.phase == "train")
        rest = max(0.0, self._search.trainings - self._finished() - begun)
        return rest * self._both(train, profile) + self._final(train, sum(profiled) / max(1, len(profiled)))

    def _final(self, train: float, profile: float) -> float:
        """Seconds of the final trainings: the base and a full front, with every seed."""
        final, brief = self._search.final, self._search.training.budget
        ratio = final.budget.amount / brief.amount if final.budget.unit == brief.unit else 1.0
        return (1 + final.most) * len(final.seeds) * self._both(ratio * train, profile)

    def _both(self, train: float, profile: float) -> float:
        """Seconds for a training and a profile, of the machine as a whole."""
        return train / self._width + profile if self._is_alone else max(train / self._width, profile)
