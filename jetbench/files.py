"""Files: atomic replacement, JSON, and digests."""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from jetbench.errors import visible

ABANDONED_AFTER_S = 60.0


@contextlib.contextmanager
def replaced(path: Path, is_durable: bool = True) -> Iterator[Path]:
    """A temporary file beside `path`: it replaces `path` when the block ends, and is removed if that fails.

    Args:
        path: the file to replace; a link is followed to its target.
        is_durable: flush to disk before the block ends, so that a power cut leaves the old or the new file intact.

    Raises:
        OSError: the file cannot be written; the old content is unchanged.
    """
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    if is_durable:
        _remove_abandoned(target)
    try:
        yield partial
        if is_durable:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        if target.exists():
            partial.chmod(target.stat().st_mode)
        partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _remove_abandoned(target: Path) -> None:
    """Remove the partial files of killed writers of `target`, because weights may be large."""
    for partial in target.parent.glob(f".{target.name}.*.partial"):
        pid = partial.name.split(".")[-2]
        with contextlib.suppress(OSError):
            is_old = time.time() - partial.stat().st_mtime > ABANDONED_AFTER_S
            if is_old and pid.isdigit() and not Path(f"/proc/{pid}").exists():
                partial.unlink()


def write_whole(path: Path, text: str) -> None:
    """Replace a text file atomically (UTF-8); a device or a pipe is written to directly.

    Raises:
        OSError: the file cannot be written; the old content is unchanged.
    """
    if path.exists() and not path.is_file():
        # A pipe that nobody reads would be waited for endlessly; so opened, it is an error.
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically, so that another process never reads half of it.

    Raises:
        OSError: the file cannot be written; the old content is unchanged.
    """
    with replaced(path, is_durable=False) as partial:
        partial.write_text(json.dumps(value), encoding="utf-8")


def open_plain(path: Path, most: int | None = None) -> BinaryIO:
    """A file opened for reading, if it is a plain file: reading a pipe or a device may never end.

    Args:
        path: the file; a link is followed.
        most: the largest size in bytes.

    Raises:
        OSError: it cannot be opened, is no plain file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # O_NONBLOCK: a pipe would wait for a writer
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(path))
        if most is not None and status.st_size > most:
            raise OSError(errno.EFBIG, f"has {status.st_size:,} bytes, and at most {most:,} are read", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def file_name(text: str) -> str:
    """A text as the name of one file: its letters, digits and . _ -, at most 80, none of the ends a dot."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80] or "unnamed"


def warn(text: str) -> None:
    """Print a note on stderr that belongs to no result."""
    print(f"note: {visible(text)}", file=sys.stderr, flush=True)


STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a pointer of Git LFS: `git lfs pull` gets the file"),
    (b"PK\x03\x04", "it is a zip archive, as torch.save writes; a pickle may run code, so only .safetensors is read"),
    (b"\x80\x02", "it is a pickle, which may run code when it is opened; only .safetensors is read"),
    (b"\x80\x04", "it is a pickle, which may run code when it is opened; only .safetensors is read"),
    (b"\x89HDF", "it is an HDF5 file"),
    (b"\x93NUMPY", "it is a NumPy array; save it as PNG"),
    (b"%!PS", "it is PostScript; save it as PNG"),
    (b"%PDF", "it is a PDF; save it as PNG"),
    (b"<svg", "it is SVG; save it as PNG"),
    (b"<?xml", "it is XML"),
    (b"\x7fELF", "it is a program"),
    (b"\x1f\x8b", "it is a gzip archive; unpack it"),
)
FAMILIES = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"avif": "AVIF", b"jp2 ": "JPEG 2000"}


def describe_start(start: bytes) -> str:
    """What a file is by its first bytes, with the way out; empty if they say nothing."""
    if not start:
        return "it is empty"
    family = FAMILIES.get(start[8:12]) if start[4:8] == b"ftyp" else None
    if family is not None:
        return f"it is {family}; convert it to PNG or JPEG"
    return next((what for beginning, what in STARTS if start.startswith(beginning)), "")


def read_text(path: Path, most: int | None = None) -> str:
    """The text of a plain file (UTF-8).

    Raises:
        OSError: see `open_plain`.
        UnicodeDecodeError: it is not UTF-8.
    """
    with open_plain(path, most) as file:
        return file.read().decode("utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if the file is missing or holds anything else."""
    try:
        value = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()
