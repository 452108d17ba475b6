import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetbench.probe.alone import WAITING, machine_shared, machine_to_itself

HOLDER = """
import sys
from jetbench.probe.alone import machine_shared
with machine_shared():
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system does not list locks in /proc")
def test_who_waits_is_told_who_holds_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETBENCH_LOCKS", str(tmp_path))
    program = tmp_path / "holder.py"
    program.write_text(HOLDER)
    told: list[str] = []
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"

        def tell(text: str) -> None:
            told.append(text)
            assert holder.stdin is not None
            holder.stdin.close()

        with machine_to_itself(tell):
            pass
    (text,) = told
    assert text.startswith(f"{WAITING}, held by pid {holder.pid} (")
    assert text.endswith(f", in {os.path.realpath(tmp_path)})")


def test_two_trainings_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETBENCH_LOCKS", str(tmp_path))
    told: list[str] = []
    with machine_shared(told.append), machine_shared(told.append):
        pass
    assert told == []
