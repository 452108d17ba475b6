"""A study's folder: who drives it, the sweep or search that it holds, and its records, one line each."""

import codecs
import contextlib
import errno
import fcntl
import gc
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import yaml
from pydantic import ValidationError

from jetbench import __version__
from jetbench.errors import StudyError
from jetbench.files import write_whole
from jetbench.records.record import (
    RECORD_VERSION,
    ProfileRow,
    Record,
    RecordRow,
    TrainingRow,
    joined,
    profile_alone,
    with_profile,
)
from jetbench.records.version2 import ProfileRecord2, Record2
from jetbench.spec.base import read_yaml
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep

# What a sweep may say differently on resume: it moves no number. Variants are told apart by their keys.
# A search may go on with more trainings, and train its front otherwise.
FREE_TO_CHANGE = (
    "description:", "timeout_s:", "memory_limit:", "variants:", "include_base:", "quoted:", "seeds:", "budgets:",
    "trainings:", "final."
)  # fmt: skip
SWEEP, LOCK, RECORDS, IDENTITY = "sweep.yaml", ".lock", "records.jsonl", ".study"


@contextmanager
def lock_folder(folder: Path) -> Iterator[Callable[[], None]]:
    """Be the folder's only driver; the lock goes when the process does, however it ends.

    Gives what says whether the folder is still the one that was locked: it raises an OSError where it was moved,
    removed or unmounted, so that nothing is written into another one in its place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StudyError(f"{folder}: cannot write here ({error.strerror}); choose another --reports folder") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode(errors="replace").strip() or "unknown"
            raise StudyError(
                f"{folder}: another driver is running this study ({owner}); wait for it, stop it, or use another --name"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()}".encode())

        def check() -> None:
            held, there = os.fstat(descriptor), (folder / LOCK).stat()
            if (held.st_dev, held.st_ino) != (there.st_dev, there.st_ino):
                raise FileNotFoundError(errno.ENOENT, "is not the folder any more that this began in", str(folder))

        yield check
    finally:
        os.close(descriptor)


def study_id(folder: Path) -> str:
    """What tells this folder from others of the same name; it moves with the folder."""
    path = folder / IDENTITY
    if not path.exists():
        write_whole(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8").strip()


def keep_sweep(folder: Path, sweep: Sweep | Search) -> None:
    """Write sweep.yaml on the first run; later, refuse a sweep that is not the one the folder holds."""
    path = folder / SWEEP
    asked = sweep.model_dump(mode="json")
    kind = "search" if isinstance(sweep, Search) else "sweep"
    if path.exists():
        held = read_yaml(path)
        free: tuple[str, ...] = FREE_TO_CHANGE
        several = bool(held.get("budgets")), bool(asked.get("budgets"))
        if all(several):
            free = (*free, "training.budget.")  # which no variant has then
        found = list(_differences("", held, asked))
        differences = [f"  {line}" for line in found if not line.startswith(free)]
        if several[0] != several[1]:
            differences += [f"  {line}" for line in found if line.startswith("budgets:")]
        if differences:
            raise StudyError(
                f"{folder}: holds another {kind}; rows of both in one table would not compare. It differs in\n"
                + "\n".join(differences[:8])
                + "\nUse --name for a new folder, or remove this one."
            )
        if held == asked:
            return
    write_whole(path, yaml.safe_dump(asked, sort_keys=False, allow_unicode=True))


def _differences(where: str, held: object, asked: object) -> Iterator[str]:
    if isinstance(held, dict) and isinstance(asked, dict):
        for key in [*held, *(key for key in asked if key not in held)]:
            yield from _differences(f"{where}.{key}".lstrip("."), held.get(key), asked.get(key))
    elif held != asked:
        yield f"{where}: there {held!r}, asked {asked!r}"


def read_records(folder: Path) -> list[Record]:
    """All records of a folder: its trainings with their profiles in the order in which they landed, then the others.

    The others are profiles that were measured by themselves: of a training that is here, whose weights they name, or of
    none. A later record of the same key replaces an earlier one.

    Raises:
        StudyError: a line is no record that this version reads.
    """
    with _without_collection():
        landed, alone = _read(folder)
    by_weights = {record.weights: record.key for record in landed.values() if record.weights is not None}
    others = []
    for row in alone.values():
        key = by_weights.get(row.weights) if row.weights is not None else None
        if key is None:
            others.append(profile_alone(row))
        elif landed[key].profile is None:
            landed[key] = with_profile(landed[key], row)
        else:
            others.append(with_profile(landed[key], row))
    return [*landed.values(), *others]


def read_landed(folder: Path) -> list[Record]:
    """The variants that have landed in a folder, each with the profile that was measured for it.

    Raises:
        StudyError: a line is no record that this version reads.
    """
    with _without_collection():
        landed, _ = _read(folder)
    return list(landed.values())


@contextmanager
def _without_collection() -> Iterator[None]:
    """Read without the garbage collector: it would go through millions of new numbers again and again, for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
            gc.freeze()


