"""The unmodified jtop service and client on simulated boards: the whole command, and what can go wrong."""

import json
import sys
import textwrap
from pathlib import Path

import pytest

from jetbench.records.energy import Energy, PowerSample
from jetbench.records.record import ProfileRow
from jetbench.records.verdict import judge
from jetbench.spec.device import load_device
from tests.simulated.boards import Ran, need_boards, run_on

JETBENCH = (sys.executable, "-m", "jetbench")
SMALL = ("--size", "64x96", "--processes", "1", "--limit", "1s", "--idle", "1s", "--window", "2s", "--windows", "1")

# What jetbench's sampler makes of a service, without torch: some idle, a load on this thread, idle again.
LOAD = """
import json, sys, time
from jetbench.probe.energy import EnergyPlan, run_windows
from jetbench.probe.sampler import Sampler, SamplerError
from jetbench.probe.timing import Pass

def work():
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
        pass

try:
    with Sampler(sys.argv[1], 0.1) as sampler:
        plan = EnergyPlan(1.0, float(sys.argv[2]), 1, 5, 5, 1)
        windows = run_windows(sampler, Pass(work, lambda: None), plan)
        time.sleep(0.3)
    print(json.dumps({**windows, "meta": sampler.meta, "samples": sampler.samples, "errors": sampler.errors}))
except SamplerError as error:
    print(json.dumps({"failed": str(error)}))
"""


@pytest.fixture(autouse=True)
def _boards() -> None:
    need_boards()


def sample(tmp_path: Path, board: str, sensor: str, *options: str, seconds: float = 2.0) -> tuple[Energy | str, Ran]:
    """Energy of a load on the board by one sensor, or why it could not begin; and the truth."""
    (tmp_path / "load.py").write_text(textwrap.dedent(LOAD))
    ran = run_on(board, tmp_path, [sys.executable, str(tmp_path / "load.py"), sensor, str(seconds)], *options)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out.splitlines()[-1])
    if "failed" in told:
        return str(told["failed"]), ran
    power = load_device(board).power
    assert power
    samples = [
        PowerSample(at_s=s["t"], power_w=s["power_w"], fresh=s["fresh"], sampler_cpu_s=s["cpu_s"])
        for s in told["samples"]
    ]
    return Energy(
        sensor=sensor,
        interval_s=told["meta"]["interval_s"],
        scope=power.scope,
        total_rails=power.total,
        averaging_s=told["meta"]["averaging_s"],
        images_per_pass=1,
        samples=tuple(samples),
        idle=told["idle"],
        load=told["load"],
        meta=told["meta"],
        errors=told["errors"],
    ), ran


@pytest.mark.quiet
@pytest.mark.parametrize("board", ["nano", "agx", "agx-orin"])
def test_profile_on_a_board_gives_its_true_energy_within_a_percent(board: str, tmp_path: Path) -> None:
    command = [*JETBENCH, "profile", "jetseg-nano", "--device", board, *SMALL, "--reports", str(tmp_path / "r")]
    ran = run_on(board, tmp_path, [*command, "--interval", "0.2s"])
    assert ran.code == 0, ran.err
    assert "mJ" in ran.out
    (line,) = (tmp_path / "r" / f"profile-{board}" / "records.jsonl").read_text().splitlines()
    profile = ProfileRow.model_validate_json(line).profile
    energy, device = profile.energy, load_device(board)
    assert energy
    assert energy.problem is None
    assert energy.sensor == "jtop"
    assert device.power
    assert energy.total_rails == device.power.total
    assert set(energy.rails_w or {}) == set(device.power.rails)
    ((start, end, passes),) = energy.load
    true = ran.true_watts(start, end)
    assert energy.power_w == pytest.approx(true, rel=0.01)
    assert energy.energy_j_per_image == pytest.approx(true * (end - start) / passes, rel=0.01)
    idle = ran.truth[0][1]
    assert energy.idle_w == pytest.approx(idle, rel=0.01)
    assert energy.net_energy_j_per_image == pytest.approx((true - idle) * (end - start) / passes, rel=0.02)
    assert profile.environment.power_mode == "MAXN"
    assert profile.environment.jetson_clocks is False
    assert profile.memory
    assert profile.memory.nvmap_baseline_bytes == 1024 * 123456
    # The processor of this machine is not the board's GPU, and nothing may look as if it were.
    verdict = judge(profile)
    assert verdict.level in ("suspect", "invalid")
    assert any("finds no CUDA device" in reason for reason in verdict.reasons)
    assert "finds no CUDA device" in ran.out


