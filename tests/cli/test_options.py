import pytest

from jetbench.cli.options import dataset_changes, device_changes
from jetbench.errors import SpecError
from jetbench.spec.dataset import StreetsConfig


def test_device_names_what_is_profiled_on_and_torch_device_where_torch_trains() -> None:
    assert device_changes("agx", None) == {"board": "agx"}
    assert device_changes(None, "cuda") == {"device": "cuda"}
    assert device_changes("agx", "cpu") == {"board": "agx", "device": "cpu"}
    assert device_changes(None, None) == {}


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda"])
def test_the_old_meaning_of_device_still_works_and_says_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert device_changes(name, None) == {"device": name}
    assert f"--torch-device {name}" in capsys.readouterr().err
    assert device_changes(name, name) == {"device": name}


def test_devices_that_contradict_each_other_or_do_not_exist_are_refused() -> None:
    with pytest.raises(SpecError, match="contradict"):
        device_changes("cpu", "cuda")
    with pytest.raises(SpecError, match="expected auto, cpu, cuda"):
        device_changes(None, "tpu")


def test_another_dataset_keeps_the_size() -> None:
    own = StreetsConfig(size=(48, 64), train=8)
    assert dataset_changes("camvid:/x", own) == {"dataset": {"size": (48, 64), "name": "camvid", "path": "/x"}}
    assert dataset_changes("streets", own)["dataset"]["train"] == 8
    for wrong in ("cityscapes", "streets:/x"):
        with pytest.raises(SpecError, match="expected streets, camvid or camvid:PATH"):
            dataset_changes(wrong, own)
