import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_verbs import jetbench
from tests.models.test_foreign import SOURCE, parameters_of
from tests.training.test_losses import OWN

SWEEP = """
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 8, val: 4, test: 4}
training: {budget: 2 steps, batch_size: 4, evaluations: 1}
profiling: {min_seconds: 0, precision: 1, warmup_iterations: 1, min_iterations: 3}
variants:
  - grid: {base: [cgnet]}
  - cases: {narrow: {base: mine.yaml}, wide: {base: mine.yaml, arguments.width: 32}}
"""
FIND = """
base: mine.yaml
axes: {arguments.width: [4, 8, 16]}
objectives: [miou, macs]
trainings: 3
dataset: {name: streets, size: 64x96, train: 8, val: 4, test: 4}
training: {budget: 2 steps, batch_size: 4, evaluations: 1}
profiling: {min_seconds: 0, precision: 1, warmup_iterations: 1, min_iterations: 3}
final: {budget: 3 steps, seeds: [1]}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    (tmp_path / "mine.yaml").write_text("model: net.py:build\n")
    (tmp_path / "s.yaml").write_text(SWEEP)
    return tmp_path


@pytest.mark.slow
def test_a_network_of_ones_own_is_shown_and_counted(own: Path) -> None:
    assert "network of the user's own" in jetbench("show", "mine.yaml", "--size", "64x96", cwd=own)
    counted = jetbench("count", "mine.yaml", "--size", "64x96", "--json", cwd=own)
    assert (
        json.loads(counted)["parameters"]
        == json.loads(jetbench("count", "net.py:build", "--size", "64x96", "--json", cwd=own))["parameters"]
    )
    assert "from the graph that it is exported to" in jetbench(
        "show", "mine.yaml", "--lint", "--size", "64x96", cwd=own
    )


def test_variants_that_the_factory_refuses_are_all_listed_before_anything_runs(own: Path) -> None:
    (own / "s.yaml").write_text(
        SWEEP.partition("variants:")[0] + "variants: [{grid: {base: [mine.yaml], arguments.width: [8, wide, -1]}}]\n"
    )
    text = jetbench("sweep", "s.yaml", cwd=own, code=2)
    assert "s: 2 of 4 variants cannot be built; nothing was run" in text
    assert "- mine.yaml, width=wide: build(num_classes=11, width='wide') failed (TypeError: " in text
    assert "- mine.yaml, width=-1: build(num_classes=11, width=-1) failed (RuntimeError: " in text
    assert not (own / "reports").exists()


@pytest.mark.slow
def test_a_network_of_ones_own_is_a_row_like_every_other(own: Path) -> None:
    jetbench("sweep", "s.yaml", cwd=own)
    folder = own / "reports" / "s"
    for verb in (("table", "reports/s"), ("report", "reports/s"), ("table", "reports/s", "--style", "paper,latex")):
        text = jetbench(*verb, cwd=own)  # none of them imports it
        assert "speaks" not in text
    assert "narrow" in jetbench("table", "reports/s", "--columns", "parameters,macs,val", cwd=own)
    (weights,) = (folder / "weights").glob("wide-*.safetensors")
    scored = ("evaluate", str(weights), "--dataset", "streets", "--set", "train=2", "--set", "val=2", "--set", "test=4")
    refused = jetbench(*scored, cwd=own, code=2)
    assert "code is imported only if the command names it: give --model" in refused
    assert "mIoU" in jetbench(*scored, "--model", "net.py:build", cwd=own)
    assert "changed" not in jetbench("sweep", "s.yaml", cwd=own)  # nothing is run again
    assert "is the YAML of a report folder" in jetbench("sweep", "reports/s/sweep.yaml", cwd=own, code=2)
    packed = ("bundle", str(weights), "--out", "of-weights")
    assert "give --model" in jetbench(*packed, cwd=own, code=2)
    jetbench(*packed, "--model", "net.py:build", cwd=own)
    text = jetbench("bundle", "mine.yaml", "--device", "nano", "--size", "64x96", "--out", "packed", cwd=own)
    assert (own / "packed" / "probe").is_dir(), text


@pytest.mark.slow
def test_the_arguments_of_a_network_of_ones_own_are_searched(own: Path) -> None:
    (own / "find.yaml").write_text(FIND)
    assert "Of 3 networks (random and the base) 100 % can be built" in jetbench(
        "search", "find.yaml", "--dry-run", cwd=own
    )
    jetbench("search", "find.yaml", cwd=own)
    folder = own / "reports" / "find"
    assert "mine.yaml" in (folder / "answer.md").read_text()
    text = jetbench("table", "reports/find", "--columns", "parameters,macs,val", cwd=own)
    assert "find-003" in text
    assert f"{parameters_of(16, 11):,}" in text  # counted without a profile, and without its code
    assert "3 trained" in jetbench("search", "find.yaml", cwd=own)  # nothing is run again


@pytest.mark.slow
def test_a_loss_of_ones_own_is_an_axis_with_its_arguments_in_one_table(own: Path) -> None:
    (own / "own.py").write_text(OWN)
    grid = '{training.loss: ["own.py:entropy"], training.loss_arguments.scale: [1, 2]}'
    (own / "losses.yaml").write_text(f"{SWEEP.partition('variants:')[0]}profile: false\nvariants: [{{grid: {grid}}}]\n")
    assert "NOT COMPARABLE" not in jetbench("sweep", "losses.yaml", cwd=own)
    table = jetbench("table", "reports/losses", "--columns", "loss,val", cwd=own)
    assert "own.py:entropy(scale=1)" in table
    assert str(own) not in table  # the place of the file is nobody's business
    assert "its loss own.py:entropy would be imported" in jetbench(
        "sweep", "reports/losses/sweep.yaml", cwd=own, code=2
    )
    fixed = ["train", "jetseg-nano", "--dataset", "streets", "--budget", "1step", "--size", "64x96"]
    fixed += [
        "--set",
        "dataset.train=8",
        "--set",
        "dataset.val=2",
        "--set",
        "dataset.test=2",
        "--loss",
        "own.py:entropy",
    ]
    jetbench(*fixed, "--name", "one", cwd=own)
    (own / "own.py").write_text(OWN + "# changed again\n")
    jetbench(*fixed, "--name", "two", cwd=own)
    refused = jetbench("table", "reports/one", "reports/two", "--columns", "val", cwd=own, code=2)
    assert "these rows do not compare" in refused  # another source under the same name


@pytest.mark.slow
def test_segformer_of_transformers_is_a_row_beside_ours(own: Path) -> None:
    pytest.importorskip("transformers", reason="needs transformers from PyPI")
    (own / "seg.py").write_text(
        "from transformers import SegformerConfig, SegformerForSemanticSegmentation\n"
        "def build(num_classes):\n"
        "    return SegformerForSemanticSegmentation(SegformerConfig(num_labels=num_classes))\n"
    )
    (own / "mine.yaml").write_text("model: seg.py:build\n")
    (own / "s.yaml").write_text(SWEEP.replace(", wide: {base: mine.yaml, arguments.width: 32}", ""))
    jetbench("sweep", "s.yaml", cwd=own)
    rows = [json.loads(line) for line in (own / "reports" / "s" / "records.jsonl").read_text().splitlines()]
    profile = next(row["profile"] for row in rows if row["kind"] == "profile" and row["variant"] == "narrow")
    assert profile["parameters"] > 3_000_000
    assert profile["macs"] > 100_000_000


@pytest.mark.slow
def test_a_network_of_ones_own_is_profiled_by_a_name_on_the_command_line(own: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jetbench", "profile", "net.py:build", "--size", "64x96", "--quick", "--json"],
        capture_output=True, text=True, cwd=own, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout[done.stdout.index("{") :])["architecture"]["model"].endswith("net.py:build")
