"""The folder of a study: its lock, its sweep or search, and its records, one per line."""

import codecs
import contextlib
import errno
import fcntl
import gc
import json
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from jetbench import __version__
from jetbench.errors import StudyError
from jetbench.files import open_plain, read_text, warn, write_whole
from jetbench.records.record import (
    RECORD_VERSION,
    ProfileRow,
    Record,
    RecordRow,
    TrainingRow,
    joined,
    profile_alone,
    profile_key,
    with_form,
    with_profile,
)
from jetbench.records.version2 import ProfileRecord2, Record2
from jetbench.spec.base import describe_value, first_problem, read_yaml
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep

# Fields that may change on resume, because they change no result: the key of a variant identifies its results.
# A search may resume with more trainings and another final training of its front.
FREE_TO_CHANGE = (
    "description:", "labels", "timeout_s:", "memory_limit:", "variants:", "include_base:", "quoted:", "seeds:",
    "budgets:", "trainings:", "final."
)  # fmt: skip
TAIL = 2**16
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
SWEEP, LOCK, RECORDS, IDENTITY = "sweep.yaml", ".lock", "records.jsonl", ".study"


@contextmanager
def lock_folder(folder: Path) -> Iterator[Callable[[], None]]:
    """Lock the folder for one driver; the lock ends with the process, however it ends.

    Yields a check that raises an OSError if the folder was moved, removed or unmounted since, so that nothing is
    written into another folder at its path.

    Raises:
        StudyError: the folder cannot be written, or another driver holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # What a link points to must not be emptied.
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise StudyError(f"{folder / LOCK}: is a link or a pipe, not a lock of jetbench; remove it") from None
        raise StudyError(f"{folder}: cannot write here ({error.strerror}); choose another --reports folder") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode(errors="replace").strip() or "unknown"
            raise StudyError(
                f"{folder}: another driver is running this study ({owner}); wait for it, stop it, or use another --name"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            warn(f"{folder}: this file system has no locks ({error.strerror}); run one command at a time here")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()}".encode())

        def check() -> None:
            locked, current = os.fstat(descriptor), (folder / LOCK).stat()
            if (locked.st_dev, locked.st_ino) != (current.st_dev, current.st_ino):
                raise FileNotFoundError(errno.ENOENT, "is no longer the folder in which this run began", str(folder))

        yield check
    finally:
        os.close(descriptor)


def study_id(folder: Path) -> str:
    """A random id that distinguishes this folder from others of the same name; it moves with the folder."""
    path = folder / IDENTITY
    if not path.exists():
        write_whole(path, secrets.token_hex(8))
    try:
        return read_text(path, TAIL).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); delete it: it is made anew") from None


def keep_sweep(folder: Path, sweep: Sweep | Search) -> None:
    """Write sweep.yaml on the first run; on later runs refuse a sweep or search that differs from it.

    Raises:
        StudyError: the folder holds another sweep or search; the message lists the differences.
    """
    path = folder / SWEEP
    requested = sweep.model_dump(mode="json")
    kind = "search" if isinstance(sweep, Search) else "sweep"
    if path.exists():
        stored = read_yaml(path)
        if differences := sweep_differences(stored, requested):
            raise StudyError(
                f"{folder}: holds another {kind}; rows of both in one table would not be comparable. It differs in\n"
                + "\n".join(differences[:8])
                + "\nUse --name for a new folder, or remove this one."
            )
        if stored == requested:
            return
    write_whole(path, yaml.safe_dump(requested, sort_keys=False, allow_unicode=True))


def sweep_differences(stored: dict[str, Any], requested: dict[str, Any]) -> list[str]:
    """A line for each difference of two sweeps or searches after which their rows no longer compare."""
    free: tuple[str, ...] = FREE_TO_CHANGE
    several = bool(stored.get("budgets")), bool(requested.get("budgets"))
    if all(several):
        free = (*free, "training.budget.")  # no variant uses it then
    values = list(_differences("", stored, requested))
    differences = [f"  {where}: {text}" for where, text in values if not f"{where}:".startswith(free)]
    if several[0] != several[1]:
        differences += [f"  {where}: {text}" for where, text in values if where == "budgets"]
    return differences


def _differences(where: str, stored: object, requested: object) -> Iterator[tuple[str, str]]:
    """The dotted key of each value that differs, and both values in words."""
    if isinstance(stored, dict) and isinstance(requested, dict):
        for key in [*stored, *(key for key in requested if key not in stored)]:
            yield from _differences(f"{where}.{key}".lstrip("."), stored.get(key), requested.get(key))
    elif stored != requested:
        yield where, f"{describe_value(stored)} in the folder, {describe_value(requested)} requested"


def read_records(folder: Path) -> list[Record]:
    """All records of a folder: finished trainings with their profiles in file order, then the other profiles.

    The other profiles were measured separately. One whose weights are those of a training in the folder is joined to
    it; the rest have no training. So are those of a training's other forms. A later record replaces an earlier one with
    the same key.

    Raises:
        StudyError: a line is not a record that this version can read.
    """
    with _without_collection():
        landed, alone = _read(folder)
    forms = [with_form(record, form) for record in landed.values() for form in record.forms]
    by_weights = {record.weights: record.key for record in landed.values() if record.weights is not None}
    others = []
    for row in alone.values():
        key = by_weights.get(row.weights) if row.weights is not None else None
        if key is None:
            others.append(profile_alone(row))
        elif landed[key].profile is None and not row.profiling_config.runs_file and row.profile.model_latency:
            landed[key] = with_profile(landed[key], row, is_first=True)
        else:  # a file has scores of its own, and must not stand in place of the training's
            others.append(with_profile(landed[key], row, is_first=False))
    return [*landed.values(), *forms, *others]


def read_landed(folder: Path) -> list[Record]:
    """The finished variants of a folder, each with the profile that was measured for it.

    Raises:
        StudyError: a line is not a record that this version can read.
    """
    with _without_collection():
        landed, _ = _read(folder)
    return list(landed.values())


def read_profiles(folder: Path) -> list[Record]:
    """The profiles that were measured by themselves, the latest of each network, setting and machine.

    Raises:
        StudyError: a line is not a record that this version can read.
    """
    with _without_collection():
        _, alone = _read(folder)
    return [profile_alone(row) for row in alone.values()]


@contextmanager
def _without_collection() -> Iterator[None]:
    """Turn off the garbage collector while reading: it would scan millions of new numbers repeatedly and free none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
            gc.freeze()  # later collections need not scan the rows either: they hold no cycles


