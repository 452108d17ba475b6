"""The machine's state: clocks, temperatures, power mode, throttling, swap, load, memory. Reads /sys and /proc.

A figure that cannot be read is None. Everything here works with an ordinary user's rights.
"""

import ctypes
import glob
import os
import re
import subprocess
import time
from typing import Any, Dict, List, Optional, Sequence

EMC_RATES = ("/sys/kernel/debug/bpmp/debug/clk/emc/rate", "/sys/kernel/debug/clk/emc/clk_rate")
GPU_NODES = re.compile(r"(gpu|gv11b|gp10b|ga10b|gm20b)$")
CGROUPS = "/sys/fs/cgroup"
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1


def cores() -> int:
    """Number of cores that this process may use, by its affinity and its container's quota of processor time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed] + [int(quota) for quota in cpu_quotas(CGROUPS)]))


def cpu_quotas(root: str) -> List[float]:
    """Cores' worth of processor time of each control group of this process that has a quota: version 2, then 1."""
    quotas = []
    for line in (read_text("/proc/self/cgroup") or "").splitlines():
        fields = line.split(":", 2)
        if len(fields) < 3 or not (fields[1] == "" or "cpu" in fields[1].split(",")):
            continue
        base = root if fields[1] == "" else root + "/cpu"
        folder = os.path.normpath(base + "/" + fields[2].strip("/"))
        while folder.startswith(base):  # a container sees its own group as the root
            if fields[1] == "":
                quota, _, period = (read_text(folder + "/cpu.max") or "").partition(" ")
            else:
                quota, period = (read_text(folder + "/cpu.cfs_" + name + "_us") or "" for name in ("quota", "period"))
            if quota.isdigit() and period.isdigit() and int(period) > 0:
                quotas.append(int(quota) / int(period))
            folder = os.path.dirname(folder)
    return quotas


