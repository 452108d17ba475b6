from pathlib import Path

import pytest

from jetbench.data.cache import cache_folder, load_data
from jetbench.data.caches import clear_cached, list_cached
from jetbench.spec.dataset import StreetsConfig


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETBENCH_CACHE", str(tmp_path / "cache"))


def test_what_is_cached_is_listed_with_its_size_and_removed_with_nothing_else() -> None:
    assert list_cached() == []
    load_data(StreetsConfig(size=(48, 64), train=3, val=2, test=2))
    load_data(StreetsConfig(size=(96, 128), train=3, val=2, test=2))
    mine = cache_folder() / "my-notes.txt"
    mine.write_text("keep")
    (cache_folder() / "streets-0123456789abcdef").symlink_to(cache_folder())
    large, small = list_cached()
    assert large.info is not None
    assert large.info.size == (96, 128)
    assert large.bytes >= 7 * 96 * 128 * 4 > small.bytes
    assert clear_cached() >= large.bytes + small.bytes
    assert list_cached() == []
    assert {path.name for path in cache_folder().iterdir()} == {"my-notes.txt", "streets-0123456789abcdef"}


def test_a_damaged_cache_is_listed_without_its_data() -> None:
    load_data(StreetsConfig(size=(48, 64), train=3, val=2, test=2))
    (found,) = list_cached()
    (found.folder / "meta.json").write_text("{")
    (damaged,) = list_cached()
    assert damaged.info is None
    assert damaged.bytes > 0
