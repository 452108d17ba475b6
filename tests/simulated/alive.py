"""Whether a process runs still, as its /proc entry says."""

from pathlib import Path

PF_EXITING = 0x4
"""Linux: it has begun to end, and runs no code of its own any more; its files, and their locks, go before its entry."""


def is_alive(pid: int) -> bool:
    """Does the process run still? One that is ending, or has ended and was not waited for, does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    state, flags = fields[0], int(fields[6])
    return state not in ("Z", "X") and not flags & PF_EXITING
