import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jetbench.execution.executor import Job, Outcome
from jetbench.execution.local import LocalExecutor
from jetbench.execution.requests import JobRequest
from jetbench.files import read_json, write_json

TRAINING = {
    "architecture": {
        "base_channels": 4,
        "max_channels": 16,
        "max_expanded_channels": 16,
        "decoder": {"head_channels": 8},
    },
    "dataset": {"name": "streets", "size": [48, 64], "train": 16, "val": 6, "test": 4},
    "device": "cpu",
}


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor()
    yield executor
    executor.stop()


def job(folder: Path, timeout_s: float = 60, weights: str = "weights.safetensors", **training: Any) -> Job:
    request = {**TRAINING, "training": {"batch_size": 4, **training}, "weights_file": str(folder / weights)}
    return Job("key", "variant", folder, JobRequest.model_validate({"train": request}), 1, timeout_s)


def wait(executor: LocalExecutor, seconds: float = 60) -> Outcome:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if outcomes := executor.poll():
            return outcomes[0]
        time.sleep(0.05)
    raise AssertionError("no outcome in time")


def wait_for_progress(executor: LocalExecutor) -> int:
    """The job's process, once it has reported a step."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        assert not executor.poll(), "the job ended too early"
        pid = executor._running[0].process.pid
        if executor.running()[0].share > 0 and pid is not None:
            return pid
        time.sleep(0.05)
    raise AssertionError("no progress in time")


def test_a_job_runs_in_its_own_process_and_gives_its_result(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job(tmp_path, budget="3 steps"))
    outcome = wait(executor)
    assert outcome.status == "ok", outcome.reason
    assert outcome.result is not None
    assert outcome.result["training"]["steps"] == 3
    assert (tmp_path / "weights.safetensors").is_file()
    assert executor.running() == []


def test_a_loss_that_explodes_is_diverged_and_not_an_error(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job(tmp_path, budget="50 steps", learning_rate=1e18))
    outcome = wait(executor)
    assert (outcome.status, outcome.result) == ("diverged", None)
    assert "the loss was" in outcome.reason


def test_an_exception_is_an_error_with_its_type_and_text_and_a_traceback_in_the_log(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    (tmp_path / "blocked").write_text("")
    executor.submit(job(tmp_path, budget="1 step", weights="blocked/weights.safetensors"))
    outcome = wait(executor)
    assert outcome.status == "error"
    assert "Error: " in outcome.reason
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_killed_job_is_lost_and_says_by_what(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job(tmp_path, budget="600 seconds"))
    os.kill(wait_for_progress(executor), signal.SIGKILL)
    outcome = wait(executor)
    assert outcome.status == "lost"
    assert "SIGKILL" in outcome.reason


def test_a_job_past_its_limit_is_stopped(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job(tmp_path, timeout_s=0.5, budget="600 seconds"))
    pid = executor._running[0].process.pid
    outcome = wait(executor)
    assert outcome.status == "timeout"
    assert "limit of 0.5 s" in outcome.reason
    assert not Path(f"/proc/{pid}").exists()


def test_stop_ends_jobs_that_are_under_way(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job(tmp_path, budget="600 seconds"))
    pid = wait_for_progress(executor)
    executor.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert executor.running() == []


def test_stop_ends_jobs_whose_processes_still_load(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job(tmp_path, budget="600 seconds"))
    executor.stop()
    assert executor.running() == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_a_job_dies_with_its_driver(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from jetbench.execution.executor import Job;"
        "from jetbench.execution.local import LocalExecutor; from jetbench.execution.requests import JobRequest;"
        "request = JobRequest.model_validate_json(sys.argv[2]); e = LocalExecutor();"
        "e.submit(Job('k', 'v', Path(sys.argv[1]), request, 1, 600.0));\n"
        "while e._running[0].process.pid is None: e.poll(); time.sleep(0.1)\n"
        "print(e._running[0].process.pid, flush=True); time.sleep(600)"
    )
    request = job(tmp_path, budget="600 seconds").request.model_dump_json()
    driver = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), request], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    try:
        pid = int(driver.stdout.readline())
        while read_json(tmp_path / "progress.json") is None:
            assert driver.poll() is None
            time.sleep(0.05)
    finally:
        driver.stdout.close()
        driver.kill()
        driver.wait()
    limit = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert (
        not Path(f"/proc/{pid}").exists()
        or Path(f"/proc/{pid}/status").read_text().split("State:")[1].lstrip()[0] == "Z"
    )


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]
    path.write_text('{"a":')
    assert read_json(path) is None
    assert read_json(tmp_path / "none.json") is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["result.json", "failure.json", "progress.json", "request.json", "log.txt"])
def test_a_folder_in_place_of_a_jobs_file_is_removed_and_other_folders_stay(
    executor: LocalExecutor, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "teacher").write_text("of another machine")
    executor.submit(job(tmp_path))
    assert wait(executor).status == "ok"
    assert (tmp_path / "given" / "teacher").exists()
