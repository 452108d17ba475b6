"""When the profiles of a sweep run: in waves, so that no slot waits for the longest training after each of them."""

from pathlib import Path

import pytest

from jetbench.execution.executor import Job
from jetbench.execution.local import LocalExecutor
from tests.made_up import job_request


class Placing(LocalExecutor):
    """A LocalExecutor that only says what it would start; a job ends when the test says so."""

    def __init__(self, cpus: int) -> None:
        super().__init__(slots={"cpu": cpus, "profiler": 1}, preload=())
        self.begun: list[str] = []

    def _start(self, job: Job):  # type: ignore[no-untyped-def]
        self.begun.append(job.variant)
        return type("Running", (), {"job": job})()

    def end(self, *names: str) -> None:
        self._running = [running for running in self._running if running.job.variant not in names]
        self._start_jobs()

    @property
    def there(self) -> list[str]:
        return sorted(running.job.variant for running in self._running)


def training(folder: Path, name: str) -> Job:
    return Job(name, name, folder / name, job_request("train"), threads=1, timeout_s=60.0, needs={"cpu": 1})


def profile(folder: Path, name: str, may_wait: bool = True) -> Job:
    return Job(
        name,
        name,
        folder / name,
        job_request("profile"),
        threads=1,
        timeout_s=60.0,
        needs={"profiler": 1},
        may_wait=may_wait,
    )


@pytest.fixture
def executor() -> Placing:
    return Placing(cpus=2)


def test_profiles_wait_while_trainings_go_on(executor: Placing, tmp_path: Path) -> None:
    for name in ("long", "short"):
        executor.submit(training(tmp_path, name))
    executor.end("short")
    executor.submit(training(tmp_path, "next"))
    executor.submit(profile(tmp_path, "of short"))
    assert executor.there == ["long", "next"]


def test_a_wave_begins_when_it_is_full_and_then_bars_trainings_to_its_end(executor: Placing, tmp_path: Path) -> None:
    executor.submit(training(tmp_path, "long"))
    names = [f"profile {number}" for number in range(executor.wave)]
    for name in names[:-1]:
        executor.submit(profile(tmp_path, name))
    assert executor.begun == ["long"]
    executor.submit(profile(tmp_path, names[-1]))
    executor.submit(training(tmp_path, "barred"))
    for name in names:
        assert name in executor.there
        assert "barred" not in executor.begun
        executor.end(name)
    assert executor.there == ["barred", "long"]


def test_a_wave_begins_when_no_training_is_left(executor: Placing, tmp_path: Path) -> None:
    executor.submit(training(tmp_path, "last"))
    executor.submit(profile(tmp_path, "first profile"))
    executor.submit(profile(tmp_path, "second profile"))
    executor.end("last")
    assert executor.there == ["first profile"]
    executor.end("first profile")
    assert executor.there == ["second profile"]


def test_a_profile_that_something_depends_on_waits_for_no_wave(executor: Placing, tmp_path: Path) -> None:
    executor.submit(training(tmp_path, "long"))
    executor.submit(profile(tmp_path, "gate", may_wait=False))
    executor.submit(training(tmp_path, "barred"))
    assert executor.there == ["gate", "long"]
