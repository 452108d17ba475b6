import json
import shlex
from pathlib import Path

import pytest

from jetbench.data.folder import read_class_file
from jetbench.network.variants import read_sweep
from jetbench.spec.schema import KINDS, json_schema
from jetbench.spec.templates import USES
from tests.cli.test_verbs import jetbench


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_written_with_its_schema_and_runs(kind: str, tmp_path: Path) -> None:
    text = jetbench("init", kind, "mine", cwd=tmp_path)
    assert "Next: " in text
    first = (tmp_path / "mine.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={kind}.schema.json"
    assert json.loads((tmp_path / f"{kind}.schema.json").read_text()) == json_schema(kind)  # type: ignore[arg-type]
    _, *command = shlex.split(USES[kind].format(file="mine.yaml"))  # type: ignore[index]
    jetbench(*command, *(["--dry-run"] if kind in ("sweep", "search") else []), cwd=tmp_path)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: jetseg-agx\n")
    assert "exists already" in jetbench("init", "sweep", "mine", cwd=tmp_path, code=2)
    assert (tmp_path / "mine.yaml").read_text() == "base: jetseg-agx\n"
    assert "expected one of sweep, search" in jetbench("init", "swep", "x", cwd=tmp_path, code=2)
    assert "does not exist" in jetbench("init", "sweep", "no/where", cwd=tmp_path, code=2)
    assert "takes 1 to 80 letters" in jetbench("init", "sweep", "a b", cwd=tmp_path, code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml"]


@pytest.mark.slow
def test_a_network_of_ones_own_and_the_classes_of_a_dataset_have_templates(tmp_path: Path) -> None:
    assert "Next: jetbench show mine.yaml" in jetbench("init", "model", "mine", cwd=tmp_path)
    assert "network of the user's own" in jetbench("show", "mine.yaml", "--size", "64x96", cwd=tmp_path)
    assert "exists already" in jetbench("init", "model", "mine", cwd=tmp_path, code=2)
    jetbench("init", "dataset", "classes", cwd=tmp_path)
    assert [each.name for each in read_class_file(tmp_path / "classes.yaml").classes] == ["background", "crop", "weed"]


def test_the_schema_is_printed_as_json() -> None:
    assert json.loads(jetbench("schema", "search"))["title"] == "jetbench search"


@pytest.mark.slow
def test_the_template_of_a_sweep_runs_whole_and_shows_its_labels(tmp_path: Path) -> None:
    jetbench("init", "sweep", "mine", cwd=tmp_path)
    changes = ["--set", "training.budget=2 steps", "--set", "training.batch_size=2"]
    text = jetbench("sweep", "mine.yaml", "--size", "64x96", *changes, cwd=tmp_path)
    assert "ours (base)" in text
    assert "shared groups" in text
    assert "kernels=3a" in text
    assert read_sweep(str(tmp_path / "mine.yaml")).labels["groups=gcd"] == "shared groups"