def _read(folder: Path) -> tuple[dict[str, Record], dict[str, ProfileRow]]:
    """Variants by their keys, and profiles of no variant's by theirs."""
    path = folder / RECORDS
    landed: dict[str, Record] = {}
    alone: dict[str, ProfileRow] = {}
    pending: dict[str, ProfileRow] = {}  # a profile stands before the training that makes its variant landed
    for number, line in enumerate(_whole_lines(path), 1):
        try:
            row = _read_line(line)
        except (json.JSONDecodeError, UnicodeDecodeError):
            _check_text(path)
            raise StudyError(f"{path}:{number}: not JSON; delete this line, the other rows are kept") from None
        except ValueError as error:
            _check_text(path)
            raise StudyError(
                f"{path}:{number}: {_first_problem(error)}; if it was damaged, delete this line: "
                "the other rows are kept"
            ) from None
        if isinstance(row, Record) and row.kind == "profile":
            (row,) = row.rows()
        if isinstance(row, ProfileRow):
            key, place = (row.of, pending) if row.of is not None else (row.key, alone)
            place.pop(key, None)
            place[key] = row
            continue
        record = joined(row, pending.pop(row.key, None)) if isinstance(row, TrainingRow) else row
        landed.pop(record.key, None)
        landed[record.key] = record
    return landed, alone


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file; a last one without its end was being written when its writer was killed, and is none."""
    if not path.exists():
        return []
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    return content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]


def _check_text(path: Path) -> None:
    """Refuse bytes of another encoding.

    Raises:
        StudyError: with where the first of them stands.
    """
    try:
        path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is no UTF-8: something else has written to it") from None


def _read_line(line: bytes) -> RecordRow | Record:
    # What it is stands at its beginning, so that most lines are parsed once, by pydantic alone.
    for beginning, kind in BEGINNINGS.items():
        if line.startswith(beginning):
            return _as_row(kind.model_validate_json(line))
    raw = json.loads(line)
    if not isinstance(raw, dict):
        raise ValueError("not a record")
    version = raw.get("version")
    if version == RECORD_VERSION:
        return _as_row((ProfileRow if raw.get("kind") == "profile" else TrainingRow).model_validate(raw))
    if version == 2:
        return _as_row((ProfileRecord2 if "network" in raw else Record2).model_validate(raw))
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
    first = error.errors(include_url=False)[0]
    more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"not a record of this version ({'.'.join(map(str, first['loc']))}: {first['msg']}{more})"


def is_worth_a_retry(record: Record) -> bool:
    """True if it failed, and did not just end early or stay out because of a limit."""
    return record.failure is not None and record.failure.status not in ("stopped", "over a limit")


def append_records(folder: Path, *records: Record) -> None:
    """Add the rows of records, all of them on disk before this returns; nothing of them is left where that fails.

    Several processes may add to one file: each has it to itself meanwhile.
    """
    path = folder / RECORDS
    lines = [row.model_dump_json() + "\n" for record in records for row in record.rows()]
    with path.open("ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content_end = _mend_end(file)
        left = memoryview("".join(lines).encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except BaseException:  # a Ctrl-C in the middle too: it will be written again
            with contextlib.suppress(OSError):
                file.truncate(content_end)
            raise


def _mend_end(file: FileIO) -> int:
    """Remove half a line that a killed writer has left, whose job will have run again; returns where the file ends."""
    content_end = file.seek(0, os.SEEK_END)
    is_whole = True
    while content_end > 0:
        file.seek(content_end - 1)
        if file.read(1) == b"\n":
            break
        is_whole = False
        content_end -= 1
    if not is_whole:
        file.truncate(content_end)
    return content_end