def _read(folder: Path) -> tuple[dict[str, Record], dict[str, ProfileRow]]:
    """Finished variants by key, and the profiles that belong to no variant by key."""
    path = folder / RECORDS
    content = _content(path)
    landed: dict[str, Record] = {}
    alone: dict[str, ProfileRow] = {}
    # Profiles come before the training row that marks their variant as finished.
    pending: dict[str, list[ProfileRow]] = {}
    for number, line in _whole_lines(content, path):
        try:
            row = _read_line(line)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            _check_text(content, path)
            raise StudyError(f"{path}:{number}: not JSON; delete this line, the other rows are intact") from None
        except ValueError as error:
            _check_text(content, path)
            raise StudyError(
                f"{path}:{number}: {_first_problem(error)}; if the line is damaged, delete it: "
                "the other rows are intact"
            ) from None
        if isinstance(row, Record) and row.kind == "profile":
            (row,) = row.rows()
        if isinstance(row, ProfileRow):
            if row.of is not None:
                pending.setdefault(row.of, []).append(row)
            else:
                alone.pop(row.key, None)
                alone[row.key] = row
            continue
        record = joined(row, pending.pop(row.key, ())) if isinstance(row, TrainingRow) else row
        landed.pop(record.key, None)
        landed[record.key] = record
    return landed, alone


def _content(path: Path) -> bytes:
    """The bytes of a records file; none if it does not exist.

    Raises:
        StudyError: it cannot be read, or is no plain file.
    """
    try:
        with open_plain(path) as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror or error})") from None


