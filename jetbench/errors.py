"""The errors a user can act on; every other exception is a bug of ours and keeps its traceback."""

import errno
import re

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


class JetbenchError(Exception):
    """Base of the errors that the command line prints without a traceback, with exit code 2."""


class SpecError(JetbenchError):
    """What was asked for cannot be built or run: fix the YAML or the option."""


class DataError(JetbenchError):
    """Image or label files are missing, truncated or do not mean what they should."""


class ProfilingError(JetbenchError):
    """The measured number would not mean what its name says."""


class DivergedError(JetbenchError):
    """The loss or the output became infinite or not a number; going on would only produce more of it."""


class StudyError(JetbenchError):
    """The report folder is in use by another driver, holds another study, or could not be written to for too long."""


class StorageError(StudyError):
    """A study's storage cannot be used now; that may pass."""


def is_out_of_memory(error: BaseException) -> bool:
    """Did a job run out of memory? torch says so in several ways, on a CPU by the text alone."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    told = ("can't allocate memory", "alloc_cpu", "bad_alloc", "Cannot allocate memory", "out of memory")
    return isinstance(error, RuntimeError | OSError) and any(each in text for each in told)


def is_disk_trouble(error: BaseException) -> bool:
    """Did a write fail because the disk is full, read-only or gone? Rust libraries say it in their text alone."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
    return number in DISK_ERRORS
