"""Files: replaced as a whole or left as they were; read as JSON; known by their digest."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ABANDONED_AFTER_S = 60.0


@contextlib.contextmanager
def replaced(path: Path, is_durable: bool = True) -> Iterator[Path]:
    """A new file beside `path` to write to: it replaces `path` when the block ends, and is removed where that fails.

    Args:
        path: the file to replace; where it is a link, the file that it leads to.
        is_durable: on disk before the block ends, so that a power cut leaves one of the two whole.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
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
    """Remove what writers of `target` that were killed have left: weights may be large."""
    for partial in target.parent.glob(f".{target.name}.*.partial"):
        pid = partial.name.split(".")[-2]
        with contextlib.suppress(OSError):
            is_old = time.time() - partial.stat().st_mtime > ABANDONED_AFTER_S
            if is_old and pid.isdigit() and not Path(f"/proc/{pid}").exists():
                partial.unlink()


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text (UTF-8); what may be a device or a pipe is written to as it is.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a file that another process reads meanwhile: a reader never sees half of it.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    with replaced(path, is_durable=False) as partial:
        partial.write_text(json.dumps(value), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is no such file or no such object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()
