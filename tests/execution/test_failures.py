"""What can go wrong while a study runs, each for real: killed, stopped, starved, full, read-only, doubled, interrupted.

The jobs are made up (tests/simulated); processes, signals, limits, disks and clocks are not.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from jetbench.execution.local import GRACE_S
from jetbench.records.record import Failure
from tests.execution.made_up import Study, wait_until
from tests.landed import count_landed
from tests.simulated.alive import is_alive


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    study = Study(tmp_path)
    yield study
    study.end()
    assert study.working() == []  # no test leaves a job behind


def failure_of(study: Study, seed: int) -> Failure:
    failure = study.records()[f"seed={seed}"].failure
    assert failure is not None
    return failure


def attempts(study: Study, seed: int, phase: str = "train") -> int:
    return sum(m["event"] == "begin" and (m["seed"], m["phase"]) == (seed, phase) for m in study.marks())


def test_a_process_that_dies_is_tried_once_more_then_is_a_row_with_its_last_words(study: Study) -> None:
    study.script(train_0=["kill"], train_1=["exit", "exit"], profile_2=["kill"])
    text = study.run(3, code=3)
    assert study.records()["seed=0"].failure is None
    assert "seed=0: train lost (the process was killed by SIGKILL); trying once more" in text
    lost = failure_of(study, 1)
    assert (lost.phase, lost.status) == ("train", "lost")
    assert lost.reason == "the process exited with code 7 and no result; its log ends: about to leave"
    # Of an interrupted profile nothing is kept: the second one measured all anew.
    interrupted = study.records()["seed=2"]
    assert (interrupted.failure, attempts(study, 2, "profile")) == (None, 2)
    assert [attempts(study, seed) for seed in (0, 1, 2)] == [2, 2, 1]


def test_a_job_that_raises_is_not_tried_again_and_its_traceback_is_kept(study: Study) -> None:
    study.script(train_0=["raise"], train_1=["diverge"])
    study.run(2, code=3)
    assert (failure_of(study, 0).status, failure_of(study, 0).reason) == ("error", "ValueError: bad shape")
    assert "Traceback" in (study.folder / "jobs" / f"{study.records()['seed=0'].key}-train" / "log.txt").read_text()
    assert (failure_of(study, 1).status, failure_of(study, 1).reason) == ("diverged", "the loss was nan at step 3")
    assert [attempts(study, seed) for seed in (0, 1)] == [1, 1]
    trials = optuna.load_study(study_name="made-up", storage=f"sqlite:///{study.folder / 'study.db'}").trials
    assert [(trial.state, trial.values) for trial in trials] == [(TrialState.FAIL, None)] * 2


@pytest.mark.slow
def test_a_hung_job_ends_at_its_limit_with_all_its_children_and_its_wait_in_the_queue_does_not_count(
    study: Study,
) -> None:
    # "deaf" ignores SIGTERM; "stop" is stopped, as by a debugger.
    study.script(train_0=["hang"], train_1=["deaf"], train_2=["stop"])
    # One slot: those behind wait for longer than the limit before they begin.
    study.run(5, code=3, slots=1, timeout=3, MADE_UP_SECONDS=0.5)
    for seed in range(3):
        assert failure_of(study, seed).status == "timeout"
        assert "ran past its limit of 3 s" in failure_of(study, seed).reason
        assert attempts(study, seed) == 1
    assert all(study.records()[f"seed={seed}"].failure is None for seed in (3, 4))
    assert not left_asleep(study)


def left_asleep(study: Study) -> list[int]:
    """Children of made-up jobs (sleep 600) that run still."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                (path / "cmdline").read_bytes().startswith(b"sleep\x00600")
                and f"MADE_UP={study.base}\0".encode() in (path / "environ").read_bytes()
                and is_alive(int(path.name))
            ):
                found.append(int(path.name))
    return found


@pytest.mark.slow
def test_a_profile_waits_for_trainings_of_another_study_without_its_limit_running_out(tmp_path: Path) -> None:
    long, short = Study(tmp_path / "long"), Study(tmp_path / "short")
    first = long.start(1, phases=1, MADE_UP_SECONDS=8, JETBENCH_LOCKS=tmp_path)
    wait_until(long.working, "a training", process=first)
    text = short.run(1, timeout=4, MADE_UP_SECONDS=0.2, JETBENCH_LOCKS=tmp_path)
    assert "[1/1] seed=0: val mIoU" in text
    assert first.wait(60) == 0
    first.communicate()
    end = next(m["at"] for m in long.marks() if m["event"] == "end")
    begin = next(m["at"] for m in short.marks() if m["event"] == "begin" and m["phase"] == "profile")
    assert begin >= end


@pytest.mark.slow
def test_a_job_over_its_memory_limit_is_ended_as_out_of_memory(study: Study) -> None:
    study.script(train_0=["memory 8"])
    study.run(2, code=3, memory="300MiB")
    assert failure_of(study, 0).status == "oom"
    assert re.search(r"held 0\.\d\d GiB, over its limit of 0.29 GiB \(memory_limit\)", failure_of(study, 0).reason)
    assert attempts(study, 0) == 1
    assert study.records()["seed=1"].failure is None


