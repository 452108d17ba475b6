from pathlib import Path

import pytest

from jetbench import load_architecture
from jetbench.network.plan import plan_architecture
from jetbench.network.variants import expand_sweep, read_sweep
from jetbench.records.record import Record
from jetbench.search.answer import (
    AnswerRow,
    answer_notes,
    build_answer,
    costs_no_more,
    describe_difference,
    write_answer,
)
from jetbench.spec.search import Search
from jetbench.stats import Difference
from tests.made_up import failed, profile, record, training
from tests.records.test_verdict import watch
from tests.search.conftest import small_search

NANO = load_architecture("jetseg-nano")
SMALLER = load_architecture("jetseg-nano", base_channels=6)


def row(name: str, miou: float, *latencies_s: float, small: bool = False, **more: object) -> AnswerRow:
    architecture = SMALLER if small else NANO
    records = tuple(
        record(f"{name}, seed={seed}", miou + 0.01 * seed, latency_s, architecture=architecture, **more)
        for seed, latency_s in enumerate(latencies_s)
    )
    return AnswerRow(name, architecture, {}, records)


def table(rows: list[AnswerRow], search: Search) -> list[dict[str, str]]:
    made = build_answer(rows, search, "a test")
    headings = ["network", *(column.brief for column in made.columns)]
    return [dict(zip(headings, (row.name, *(cell.text for cell in row.cells)), strict=True)) for row in made.rows]


def test_a_tie_is_called_a_tie() -> None:
    assert describe_difference(Difference(0.014, 0.02)) == "+1.4 \N{PLUS-MINUS SIGN} 2.0, n.s."
    assert describe_difference(Difference(-0.1, 0.0131)) == "-10.0 \N{PLUS-MINUS SIGN} 1.3"
    assert describe_difference(None) == "\N{EM DASH}"


def test_the_base_comes_first_and_what_failed_is_a_dash() -> None:
    search = small_search(final={"seeds": [0, 1]})
    broken = AnswerRow("broken", NANO, {}, (failed("broken, seed=0"),))
    base, one, last = table([row("base", 0.5, 0.02, 0.02), row("one", 0.6, 0.01, 0.01), broken], search)
    assert (base["ms"], base["val %"], base["test to base"]) == ("20.0", "50.5 ± 0.7", "—")
    assert (one["ms"], one["costs no more"], one["on front"], base["on front"]) == ("10.0", "yes", "yes", "no")
    assert one["test to base"].startswith("+10.0")
    assert (last["ms"], last["val %"], last["test to base"], last["on front"]) == ("—",) * 4


def test_a_mean_over_fewer_seeds_than_asked_says_so() -> None:
    search = small_search(final={"seeds": [0, 1, 2]})
    (base,) = table([row("base", 0.5, 0.02, 0.02)], search)
    assert base["val %"] == "50.5 ± 0.7 (2 of 3)"


@pytest.mark.parametrize(
    ("latencies_s", "expected"),
    [
        ((0.010, 0.011), "yes"),
        ((0.021, 0.023), "yes, latency overlapping"),
        ((0.025, 0.026), "no: latency"),
        ((), "—"),
    ],
)
def test_a_measured_cost_is_more_only_where_the_seeds_ranges_do_not_overlap(
    latencies_s: tuple[float, ...], expected: str
) -> None:
    one = row("one", 0.6, *latencies_s) if latencies_s else row("one", 0.6, 0.01, profile=None)
    assert costs_no_more(one, row("base", 0.5, 0.020, 0.022), small_search()) == expected


def test_what_the_search_kept_down_counts_among_the_costs() -> None:
    base, wide = row("base", 0.5, 0.01, small=True), row("wide", 0.6, 0.01)
    search = small_search(objectives=["miou", "parameters"])
    assert costs_no_more(wide, base, search) == "no: macs, parameters"
    assert costs_no_more(base, wide, search) == "yes"