@pytest.mark.quiet
@pytest.mark.parametrize("board", ["nano", "agx", "agx-orin"])
def test_rails_read_directly_give_the_true_power_too(board: str, tmp_path: Path) -> None:
    energy, ran = sample(tmp_path, board, "ina3221", "--service", "none", seconds=2.0)
    assert isinstance(energy, Energy)
    # JetPack 4's driver lets the chip average; the others tell how long a cycle is.
    assert energy.averaging_s == (0.42 if board == "nano" else 0.007)
    assert energy.problem is None
    ((start, end, _),) = energy.load
    assert energy.power_w == pytest.approx(ran.true_watts(start, end), rel=0.01)
    assert energy.sampler_load is not None
    assert energy.sampler_load < 0.2


def test_a_service_that_is_killed_leaves_no_number(tmp_path: Path) -> None:
    energy, _ = sample(tmp_path, "agx", "jtop", "--fault", "kill", seconds=6.0)
    assert isinstance(energy, Energy)
    assert "lost connection with" in (energy.problem or "").lower()
    assert energy.power_w is energy.energy_j_per_image is None


@pytest.mark.slow
def test_readings_that_stand_still_are_not_taken_for_measurements(tmp_path: Path) -> None:
    energy, _ = sample(tmp_path, "agx", "jtop", "--fault", "stale", seconds=4.0)
    assert isinstance(energy, Energy)
    assert "stale" in (energy.problem or "")
    assert energy.power_w is None


@pytest.mark.slow
@pytest.mark.parametrize("sensor", ["jtop", "ina3221"])
def test_a_rail_that_vanishes_leaves_no_total(sensor: str, tmp_path: Path) -> None:
    energy, _ = sample(tmp_path, "agx", sensor, "--fault", "rail", seconds=3.0)
    assert isinstance(energy, Energy)
    assert energy.problem == f"rail GPU disappeared while {sensor} was read"
    assert energy.power_w is None


def test_another_version_of_the_service_is_named(tmp_path: Path) -> None:
    """The service is jetson-stats as it is, but for the version that it says it has."""
    import jtop

    older = tmp_path / "older"
    (older / "jtop").mkdir(parents=True)
    source = Path(jtop.__file__).parent
    for path in source.rglob("*.py"):
        copy = older / "jtop" / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text().replace(f'"{jtop.__version__}"', '"4.3.2"'))
    failed, _ = sample(tmp_path, "agx", "jtop", "--service", str(older))
    assert isinstance(failed, str)
    assert "Mismatch version jtop service: [4.3.2] and client" in failed


def test_a_start_that_hangs_is_given_up(tmp_path: Path) -> None:
    failed, _ = sample(tmp_path, "agx", "jtop", "--fault", "hang")
    assert isinstance(failed, str)
    assert "does not answer within" in failed


def test_who_is_not_in_the_group_is_told_how_to_get_in(tmp_path: Path) -> None:
    program = (
        "import importlib.util, os, sys; sys.path.insert(0, os.environ['HERE'])\n"
        "from jetbench.probe.sensors import jtop\n"
        "try:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "except OSError:\n    sys.exit(77)\n"
        "print(jtop.missing())"
    )
    here = str(Path(__file__).parents[2])
    ran = run_on("agx", tmp_path, [sys.executable, "-c", program], HERE=here)
    if ran.code == 77:
        pytest.skip("only root can become another user in a namespace")
    assert "sudo usermod -aG jtop $USER" in ran.out


def test_without_a_service_the_rails_are_read_directly_and_the_reason_is_kept(tmp_path: Path) -> None:
    command = [*JETBENCH, "doctor", "--json"]
    ran = run_on("agx", tmp_path, command, "--service", "none")
    assert ran.code == 0, ran.err
    told = {finding["what"]: finding for finding in json.loads(ran.out)["findings"]}
    assert told["power: jtop"]["state"] == "no"
    assert "jetson-stats" in told["power: jtop"]["fix"]
    assert told["power: ina3221"]["state"] == "yes"
    assert "agx" in told["device"]["text"]


def test_a_board_is_no_other_board(tmp_path: Path) -> None:
    command = [*JETBENCH, "profile", "--device", "agx", "--require-measured", "--reports", str(tmp_path / "r")]
    ran = run_on("agx-orin", tmp_path, command, "--service", "none")
    assert ran.code == 2
    assert "this machine is not a Jetson AGX Xavier (it is: NVIDIA Jetson AGX Orin Developer Kit)" in ran.err
    assert not (tmp_path / "r").exists()


def test_the_record_has_the_memory_clock_the_cores_and_the_fan_of_a_board(tmp_path: Path) -> None:
    code = "import json; from jetbench.probe.machine import read_state; print(json.dumps(read_state()))"
    ran = run_on("nano", tmp_path, [sys.executable, "-c", code], "--service", "none")
    state = json.loads(ran.out)
    assert state["emc_hz"] == 2133e6
    assert state["online_cores"] == "0-3"
    assert state["fan_pwm"] == 70
    assert state["fan_rpm"] is None  # this board's fan does not tell
    assert state["swap_total_bytes"] is not None
    assert state["power_mode"] == "MAXN"
