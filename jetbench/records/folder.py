"""A study's folder: who drives it, the sweep or search that it holds, and its records, one line each."""

import errno
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from pydantic import ValidationError

from jetbench.errors import StudyError
from jetbench.files import write_whole
from jetbench.records.record import RECORD_VERSION, Record
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
    """All records of a folder, a later one for the same variant replacing an earlier one.

    A last line without its end was being written when the driver was killed; it is no record.

    Raises:
        StudyError: a line is no record of this version.
    """
    path = folder / RECORDS
    if not path.exists():
        return []
    found: dict[str, Record] = {}
    whole = path.read_bytes()
    whole = whole[: whole.rfind(b"\n") + 1]
    try:
        *lines, _ = whole.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is no UTF-8: something else has written to it") from None
    for number, line in enumerate(lines, 1):
        try:
            raw = json.loads(line)
        except ValueError:
            raise StudyError(f"{path}:{number}: not JSON; delete this line, the other rows are kept") from None
        try:
            record = Record.model_validate(raw)
        except ValueError as error:
            reason = _first_problem(error)
            raise StudyError(
                f"{path}:{number}: not a record of version {RECORD_VERSION} ({reason}); if another version of jetbench "
                "wrote it, use that one or a new --name; if it was damaged, delete this line: the other rows are kept"
            ) from None
        found.pop(record.key, None)
        found[record.key] = record
    return list(found.values())


def _first_problem(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    first = error.errors(include_url=False)[0]
    more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}{more}"


def is_worth_a_retry(record: Record) -> bool:
    """Did it fail, and not just end early or stay out because of a limit?"""
    return record.failure is not None and record.failure.status not in ("stopped", "over a limit")


def append_record(folder: Path, record: Record) -> None:
    """Add one line, all of it on disk before this returns; nothing of it is left where that fails."""
    path = folder / RECORDS
    with path.open("ab+", buffering=0) as file:
        # A killed driver may have left half a line; it goes, the line's job will have run again.
        content_end = file.seek(0, os.SEEK_END)
        while content_end > 0:
            file.seek(content_end - 1)
            if file.read(1) == b"\n":
                break
            content_end -= 1
        file.truncate(content_end)
        line = memoryview(record.model_dump_json().encode() + b"\n")
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except BaseException:  # a Ctrl-C in the middle too: it will be written again
            file.truncate(content_end)
            raise
