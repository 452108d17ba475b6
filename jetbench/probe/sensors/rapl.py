"""RAPL energy counters of Intel and AMD processors, from /sys/class/powercap: processor packages and their memory.

The energy is the processor's estimate of its own use, without board, GPU and power supply. The counters wrap around.
"""

import glob
import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from .missing import Missing

DEFAULT_INTERVAL_S = 0.1
ZONES = "/sys/class/powercap/intel-rapl:*"
FIX = "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj (lasts until the next start)"


def missing() -> Optional[Missing]:
    """Why this sensor cannot be read here, and how to fix it; None if it can be read."""
    zones = _zones()
    if not zones:
        return Missing("this machine has no RAPL counters (virtual machines and ARM processors have none)")
    for _, folder in zones:
        try:
            _microjoules(folder)
        except ValueError:
            return Missing("{}/energy_uj: holds no number".format(folder))
        except OSError as error:
            return Missing(
                "{}/energy_uj: {}".format(folder, error.strerror), "make it readable for users: {}".format(FIX)
            )
    return None


def stream(interval: float, emit: Callable[[Dict[str, Any]], None], stopped: threading.Event) -> None:
    """Emit the joules of each zone since the stream began, every `interval` seconds."""
    zones = _zones()
    ranges = {name: _range(folder) for name, folder in zones}
    last = {name: _microjoules(folder) for name, folder in zones}
    total = {name: 0.0 for name, _ in zones}
    emit({"meta": {"sensor": "rapl", "interval_s": interval, "rails": [name for name, _ in zones]}})
    due = time.monotonic()
    while not stopped.is_set():
        for name, folder in zones:
            try:
                now = _microjoules(folder)
            except (OSError, ValueError):
                total.pop(name, None)  # an unreadable counter may have wrapped more than once
                continue
            if name in total:
                # Smaller than before: it has wrapped around, and only once, since that takes minutes at full power.
                step = now - last[name] if now >= last[name] else now + ranges[name] - last[name]
                if step < 0:  # the range is not known, or not true: what it has used since is unknown
                    total.pop(name)
                    continue
                total[name] += step / 1e6
                last[name] = now
        emit({"t": time.monotonic(), "energy_j": dict(total), "fresh": True})
        due += interval
        stopped.wait(max(0.0, due - time.monotonic()))


def _zones() -> List[Tuple[str, str]]:
    """(name, folder) of packages and their memory. Not of cores, which are part of a package, nor of psys, the sum."""
    zones = []
    for folder in sorted(glob.glob(ZONES)):
        try:
            with open(folder + "/name") as file:
                name = file.read().strip()
        except OSError:
            continue
        if name.startswith("package"):
            zones.append((name, folder))
        elif name == "dram":
            zones.append(("dram-" + os.path.basename(folder).split(":")[1], folder))
    return zones


def _microjoules(folder: str) -> int:
    with open(folder + "/energy_uj") as file:
        return int(file.read())


def _range(folder: str) -> int:
    """The microjoules at which a counter wraps around; 0 if unknown."""
    try:
        with open(folder + "/max_energy_range_uj") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0
