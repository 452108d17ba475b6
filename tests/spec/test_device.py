import math
import re
from pathlib import Path

import pytest

from jetbench.errors import SpecError
from jetbench.network.plan import plan_architecture
from jetbench.spec.catalog import load_architecture
from jetbench.spec.device import (
    DEVICES,
    device_names,
    is_device,
    load_device,
    module_numbers,
)

NAMES = [path.stem for path in sorted(DEVICES.glob("*.yaml"))]


def test_the_devices_of_the_registry() -> None:
    assert set(device_names()) == {
        *("nano", "nano-2gb", "tx2", "tx2-nx", "xavier-nx", "agx", "orin-nano", "orin-nano-4gb", "orin-nx"),
        *("orin-nx-8gb", "agx-orin", "agx-orin-32gb", "thor", "thor-t4000"),
        *("workstation", "jetson", "cpu"),
    }
    assert device_names()[:2] == ["nano", "nano-2gb"]
    assert device_names()[-1] == "cpu"


@pytest.mark.parametrize("name", NAMES)
def test_a_devices_figures_have_sources_and_its_preset_can_be_built(name: str) -> None:
    device = load_device(name)
    plan_architecture(load_architecture(device.preset), 11, device.size)
    if name == "jetson":  # any Jetson: nothing of it is known
        assert (device.power, device.peaks) == (None, {})
        return
    if device.sensors:
        assert device.power
        assert device.power.source
        assert device.power.scope
        assert set(device.power.total) <= set(device.power.rails)
    for peaks in (device.peaks, *(card.peaks for card in device.gpus)):
        assert all(peak.source for peak in peaks.values())
    if device.is_board:
        assert {"fp32", "bandwidth"} <= set(device.peaks)
        assert device.jetpack
        assert device.container
        assert device.memory_bytes
        assert device.gpu_clock_hz
        assert device.tensorrt
        assert device.precisions[:2] == ("fp32", "fp16")
        known = [mode.gpu_clock_hz for mode in device.power_modes if mode.gpu_clock_hz]
        assert max(known, default=device.gpu_clock_hz) == pytest.approx(device.gpu_clock_hz, rel=0.01)
        assert sum(mode.is_default for mode in device.power_modes) <= 1


def test_a_mode_is_told_with_its_id_name_and_clock() -> None:
    modes = [mode.describe() for mode in load_device("nano").power_modes]
    assert modes == ["0 MAXN (GPU to 922 MHz, default)", "1 5W (GPU to 640 MHz)"]
    by_name = {name: {mode.name: mode.id for mode in load_device(name).power_modes} for name in NAMES}
    assert by_name["orin-nano"]["15W"] == 0  # not the fastest, as mode 0 is on most boards
    assert by_name["orin-nx"]["15W"] == 2


def test_boards_without_int8_units_say_so() -> None:
    without = {name for name in NAMES if load_device(name).is_board and "int8" not in load_device(name).precisions}
    assert without == {"nano", "nano-2gb", "tx2", "tx2-nx"}


def test_modes_need_a_source_and_names_of_their_own(tmp_path: Path) -> None:
    text = (DEVICES / "nano.yaml").read_text()
    (tmp_path / "twice.yaml").write_text(text.replace('name: "5W"', 'name: "MAXN"'))
    with pytest.raises(SpecError, match="two modes have the same name"):
        load_device(str(tmp_path / "twice.yaml"))


@pytest.mark.parametrize("name", [name for name in NAMES if load_device(name).is_board])
def test_derived_peaks_follow_from_their_derivation(name: str) -> None:
    device = load_device(name)
    for key, peak in device.peaks.items():
        # "512 cores x 2 x 1.377 GHz"
        product = re.fullmatch(r"(.+ x [\d.]+) (G|M)Hz.*", peak.derived)
        if not product:
            continue
        *factors, clock = (float(re.findall(r"[\d.]+", part)[0]) for part in product[1].split(" x "))
        hertz = clock * {"G": 1e9, "M": 1e6}[product[2]]
        assert peak.value == pytest.approx(math.prod(factors) * hertz, rel=0.01), key
        if key == "fp32":
            assert hertz == pytest.approx(device.gpu_clock_hz, rel=0.01)


