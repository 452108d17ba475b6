"""Power modes on simulated boards: set by name, and restored whatever ends the command."""

import json
import sys
import textwrap
from pathlib import Path

import pytest

from tests.simulated.boards import Ran, need_boards, run_on

HOLD = """
import subprocess, sys, time
from jetbench.probe.power_mode import Held, current, read_journal
def mode():
    return current()[1]
"""
# Holds a mode until it is killed.
HOLDER = """
import signal, sys, time
from jetbench.probe.power_mode import Held
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run
with Held() as held:
    held.set("MODE_15W")
    print("held", flush=True)
    time.sleep(60)
"""
KILL = """
import os, signal
from jetbench.probe.power_mode import left_over
holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
assert holder.stdout.readline() == "held\\n"
print(mode())
kept = read_journal()
if AND_GUARD:
    os.kill(kept["guard"], signal.SIGKILL)
holder.kill() if SIGNAL == "KILL" else holder.send_signal(getattr(signal, "SIG" + SIGNAL))
holder.wait()
end = time.monotonic() + (2 if AND_GUARD else 15)
while time.monotonic() < end and read_journal() is not None:
    time.sleep(0.05)
print(mode())
print(left_over())
print(mode(), read_journal())
"""


OTHERS = ("[]", "{", '{"id": 0}', '{"id": "0", "name": "MAXN", "pid": 1}')


@pytest.fixture(autouse=True)
def _boards() -> None:
    need_boards()


def on_agx(tmp_path: Path, code: str, **names: object) -> Ran:
    """Run a script on a simulated AGX Xavier, which is in MAXN; `names` are set in it."""
    values = "\n".join(f"{name} = {value!r}" for name, value in names.items())
    (tmp_path / "script.py").write_text(HOLD + values + "\n" + textwrap.dedent(code))
    return run_on(
        "agx",
        tmp_path,
        [sys.executable, str(tmp_path / "script.py")],
        "--service",
        "none",
        JETBENCH_LOCKS=str(tmp_path),
    )


def test_a_mode_is_set_by_its_name_and_given_back(tmp_path: Path) -> None:
    ran = on_agx(
        tmp_path,
        """
        with Held() as held:
            held.set("MODE_30W_ALL")
            print(mode())
            held.set("MODE_15W")
            print(mode())
        print(mode(), read_journal())
        """,
    )
    assert ran.out.split("\n")[:3] == ["MODE_30W_ALL", "MODE_15W", "MAXN None"], ran.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MODE_10W", "MODE_10W: this mode wants a reboot, which jetbench never does; the board stays in MODE_15W"),
        ("30W", "30W: no power mode of this board; it has MAXN, MODE_10W, MODE_15W, MODE_30W_ALL"),
        ("", "an empty name: no power mode of this board; it has MAXN, MODE_10W, MODE_15W, MODE_30W_ALL"),
    ],
)
def test_a_mode_that_cannot_be_set_is_refused_and_the_first_is_given_back(
    name: str, message: str, tmp_path: Path
) -> None:
    ran = on_agx(
        tmp_path,
        """
        from jetbench.probe.power_mode import PowerModeError
        try:
            with Held() as held:
                held.set("MODE_15W")
                held.set(NAME)
        except PowerModeError as error:
            print(error)
        print(mode())
        """,
        NAME=name,
    )
    assert ran.out.split("\n")[:2] == [message, "MAXN"], ran.err


@pytest.mark.parametrize("sent", ["KILL", "INT", pytest.param("TERM", marks=pytest.mark.slow)])
def test_a_command_that_is_ended_leaves_the_mode_as_it_was(sent: str, tmp_path: Path) -> None:
    ran = on_agx(tmp_path, KILL, HOLDER=HOLDER, AND_GUARD=False, SIGNAL=sent)
    assert ran.out.split("\n")[:4] == ["MODE_15W", "MAXN", "None", "MAXN None"], ran.err


def test_if_the_guard_is_killed_too_the_next_command_restores_and_says_so(tmp_path: Path) -> None:
    ran = on_agx(tmp_path, KILL, HOLDER=HOLDER, AND_GUARD=True, SIGNAL="KILL")
    lines = ran.out.split("\n")
    assert lines[:2] == ["MODE_15W", "MODE_15W"], ran.err
    assert lines[2] == "a command that was killed had left another power mode behind: MAXN is restored"
    assert lines[3] == "MAXN None"


def test_a_second_command_does_not_take_a_mode_that_is_held(tmp_path: Path) -> None:
    ran = on_agx(
        tmp_path,
        """
        from jetbench.probe.power_mode import PowerModeError
        with Held():
            try:
                Held().__enter__()
            except PowerModeError as error:
                print(error)
        """,
    )
    assert "holds the power mode of this board" in ran.out, ran.err


