"""How much memory jobs hold and the machine has left, so that a job can be ended before the kernel ends any process."""

import os
from pathlib import Path

from jetbench.probe.machine import read_memory, read_number, read_text

CGROUPS = Path("/sys/fs/cgroup")
PAGE = os.sysconf("SC_PAGE_SIZE")
RESERVE_SHARE = 0.03
"""A job is ended when less of the machine's memory than this is available."""


def memory_of(pid: int) -> int:
    """Resident bytes of a process and all its descendants; 0 where /proc does not say."""
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        statm = read_text(f"/proc/{each}/statm")
        total += int(statm.split()[1]) * PAGE if statm else 0
        try:
            tasks = os.listdir(f"/proc/{each}/task")
        except OSError:
            continue
        for task in tasks:
            waiting += [int(child) for child in (read_text(f"/proc/{each}/task/{task}/children") or "").split()]
    return total


def available_memory() -> tuple[int, int] | None:
    """Bytes that are left and bytes in all, of the machine or of the container that this runs in; None if unknown."""
    available = read_memory()["available_bytes"]
    if available is None:
        return None
    machine = int(available), PAGE * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_memory(CGROUPS)], key=lambda each: each[0])


def _group_memory(root: Path) -> list[tuple[int, int]]:
    """The same of this process's control group where it has a limit: version 2, then version 1."""
    found = []
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
            cache = next((int(each.split()[1]) for each in stat if each.startswith(key)), 0)
            if limit < PAGE * os.sysconf("SC_PHYS_PAGES"):
                found.append((int(limit - used) + cache, int(limit)))
            break
    return found


def oom_kills() -> int:
    """How many processes the kernel has ended for want of memory since the machine started; 0 where it does not say."""
    for line in (read_text("/proc/vmstat") or "").splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    return 0
