"""Which device this machine is, also if no file describes it."""

import pytest

from jetbench.profiling import host
from jetbench.profiling.host import host_device, is_here


def identity(model: str, module: str) -> dict[str, str]:
    return {"model": model, "compatible": f"nvidia,p{module}\0nvidia,tegra234", "board_ids": "", "release": ""}


@pytest.mark.parametrize(
    ("model", "module", "nearest"),
    [
        # Modules that NVIDIA does not list, of families that have files, and of one that has none.
        ("NVIDIA Jetson Orin of another memory", "3767-0009", "nearest: orin-nano"),
        ("NVIDIA Jetson AGX Orin of another memory", "3701-0009", "nearest: agx-orin"),
        ("NVIDIA Jetson Nano of another memory", "3448-0009", "nearest: nano"),
        ("NVIDIA Jetson of another family", "4999-0001", "no file of its own"),
    ],
)
def test_a_jetson_without_a_file_is_named_and_its_gpu_is_used(
    model: str, module: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "is_tegra", lambda: True)
    found = host_device(identity(model, module))
    assert (found.name, found.accelerator, found.sensors) == ("jetson", "cuda", ("jtop", "ina3221"))
    assert found.title.startswith(f"{model} ({module})")
    assert nearest in found.title
    assert (found.peaks, found.power) == ({}, None)
    assert is_here(found, identity(model, module))


def test_a_board_with_a_file_is_that_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "is_tegra", lambda: True)
    assert host_device(identity("NVIDIA Jetson Orin NX 16GB", "3767-0000")).name == "orin-nx"


def test_other_machines_are_no_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "is_tegra", lambda: False)
    assert host_device(identity("", "")).name in ("cpu", "workstation")
