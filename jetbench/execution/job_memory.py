"""The memory that jobs use and the machine has left, so that a job is ended before the kernel ends any process."""

import os
from pathlib import Path

from jetbench.probe.machine import read_memory, read_number, read_text

CGROUPS = Path("/sys/fs/cgroup")
PAGE = os.sysconf("SC_PAGE_SIZE")
RESERVE_SHARE = 0.03
"""A job is ended when a smaller share of the machine's memory than this is available."""


def memory_of(pid: int) -> int:
    """Resident bytes of a process and all its descendants; 0 if /proc does not say."""
    total, waiting = 0, [pid]
    while waiting:
        current = waiting.pop()
        statm = read_text(f"/proc/{current}/statm")
        total += int(statm.split()[1]) * PAGE if statm else 0
        try:
            tasks = os.listdir(f"/proc/{current}/task")
        except OSError:
            continue
        for task in tasks:
            waiting += [int(child) for child in (read_text(f"/proc/{current}/task/{task}/children") or "").split()]
    return total


def available_memory() -> tuple[int, int] | None:
    """(available, total) bytes of the machine, or of the container that this runs in; None if unknown."""
    available = read_memory()["available_bytes"]
    if available is None:
        return None
    machine = int(available), PAGE * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_memory(CGROUPS)], key=lambda memory: memory[0])


def _group_memory(root: Path) -> list[tuple[int, int]]:
    """(available, total) bytes of this process's control groups with a limit: version 2, then version 1."""
    limits = []
    for line in (read_text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names, key = root, ("memory.max", "memory.current"), "inactive_file "
        elif "memory" in controllers.split(","):
            base, key = root / "memory", "total_inactive_file "
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        for folder in (base / path.lstrip("/"), base):  # a container sees its own group as the root
            limit, used = (read_number(str(folder / name)) for name in names)
            if limit is None or used is None:
                continue
            stat = (read_text(str(folder / "memory.stat")) or "").splitlines()
            cache = next((int(line.split()[1]) for line in stat if line.startswith(key)), 0)
            if limit < PAGE * os.sysconf("SC_PHYS_PAGES"):
                limits.append((int(limit - used) + cache, int(limit)))
            break
    return limits


def oom_kills() -> int:
    """Number of processes that the kernel's OOM killer has ended since the machine started; 0 if unknown."""
    for line in (read_text("/proc/vmstat") or "").splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    return 0
