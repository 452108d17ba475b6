"""Whether a process runs still, as its /proc entry says."""

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Does the process run still? One that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False