def _whole_lines(content: bytes, path: Path) -> Iterator[tuple[int, bytes]]:
    """The number and the text of each row, however its lines end.

    A last line without its end is a row if it is whole (an editor drops the end), and nothing if its writer was killed.

    Raises:
        StudyError: the file has bytes, and nothing in it is a row or the beginning of one.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in content:  # no JSON text holds one as it is
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    number, start, has_rows = 1, 0, False
    while (
        end := content.find(b"\n", start)
    ) >= 0:  # one line at a time: a copy of all lines takes as much memory again
        line = content[start:end]
        if not line.isspace() and line:
            has_rows = True
            yield number, line
        number, start = number + 1, end + 1
    last = content[start:]
    if is_whole_row(last):
        yield number, last
    elif not has_rows and last.strip() and not last.lstrip().startswith(b'{"'):
        raise StudyError(f"{path}: holds no record; it was not written by jetbench: remove it, or use another --name")


def is_whole_row(line: bytes) -> bool:
    """True if a line without its end is JSON from its first to its last brace."""
    if not line.rstrip().endswith(b"}"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _check_text(content: bytes, path: Path) -> None:
    """Check that the file is UTF-8.

    Raises:
        StudyError: it is not; the message gives the position of the first wrong byte.
    """
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is not UTF-8: another program has written to the file") from None


def _read_line(line: bytes) -> RecordRow | Record:
    # The beginning of a line tells its kind, so that pydantic parses most lines directly, only once. Strict: true is no
    # number, and neither is "3".
    for beginning, kind in BEGINNINGS.items():
        if line.startswith(beginning):
            return _as_row(kind.model_validate_json(line, strict=True))
    raw = json.loads(line)
    if not isinstance(raw, dict):
        raise ValueError("not a record")
    version = raw.get("version")
    if version == RECORD_VERSION:
        row: type[TrainingRow | ProfileRow] = ProfileRow if raw.get("kind") == "profile" else TrainingRow
        return _as_row(row.model_validate_json(line, strict=True))
    if version == 2:
        old: type[ProfileRecord2 | Record2] = ProfileRecord2 if "network" in raw else Record2
        return _as_row(old.model_validate_json(line, strict=True))
    raise ValueError(
        f"a record of version {version!r}; this jetbench ({__version__}) reads versions 2 and "
        f"{RECORD_VERSION}: use the jetbench that wrote it, or a new --name"
    )


BEGINNINGS: dict[bytes, type[TrainingRow | ProfileRow | Record2 | ProfileRecord2]] = {
    f'{{"kind":"training","version":{RECORD_VERSION},'.encode(): TrainingRow,
    f'{{"kind":"profile","version":{RECORD_VERSION},'.encode(): ProfileRow,
    b'{"version":2,"key":': Record2,
    b'{"version":2,"network":': ProfileRecord2,
}


def _as_row(read: TrainingRow | ProfileRow | Record2 | ProfileRecord2) -> RecordRow | Record:
    return read if isinstance(read, TrainingRow | ProfileRow) else read.upgraded()


def _first_problem(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    return f"not a record of this version ({first_problem(error)})"


def is_worth_a_retry(record: Record) -> bool:
    """True if the job failed, and not only because it was stopped early or exceeds a limit."""
    return record.failure is not None and record.failure.status not in ("stopped", "over a limit")


def append_records(folder: Path, *records: Record) -> None:
    """Append the rows of records: all are on disk when this returns, or none if it fails.

    Several processes may append to one file: a lock lets one write at a time.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / RECORDS
    lines = [row.model_dump_json() + "\n" for record in records for row in record.rows()]
    with path.open("ab+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        content_end = _mend_end(file)
        left = memoryview("".join(lines).encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except BaseException:  # also for Ctrl-C, because the caller will write the rows again
            with contextlib.suppress(OSError):
                file.truncate(content_end)
            raise


def add_profiles(folder: Path, records: Sequence[Record]) -> int:
    """Append profiles, but not those that are there already, such as of a result that is collected twice.

    The newest of a key counts, so an older one is left out, and one without a latency where there is one with it.

    Returns:
        How many were appended.

    Raises:
        OSError: the file cannot be written.
    """
    there: dict[str, Record] = {}
    with contextlib.suppress(StudyError):  # what was measured is appended behind a damaged line, too
        there = {record.key: record for record in read_profiles(folder)}
    new = [record for record in records if _is_newer(record, there.get(profile_key(record)))]
    append_records(folder, *new)
    return len(new)


def _is_newer(record: Record, known: Record | None) -> bool:
    """True if a profile says more than the one that is there."""
    if known is None:
        return True
    if _text_of(record) == _text_of(known) or _moment(record) < _moment(known):
        return False
    return record.measured.model_latency is not None or known.measured.model_latency is None


def _moment(record: Record) -> datetime:
    return datetime.fromisoformat(record.finished)


def _text_of(record: Record) -> str:
    return "\n".join(row.model_dump_json() for row in record.rows())


def _mend_end(file: FileIO) -> int:
    """Give a whole last row its end, or remove what a killed writer left, whose job runs again.

    Returns:
        The end of the file.
    """
    start = end = file.seek(0, os.SEEK_END)
    last = b""
    while start > 0 and not re.search(rb"[\r\n]", last):
        step = min(TAIL, start)
        start -= step
        file.seek(start)
        last = (file.read(step) or b"") + last
    last = re.split(rb"[\r\n]", last)[-1]
    if not last:
        return end
    if is_whole_row(last):
        return end + (file.write(b"\n") or 0)  # the file is open for appending
    file.truncate(end - len(last))
    return end - len(last)