@pytest.mark.slow
def test_a_job_that_an_rlimit_starves_is_out_of_memory(study: Study) -> None:
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit (util-linux)")
    study.script(train_0=["memory 64"])
    process = study.start(1, prefix=("prlimit", f"--data={2**30}"))
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 3, text
    assert (failure_of(study, 0).status, failure_of(study, 0).reason) == ("oom", "MemoryError: ")
    assert attempts(study, 0) == 1


@pytest.fixture
def small_memory() -> Iterator[Callable[[], None]]:
    """Puts the process that calls it, and its children, into a control group of 400 MiB."""
    root = Path("/sys/fs/cgroup")
    version_1 = (root / "memory").is_dir()
    group = (root / "memory" if version_1 else root) / f"jetbench-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if version_1 else "memory.max")
    try:
        group.mkdir()
        limit.write_text(str(400 * 2**20))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"needs a control group for memory: {error}")

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    yield enter
    wait_until(lambda: not (group / "cgroup.procs").read_text(), "an empty control group")
    group.rmdir()


IN_TIME = r"held 0\.\d\d GiB when 0\.\d\d of 0\.39 GiB of memory were left; ended before the kernel could"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("eats", "reason"),
    [
        # Which of the two is first, is a matter of the machine's pace; the end is the same.
        ("memory 512", f"the kernel killed the process because memory ran out|{IN_TIME}"),
        ("memory slowly", IN_TIME),
    ],
    ids=["faster than a look", "ended in time"],
)
def test_a_job_that_eats_up_a_containers_memory_is_out_of_memory_and_the_driver_lives(
    study: Study, small_memory: Callable[[], None], eats: str, reason: str
) -> None:
    study.script(train_0=[eats])
    process = study.start(2, enter=small_memory)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 3, text
    assert failure_of(study, 0).status == "oom"
    assert re.match(reason, failure_of(study, 0).reason), failure_of(study, 0).reason
    assert attempts(study, 0) == 1
    assert study.records()["seed=1"].failure is None


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def on(disk: Path, study: Study) -> None:
    """Has the study's folder on that disk; the marks stay outside."""
    (disk / "study").mkdir()
    study.folder.symlink_to(disk / "study")


WEIGHTS = 300_000  # bytes: six of them fit


@pytest.mark.slow
def test_a_full_disk_is_waited_for_and_nothing_is_lost(study: Study, disk: Path) -> None:
    on(disk, study)
    process = study.start(10, wait=60, MADE_UP_BYTES=WEIGHTS)
    assert process.stdout
    said = next(line for line in process.stdout if "no new variant starts" in line)
    assert "No space left on device" in said or "disk is full" in said  # SQLite has its own words
    assert "retrying for up to 60 s" in said
    remount(disk, "size=20m")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "it can be written again; continuing" in text
    assert all(record.failure is None for record in study.records().values())
    assert len(study.records()) == 10


@pytest.mark.slow
def test_a_disk_that_stays_full_ends_the_driver_with_a_word_and_it_goes_on_later(study: Study, disk: Path) -> None:
    on(disk, study)
    # One at a time: with two, trainings may fill the disk before the first profile has loaded.
    text = study.run(10, code=2, wait=3, slots=1, MADE_UP_BYTES=WEIGHTS)
    assert "No row is lost: fix the cause and repeat the command to continue" in text
    assert "No space left on device" in text or "disk is full" in text
    there = study.records()
    assert 0 < len(there) < 10
    assert all(record.failure is None for record in there.values())  # no variant is blamed for the disk
    remount(disk, "size=20m")
    assert f"10 variants, {len(there)} of them finished already" in study.run(10)
    assert len(study.records()) == 10


@pytest.mark.slow
def test_a_folder_that_turns_read_only_is_waited_for(study: Study) -> None:
    if shutil.which("chattr") is None:
        pytest.skip("needs chattr (e2fsprogs)")
    process = study.start(6, wait=60, MADE_UP_SECONDS=0.3)
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 1, "a row", process=process)
    if subprocess.run(["chattr", "+i", records], capture_output=True).returncode:
        process.kill()
        process.communicate()
        pytest.skip("needs a file system and the right to make a file immutable")
    try:
        time.sleep(3)
        rows = count_landed(records.parent)
        assert process.poll() is None
    finally:
        subprocess.run(["chattr", "-i", records], check=True)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "Operation not permitted" in text
    assert rows < 6 == len(study.records())


def test_a_read_only_folder_is_refused_before_anything_runs(study: Study, disk: Path) -> None:
    on(disk, study)
    remount(disk, "ro")
    assert "cannot write here (Read-only file system)" in study.run(2, code=2)
    assert study.marks() == []


@pytest.mark.slow
def test_a_second_driver_is_refused_and_the_first_goes_on(study: Study) -> None:
    first = study.start(3, MADE_UP_SECONDS=0.5)
    wait_until(study.working, "a job", process=first)
    text = study.run(3, code=2)
    assert re.search(rf"another driver is running this study \(pid {first.pid} on .+\)", text)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 0, out
    assert len(study.records()) == 3


