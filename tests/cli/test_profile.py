"""jetbench profile, devices and doctor as a person runs them, on this machine as it is."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jetbench.records.record import ProfileRow
from jetbench.spec.device import DEVICES, device_names
from tests.cli.test_verbs import jetbench

SMALL = ("--size", "64x96", "--limit", "1s", "--precision", "50%", "--power", "none")


def figures(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "figures.csv").open() as file:
        return {(row["network"], row["quantity"]): row for row in csv.DictReader(file)}


def test_off_the_board_counts_are_given_and_an_estimate_says_so_everywhere(tmp_path: Path) -> None:
    text = jetbench("profile", "--device", "agx", cwd=tmp_path)
    first, *lines = text.splitlines()
    assert first.startswith("Not measured: this machine is not a Jetson AGX Xavier (it is: ")
    shown = {" ".join(line.split()[:3]) for line in lines}
    assert "counted parameters 522,914" in shown
    assert any(
        "estimated latency at best" in line and "(estimate)" in line for line in (" ".join(x.split()) for x in lines)
    )
    assert not any(line.startswith("measured") for line in lines)
    folder = tmp_path / "reports" / "profile-agx"
    rows = figures(folder)
    kinds = {quantity: row["class"] for (_, quantity), row in rows.items()}
    assert kinds["macs"] == "counted"
    assert kinds["estimated_latency_s"] == kinds["estimated_fps"] == "estimated"
    assert kinds["latency_model_s"] == kinds["power_w"] == kinds["peak_memory_bytes"] == "missing"
    assert kinds["reported_fps"] == "reported"
    assert "measured" not in kinds.values()
    assert all("is not a Jetson AGX Xavier" in row["how"] for row in rows.values() if row["class"] == "missing")
    assert "ESTIMATE, not measured" in (folder / "profiles.md").read_text()
    (line,) = (folder / "records.jsonl").read_text().splitlines()
    profile = ProfileRow.model_validate_json(line).profile
    assert (profile.model_latency, profile.energy, profile.memory) == (None, None, None)
    assert profile.estimate
    assert "is not a Jetson AGX Xavier" in profile.notes["latency"]
    again = jetbench("profile", "--device", "agx", "--dtype", "fp16", "--json", cwd=tmp_path)
    told = json.loads(again[: again.rindex("}") + 1])  # what is no JSON goes to the other stream
    assert told["verdict"]["level"] == "not measured"
    assert told["figures"]["estimated_latency_s"]["class"] == "estimated"
    assert told["figures"]["estimated_latency_s"]["value"] < profile.estimate.seconds


@pytest.mark.slow
def test_several_networks_are_timed_in_turn_beside_a_copy_of_the_first(tmp_path: Path) -> None:
    names = ("jetseg-nano", "jetseg-agx")
    text = jetbench("profile", *names, "--device", "cpu", "--processes", "2", *SMALL, cwd=tmp_path, COLUMNS="200")
    folder = tmp_path / "reports" / "profile-cpu"
    records = [ProfileRow.model_validate_json(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [record.variant for record in records] == list(names)
    nano, agx = (record.profile for record in records)
    assert nano.comparison is None
    assert agx.comparison
    assert agx.comparison.reference == "jetseg-nano"
    assert len(agx.comparison.ratios) == len(agx.comparison.control) == 2
    assert nano.model_latency
    assert agx.model_latency
    assert len(nano.model_latency.runs) == len(agx.model_latency.runs) == 2
    # The larger one is slower by far, and the ratio says what the medians say.
    assert agx.comparison.median > 1.5
    assert agx.comparison.median == pytest.approx(agx.model_latency.median_s / nano.model_latency.median_s, rel=0.3)
    rows = figures(folder)
    assert rows["jetseg-agx", "latency_model_s"]["class"] == "measured"
    assert rows["jetseg-agx", "power_w"]["class"] == "missing"
    assert rows["jetseg-agx", "power_w"]["how"] == "not measured: --power none"
    assert "Ratio: time per image over that of jetseg-nano, measured in the same rounds" in text


@pytest.mark.slow
def test_settings_are_axes_and_a_paced_run_counts_missed_deadlines(tmp_path: Path) -> None:
    axes = ("--layout", "contiguous,channels-last", "--quick", "--rate", "1000", "--rate-time", "0.5s")
    text = jetbench("profile", "jetseg-nano", "--device", "cpu", *axes, *SMALL, "--json", cwd=tmp_path)
    told = json.loads(text)
    settings = [(each["profiling_config"]["batch_size"], each["profiling_config"]["channels_last"]) for each in told]
    assert settings == [(1, False), (1, True)]
    for each in told:
        missed = each["figures"]["missed_deadlines"]
        assert missed["class"] == "measured"
        assert missed["value"] > 0
        assert len(each["profile"]["model_latency"]["runs"]) == 1
    by_layout = told[1]["profile"]["comparison"]
    assert by_layout["reference"] == "jetseg-nano"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "agxx"), "did you mean agx?"),
        (("--device", "agx", "--require-measured"), "this machine is not a Jetson AGX Xavier"),
        (("--device", "cpu", "--dtype", "fp8"), "--dtype: 'fp8': expected fp32, fp16, bf16"),
        (("--device", "cpu", "--batch", "0"), "--batch: '0' is not a whole number above 0"),
        (("--device", "cpu", "--precision", "0"), "--precision: '0' is not a share"),
        (("--device", "cpu", "--soak", "10"), "--soak: '10' is not a duration; write 30s, 10min or 1.5h"),
        (("--device", "cpu", "--backend", "tvm"), "expected one of eager, folded, compiled"),
        (("--device", "cpu", "--rate", "-1"), "rate"),
        (("--device", "cpu", "--rate", "30", "--batch", "1,2"), "a camera gives one frame at a time"),
        (("--device", "cpu", "--power", "magic"), "power"),
        (("--device", "cpu", "--quick", "--processes", "4"), "leave one of them out"),
        (("--device", "cpu", "--power", "jtop", "--quick", "--size", "64x96"), "the jtop service does not run here"),
        (("jetseg-nona", "--device", "agx"), "did you mean jetseg-nano?"),
        (("jetseg-nano", "--device", "cpu", "--size", "99999x99999"), "99999x99999 is too large"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_bad_input_gets_one_clear_error(
    arguments: tuple[str, ...], message: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    text = refused("profile", *arguments)
    assert text.startswith("error: ")
    assert message in text
    assert not (tmp_path / "reports").exists()


def processes_of(session: int) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3]) == session:
                found.append((folder / "cmdline").read_text())
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for left-over processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_profile_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jetbench", "profile", "jetseg-nano", "--device", "cpu", "--limit", "60s"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ},
    )
    for _ in range(200):
        if any("jetbench.profiling.session" in line for line in processes_of(process.pid)):
            break
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(number)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130, text
    assert "Nothing of this profile was kept" in text
    assert "Traceback" not in text
    time.sleep(0.2)
    assert processes_of(process.pid) == []
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    text = jetbench("profile", "--device", "nano", cwd=tmp_path, code=2)
    assert "cannot be written to" in text
    assert "estimate" not in text


def test_a_disk_that_is_full_costs_no_measurement(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "profile-nano"
    folder.mkdir(parents=True)
    (folder / "records.jsonl").symlink_to("/dev/full")
    text = jetbench("profile", "--device", "nano", cwd=tmp_path, code=3)
    assert "not written (No space left on device)" in text
    assert "estimate" in text


def test_devices_lists_and_shows_sources() -> None:
    text = jetbench("devices", COLUMNS="200")
    assert "agx-orin" in text
    shown = jetbench("devices", "agx", COLUMNS="200")
    assert "GPU + CPU + SOC + CV + VDDRQ + SYS5V" in shown
    assert "DG-09840" in shown
    assert "39.9" in shown
    assert [each["name"] for each in json.loads(jetbench("devices", "--json"))] == device_names()


def test_your_own_device_by_path(tmp_path: Path) -> None:
    text = (DEVICES / "nano.yaml").read_text().replace("Jetson Nano 4GB", "my nano")
    (tmp_path / "mine.yaml").write_text(text)
    assert "this machine is not a my nano" in jetbench("profile", "--device", "mine.yaml", cwd=tmp_path)
    assert (tmp_path / "reports" / "profile-mine" / "profiles.md").exists()


def test_the_doctor_says_what_would_fix_what_is_missing() -> None:
    told = json.loads(jetbench("doctor", "--json", JETBENCH_DATA=""))
    findings = {finding["what"]: finding for finding in told["findings"]}
    assert findings["latency"]["state"] in ("yes", "partly")
    assert findings["accuracy on CamVid"]["fix"].startswith("export JETBENCH_DATA")
    for finding in findings.values():
        assert finding["text"]
    assert "taken for" not in told["host"]
    assert "yes" in jetbench("doctor")


@pytest.mark.slow
def test_an_estimate_of_a_power_mode_takes_its_clock(tmp_path: Path) -> None:
    modes = ("--power-mode", "MODE_15W,MAXN", "--json")
    said = jetbench("profile", "jetseg-nano", "--device", "agx-orin", *modes, cwd=tmp_path)
    (slow, fast), _ = json.JSONDecoder().raw_decode(said)  # what follows is stderr
    assert slow["profile"]["environment"]["power_mode"] == "MODE_15W"
    assert slow["profile"]["estimate"]["clock_share"] == pytest.approx(408 / 1300.5)
    assert fast["profile"]["estimate"]["clock_share"] == 1.0
    assert slow["profile"]["estimate"]["seconds"] > fast["profile"]["estimate"]["seconds"]
    assert "31% of its clock, the cap of MODE_15W" in slow["profile"]["notes"]["estimate"]
    refused = jetbench("profile", "--device", "agx-orin", "--power-mode", "15W", cwd=tmp_path, code=2)
    assert "Jetson AGX Orin 64GB has MAXN, MODE_15W, MODE_30W, MODE_50W" in refused
    refused = jetbench("profile", "--device", "cpu", "--power-mode", "15W", cwd=tmp_path, code=2)
    assert "has none; power modes are those of a Jetson" in refused
