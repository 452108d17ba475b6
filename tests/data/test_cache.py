import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jetbench.data import cache as data_module
from jetbench.data.cache import cache_folder, constant_miou, load_data
from jetbench.errors import DataError
from jetbench.spec.dataset import CamvidConfig, StreetsConfig


def test_the_best_constant_prediction_scores_its_share_over_the_classes() -> None:
    assert constant_miou([60, 30, 10]) == pytest.approx(0.6 / 3)
    assert constant_miou([60, 0, 40]) == pytest.approx(0.6 / 2)  # an absent class is in no mean


def test_a_killed_build_leaves_nothing_that_looks_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    config = StreetsConfig(size=(48, 64), train=3, val=2, test=2, seed=99)

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(data_module, "constant_miou", fail)
        with pytest.raises(KeyboardInterrupt):
            load_data(config)
    assert not list(cache_folder().glob("*.building-*"))
    assert load_data(config).info.images["train"] == 3


def test_decoding_happens_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETBENCH_CACHE", str(tmp_path))  # the tests' own may hold it already
    config = StreetsConfig(size=(48, 64), train=3, val=2, test=2, seed=98)
    calls: list[tuple[int, int]] = []
    load_data(config, lambda done, total: calls.append((done, total)))
    assert calls == [(number, 7) for number in range(1, 8)]
    load_data(config, lambda done, total: pytest.fail("decoded twice"))


@pytest.mark.parametrize("damage", ["a flipped bit", "a truncated file", "a missing file", "half a meta.json"])
def test_a_cache_that_is_wrong_is_decoded_anew(damage: str) -> None:
    config = StreetsConfig(size=(48, 64), train=3, val=2, test=2, seed=96)
    before = load_data(config)
    (folder,) = [path.parent for path in cache_folder().glob("*/train-images.npy") if before.info.digest in meta(path)]
    images = folder / "train-images.npy"
    content = images.read_bytes()
    match damage:
        case "a flipped bit":
            images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "a truncated file":
            images.write_bytes(content[:-100])
        case "a missing file":
            images.unlink()
        case _:
            (folder / "meta.json").write_text("{")
    decoded: list[int] = []
    after = load_data(config, lambda done, total: decoded.append(done))
    assert len(decoded) == 7
    assert after.info == before.info
    assert images.read_bytes() == content
    assert not list(cache_folder().glob("*.building-*"))


def meta(images: Path) -> str:
    return (images.parent / "meta.json").read_text()


BUILD = """
import sys
from jetbench.spec.dataset import CamvidConfig, StreetsConfig
from jetbench.data.cache import load_data

def report(done, total):
    print(done, flush=True)

data = load_data(StreetsConfig(size=(144, 192), train=int(sys.argv[1]), val=2, test=2, seed=95), report)
print(data.info.digest)
"""


def build(count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(count)], stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_decodes_and_the_others_wait() -> None:
    processes = [build(20) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].split() for process in processes]
    assert sorted(map(len, said)) == [1, 1, 25]
    assert len({lines[-1] for lines in said}) == 1


def test_after_a_killed_build_the_next_one_is_whole() -> None:
    process = build(400)
    assert process.stdout
    process.stdout.readline()
    process.kill()
    process.communicate()
    # What it leaves is removed after half a day: until then it might be another machine's, at work.
    assert len(list(cache_folder().glob("*.building-*"))) == 1
    said = build(21).communicate(timeout=120)[0].split()
    assert len(said) == 26
    for path in cache_folder().glob("*.building-*"):
        os.utime(path, (0, 0))
    build(22).communicate(timeout=120)
    assert not list(cache_folder().glob("*.building-*"))


def test_a_cache_that_cannot_be_written_says_how_to_move_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("JETBENCH_CACHE", str(blocked / "cache"))
    with pytest.raises(DataError, match="set JETBENCH_CACHE"):
        load_data(StreetsConfig(size=(48, 64), train=3, val=2, test=2))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room in a file")
def test_a_full_disk_is_an_error_and_not_a_silent_death(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Mounting a small disk needs rights that a test has not; the one call that meets it is made to fail.
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"No space left on device\); free some space, or set JETBENCH_CACHE"):
        load_data(StreetsConfig(size=(48, 64), train=3, val=2, test=2, seed=97))
    assert not list(cache_folder().glob("*.building-*"))


def test_labels_are_class_ids_or_void() -> None:
    data = load_data(StreetsConfig(size=(48, 64), train=3, val=2, test=2, seed=98))
    assert set(np.unique(data.labels["train"])) <= {*range(11), 255}


def test_a_cache_whose_statistics_were_edited_is_made_anew(camvid_11: Path) -> None:
    config = CamvidConfig(path=str(camvid_11))
    before = load_data(config)
    (meta,) = cache_folder().glob("camvid11-*/meta.json")
    for old, new in ((str(before.mean[0]), "NaN"), (f'"digest": "{before.info.digest}"', '"digest": "0000"')):
        text = meta.read_text()
        assert old in text
        meta.write_text(text.replace(old, new))
        again = load_data(config)
        assert (again.mean, again.info.digest) == (before.mean, before.info.digest)


def test_data_that_the_disk_cannot_hold_are_refused_before_any_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = {*cache_folder().glob("*/*")}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    with pytest.raises(DataError, match=r"take 0.1 GiB, and 0.0 GiB are free; give a smaller dataset.size"):
        load_data(StreetsConfig(size=(1024, 1024), train=10, val=5, test=5))
    assert {*cache_folder().glob("*/*")} == before
