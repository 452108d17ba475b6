"""What is read of the machine itself."""

import subprocess
import sys

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
