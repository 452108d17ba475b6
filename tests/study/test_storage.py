"""Studies in a real PostgreSQL: told, away and back, one driver, copied."""

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from jetbench.errors import SpecError
from jetbench.study.storage import hide_password, storage_url
from tests.cli.test_verbs import jetbench
from tests.execution.made_up import Study, wait_until
from tests.landed import count_landed
from tests.postgresql import PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    folder = Path(tempfile.mkdtemp(prefix="jetbench-pg-", dir="/tmp"))
    try:
        server = PostgreSQL(folder)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    study = Study(tmp_path)
    yield study
    study.end()


@contextmanager
def opened(address: str) -> Iterator[RDBStorage]:
    """Optuna's own way to that database, closed at the end."""
    storage = RDBStorage(address.replace("postgresql:", "postgresql+psycopg:"))
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def database(server: PostgreSQL) -> Iterator[str]:
    """Its address, with a clean slate at the end."""
    yield server.address
    with opened(server.address) as storage:
        for name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)


def trials(address: str, name: str = "made-up") -> list[optuna.trial.FrozenTrial]:
    with opened(address) as storage:
        return optuna.load_study(study_name=name, storage=storage).trials


@pytest.mark.server
def test_a_study_in_postgresql_has_every_row_once_and_no_file_beside_it(study: Study, database: str) -> None:
    study.script(train_1=["raise"])
    study.run(4, code=3, storage=database)
    told = trials(database)
    assert sorted(trial.user_attrs["variant"] for trial in told) == [f"seed={seed}" for seed in range(4)]
    assert [trial.state for trial in told].count(TrialState.FAIL) == 1
    assert not (study.folder / "study.db").exists()
    study.run(4, code=3, storage=database)
    assert len(trials(database)) == 4


@pytest.mark.slow
@pytest.mark.server
def test_a_server_that_goes_away_is_waited_for_and_nothing_is_lost(
    study: Study, server: PostgreSQL, database: str
) -> None:
    process = study.start(12, storage=database, wait=60, slots=1, MADE_UP_SECONDS=0.3)
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 2, "two rows", process=process)
    server.stop()
    try:
        assert process.stdout
        said = next(line for line in process.stdout if "no new variant starts" in line)
        assert "storage postgresql+psycopg://jetbench:***@127.0.0.1" in said
        assert "secret" not in said
        begun = {mark["seed"] for mark in study.marks()}
        time.sleep(4)
        # What was under way ends; beside it one training may begin that was placed already, for the one slot.
        assert len({mark["seed"] for mark in study.marks()} - begun) <= 1
    finally:
        server.start()
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    assert "it can be written again; continuing" in text
    assert len(study.records()) == 12
    assert sorted(trial.user_attrs["variant"] for trial in trials(database)) == sorted(study.records())


@pytest.mark.slow
@pytest.mark.server
def test_a_server_that_stays_away_ends_the_driver_and_the_rows_are_told_later(
    study: Study, server: PostgreSQL, database: str
) -> None:
    process = study.start(16, storage=database, wait=2, MADE_UP_SECONDS=0.3)  # more than a wave of profiles
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 1, "a row", process=process)
    server.stop()
    try:
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 2, text
        assert "No row is lost" in text
        assert "Traceback" not in text
        there = set(study.records())
        assert 0 < len(there) < 16
        assert "cannot be used" in study.run(16, code=2, storage=database)  # refused at once while it is away
    finally:
        server.start()
    study.run(16, storage=database)
    assert len(trials(database)) == len(study.records()) == 16


@pytest.mark.slow
@pytest.mark.server
def test_a_restarted_server_between_two_rows_is_not_noticed(study: Study, server: PostgreSQL, database: str) -> None:
    process = study.start(3, storage=database, slots=1, MADE_UP_SECONDS=2)
    wait_until(study.working, "a job", process=process)
    server.stop("fast")
    server.start()
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    assert "cannot be used" not in text
    assert len(trials(database)) == 3


@pytest.mark.slow
@pytest.mark.server
def test_two_drivers_of_one_study_from_two_folders(study: Study, database: str, tmp_path: Path) -> None:
    other = Study(tmp_path / "elsewhere")
    first = study.start(3, storage=database, MADE_UP_SECONDS=0.5)
    wait_until(study.working, "a job", process=first)
    text = other.run(3, code=2, storage=database)
    assert re.search(rf"another driver is running the study made-up \(jetbench, pid {first.pid} on ", text), text
    assert first.communicate(timeout=60)[0].count("[3/3]") == 1
    # Later it is refused too: rows of two folders in one study would say nothing.
    assert "belongs to another report folder" in other.run(3, code=2, storage=database)
    assert other.marks() == []


