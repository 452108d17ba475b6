from pathlib import Path

import pytest

from jetbench.cli import app
from jetbench.cli.options import dataset_changes, device_changes, read_seeds
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
    for wrong in ("coco", "coco:/x", "streets:/x"):
        with pytest.raises(SpecError, match="expected streets, camvid:PATH, folder:PATH, cityscapes:PATH"):
            dataset_changes(wrong, own)
    with pytest.raises(SpecError, match="give its folder, too: cityscapes:PATH"):
        dataset_changes("cityscapes", own)


def test_so_many_seeds_begin_at_0_and_a_list_is_taken_as_it_is() -> None:
    assert read_seeds("3") == [0, 1, 2]
    assert read_seeds("1") == [0]
    assert read_seeds("4, 5,6") == [4, 5, 6]


@pytest.mark.parametrize("text", ["", "0", "-1", "three", "1,x", "1.5", "99999", "1e3", "٣,"])
def test_what_is_no_number_of_seeds_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--seeds"):
        read_seeds(text)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("jetbench sweep na", "nano"),
        ("jetbench search search-q", "search-quick"),
        ("jetbench show jetseg-na", "jetseg-nano"),
        ("jetbench screen na", "nano"),
        ("jetbench profile --device agx-", "agx-orin"),
        ("jetbench table x --columns val,late", "val,latency"),
        ("jetbench table reports/m", "reports/mine"),
    ],
)
def test_a_shell_completes_names(
    words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reports" / "mine").mkdir(parents=True)
    (tmp_path / "reports" / "mine" / "records.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["jetbench"])
    monkeypatch.setenv("_JETBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        app(prog_name="jetbench")
    assert expected in capsys.readouterr().out.split()
