import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_verbs import jetbench
from tests.data.test_folder import classes, folders

BRIEF = ("--budget", "2 steps", "--set", "batch_size=2", "--set", "evaluations=1")


@pytest.mark.slow
def test_own_data_are_trained_on_scored_and_predicted_with_their_names(tmp_path: Path) -> None:
    folders("{split}/images", "{split}/masks")(tmp_path / "set")
    classes(tmp_path / "set", "wheat", "soil", "weed")
    data = ("--dataset", "folder:set")
    options = ("--size", "32x48", "--set", "optimizer=sgd", "--set", "moving_average=0.9")
    text = jetbench("train", "jetseg-nano", *data, *BRIEF, *options, cwd=tmp_path)
    assert "SGD (momentum 0.9) 0.01 one-cycle, moving average 0.9" in text
    (weights,) = (tmp_path / "reports" / "train-jetseg-nano" / "weights").glob("*.safetensors")
    assert f"next  jetbench evaluate {weights.relative_to(tmp_path)} --dataset folder:set" in text
    assert "1 of 1" in jetbench("train", "jetseg-nano", *data, *BRIEF, *options, cwd=tmp_path).replace(
        "1 variant", "1 of 1"
    )

    told = json.loads(jetbench("evaluate", str(weights), *data, "--json", cwd=tmp_path))
    assert list(told["class_iou"]) == ["wheat", "soil", "weed"]
    assert sum(map(sum, told["confusion"])) == 32 * 48
    row = json.loads((tmp_path / "reports" / "train-jetseg-nano" / "records.jsonl").read_text())
    assert row["training"]["confusion"]["test"] == told["confusion"]
    text = jetbench("evaluate", str(weights), *data, "--split", "val", "--out", "scores", "--worst", "1", cwd=tmp_path)
    assert "weed" in text
    names = sorted(path.name.split("-")[0].split(".")[0] for path in (tmp_path / "scores").iterdir())
    assert names == ["confusion", "confusion", "confusion", "worst"]

    image = tmp_path / "set" / "test" / "images" / "f.jpg"
    jetbench("predict", str(weights), str(image), cwd=tmp_path)
    with Image.open(tmp_path / "predictions" / "f-overlay.png") as picture:
        assert picture.width == 16
    jetbench("evaluate", str(weights), "--dataset", "streets", cwd=tmp_path, code=2)

    text = jetbench(
        "train",
        "jetseg-nano",
        *data,
        *BRIEF,
        "--size",
        "32x48",
        "--init",
        str(weights),
        "--name",
        "second",
        cwd=tmp_path,
    )
    assert f"from {weights.name}" in text
    table = jetbench("table", "reports/second", "--columns", "pretrained,val", cwd=tmp_path)
    assert "yes" in table


def test_a_training_that_cannot_begin_says_why(refused: Callable[..., str]) -> None:
    assert "no such key; did you mean batch_size" in refused(
        "train", "cgnet", "--dataset", "streets", *BRIEF[:2], "--set", "batc_size=2"
    )
    assert "--budget" in refused("train", "cgnet", "--dataset", "streets", "--budget", "2")
    assert "no such weights file" in refused("train", "cgnet", "--dataset", "streets", *BRIEF, "--init", "x.pt")
    Path("broken.pt").write_text("no weights")
    assert "no state dict of tensors alone" in refused(
        "train", "cgnet", "--dataset", "streets", *BRIEF, "--init", "broken.pt"
    )
    assert not Path("reports").exists()
    assert "no bundled architecture" in refused("train", "nett", "--dataset", "streets", *BRIEF)
    assert "--split all: expected one of train, val, test" in refused(
        "evaluate", "x", "--dataset", "streets", "--split", "all"
    )
    assert "no such weights file" in refused("evaluate", "x.safetensors", "--dataset", "streets")
    assert "crop: 999x999 is larger" in refused(
        "train", "cgnet", "--dataset", "streets", *BRIEF, "--set", "augmentation.crop=999x999"
    )
