"""Errors that a user can act on; every other exception is a bug in jetbench and keeps its traceback."""

import errno
import re
from collections.abc import Iterable

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


class JetbenchError(Exception):
    """Base class of the errors that the command line prints without a traceback, with exit code 2."""


class SpecError(JetbenchError):
    """The request cannot be built or run: fix the YAML or the option."""


class DataError(JetbenchError):
    """Image or label files are missing, truncated or invalid."""


class ProfilingError(JetbenchError):
    """A measurement is impossible, or its number would not be what its name says."""


class OutOfMemoryError(ProfilingError):
    """A network does not fit into this machine's memory; `is_out_of_memory` knows it by its name, as torch's."""


class DivergedError(JetbenchError):
    """The loss or the output became infinite or not a number, so the training is useless from there on."""


class StudyError(JetbenchError):
    """The report folder is in use by another driver, holds another study, or was unwritable for too long."""


class StorageError(StudyError):
    """The storage of a study is unavailable now; a retry may succeed."""


def is_out_of_memory(error: BaseException) -> bool:
    """True if a job ran out of memory. torch reports this in several ways, on a CPU only in the text."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    phrases = ("can't allocate memory", "alloc_cpu", "bad_alloc", "Cannot allocate memory", "out of memory")
    return isinstance(error, RuntimeError | OSError) and any(phrase in text for phrase in phrases)


def is_disk_trouble(error: BaseException) -> bool:
    """True if a write failed because the disk is full, read-only or gone. Rust libraries report this only as text."""
    match = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) else int(match[1]) if match else None
    return number in DISK_ERRORS


# C0 without tab and line feed, DEL, C1, and what turns the direction of a line or ends it unseen.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with its control characters written out: they would steer a terminal, or hide what a name says."""
    if text.isprintable():
        return text
    return _HIDDEN.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if ord(found[0]) < 256 else f"\\u{ord(found[0]):04x}", text
    )


MOST_LISTED, MOST_NAMED = 20, 1


def list_by_cause(problems: Iterable[tuple[str, str]], most: int = MOST_LISTED) -> str:
    """Problems as lines, each cause once: the first names that have it, and how many more have it.

    Args:
        problems: pairs of a name and what is wrong with it.
        most: lines to list; the rest is counted.
    """
    by_cause: dict[str, list[str]] = {}
    for name, cause in problems:
        by_cause.setdefault(cause.strip(), []).append(name)
    lines = []
    for cause, names in list(by_cause.items())[:most]:
        more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
        lines.append(f"- {', '.join(name[:80] for name in names[:MOST_NAMED])}{more}: {cause[:1000]}")
    if len(by_cause) > most:
        lines.append(f"- and {len(by_cause) - most:,} other causes")
    return "\n".join(lines)
