"""The comparison that is kept in reports/examples/search, from its records."""

from pathlib import Path

import pytest

from jetbench import load_architecture
from jetbench.errors import SpecError
from jetbench.network.plan import plan_architecture
from jetbench.paper.samplers import dominated_share, main, read_run, reference_of, replay
from jetbench.records.folder import read_records
from jetbench.search.answer import gather, write_answer
from jetbench.search.run import finalists

KEPT = Path(__file__).parents[2] / "reports" / "examples" / "search"


@pytest.mark.slow
def test_the_kept_comparison_is_what_its_records_say(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "records.jsonl").write_text((KEPT / "again" / "records.jsonl").read_text())
    main(tmp_path, sorted(KEPT.glob("quick-*")))
    assert (tmp_path / "comparison.md").read_text() == (KEPT / "comparison.md").read_text()


@pytest.mark.slow
def test_the_stopping_rule_would_have_ended_none_of_the_front(tmp_path: Path) -> None:
    found = [replay(read_run(folder)) for folder in sorted(KEPT.glob("quick-*"))]
    assert sum(each.stopped for each in found) > 0
    assert sum(each.front_stopped for each in found) == 0
    assert all(0 < each.front <= each.trainings == 100 for each in found)


def test_searches_that_differ_in_more_than_sampler_and_seed_are_not_compared(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    kept = KEPT / "quick-tpe-0"
    (other / "records.jsonl").write_text((kept / "records.jsonl").read_text())
    (other / "sweep.yaml").write_text((kept / "sweep.yaml").read_text().replace("trainings: 100", "trainings: 101"))
    with pytest.raises(SpecError, match="differ in trainings"):
        main(tmp_path / "out", [kept, other])
    with pytest.raises(SpecError, match="no search"):
        read_run(tmp_path)


def test_the_kept_answer_is_what_its_records_say_and_its_networks_are_those_that_were_trained(tmp_path: Path) -> None:
    folder = KEPT.parent / "search-camvid"
    ledger = read_run(folder).ledger
    chosen = [(each.name, each.variant.architecture, each.variant.changes) for each in finalists(ledger)]
    rows = gather(chosen, read_records(folder / "final"))
    written = write_answer(tmp_path, rows, ledger.search, ledger.describe())
    for path in written:
        assert path.read_text() == (folder / path.relative_to(tmp_path)).read_text()
    found = {record.variant: record.fingerprint for record in ledger.landed}
    for path in (folder / "front").glob("*.yaml"):
        assert plan_architecture(load_architecture(str(path)), 11, (144, 192)).fingerprint == found[path.stem]


def test_the_share_is_of_the_box_up_to_mious_of_one() -> None:
    assert dominated_share([(-0.5, 20.0)], (0.0, 40.0)) == pytest.approx(0.5 * 20 / 40)
    assert dominated_share([(-0.5, 20.0), (-0.8, 30.0)], (0.0, 40.0)) == pytest.approx((0.5 * 10 + 0.8 * 10) / 40)
    assert dominated_share([(-0.5, 50.0)], (0.0, 40.0)) == 0


def test_the_box_ends_at_the_limit() -> None:
    assert reference_of([read_run(KEPT / "quick-random-0")]) == (0.0, 40e6)


def test_missing_trainings_of_a_front_are_said(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    lines = (KEPT / "again" / "records.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "again" / "records.jsonl").write_text("".join(lines[:70]))
    main(tmp_path, [KEPT / "quick-random-0"])
    text = (tmp_path / "comparison.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith("| random |")]
    assert "again" not in text.split("| :--")[0]
    assert row.count("|") == 8
    assert "- random: not all networks were trained again: quick-random-0-" in text
