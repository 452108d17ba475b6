"""Builds the files of a made-up Jetson and runs commands on it, beside the unmodified jtop service.

A private mount namespace puts the board's /sys, /etc, /usr/bin, /run and parts of /proc in the place of this machine's.
`inside.py` runs there: it starts the service, moves the rails with the load and writes down the truth.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
MHZ = 1_000_000


@dataclass(frozen=True)
class Rail:
    """A rail of a monitor: millivolts, milliamperes at rest, and what the load adds."""

    label: str
    millivolts: int
    idle_ma: int
    load_ma: int = 0


@dataclass(frozen=True)
class Board:
    """What a board says of itself. `total` is the truth: the rails that make its whole power."""

    name: str
    l4t: str
    kernel: str
    model: str
    compatible: str
    board_ids: str
    gpu: str
    gpu_hz: int
    cores: int
    memory_kib: int
    monitors: dict[str, tuple[Rail, ...]]
    total: tuple[str, ...]
    modes: tuple[str, ...]
    is_iio: bool = False


BOARDS = {
    "nano": Board(
        name="nano",
        l4t="# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64",
        kernel="4.9.253-tegra",
        model="NVIDIA Jetson Nano Developer Kit",
        compatible="nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210\0",
        board_ids="3448:0000",
        gpu="57000000.gpu",
        gpu_hz=921_600_000,
        cores=4,
        memory_kib=4_059_336,
        monitors={
            "6-0040": (
                Rail("POM_5V_IN", 5000, 400, 1200),
                Rail("POM_5V_GPU", 5000, 40, 800),
                Rail("POM_5V_CPU", 5000, 80, 100),
            )
        },
        total=("POM_5V_IN",),
        modes=("MAXN", "5W"),
        is_iio=True,
    ),
    "agx": Board(
        name="agx",
        l4t="# R35 (release), REVISION: 1.0, GCID: 31346300, BOARD: t186ref, EABI: aarch64",
        kernel="5.10.104-tegra",
        model="Jetson-AGX",
        compatible="nvidia,p2972-0000\0nvidia,tegra194\0",
        board_ids="2888:0004",
        gpu="17000000.gv11b",
        gpu_hz=1_377_000_000,
        cores=8,
        memory_kib=31_921_396,
        monitors={
            "1-0040": (Rail("GPU", 19000, 40, 500), Rail("CPU", 19000, 60, 30), Rail("SOC", 19000, 90)),
            "1-0041": (Rail("CV", 19000, 0), Rail("VDDRQ", 19000, 20, 40), Rail("SYS5V", 5000, 400)),
        },
        total=("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        modes=("MAXN", "MODE_10W", "MODE_15W", "MODE_30W_ALL"),
    ),
    "agx-orin": Board(
        name="agx-orin",
        l4t="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
        kernel="5.15.148-tegra",
        model="NVIDIA Jetson AGX Orin Developer Kit",
        compatible="nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
        board_ids="3701-0005",
        gpu="17000000.gpu",
        gpu_hz=1_300_500_000,
        cores=12,
        memory_kib=64_349_240,
        monitors={
            "1-0040": (
                Rail("VDD_GPU_SOC", 19000, 160, 600),
                Rail("VDD_CPU_CV", 19000, 40, 50),
                Rail("VIN_SYS_5V0", 5000, 700, 300),
            ),
            # The memory's rail is a part of VIN_SYS_5V0; jtop's own total has it twice.
            "1-0041": (Rail("NC", 0, 0), Rail("VDDQ_VDD2_1V8AO", 5000, 60, 250), Rail("NC", 0, 0)),
        },
        total=("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        modes=("MAXN", "MODE_15W", "MODE_30W", "MODE_50W"),
    ),
}

NVPMODEL = """#!/bin/bash
# Stands in for NVIDIA's nvpmodel: -q asks, -p --verbose lists, -m sets; a mode of 10 W wants a reboot.
modes=({modes})
at=/run/nvpmodel-id
now=$(cat $at 2>/dev/null || echo 0)
case "$1" in
  -q) echo "NV Power Mode: ${{modes[$now]}}"; echo "$now";;
  -m) case "${{modes[$2]}}" in
        "") echo "NVPM ERROR: invalid power model ID $2"; exit 255;;
        *10W*) echo "NVPM WARN: Reboot required for changing to this power mode: $2"
               echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
               read -r answer; echo "NVPM WARN: Reboot aborted, power mode is not changed"; exit 255;;
        *) echo "$2" > $at;;
      esac;;
  -p) echo "NVPM VERB: PM_CONFIG: DEFAULT=${{modes[0]}}(0)"
      for i in "${{!modes[@]}}"; do echo "NVPM VERB: POWER_MODEL: ID=$i NAME=${{modes[$i]}}"; done;;