def test_agx_orin_does_not_add_what_another_rail_holds() -> None:
    power = load_device("agx-orin").power
    assert power
    assert set(power.rails) - set(power.total) == {"VDDQ_VDD2_1V8AO"}


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"compatible": "nvidia,p2972-0000 nvidia,tegra194", "board_ids": "2888:0004"}, "agx"),
        ({"compatible": "nvidia,p3737-0000+p3701-0005 nvidia,tegra234"}, "agx-orin"),
        ({"compatible": "nvidia,p3737-0000+p3701-0004 nvidia,tegra234"}, "agx-orin-32gb"),
        ({"compatible": "nvidia,p3768-0000+p3767-0001-super nvidia,tegra234"}, "orin-nx-8gb"),
        ({"compatible": "nvidia,p3768-0000+p3767-0004 nvidia,tegra234"}, "orin-nano-4gb"),
        ({"compatible": "nvidia,p4071-0000+p3834-0008 nvidia,p3834-0008 nvidia,tegra264"}, "thor"),
        ({"compatible": "nvidia,p3509-0000+p3636-0001 nvidia,tegra186"}, "tx2-nx"),
        ({"compatible": "nvidia,p3542-0000+p3448-0003 nvidia,tegra210"}, "nano-2gb"),
        ({"compatible": "nvidia,p3768-0000+p3767-0005-super nvidia,tegra234"}, "orin-nano"),
        ({"compatible": "nvidia,p3768-0000+p3767-0000 nvidia,tegra234"}, "orin-nx"),
        ({"compatible": "nvidia,p3449-0000-b00+p3448-0000-b00 nvidia,jetson-nano"}, "nano"),
        ({"compatible": "nvidia,p3509-0000+p3668-0000 nvidia,tegra194"}, "xavier-nx"),
        # In a container, by what its host's jtop says:
        ({"Model": "Jetson-AGX", "P-Number": "p2888-0004", "Module": "NVIDIA Jetson AGX Xavier (32 GB ram)"}, "agx"),
    ],
)
def test_a_board_is_told_by_its_module(told: dict[str, str], name: str) -> None:
    here = [each for each in NAMES if load_device(each).is_board and is_device(load_device(each), told)]
    assert here == [name]


def test_a_nano_without_a_sensor_of_power_is_a_device_of_its_own() -> None:
    assert module_numbers({"compatible": "nvidia,p3448-0003"}) == {"3448", "3448-0003"}
    assert not is_device(load_device("nano"), {"compatible": "nvidia,p3542-0000+p3448-0003 nvidia,tegra210"})
    assert (load_device("nano-2gb").sensors, load_device("nano-2gb").power) == ((), None)


def test_your_own_device_by_path(tmp_path: Path) -> None:
    text = (
        (DEVICES / "agx.yaml")
        .read_text()
        .replace("Jetson AGX Xavier", "my board")
        .replace('"2888", "2972"', '"1234-0001"')
    )
    (tmp_path / "mine.yaml").write_text(text)
    device = load_device(str(tmp_path / "mine.yaml"))
    assert (device.name, device.title, device.modules) == ("mine", "my board", ("1234-0001",))


def test_a_wrong_device_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"did you mean agx\? bundled: agx, agx-orin, agx-orin-32gb, cpu"):
        load_device("agxx")
    (tmp_path / "bad.yaml").write_text("title: x\npreset: jetseg-nano\naccelerator: tpu\nsensor: [jtop]\n")
    with pytest.raises(SpecError, match="accelerator") as caught:
        load_device(str(tmp_path / "bad.yaml"))
    assert "sensor" in str(caught.value)


def test_peaks_of_a_card_by_its_name() -> None:
    workstation = load_device("workstation")
    assert workstation.peaks_of(None)[0] == "TITAN RTX"
    assert workstation.peaks_of("NVIDIA H100 80GB HBM3")[1]["fp32"].value == 66.9e12
    assert workstation.peaks_of("NVIDIA H100 PCIe")[1]["fp32"].value == 51.2e12
    for other in ("Quadro P400", "NVIDIA GeForce RTX 3090 Ti", "NVIDIA GH200 480GB", "NVIDIA H100 NVL"):
        assert workstation.peaks_of(other)[1] == {}
