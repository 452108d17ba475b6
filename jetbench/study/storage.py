"""Storage of a study's Optuna side: study.db in its folder, or any database that Optuna can use."""

import contextlib
import hashlib
import os
import re
import socket
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from jetbench.errors import SpecError, StorageError, StudyError

DATABASE = "study.db"
ANSWER_S = 10
DATABASE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
DAMAGE = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What Optuna raises for tables of another version, and for values that it did not write."""
EXTRAS = {"postgresql": ("psycopg", "jetbench[postgresql]"), "mysql": ("pymysql", "pymysql")}


def storage_url(address: str | None, folder: Path) -> URL:
    """The address of a study's storage; study.db in `folder` by default.

    Raises:
        SpecError: SQLAlchemy cannot use the address here.
    """
    if address is None:
        return URL.create("sqlite", database=str((folder / DATABASE).resolve()))
    if address.partition("?")[0].count("@") > 1:
        raise SpecError(f"{_without_user(address)}: holds two @; write that of the password as %40")
    try:
        url = make_url(address)
        kind = url.get_backend_name()
        if kind == "sqlite" and url.database in (None, "", ":memory:"):
            raise SpecError(
                f"{address}: an SQLite database in memory is lost at the end; name a file: sqlite:////path/to/study.db"
            )
        module, extra = EXTRAS.get(kind, (None, None))
        if module is not None and url.drivername == kind:
            if find_spec(module) is None:
                raise SpecError(f"{hide_password(url)}: needs {module}: pip install '{extra}'")
            url = url.set(drivername=f"{kind}+{module}")
        create_engine(url).dispose()  # does not connect yet
    except (ArgumentError, ValueError):
        raise SpecError(
            f"{_without_user(address)}: not a database address; write for example postgresql://user@host/database"
        ) from None
    except (NoSuchModuleError, ImportError) as error:
        raise SpecError(f"{hide_password(make_url(address))}: {error}") from None
    return url


def _without_user(address: str) -> str:
    """An address that cannot be parsed, without all that may be a password."""
    return re.sub("://.*@", "://***@", address[:300])


def connect_args(url: URL) -> dict[str, object]:
    """Settings that limit the wait for a PostgreSQL server that does not answer."""
    if url.get_backend_name() != "postgresql":
        return {}
    return {
        "connect_timeout": ANSWER_S,
        "options": f"-c statement_timeout={1000 * ANSWER_S}",
        "tcp_user_timeout": 1000 * ANSWER_S,
        "application_name": f"jetbench, pid {os.getpid()} on {socket.gethostname()}",
    }


def hide_password(url: URL) -> str:
    """The address without its password, for messages."""
    return url.render_as_string(hide_password=True)


def open_storage(url: URL) -> RDBStorage:
    """Optuna's storage at that address; its tables are made if they do not exist.

    A connection that a restart of the server has broken is detected before it is used.

    Raises:
        StorageError: the database cannot be reached or used now.
    """
    engine = {} if url.get_backend_name() == "sqlite" else {"pool_pre_ping": True, "connect_args": connect_args(url)}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine)
    except (*DATABASE_ERRORS, *DAMAGE) as error:
        raise trouble_of(url, error) from None


def close_storage(storage: RDBStorage) -> None:
    """Close the storage's connections."""
    with contextlib.suppress(*DATABASE_ERRORS):
        storage.remove_session()
        storage.engine.dispose()


