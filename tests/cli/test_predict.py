"""jetbench predict with a network that was trained for a moment, on an image of another size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_verbs import jetbench


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    sweep = folder / "tiny.yaml"
    sweep.write_text(
        "base: jetseg-nano\ndataset: {name: streets, size: 64x96, train: 8, val: 2, test: 2}\n"
        "training: {budget: 2 steps, batch_size: 2, evaluations: 1}\n"
        "profiling: {min_iterations: 5, min_seconds: 0, max_warmup_seconds: 1, power: none}\n"
    )
    jetbench("sweep", str(sweep), "--reports", str(folder), cwd=folder)
    (found,) = (folder / "tiny" / "weights").glob("*.safetensors")
    return found


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    pixels = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.slow
def test_an_overlay_and_class_ids_at_the_images_own_size(weights: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "seen"
    text = jetbench("predict", "jetseg-nano", str(image), "--weights", str(weights), "--out", str(out), code=0)
    assert "street-overlay.png, street-classes.png" in text
    with Image.open(out / "street-classes.png") as classes:
        assert classes.size == (200, 120)
        assert set(np.unique(np.asarray(classes))) <= set(range(11))
    with Image.open(out / "street-overlay.png") as overlay:
        assert overlay.size[0] == 200
        assert overlay.size[1] > 120  # the legend below


@pytest.mark.slow
def test_what_cannot_be_shown_is_refused_before_anything_is_written(weights: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    broken, text = tmp_path / "broken.png", tmp_path / "text.jpg"
    broken.write_bytes(image.read_bytes()[:500])
    text.write_text("no image")

    def refused(*images: Path, name: str = "jetseg-nano") -> str:
        told = [str(each) for each in images]
        return jetbench("predict", name, *told, "--weights", str(weights), "--out", str(out), code=2)

    assert "truncated or damaged" in refused(image, broken)
    assert "not an image of PNG, JPEG" in refused(text)
    assert "no such image" in refused(tmp_path / "nowhere.png")
    assert "not of linknet" in refused(image, name="linknet")
    other = tmp_path / "other"
    other.mkdir()
    copy = other / image.name
    copy.write_bytes(image.read_bytes())
    assert "would overwrite each other" in refused(image, copy)
    assert "no such weights file" in jetbench("predict", "jetseg-nano", str(image), "--weights", "none", code=2)
    assert not out.exists()
