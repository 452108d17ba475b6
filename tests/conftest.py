import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jetbench.__main__ import main
from jetbench.cli.app import EXIT_USER_ERROR
from jetbench.data.cache import SegmentationData, load_data
from jetbench.spec.dataset import StreetsConfig

# One thread: the machines that run this are small, and threads that spin for work slow each other down.
torch.set_num_threads(1)

CAMVID_FOLDERS = ("train", "val", "test")
# Tests that `make test` leaves to `make test-all`, and what each is skipped for.
LEFT_TO_ALL = {
    "slow": "takes more than some ten seconds",
    "server": "starts a database or an SSH server",
    "browser": "starts a browser",
    "ray": "starts a cluster",
    "quiet": "needs the machine to itself",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the tests that are slow or need a server too")
    parser.addoption("--rest", action="store_true", help="run only those that a run without --all leaves out")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--rest"):
        ran = [item for item in items if not any(item.get_closest_marker(marker) for marker in LEFT_TO_ALL)]
        config.hook.pytest_deselected(items=ran)
        items[:] = [item for item in items if any(item.get_closest_marker(marker) for marker in LEFT_TO_ALL)]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.config.getoption("--all") or item.config.getoption("--rest"):
        return
    for marker, reason in LEFT_TO_ALL.items():
        if item.get_closest_marker(marker):
            pytest.skip(f"{marker}: {reason}; `make test-all`, or pytest --all, runs it")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    os.environ["JETBENCH_CACHE"] = str(folder)
    # Jobs of these tests lock their own machine: a sweep that runs beside the tests is not waited for.
    os.environ["JETBENCH_LOCKS"] = str(tmp_path_factory.mktemp("locks"))
    return folder


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """What a command that ends with exit code 2 prints, run in an empty folder and in this process.

    A process of its own would take seconds to load what is loaded here; that the command's own does the same, others
    of its tests show.
    """

    def run(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(sys, "argv", ["jetbench", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        text: str = told.out + told.err
        assert end.value.code == EXIT_USER_ERROR, text
        return text

    return run


@pytest.fixture(scope="session")
def real_camvid() -> Path:
    data = os.environ.get("JETBENCH_DATA")
    if not data or not (Path(data) / "camvid").is_dir():
        pytest.skip("needs CamVid: set JETBENCH_DATA to the folder that holds camvid/")
    return Path(data) / "camvid"


@pytest.fixture(scope="session")
def streets() -> SegmentationData:
    return load_data(StreetsConfig(size=(48, 64), train=16, val=6, test=4))


@pytest.fixture
def camvid_11(tmp_path: Path) -> Path:
    """A CamVid folder of the 11-class layout with two small images per split."""
    generator = np.random.default_rng(0)
    for split in CAMVID_FOLDERS:
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            pixels = generator.integers(0, 256, (36, 48, 3), dtype=np.uint8)
            labels = generator.integers(0, 12, (36, 48), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / name)
            Image.fromarray(labels).save(tmp_path / f"{split}annot" / name)
    return tmp_path
