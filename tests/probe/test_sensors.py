"""NVML by the real nvidia-ml-py on a stand-in; RAPL on files that wrap around; what is said where there is none."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetbench.probe.observer import Observer
from jetbench.probe.sampler import Sampler, SamplerError
from jetbench.probe.sensors import SENSORS, ina3221, rapl
from jetbench.records.energy import Energy, PowerSample
from tests.simulated import boards

STUB = boards.HERE / "nvml.c"


def energy_of(sampler: Sampler, load: tuple[float, float, int], rails: tuple[str, ...]) -> Energy:
    samples = [
        PowerSample(at_s=s["t"], power_w=s.get("power_w", {}), energy_j=s.get("energy_j", {}), fresh=s["fresh"])
        for s in sampler.samples
    ]
    return Energy(
        sensor=sampler.sensor,
        interval_s=sampler.meta["interval_s"],
        scope="made up",
        total_rails=rails,
        images_per_pass=1,
        samples=tuple(samples),
        idle=(),
        load=(load,),
        meta=sampler.meta,
    )


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Builds the stand-in library and has the sampler's process find it; returns the file that steers it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("the stand-in for NVML needs a C compiler")

    def build(*flags: str) -> Path:
        library = tmp_path / "libnvidia-ml.so.1"
        subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", str(library), str(STUB)], check=True)
        steer = tmp_path / "steer"
        steer.write_text("50000 1 0")
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        monkeypatch.setenv("NVML_STUB", str(steer))
        return steer

    return build


def watch(seconds: float) -> tuple[Sampler, tuple[float, float]]:
    with Sampler("nvml", 0.02) as sampler:
        time.sleep(0.15)
        start = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        time.sleep(0.1)
    return sampler, (start, end)


def test_a_gpu_counts_its_own_joules(gpu: Callable[..., Path]) -> None:
    gpu()
    sampler, (start, end) = watch(1.0)
    energy = energy_of(sampler, (start, end, 10), ("gpu",))
    assert energy.problem is None
    assert energy.is_counter
    assert energy.power_w == pytest.approx(50, rel=0.01)
    assert energy.energy_j_per_image == pytest.approx(50 * (end - start) / 10, rel=0.01)
    assert energy.cross_check_w == pytest.approx(50)
    assert sampler.meta["device"] == "NVIDIA Stand-in RTX"
    assert sampler.samples[-1]["gpu_hz"] == 1.5e9


def test_a_counter_that_disagrees_with_the_power_shows(gpu: Callable[..., Path]) -> None:
    gpu().write_text("50000 0.57 0")
    sampler, (start, end) = watch(0.6)
    energy = energy_of(sampler, (start, end, 10), ("gpu",))
    assert energy.power_w == pytest.approx(28.5, rel=0.02)
    assert energy.cross_check_w == pytest.approx(50)


def test_an_old_gpu_without_counter_gives_its_power(gpu: Callable[..., Path]) -> None:
    gpu("-DOLD").write_text("80000 1 0")
    sampler, (start, end) = watch(0.6)
    energy = energy_of(sampler, (start, end, 10), ("gpu",))
    assert not energy.is_counter
    assert energy.power_w == pytest.approx(80)


def test_throttling_is_told_by_its_name(gpu: Callable[..., Path]) -> None:
    gpu().write_text(f"50000 1 {0x20 | 0x4}")
    sampler, _ = watch(0.1)
    assert sampler.samples[-1]["throttled"] == ["thermal"]
    assert sampler.samples[-1]["power_capped"]


def test_throttling_is_seen_outside_power_windows_too(gpu: Callable[..., Path]) -> None:
    gpu().write_text(f"50000 1 {0x20}")
    observer = Observer()
    with observer.watching_gpu():
        time.sleep(0.1)
    assert observer.finish()["throttled"] == ["thermal"]
    assert observer.gpu_hz == [1.5e9]


def test_without_a_driver_the_reason_is_given() -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has an NVIDIA driver")
    assert "driver" in str(SENSORS["nvml"].missing())
    with pytest.raises(SamplerError, match="NVML"):
        Sampler("nvml").__enter__()


@pytest.fixture
def zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two zones that belong together, one that is a part of the first, and one that is all of it again."""
    names = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:1": "psys"}
    found = {}
    for folder, name in names.items():
        boards.write(tmp_path / folder / "name", f"{name}\n")
        boards.write(tmp_path / folder / "energy_uj", "999000000\n")
        boards.write(tmp_path / folder / "max_energy_range_uj", "1000000000\n")
        found[name] = tmp_path / folder / "energy_uj"
    monkeypatch.setattr(rapl, "ZONES", str(tmp_path / "intel-rapl:*"))
    return found


def read_rapl(changes: list[Callable[[], object]]) -> list[dict[str, float]]:
    """The joules that are told after each change."""
    told: list[dict[str, Any]] = []
    stopped, arrived = threading.Event(), threading.Semaphore(0)

    def emit(line: dict[str, Any]) -> None:
        told.append(line)
        arrived.release()

    thread = threading.Thread(target=rapl.stream, args=(0.01, emit, stopped))
    thread.start()
    after = []
    arrived.acquire()
    for change in changes:
        change()
        count = len(told)
        while len(told) < count + 2:
            arrived.acquire(timeout=1)
        after.append(told[-1]["energy_j"])
    stopped.set()
    thread.join()
    return after


def test_a_counter_that_wraps_goes_on(zones: dict[str, Path]) -> None:
    def set_(name: str, microjoules: int) -> Callable[[], object]:
        new = zones[name].with_suffix(".new")
        return lambda: (new.write_text(f"{microjoules}\n"), new.replace(zones[name]))

    steps = read_rapl([set_("package-0", 999_500_000), set_("package-0", 250_000), set_("dram", 1_000_000)])
    assert [step["package-0"] for step in steps] == pytest.approx([0.5, 1.25, 1.25])
    assert [step["dram-0"] for step in steps] == pytest.approx([0, 0, 2.0])
    # Cores are a part of the package, psys is the package again: neither may be added.
    assert set(steps[-1]) == {"package-0", "dram-0"}


def test_a_wrap_without_a_known_range_is_no_negative_energy(zones: dict[str, Path]) -> None:
    for name in ("package-0", "dram"):
        (zones[name].parent / "max_energy_range_uj").write_text("0\n")
    new = zones["package-0"].with_suffix(".new")
    (step,) = read_rapl([lambda: (new.write_text("250000\n"), new.replace(zones["package-0"]))])
    assert step == {"dram-0": 0.0}


def test_counters_that_only_root_may_read_say_what_fixes_it(zones: dict[str, Path]) -> None:
    assert rapl.missing() is None
    if os.getuid() == 0:
        zones["dram"].unlink()
        zones["dram"].mkdir()  # root may read any file, but no folder
    else:
        zones["dram"].chmod(0)
    assert "sudo chmod a+r" in str(rapl.missing())


def test_a_machine_without_sensors_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapl, "ZONES", str(tmp_path / "none:*"))
    monkeypatch.setattr(ina3221, "I2C", str(tmp_path))
    assert "has no RAPL counters" in str(rapl.missing())
    assert "no INA3221" in str(ina3221.missing())


def test_a_sensor_that_crashes_is_no_silence() -> None:
    with pytest.raises(SamplerError, match="No module named"):
        Sampler("no_such_sensor").__enter__()