esac
"""
JETSON_CLOCKS = """#!/bin/bash
# Stands in for NVIDIA's jetson_clocks: --show, --store, --restore, and fixing the clock of the GPU.
d=/sys/class/devfreq/{gpu}
case "$1" in
  --store) cat $d/min_freq > "$2"; exit;;
  --restore) cat "$2" > $d/min_freq; exit;;
  "") cat $d/max_freq > $d/min_freq; exit;;
esac
echo "SOC family:tegra  Machine:{model}"
echo "GPU MinFreq=$(cat $d/min_freq) MaxFreq=$(cat $d/max_freq) CurrentFreq=$(cat $d/cur_freq)"
"""
SITE = """
import builtins, os, posix, sys
if os.environ.get("JTOP_SERVICE"):
    sys.base_prefix = "/run/jtop-prefix"  # where the service keeps its settings
_real = posix.uname()
os.uname = lambda: os.uname_result((_real.sysname, _real.nodename, {kernel!r}, _real.version, "aarch64"))
# procfs takes no new names; on a board /proc/device-tree is a link to this folder.
class Moved:  # an object, because Python 3.10's pathlib would make a method of a function
    def __init__(self, real):
        self.real = real
    def __call__(self, path, *a, **k):
        if isinstance(path, str) and path.startswith("/proc/device-tree"):
            path = "/sys/firmware/devicetree/base" + path[len("/proc/device-tree"):]
        return self.real(path, *a, **k)