@pytest.mark.slow
@pytest.mark.server
def test_a_study_is_copied_between_a_folder_and_a_database(study: Study, database: str, tmp_path: Path) -> None:
    study.script(train_1=["raise"])
    study.run(3, code=3)
    said = jetbench("study", "copy", str(study.folder), database)
    assert "made-up: 3 trials copied to postgresql+psycopg://jetbench:***@" in said
    assert "secret" not in said
    assert "already has a study made-up" in jetbench("study", "copy", str(study.folder), database, code=2)
    # The folder goes on with the copy, and tells nothing twice.
    study.run(5, code=3, storage=database)
    assert len(trials(database)) == 5
    back = tmp_path / "back"
    back.mkdir()
    jetbench("study", "copy", database, str(back), "--as", "again")
    copied = trials(f"sqlite:///{back / 'study.db'}", "again")
    for here, there in zip(copied, trials(database), strict=True):
        assert (here.state, here.values, here.params, here.user_attrs) == (
            there.state, there.values, there.params, there.user_attrs
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("study", "copy", "nowhere", "sqlite:///x.db"), "nowhere: not a report folder; give one, or an address"),
        (("study", "copy", "sqlite:///none.db", "sqlite:///x.db"), "none.db: no such file"),
        (("study", "copy", "postgresql://a:b@127.0.0.1:1/x", "sqlite:///x.db"), "storage postgresql+psycopg://a:***@"),
        (("sweep", "nano", "--storage", "nonsense"), "nonsense: not a database address"),
        (("sweep", "nano", "--storage", "oracle+nothing://x"), "oracle+nothing"),
        (("sweep", "nano", "--storage", "postgresql://a:b@127.0.0.1:1/x"), "cannot be used"),
        (("sweep", "nano", "--wait", "soon"), "--wait: 'soon' is not a duration"),
    ],
)
def test_bad_input_gets_one_clear_error(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    text = jetbench(*arguments, cwd=tmp_path, code=2)
    assert "error: " in text
    assert message in text
    assert ":b@" not in text


@pytest.mark.parametrize(
    "address", ["postgresql://me:p@ss@host/db", "postgresql://me:p/w@ss@host", "nonsense://a:se@cr@et"]
)
def test_an_address_with_two_at_signs_is_refused_and_no_part_of_its_password_is_shown(address: str) -> None:
    with pytest.raises(SpecError, match="write that of the password as %40") as refused:
        storage_url(address, Path())
    assert not re.search("p@|ss@|p/w|se@|cr@", str(refused.value))


def test_an_address_is_shown_without_its_password() -> None:
    pytest.importorskip("psycopg")
    url = storage_url("postgresql://me:secret@host:5432/name", Path())
    assert hide_password(url) == "postgresql+psycopg://me:***@host:5432/name"
    with pytest.raises(SpecError, match="not a database address"):
        storage_url("://", Path())
    assert storage_url(None, Path("/a")).database == "/a/study.db"


@pytest.mark.slow
@pytest.mark.server
def test_a_server_that_does_not_answer_holds_up_no_job_and_no_ctrl_c(
    study: Study, server: PostgreSQL, database: str
) -> None:
    process = study.start(30, storage=database, wait=60, MADE_UP_SECONDS=0.3)
    records = study.folder / "records.jsonl"
    wait_until(lambda: count_landed(records.parent) >= 1, "a row", process=process)
    backends = server.pids()
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        before = len(study.marks())
        time.sleep(3)
        assert len(study.marks()) > before  # jobs go on
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=40)
        assert process.returncode == 130, text
        assert time.monotonic() - begun < 20
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    study.run(30, storage=database)
    assert len(trials(database)) == len(study.records()) == 30


@pytest.mark.server
def test_a_study_of_somebody_else_is_left_alone(study: Study, database: str) -> None:
    with opened(database) as storage:
        own = optuna.create_study(study_name="made-up", storage=storage)
        own.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert "its study made-up was not made by jetbench" in study.run(2, code=2, storage=database)
    assert len(trials(database)) == 3


def test_a_memory_that_keeps_nothing_is_refused(study: Study) -> None:
    assert "is lost at the end" in study.run(1, code=2, storage="sqlite://")