def trouble_of(url: URL, error: BaseException) -> StudyError:
    """The error that says why a storage cannot be used, and how to fix it; a StorageError if that may pass."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__ else error
    reason = (str(getattr(cause, "orig", None) or cause).strip() or type(error).__name__).splitlines()[0]
    if url.get_backend_name() == "sqlite":
        passes = any(word in reason for word in ("full", "locked", "readonly", "I/O", "unable to open"))
        if passes:
            return StorageError(f"{url.database}: cannot be used ({reason}); fix the cause")
        return StudyError(
            f"{url.database}: cannot be used ({reason}); delete it: it is rebuilt from records.jsonl, no row is lost"
        )
    if isinstance(error, DAMAGE):
        return StudyError(f"storage {hide_password(url)}: was not made by this version of Optuna ({reason})")
    return StorageError(
        f"storage {hide_password(url)}: cannot be used ({reason}); start the database or correct the address"
    )


class StudyLock:
    """A lock of a PostgreSQL session, so that a study in a shared database has only one driver on all machines.

    The server releases it when the connection ends. With other databases it locks nothing; only the folder's lock
    protects them.
    """

    def __init__(self, url: URL, study: str) -> None:
        """Take the lock.

        Raises:
            StudyError: another driver holds the lock, or the database cannot be reached.
        """
        self.url, self.study = url, study
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        if url.get_backend_name() == "postgresql":
            self._engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args=connect_args(url))
            self._number = int.from_bytes(hashlib.sha256(study.encode()).digest()[:8], "big", signed=True)
            try:
                self.keep()
            except SQLAlchemyError as error:
                raise trouble_of(url, error) from None

    @property
    def is_held(self) -> bool:
        """True if a lock is held that can be lost, that is, with PostgreSQL."""
        return self._engine is not None

    def keep(self) -> None:
        """Check that the lock is still held; take it again if the connection was lost.

        Raises:
            StudyError: another driver holds it now.
            SQLAlchemyError: the database cannot be reached.
        """
        if self._engine is None:
            return
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
                return
            except SQLAlchemyError:
                with contextlib.suppress(SQLAlchemyError):
                    self._connection.close()
                self._connection = None
                self._engine.dispose()
        connection = self._engine.connect()
        if not connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": self._number}).scalar():
            holder = connection.execute(
                text(
                    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                    "WHERE l.locktype = 'advisory' AND l.granted AND l.objid = :low"
                ),
                {"low": self._number & 0xFFFFFFFF},
            ).first()
            connection.close()
            who = f" ({holder[0]})" if holder and holder[0] else ""
            raise StudyError(
                f"storage {hide_password(self.url)}: another driver is running the study {self.study}{who}; wait for "
                "it, stop it, or use another --name"
            )
        self._connection = connection

    def release(self) -> None:
        """Release the lock."""
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.close()
        if self._engine is not None:
            self._engine.dispose()


@contextlib.contextmanager
def only_driver(url: URL, study: str) -> Iterator[StudyLock]:
    """A `StudyLock` as a context manager."""
    lock = StudyLock(url, study)
    try:
        yield lock
    finally:
        lock.release()


def copy_study(source: URL, target: URL, study: str | None, new_name: str | None) -> tuple[str, int]:
    """Copy a study with all its trials; returns the copy's name and its number of trials.

    Args:
        source: address of the study's storage.
        target: address of the storage for the copy.
        study: the study's name; needed if `source` holds several studies.
        new_name: the copy's name; by default the same.

    Raises:
        SpecError: the study does not exist, `source` holds several and none is named, or the new name is taken.
        StudyError: one of the two storages cannot be used, or another driver is running the study.
    """
    if source.get_backend_name() == "sqlite" and source.database and not Path(source.database).is_file():
        raise SpecError(f"{source.database}: no such file")
    source_storage, target_storage = open_storage(source), open_storage(target)
    try:
        names = optuna.get_all_study_names(source_storage)
        if study is None and len(names) != 1:
            what = f"holds {len(names)} studies ({', '.join(names)}); name one with --study" if names else "is empty"
            raise SpecError(f"{hide_password(source)}: {what}")
        name = study or names[0]
        if name not in names:
            raise SpecError(f"{hide_password(source)}: no study {name}; it holds: {', '.join(names) or 'none'}")
        new = new_name or name
        if new in optuna.get_all_study_names(target_storage):
            raise SpecError(f"{hide_password(target)}: already has a study {new}; give another name with --as")
        with only_driver(source, name), only_driver(target, new), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                optuna.copy_study(
                    from_study_name=name, from_storage=source_storage, to_storage=target_storage, to_study_name=new
                )
            except optuna.exceptions.DuplicatedStudyError:
                raise SpecError(
                    f"{hide_password(target)}: another program has just made a study {new}; give another name with --as"
                ) from None
            except BaseException:
                # A partial copy would look complete.
                with contextlib.suppress(Exception):
                    optuna.delete_study(study_name=new, storage=target_storage)
                raise
            return new, len(optuna.load_study(study_name=new, storage=target_storage).get_trials(deepcopy=False))
    except DAMAGE as error:
        raise trouble_of(source, error) from None
    except DATABASE_ERRORS as error:
        raise StorageError(f"copying {hide_password(source)} to {hide_password(target)}: {error}") from None
    finally:
        for storage in (source_storage, target_storage):
            close_storage(storage)