def test_ctrl_c_stops_all_jobs_and_the_study_goes_on_later(study: Study) -> None:
    process = study.start(4, MADE_UP_SECONDS=1)
    wait_until(study.working, "a job", process=process)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=30)
    assert (process.returncode, text.splitlines()[-1]) == (130, "stopped")
    assert "Traceback" not in text
    assert time.monotonic() - begun < GRACE_S
    assert study.working() == []
    study.run(4)
    assert len(study.records()) == 4


def test_a_second_ctrl_c_does_not_wait_for_a_job_that_will_not_end(study: Study) -> None:
    study.script(train_0=["deaf"])
    process = study.start(1)
    wait_until(lambda: left_asleep(study), "a job that does not listen", process=process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it gives the job time
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=30)
    assert time.monotonic() - begun < 3 < GRACE_S - 0.5
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert not left_asleep(study)


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long offset(void) {
    long found = 0;
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
    if (file) { if (fscanf(file, "%ld", &found) != 1) found = 0; fclose(file); }
    return found;
}
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += offset();
    return result;
}
int gettimeofday(struct timeval *t, void *zone) {
    struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000; return 0;
}
time_t time(time_t *t) {
    struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.slow
def test_a_clock_that_jumps_ends_no_job_and_loses_no_row(study: Study) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler, for a clock that can be moved for one process")
    (study.base / "clock.c").write_text(CLOCK)
    library = study.base / "clock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, study.base / "clock.c", "-ldl"], check=True, capture_output=True
    )
    offset = study.base / "offset"
    offset.write_text("0")
    process = study.start(6, timeout=5, MADE_UP_SECONDS=0.5, LD_PRELOAD=library, CLOCK_OFFSET=offset)
    records = study.folder / "records.jsonl"
    for number, seconds in enumerate((86_400, -86_400, 0), 1):
        wait_until(lambda n=number: count_landed(records.parent) >= n, "a row", process=process)  # type: ignore[misc]
        offset.write_text(str(seconds))
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    found = study.records()
    assert all(record.failure is None for record in found.values())
    assert len(found) == 6
    days = {record.finished[:10] for record in found.values()}
    assert len(days) > 1  # the clock did jump
    begun = [json.loads(path.read_text())["seconds"] for path in study.folder.glob("jobs/*-train/result.json")]
    assert all(0 < seconds < 5 for seconds in begun)
    study.run(6)
    assert len(optuna.load_study(study_name="made-up", storage=f"sqlite:///{study.folder / 'study.db'}").trials) == 6


@pytest.mark.slow
def test_a_folder_that_is_moved_away_is_not_gone_on_with_in_another_one(study: Study) -> None:
    database = f"sqlite:///{study.base}/elsewhere.db"
    process = study.start(8, wait=3, storage=database, MADE_UP_SECONDS=0.3)
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 2, "two rows", process=process)
    study.folder.rename(study.base / "moved")
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2, text
    assert "is no longer the folder in which this run began" in text or "No such file or directory" in text
    assert not study.folder.exists()
    (study.base / "moved").rename(study.folder)
    study.run(8, storage=database)
    assert len(study.records()) == 8
    assert all(record.failure is None for record in study.records().values())


@pytest.mark.slow
def test_a_database_that_is_deleted_under_a_running_study_is_made_anew(study: Study) -> None:
    process = study.start(6, wait=30, MADE_UP_SECONDS=0.4)
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 2, "two rows", process=process)
    (study.folder / "study.db").unlink()
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    assert len(study.records()) == 6
    study.run(6)  # what the new one was not told yet
    assert len(optuna.load_study(study_name="made-up", storage=f"sqlite:///{study.folder / 'study.db'}").trials) == 6


def _started_by_the_preloader(study: Study) -> tuple[int, int] | None:
    """A process that trains and the one that started it; none while only orphans of a dead one are told of."""
    for message in study.working():
        try:
            parent = int(Path(f"/proc/{message['pid']}/stat").read_text().rsplit(")", 1)[1].split()[1])
            command = Path(f"/proc/{parent}/cmdline").read_text()
        except OSError:  # ended meanwhile
            continue
        if message["phase"] == "train" and "jetbench.execution.preload" in command:
            return message["pid"], parent
    return None


@pytest.mark.slow
def test_jobs_do_not_pay_for_the_death_of_the_process_that_starts_them(study: Study) -> None:
    process = study.start(4, slots=2, MADE_UP_SECONDS=1)
    for _ in range(2):  # two lost attempts would fail a variant
        worker, server = wait_until(lambda: _started_by_the_preloader(study), "a training", process=process)
        os.kill(server, signal.SIGKILL)
        wait_until(lambda pid=worker: not is_alive(pid), "the end of its jobs", process=process)  # type: ignore[misc]
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    assert " lost (" not in text
    assert all(record.failure is None for record in study.records().values())
