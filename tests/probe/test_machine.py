"""What is read of the machine itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetbench.probe import machine
from jetbench.probe.machine import own_seconds

BURN = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"


def test_a_child_that_lives_counts_as_own_and_no_less_when_it_has_ended() -> None:
    before = own_seconds()
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        alive = own_seconds() - before
        child.communicate(b"\n")
    ended = own_seconds() - before
    assert 0.45 <= alive <= 2.0
    assert ended >= alive - 0.05


@pytest.mark.parametrize(
    ("groups", "files", "quotas"),
    [
        ("0::/", {"cpu.max": "100000 100000"}, [1.0]),
        ("0::/", {"cpu.max": "max 100000"}, []),
        ("0::/a/b", {"a/b/cpu.max": "250000 100000", "a/cpu.max": "50000 100000"}, [2.5, 0.5]),
        ("4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "150000", "cpu/x/cpu.cfs_period_us": "100000"}, [1.5]),
        ("4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, []),
        ("2:memory:/", {"cpu.max": "100000 100000"}, []),
        ("", {}, []),
    ],
)
def test_a_quota_of_processor_time_is_a_number_of_cores(
    groups: str, files: dict[str, str], quotas: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    real = machine.read_text
    monkeypatch.setattr(machine, "read_text", lambda path: groups if path == "/proc/self/cgroup" else real(path))
    assert machine.cpu_quotas(str(tmp_path)) == quotas
    monkeypatch.setattr(machine, "CGROUPS", str(tmp_path))
    assert machine.cores() == max(1, min(len(os.sched_getaffinity(0)), *(int(quota) for quota in quotas), 10**6))
