"""The baselines at the command line: listed, shown, counted, swept, quoted."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from jetbench.models.weights import load_weights
from jetbench.records.folder import read_records
from jetbench.spec.catalog import baseline_names
from tests.cli.test_verbs import jetbench

SWEEP = """
base: ddrnet23-slim
dataset: {name: streets, size: 64x96, train: 16, val: 6, test: 4}
training: {budget: 2 steps, batch_size: 4, evaluations: 1}
profiling: {warmup_iterations: 1, min_iterations: 3, min_seconds: 0, precision: 1}
variants:
  - grid: {base: [fpenet]}
quoted: [mfenet]
"""


def test_baselines_are_listed_with_what_their_names_may_be_taken_for() -> None:
    rows = json.loads(jetbench("list", "--json"))["baselines"]
    assert [row["name"] for row in rows] == baseline_names()
    assert {"name": "thundernet", "year": 2019, "fidelity": "approximate"}.items() <= rows[
        [row["name"] for row in rows].index("thundernet")
    ].items()


@pytest.mark.slow
def test_a_baseline_is_shown_and_counted() -> None:
    text = jetbench("show", "cgnet", "--size", "360x480")
    assert "494,258" in text
    assert "2,223.3" in text
    assert "https://arxiv.org/abs/1811.08201" in text
    counted = json.loads(jetbench("count", "ddrnet23-slim", "--size", "64x96", "--json"))
    assert (counted["parameters"], counted["fidelity"]) == (5_695_467, "exact")
    assert sum(layer["macs"] for layer in counted["layers"]) == counted["macs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("count", "mfenet"), "too little is published to build it"),
        (("show", "mfenet", "--lint"), "only its published figures are known"),
        (("count", "enet", "--size", "63x100"), "baselines take at least 64x64"),
        (("show", "enet", "--set", "groups=4"), "enet: is a baseline, which has nothing to vary; leave out groups"),
        (("count", "mininet-v2"), "did you mean mininetv2?"),
    ],
)
def test_what_a_baseline_cannot_do_is_refused(
    arguments: tuple[str, ...], message: str, refused: Callable[..., str]
) -> None:
    assert message in refused(*arguments)


@pytest.mark.parametrize(("kind", "text"), [("screen", "axes: {groups: [1, 2]}"), ("search", "axes: {groups: [1, 2]}")])
def test_a_baseline_is_no_base_of_a_space(kind: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: enet\n{text}\n")
    assert "enet: is a baseline, which has no JetBlocks" in jetbench(kind, str(path), cwd=tmp_path, code=2)


def test_a_quoted_name_that_is_no_baseline_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SWEEP.replace("mfenet", "jetseg-nano"))
    assert "quoted: jetseg-nano is not a baseline" in jetbench("sweep", str(path), cwd=tmp_path, code=2)


@pytest.mark.slow
def test_baselines_are_trained_profiled_and_set_beside_what_is_published(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SWEEP)
    jetbench("sweep", "mine.yaml", cwd=tmp_path)
    folder = tmp_path / "reports" / "mine"
    ddrnet, fpenet = sorted(read_records(folder), key=lambda record: record.variant)  # whichever landed first
    assert (ddrnet.failure, fpenet.failure) == (None, None)
    assert ddrnet.training
    assert ddrnet.training.auxiliary_weights == (0.4,)
    # Its head for training is in the weights, and in no measurement.
    assert ddrnet.profile
    assert ddrnet.profile.parameters == 5_695_467
    saved = load_weights(folder / "weights" / ddrnet.training.weights_file)[0]
    assert sum(p.numel() for p in saved.parameters()) == 5_695_467 + 37_835
    assert ddrnet.profile.memory
    assert ddrnet.profile.memory.weights_bytes < 4 * (5_695_467 + 37_835)

    table = (folder / "table.md").read_text()
    assert "fpenet ≈" in table
    assert "| mfenet (quoted) | — |" in table
    assert "ddrnet23-slim (0.4)" in table  # what its head counted in training
    assert "230 FPS on RTX 2080Ti, CamVid (abstract)" in table
    assert "fpenet ≈ is approximate; assumed:" in table
    rows = pd.read_csv(folder / "table.csv").set_index("variant")
    assert rows.loc["mfenet", "status"] == "quoted"
    assert pd.isna(rows.loc["mfenet", "parameters"])
    assert rows.loc["ddrnet23-slim", "eq2_flops"] > 0
    assert "153" not in str(rows.loc["fpenet", "reported_fps"])
    before = {path.name: path.read_bytes() for path in folder.glob("table.*")}
    jetbench("table", str(folder))
    assert before == {path.name: path.read_bytes() for path in folder.glob("table.*")}
