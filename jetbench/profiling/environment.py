"""The environment of a measurement: device, processor, clocks, versions, commit."""

import os
import platform
import subprocess
from pathlib import Path

import torch

import jetbench
from jetbench.probe.machine import cores
from jetbench.records.record import Environment


def describe_environment(
    device: torch.device, flush_denormals: bool | None, keeps_freed_memory: bool | None = None
) -> Environment:
    """The state of this machine and process now; a value that cannot be read is None."""
    return Environment(
        device=_device_name(device),
        cpu=cpu_name(),
        cores=cores(),
        memory_bytes=_memory_bytes(),
        clock_mhz=_clocks(),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        torch=str(torch.__version__),  # names the CUDA version too, which the distribution's metadata may lack
        jetbench=jetbench.__version__,
        commit=_commit(),
        threads=torch.get_num_threads(),
        flush_denormals=flush_denormals,
        tf32=torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32,
        keeps_freed_memory=keeps_freed_memory,
        driver=_driver(),
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda})"
    return "cpu"


def _driver() -> str | None:
    """Version of the NVIDIA kernel driver."""
    try:
        return Path("/sys/module/nvidia/version").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def cpu_name() -> str:
    """The processor's name as the kernel gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _clocks() -> tuple[float, ...] | None:
    """Current MHz of each core: from cpufreq, or from /proc/cpuinfo on a machine without cpufreq."""
    files = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    try:
        if files:
            return tuple(int(file.read_text(encoding="utf-8")) / 1000 for file in files)
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return tuple(float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")) or None
    except (OSError, ValueError):
        return None


def _commit() -> str | None:
    """Commit of the checkout that jetbench runs from, with + if there are uncommitted changes; None for a wheel."""
    root = Path(jetbench.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