builtins.open, os.stat = Moved(builtins.open), Moved(os.stat)
"""


def write(path: Path, content: object, mode: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}")
    if mode is not None:
        path.chmod(mode)


def build(board: Board, root: Path) -> None:
    """Write all the files that jtop and jetbench look for."""
    sys_, etc = root / "sys", root / "etc"
    places: dict[str, dict[str, Any]] = {}
    for number, (address, rails) in enumerate(board.monitors.items()):
        device = sys_ / "bus/i2c/devices" / address
        write(device / "name", "ina3221x\n" if board.is_iio else "ina3221\n")
        for channel, rail in enumerate(rails, 0 if board.is_iio else 1):
            if board.is_iio:
                folder = device / "iio:device0"
                names = ("rail_name_{}", "in_voltage{}_input", "in_current{}_input", "in_power{}_input")
                write(folder / f"crit_current_limit_{channel}", "5000 ma\n")
            else:
                folder = device / f"hwmon/hwmon{3 + number}"
                names = ("in{}_label", "in{}_input", "curr{}_input", "")
                write(folder / "name", "ina3221\n")
                write(folder / "in7_label", "sum of shunt voltages\n")
                write(folder / "update_interval", "7\n")
                write(folder / f"curr{channel}_max", "32760\n")
                write(folder / f"curr{channel}_crit", "32760\n")
            label, volts, amperes, power = (folder / name.format(channel) if name else None for name in names)
            assert label
            assert volts
            assert amperes
            write(label, f"{rail.label}\n")
            write(volts, f"{rail.millivolts}\n")
            write(amperes, f"{rail.idle_ma}\n")
            if power:
                write(power, f"{rail.millivolts * rail.idle_ma // 1000}\n")
            if rail.label != "NC":
                places[rail.label] = {
                    "current": "/" + str(amperes.relative_to(root)),
                    "power": "/" + str(power.relative_to(root)) if power else None,
                    "millivolts": rail.millivolts,
                    "idle_ma": rail.idle_ma,
                    "load_ma": rail.load_ma,
                }
    write(root / "rails.json", json.dumps({"rails": places, "total": board.total}))
    (sys_ / "class/power_supply").mkdir(parents=True)
    _build_gpu(board, sys_)
    _build_cpu(board, sys_)
    for number, (zone, celsius) in enumerate({"CPU-therm": 41.5, "GPU-therm": 39.0}.items()):
        folder = sys_ / f"devices/virtual/thermal/thermal_zone{number}"
        write(folder / "type", f"{zone}\n")
        write(folder / "temp", f"{1000 * celsius:.0f}\n")
    write(sys_ / "class/hwmon/hwmon2/name", "pwmfan\n")
    write(sys_ / "class/hwmon/hwmon2/pwm1", "70\n")
    emc = sys_ / "kernel/debug/bpmp/debug/clk/emc"
    for name, value in {"rate": 2133, "max_rate": 2133, "min_rate": 204}.items():
        write(emc / name, f"{value * MHZ}\n")
    write(emc / "mrq_rate_locked", "0\n")
    write(sys_ / "kernel/actmon_avg_activity/mc_all", "213300\n")
    maps = "CLIENT PROCESS PID SIZE\nuser python3 1 123456K\ntotal 123456K\n"
    write(sys_ / "kernel/debug/nvmap/iovmm/maps", maps)
    (sys_ / "fs/cgroup").mkdir(parents=True)
    tree = sys_ / "firmware/devicetree/base"
    write(tree / "model", board.model + "\0")
    write(tree / "compatible", board.compatible)
    write(tree / "serial-number", "1420000000000\0")
    write(tree / "nvidia,boardids", board.board_ids + "\0")
    if board.is_iio:
        write(tree / "nvidia,dtsfilename", "tegra210-p3448-0000-p3449-0000-b00.dts\0")
    groups = [line for line in Path("/etc/group").read_text().splitlines() if not line.startswith("jtop:")]
    write(etc / "group", "\n".join([*groups, "jtop:x:0:root", ""]))
    write(etc / "nv_tegra_release", board.l4t + "\n")
    write(root / "bin/nvpmodel", NVPMODEL.format(modes=" ".join(board.modes)), 0o755)
    write(root / "bin/jetson_clocks", JETSON_CLOCKS.format(gpu=board.gpu, model=board.model), 0o755)
    _build_proc(board, root / "proc")
    write(root / "py/sitecustomize.py", SITE.format(kernel=board.kernel))


def _build_gpu(board: Board, sys_: Path) -> None:
    device = sys_ / "devices/platform" / board.gpu
    write(device / "of_node/name", board.gpu.split(".")[1] + "\0")
    for name, value in {"load": 0, "railgate_enable": 1, "tpc_pg_mask": 0, "enable_3d_scaling": 1}.items():
        write(device / name, f"{value}\n")
    write(device / "power/control", "auto\n")
    devfreq = device / "devfreq" / board.gpu
    clocks = {"cur_freq": board.gpu_hz, "max_freq": board.gpu_hz, "min_freq": board.gpu_hz // 10}
    for name, value in clocks.items():
        write(devfreq / name, f"{value}\n")
    write(devfreq / "governor", "nvhost_podgov\n")
    (devfreq / "device").symlink_to("../..")
    link = sys_ / "class/devfreq" / board.gpu
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../devices/platform/{board.gpu}/devfreq/{board.gpu}")


def _build_cpu(board: Board, sys_: Path) -> None:
    for core in range(board.cores):
        folder = sys_ / f"devices/system/cpu/cpu{core}"
        write(folder / "online", "1\n")
        write(folder / "cpufreq/scaling_governor", "schedutil\n")
        for limit, khz in {"min": 115_200, "max": 2_201_600, "cur": 2_201_600}.items():
            write(folder / f"cpufreq/scaling_{limit}_freq", f"{khz}\n")
            write(folder / f"cpufreq/cpuinfo_{limit}_freq", f"{khz}\n")
    write(sys_ / "devices/system/cpu/online", f"0-{board.cores - 1}\n")


def _build_proc(board: Board, proc: Path) -> None:
    """As many cores as the board has; this machine's memory scaled to the board's, and the line of its GPU."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    scale = board.memory_kib / int(lines[0].split()[1])
    scaled = [f"{line.split(':')[0]}: {int(int(line.split()[1]) * scale)} kB" for line in lines if line.endswith("kB")]
    write(proc / "meminfo", "\n".join([*scaled, "NvMapMemFree: 0 kB", "NvMapMemUsed: 123456 kB", ""]))
    cores = [f"cpu{core} 1000 10 200 50000 5 0 1 0 0 0" for core in range(board.cores)]
    rest = ["intr 1", "ctxt 1", "btime 1700000000", "processes 1", "procs_running 1", "procs_blocked 0", ""]
    write(proc / "stat", "\n".join(["cpu 8000 80 1600 400000 40 0 8 0 0 0", *cores, *rest]))


