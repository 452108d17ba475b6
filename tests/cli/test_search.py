"""jetbench search as a person uses it: real trainings, a few steps each."""

import csv
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from jetbench import load_architecture
from jetbench.cli.dashboard import dashboard_of
from jetbench.models.weights import load_weights
from jetbench.network.plan import plan_architecture
from jetbench.records.folder import read_records
from tests.cli.test_verbs import jetbench

SEARCH = """
description: a test
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 16, val: 6, test: 4}
training: {budget: 4 steps, batch_size: 4, evaluations: 2}
profiling: {warmup_iterations: 1, min_iterations: 3, min_seconds: 0, precision: 1}
objectives: [miou, macs]
limits: {macs: 32M}
trainings: 3
sampler: random
final: {budget: 5 steps, seeds: [0, 1], most: 1}
axes:
  base_channels: [4, 6, 8, 16]
  groups: [1, gcd, mean-divisor]
  decoder.head_channels: [16, 64]
"""


@pytest.fixture
def search(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SEARCH)
    return path


@pytest.mark.slow
def test_a_search_goes_on_grows_and_ends_in_networks_to_build_on(search: Path, tmp_path: Path) -> None:
    text = jetbench("search", str(search), "--trainings", "2", "--no-final", cwd=tmp_path)
    assert "2 trained" in text
    folder = tmp_path / "reports" / "tiny"
    first = read_records(folder)
    text = jetbench("search", str(search), cwd=tmp_path)
    records = read_records(folder)
    assert [record.key for record in records[: len(first)]] == [record.key for record in first]
    trained = [record for record in records if record.failure is None]
    assert len(trained) == 3
    for record in records:
        if record.failure:
            assert record.failure.reason.startswith("macs: ")
            assert record.training is None

    assert "test to base" in text
    (written,) = (folder / "front").glob("*.yaml")
    found = next(record for record in trained if record.variant == written.stem)
    built = plan_architecture(load_architecture(str(written)), found.data.num_classes, found.data.size)
    assert built.fingerprint == found.fingerprint
    _, saved = load_weights(written.with_suffix(".safetensors"))
    assert plan_architecture(saved.architecture, 11, (64, 96)).fingerprint == found.fingerprint
    assert f"| {written.stem} |" in (folder / "answer.md").read_text()
    with (folder / "proposals.csv").open() as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    assert set(rows) == {record.variant for record in records}
    assert {row["outcome"] for row in rows.values()} <= {"trained", "over a limit"}
    finals = read_records(folder / "final")
    assert {record.recipe.seed for record in finals} == {0, 1}
    assert all(record.profile and record.profile.model_latency for record in finals)
    told = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'study.db'}")
    assert len(told.trials) == len(records)
    assert (folder / "answer.png").exists()
    assert (folder / "search-macs.png").exists()

    again = jetbench("search", str(search), cwd=tmp_path)
    assert read_records(folder) == records
    assert "3 trained" in again
    other = jetbench("search", str(search), "--seed", "5", cwd=tmp_path, code=2)
    assert "holds another search" in other
    assert "seed: 0 in the folder, 5 requested" in other
    warm = jetbench(
        *("search", str(search), "--name", "warm", "--warm-start", str(folder), "--trainings", "1", "--no-final"),
        cwd=tmp_path,
    )
    assert "3 taken over" in warm


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("search", "search-quick", "--dashboard", "--storage", "sqlite:///x.db"),
            "run `optuna-dashboard ADDRESS`",
        ),
        (("search", "nothing"), "nothing: no bundled search has that name"),
        (("search", "nano"), "is a sweep, not a search with axes:"),
        (("search", "search-quick", "--objectives", "miou,speed"), "--objectives: expected 'miou'"),
        (("search", "search-quick", "--max-macs", "1k"), "over the limit of"),
        (("search", "search-quick", "--max-latency", "soon"), "'soon' is not a latency"),
        (("search", "search-quick", "--sampler", "guess"), "sampler"),
        (
            ("search", "search-nano", "--objectives", "miou,energy", "--device", "agx"),
            "objective energy: this machine is",
        ),
        (("search", "search-quick", "--max-energy", "1mJ", "--device", "agx"), "--max-energy: this machine is not a"),
    ],
)
def test_bad_input_gets_one_clear_error(arguments: tuple[str, ...], message: str, refused: Callable[..., str]) -> None:
    assert message in " ".join(refused(*arguments, "--dry-run").split())


def test_the_dashboard_answers_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard: pip install 'jetbench[search]'")
    with dashboard_of(tmp_path) as address:
        assert address
        assert address.startswith("http://127.0.0.1:")
        for _ in range(150):
            try:
                assert urllib.request.urlopen(address, timeout=5).status == 200
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail("it did not answer within 30 s")
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


ELSEWHERE = """
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 8, val: 2, test: 2}
training: {budget: 2 steps, batch_size: 2, evaluations: 2}
objectives: [miou, latency]
limits: {latency: 33ms}
trainings: 3
final: {budget: 2 steps, seeds: [1], most: 2}
axes:
  base_channels: [4, 8, 12]
  groups: [1, gcd]
"""


@pytest.mark.slow
def test_a_search_for_a_board_that_is_elsewhere_goes_by_its_data_sheet_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "far.yaml").write_text(ELSEWHERE)
    text = " ".join(jetbench("search", "far.yaml", "--device", "agx", cwd=tmp_path).split())
    assert "Nothing is measured. Latencies are those of agx by estimate from its data sheet" in text
    assert "ESTIMATED for agx from its data sheet" in text
    folder = tmp_path / "reports" / "far"
    answer = (folder / "answer.md").read_text()
    assert "latency at best (ms), ESTIMATED" in answer
    (base, *_) = [line for line in answer.splitlines() if line.startswith("| jetseg-nano")]
    assert float(base.split("|")[5]) > 0
    assert not any(record.profile for record in read_records(folder))
    assert not any(record.failure for record in read_records(folder / "final"))
