"""A file is made once, found out when it is damaged, and cleared when another version would make another one."""

import json
from pathlib import Path

import pytest

from jetbench.deploy.artefact import MADE_WITH, Artefact, clear_retired, list_artefacts, make_artefact
from jetbench.models.weights import GREY_MEAN, GREY_STD, SavedNetwork
from jetbench.spec.catalog import load_architecture
from jetbench.spec.profiling import ProfilingConfig

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
SIZE = (64, 96)
CONFIG = ProfilingConfig(backend="onnxruntime")


def made(config: ProfilingConfig = CONFIG) -> Artefact:
    saved = SavedNetwork(
        architecture=load_architecture("jetseg-nano"), num_classes=3, input_size=SIZE, mean=GREY_MEAN, std=GREY_STD
    )
    return make_artefact("nano", saved, config)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JETBENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_a_file_is_made_once_and_again_if_it_is_damaged(own_cache: Path) -> None:
    first = made()
    path = Path(first.path)
    assert path.is_relative_to(own_cache)
    assert all(parity.passes for parity in first.exported.parities)
    stamp = path.stat().st_mtime_ns
    assert made() == first
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(path.read_bytes()[:-1])
    again = made()
    assert again.exported.file.sha256 == first.exported.file.sha256
    assert path.stat().st_mtime_ns != stamp
    assert [folder.name for folder in path.parent.parent.iterdir()] == [path.parent.name]  # nothing half made is left


@pytest.mark.slow
def test_another_seed_or_batch_is_another_file(own_cache: Path) -> None:
    one, two = (made(CONFIG.model_copy(update={"batch_size": size})) for size in (1, 2))
    assert one.path != two.path
    assert made(CONFIG.model_copy(update={"seed": 1})).exported.file.sha256 != one.exported.file.sha256


def test_what_another_version_made_is_retired_and_cleared(own_cache: Path) -> None:
    folder = Path(made().path).parent
    (kept,) = list_artefacts()
    assert not kept.is_retired
    assert clear_retired() == 0
    versions = json.loads((folder / MADE_WITH).read_text())
    (folder / MADE_WITH).write_text(json.dumps({**versions, "torch": "1.0"}))
    (kept,) = list_artefacts()
    assert kept.is_retired
    assert clear_retired() == kept.bytes
    assert not folder.exists()