MOUNTS = """set -e
mount --bind "$BOARD/sys" /sys
mount -t overlay overlay -o "lowerdir=$BOARD/etc:/etc" /etc
mount -t overlay overlay -o "lowerdir=$BOARD/bin:/usr/bin" /usr/bin
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
mount --bind "$BOARD/proc/meminfo" /proc/meminfo
mount --bind "$BOARD/proc/stat" /proc/stat
exec "$@" """


def unshare() -> list[str]:
    as_root = [] if os.getuid() == 0 else ["-r"]
    return ["unshare", "-m", "--propagation", "private", *as_root, "-p", "-f", "--kill-child"]


@lru_cache
def why_not() -> str | None:
    """Why no board can be simulated here; None if it can."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "needs Linux and util-linux's unshare"
    if shutil.which("jtop", path=str(Path(sys.executable).parent)) is None:
        return "needs jetson-stats beside this Python: pip install 'jetbench[jetson]'"
    probe = "mount -t tmpfs tmpfs /run && mount -t overlay overlay -o lowerdir=/etc:/usr/bin /etc"
    done = subprocess.run([*unshare(), "bash", "-c", probe], capture_output=True, text=True)
    return None if done.returncode == 0 else f"mount namespaces are not allowed here ({done.stderr.strip()[:100]})"


def need_boards() -> None:
    if reason := why_not():
        pytest.skip(f"simulated boards: {reason}")


@dataclass(frozen=True)
class Ran:
    """What a command on a board printed, its exit code, and the truth: (monotonic s, W of the board's total)."""

    code: int
    out: str
    err: str
    truth: list[tuple[float, float]]

    def true_watts(self, start: float, end: float) -> float:
        """Mean of the board's true power over a window."""
        joules = 0.0
        for (t0, watts), (t1, _) in zip(self.truth, [*self.truth[1:], (end, 0.0)], strict=True):
            joules += watts * max(0.0, min(t1, end) - max(t0, start))
        return joules / (end - start)


def command_on(
    board: str, folder: Path, command: Sequence[str], *options: str, **environment: str
) -> tuple[list[str], dict[str, str]]:
    """What runs a command on a simulated board, and its environment; `options` are those of inside.py."""
    root = folder / board
    if not root.exists():
        build(BOARDS[board], root)
    python = [str(root / "py")] + [path for path in [os.environ.get("PYTHONPATH", "")] if path]
    inside = [sys.executable, str(HERE / "inside.py"), *options, "--", *command]
    told = {"BOARD": str(root), "PYTHONPATH": os.pathsep.join(python), "COLUMNS": "150", **environment}
    return [*unshare(), "bash", "-c", MOUNTS, "board", *inside], {**os.environ, **told}


def run_on(board: str, folder: Path, command: Sequence[str], *options: str, **environment: str) -> Ran:
    """Run a command on a simulated board; `options` are those of inside.py."""
    program, told = command_on(board, folder, command, *options, **environment)
    done = subprocess.run(program, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, env=told)
    truth = folder / board / "truth.json"
    watts = json.loads(truth.read_text()) if truth.exists() else []
    return Ran(done.returncode, done.stdout, done.stderr, [(t, w) for t, w in watts])