def test_names_are_checked_before_anything_is_measured_and_clocks_that_fail_are_an_error(tmp_path: Path) -> None:
    ran = on_agx(
        tmp_path,
        """
        from jetbench.probe.power_mode import PowerModeError
        from pathlib import Path
        for names in (["MAXN", "15W"], ["MAXN", "MAXN"]):
            try:
                with Held() as held:
                    held.check(names)
            except PowerModeError as error:
                print(error)
        try:
            with Held(fixes_clocks=True) as held:
                clock = Path("/sys/class/devfreq/17000000.gv11b/min_freq")
                clock.unlink()
                clock.mkdir()  # cannot be written any more
                held.set("MODE_15W")
        except PowerModeError as error:
            print(error)
        print(mode(), read_journal() is not None)
        """,
    )
    first, second, third, last = ran.out.split("\n")[:4]
    assert first == "15W: no power mode of this board; it has MAXN, MODE_10W, MODE_15W, MODE_30W_ALL", ran.err
    assert second == "MAXN: is named twice"
    assert third.startswith("jetson_clocks --restore ")
    assert "Is a directory" in third
    assert last == "MAXN True"  # the journal stays: the clocks are not as they were


@pytest.mark.parametrize("text", ["", *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)])
def test_a_journal_that_is_none_is_not_believed(text: str, tmp_path: Path) -> None:
    (tmp_path / "jetbench-power-mode.json").write_text(text)
    ran = on_agx(
        tmp_path,
        """
        from jetbench.probe.power_mode import left_over
        print(read_journal(), left_over())
        with Held() as held:
            held.set("MODE_15W")
        print(mode())
        """,
    )
    assert ran.out.split("\n")[:2] == ["None None", "MAXN"], ran.err


@pytest.mark.slow
def test_a_profile_in_two_modes_is_two_rows_and_the_board_is_as_before(tmp_path: Path) -> None:
    brief = "--size 64x96 --processes 1 --limit 1s --power none --json --reports reports"
    modes = "--power-mode MAXN,MODE_15W --jetson-clocks"
    command = f"{sys.executable} -m jetbench profile jetseg-nano --device agx {brief} {modes} > out.json"
    after = "nvpmodel -q; cat /sys/class/devfreq/17000000.gv11b/min_freq"
    ran = run_on(
        "agx", tmp_path, ["bash", "-c", f"cd {tmp_path} && {command} && {after}"], "--service", "none",
        JETBENCH_LOCKS=str(tmp_path),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    records = json.loads((tmp_path / "out.json").read_text())
    states = [each["profile"]["environment"] for each in records]
    assert [(each["power_mode"], each["jetson_clocks"]) for each in states] == [("MAXN", True), ("MODE_15W", True)]
    assert len({each["key"] for each in records}) == 2
    clocks = [each["profile"]["watches"][0]["before"]["gpu_min_hz"] for each in records]
    assert clocks == [1_377_000_000] * 2  # fixed at the highest
    sheet = (tmp_path / "reports" / "profile-agx" / "figures.csv").read_text()
    assert '"batch 1, fp32, 1 thread, eager, MODE_15W, jetson_clocks"' in sheet
    assert ran.out.split("\n")[:3] == ["NV Power Mode: MAXN", "0", "137700000"]


@pytest.mark.slow
def test_on_another_machine_a_mode_is_refused_or_estimated(tmp_path: Path) -> None:
    from tests.cli.test_verbs import jetbench

    text = jetbench("profile", "jetseg-nano", "--device", "cpu", "--power-mode", "15W", cwd=tmp_path, code=2)
    assert "has none; power modes are those of a Jetson" in text
    text = jetbench("profile", "jetseg-nano", "--device", "agx", "--power-mode", "15W", cwd=tmp_path, code=2)
    assert "--power-mode 15W: Jetson AGX Xavier has MAXN, MODE_10W" in text
    text = jetbench("profile", "jetseg-nano", "--device", "agx", "--power-mode", "MAXN,MODE_10W", cwd=tmp_path)
    assert "the GPU clock of MODE_10W is not in the file of agx" in " ".join(text.split())
    assert "name one" in jetbench("profile", "jetseg-nano", "--jetson-clocks", cwd=tmp_path, code=2)


@pytest.mark.slow
def test_the_jtop_service_sets_a_mode_for_who_may_not_run_nvpmodel(tmp_path: Path) -> None:
    """With the real service, which runs nvpmodel as root for the members of its group."""
    code = "from jetbench.probe import power_mode as p; print(p._set_through_jtop(2)); print(p.current())"
    ran = run_on("agx", tmp_path, [sys.executable, "-c", code])
    assert ran.out.split("\n")[:2] == ["True", "(2, 'MODE_15W')"], ran.err
    without = run_on("agx", tmp_path, [sys.executable, "-c", code], "--service", "none")
    assert without.out.split("\n")[:2] == ["False", "(0, 'MAXN')"], without.err