def read_text(path: str) -> Optional[str]:
    """The text of a file, stripped, with NUL bytes as blanks; None if the file cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().replace("\0", " ").strip()
    except OSError:
        return None


def read_number(path: str) -> Optional[float]:
    """The number in a file; None if the file cannot be read or holds no number."""
    text = read_text(path)
    try:
        return float(text) if text else None
    except ValueError:
        return None


def read_state() -> Dict[str, Any]:
    """The machine's state now, in Hz, degrees Celsius, bytes and seconds of CPU time."""
    pages = _table("/proc/vmstat")
    gpu = gpu_clock_folder()
    state: Dict[str, Any] = {
        "at_s": time.monotonic(),
        "cpu_hz": cpu_clocks(),
        "cpu_governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "gpu_hz": read_number(gpu + "/cur_freq") if gpu else None,
        "gpu_min_hz": read_number(gpu + "/min_freq") if gpu else None,
        "gpu_max_hz": read_number(gpu + "/max_freq") if gpu else None,
        "gpu_governor": read_text(gpu + "/governor") if gpu else None,
        "temperatures_c": temperatures(),
        "throttle_events": throttle_events(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "busy_s": _busy_seconds(),
        "own_s": own_seconds(),
        "swapped_pages": pages["pswpin"] + pages["pswpout"] if "pswpin" in pages and "pswpout" in pages else None,
        "on_battery": on_battery(),
        "power_mode": power_mode(),
        "emc_hz": _first_number(EMC_RATES),
        "online_cores": read_text("/sys/devices/system/cpu/online"),
        "fan_pwm": _first_number(sorted(glob.glob("/sys/class/hwmon/hwmon*/pwm1"))),
        "fan_rpm": _first_number(sorted(glob.glob("/sys/class/hwmon/hwmon*/rpm"))),
    }
    state.update(read_memory())
    return state


def _first_number(paths: Sequence[str]) -> Optional[float]:
    """The number in the first of these files that can be read; only root reads the kernel's debug files."""
    return next((number for number in map(read_number, paths) if number is not None), None)


def read_memory() -> Dict[str, Optional[int]]:
    """Bytes of memory that are available, and bytes that a Jetson's GPU has allocated (NvMap)."""
    memory = _table("/proc/meminfo")
    total, free = _kib(memory, "SwapTotal"), _kib(memory, "SwapFree")
    return {
        "available_bytes": _kib(memory, "MemAvailable"),
        "nvmap_bytes": _kib(memory, "NvMapMemUsed"),
        "swap_total_bytes": total,
        "swap_used_bytes": total - free if total is not None and free is not None else None,
    }


def cpu_clocks() -> Optional[List[float]]:
    """Current Hz of each core: from cpufreq, or from /proc/cpuinfo on a machine without cpufreq."""
    files = sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
    clocks = [1e3 * clock for clock in (read_number(file) for file in files) if clock is not None]
    if not clocks:
        lines = (read_text("/proc/cpuinfo") or "").splitlines()
        clocks = [1e6 * float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return clocks or None


def gpu_clock_folder() -> Optional[str]:
    """The devfreq folder of a Jetson's GPU; None on other machines."""
    for folder in sorted(glob.glob("/sys/class/devfreq/*")):
        if GPU_NODES.search(folder):
            return folder
    return None


def temperatures() -> Dict[str, float]:
    """Degrees Celsius of every thermal zone with a plausible reading (-40 to 150)."""
    celsius = {}
    for zone in sorted(
        glob.glob("/sys/class/thermal/thermal_zone*") + glob.glob("/sys/devices/virtual/thermal/thermal_zone*")
    ):
        name, value = read_text(zone + "/type"), read_number(zone + "/temp")
        if name and value is not None and -40e3 < value < 150e3:
            celsius[name] = value / 1e3
    return celsius


def throttle_events() -> Optional[int]:
    """Number of thermal throttlings of a core, or over-current events of a Jetson, since the machine started."""
    files = glob.glob("/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
    files += glob.glob("/sys/class/hwmon/hwmon*/oc*_event_cnt")
    counts = [count for count in (read_number(file) for file in files) if count is not None]
    return int(sum(counts)) if counts else None


def on_battery() -> Optional[bool]:
    """True if the machine runs on its battery; None if it has no battery."""
    states = []
    for folder in glob.glob("/sys/class/power_supply/*"):
        if read_text(folder + "/type") == "Battery" and read_text(folder + "/scope") != "Device":
            states.append(read_text(folder + "/status") == "Discharging")
    return any(states) if states else None


def power_mode() -> Optional[str]:
    """A Jetson's power mode as `nvpmodel -q` names it; None on other machines."""
    if not is_tegra():
        return None
    try:
        done = subprocess.run(
            ["nvpmodel", "-q"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"Power Mode: *(\S+)", done.stdout)
    return match.group(1) if match else None


def is_tegra() -> bool:
    """True if this machine is a Jetson, also from inside a container."""
    return (
        os.path.exists("/etc/nv_tegra_release")
        or "tegra" in os.uname().release
        or "tegra" in (read_text("/sys/firmware/devicetree/base/compatible") or "")
    )


def board_identity() -> Dict[str, str]:
    """The board's names in its device tree and its release file; empty strings where a container hides them."""
    tree = "/sys/firmware/devicetree/base"
    return {
        "model": read_text(tree + "/model") or "",
        "compatible": read_text(tree + "/compatible") or "",
        "board_ids": read_text(tree + "/nvidia,boardids") or "",
        "release": (read_text("/etc/nv_tegra_release") or "").split("\n")[0],
    }


def process_memory() -> Dict[str, Optional[int]]:
    """Resident bytes of this process: now, and the peak since `reset_peak` (or since the process began)."""
    table = _table("/proc/self/status")
    return {"resident_bytes": _kib(table, "VmRSS"), "peak_bytes": _kib(table, "VmHWM")}


def reset_peak() -> bool:
    """Reset the high-water mark of resident memory; False if the kernel does not allow it."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory instead of returning it to the kernel; False if the C library cannot do this.

    By default glibc maps memory for every large feature map and unmaps it after use. The page faults of this took half
    of the time of a pass on a CPU and caused nearly all of its spread.
    """
    try:
        library = ctypes.CDLL(None)
        return bool(library.mallopt(M_MMAP_MAX, 0)) and bool(library.mallopt(M_TRIM_THRESHOLD, -1))
    except (OSError, AttributeError):
        return False


def foreign_load(over_s: float) -> Optional[float]:
    """Number of cores that other programs use now, measured over so many seconds; None if it cannot be known."""
    before = (time.monotonic(), _busy_seconds(), own_seconds())
    time.sleep(over_s)
    after = (time.monotonic(), _busy_seconds(), own_seconds())
    if before[1] is None or after[1] is None:
        return None
    return max(0.0, (after[1] - before[1] - (after[2] - before[2])) / (after[0] - before[0]))


def own_seconds() -> float:
    """CPU seconds of this process and of all processes that it has started, both ended and live.

    The workers of torch.compile stay alive; their use must not count as another program's.
    """
    times = os.times()
    parents: Dict[int, int] = {}
    ticks: Dict[int, int] = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        fields = (read_text(path) or "").rpartition(")")[2].split()
        if len(fields) > 14:
            pid = int(path.split("/")[2])
            parents[pid], ticks[pid] = int(fields[1]), sum(int(field) for field in fields[11:15])
    family, grown = {os.getpid()}, True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    live = sum(ticks[pid] for pid in family if pid in ticks and pid != os.getpid())
    return times[0] + times[1] + times[2] + times[3] + live / float(os.sysconf("SC_CLK_TCK"))


def _table(path: str) -> Dict[str, int]:
    numbers = {}
    for line in (read_text(path) or "").splitlines():
        parts = line.replace(":", " ").split()
        if len(parts) >= 2 and parts[1].isdigit():
            numbers[parts[0]] = int(parts[1])
    return numbers


def _kib(table: Dict[str, int], name: str) -> Optional[int]:
    return 1024 * table[name] if name in table else None


def _busy_seconds() -> Optional[float]:
    """CPU seconds that all programs together have used on the cores that this process may use."""
    own = {"cpu{}".format(core) for core in os.sched_getaffinity(0)} if hasattr(os, "sched_getaffinity") else {"cpu"}
    ticks, seen = 0, False
    for line in (read_text("/proc/stat") or "").splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[0] in own:
            user, nice, system, _, _, irq, softirq = (int(field) for field in fields[1:8])
            ticks, seen = ticks + user + nice + system + irq + softirq, True
    return ticks / float(os.sysconf("SC_CLK_TCK")) if seen else None