def test_a_network_that_is_beaten_when_trained_again_is_on_the_front_no_more() -> None:
    rows = [row("base", 0.5, 0.01), row("beaten", 0.4, 0.01), row("small", 0.3, 0.01, small=True)]
    assert [each["on front"] for each in table(rows, small_search())] == ["yes", "no", "yes"]


def test_a_limit_that_does_not_hold_any_more_and_a_seed_that_is_not_fresh_are_said() -> None:
    search = small_search(limits={"latency": "8ms"})
    one = row("one", 0.6, 0.01)
    told = " ".join(answer_notes([row("base", 0.5, 0.02), one], search, "made up"))
    assert "one: after training, its latency is 25.0% over the limit" in told
    assert "Seed 0 also selected the front" in told


@pytest.mark.parametrize("dataset", [{"name": "streets", "size": [64, 96]}, {"name": "camvid", "size": [64, 96]}])
def test_the_front_is_a_sweep_of_the_networks_it_names(dataset: dict[str, object], tmp_path: Path) -> None:
    search = small_search(dataset=dataset, final={"budget": "70 steps"})
    one = AnswerRow("one", SMALLER, {"base_channels": 6}, row("one", 0.5, 0.01, small=True).records)
    write_answer(tmp_path, [row("base", 0.5, 0.01), one], search, "made up")
    sweep = read_sweep(str(tmp_path / "front.yaml"))
    assert sweep.dataset == search.dataset
    assert str(sweep.training.budget) == "70 steps"
    variants = {variant.name: variant.plan.fingerprint for variant in expand_sweep(sweep, 3, (64, 96))}
    assert variants == {
        "jetseg-nano": plan_architecture(NANO, 3, (64, 96)).fingerprint,
        "one": plan_architecture(SMALLER, 3, (64, 96)).fingerprint,
    }


def test_networks_of_an_earlier_answer_do_not_stay_beside_this_ones(tmp_path: Path) -> None:
    old: Record = record("old", training=training(0.5), profile=profile(0.01))
    write_answer(tmp_path, [row("base", 0.5, 0.01), AnswerRow("old", NANO, {}, (old,))], small_search(), "made up")
    assert (tmp_path / "front" / "old.yaml").exists()
    write_answer(tmp_path, [row("base", 0.5, 0.01), row("new", 0.5, 0.01)], small_search(), "made up")
    assert [path.name for path in (tmp_path / "front").iterdir()] == ["new.yaml"]


def test_a_suspect_latency_is_marked_and_an_invalid_one_left_out() -> None:
    busy = profile(0.01, watches=(watch({"load_average": 5.0}, {}),))
    throttled = profile(0.09, watches=(watch({}, {}, throttled=("thermal",)),))
    one = AnswerRow("one", NANO, {}, (record("one, seed=0", profile=busy), record("one, seed=1", profile=throttled)))
    base = row("base", 0.5, 0.02, 0.02)
    assert one.measured("latency") == (0.01,)
    assert [each["ms"] for each in table([base, one], small_search())] == ["20.0", "10.0 (?)"]
    told = " ".join(answer_notes([base, one], small_search(), "made up"))
    assert "(?) one: 2 of 2 profiles suspect or invalid, 1 left out (load average 5.0 on 2 cores" in told


@pytest.mark.parametrize("name", ["../../../escaped", "/escaped", "a/b", "\x1b[31m"])
def test_the_networks_of_an_answer_stay_in_its_folder_whatever_a_record_calls_them(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "x"
    folder.mkdir(parents=True)
    written = write_answer(
        folder, [row("jetseg-nano", 0.5, 0.01, 0.01), row(name, 0.6, 0.01, 0.01)], small_search(), "x"
    )
    assert all(folder in path.resolve().parents for path in written)
    assert {path.parent for path in tmp_path.rglob("*.yaml")} <= {folder, folder / "front"}
