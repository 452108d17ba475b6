import random
from pathlib import Path

import pytest

from jetbench.errors import SpecError
from jetbench.records.record import Record
from jetbench.reporting.questions.transfer import build_transfer, measure_transfer
from jetbench.reporting.studies import Study
from jetbench.spec.profiling import ProfilingConfig
from jetbench.stats import kendall_tau, tau_interval
from tests.made_up import ENVIRONMENT, latency, profile, record


def on(cpu: str, **latencies_s: float) -> Study:
    """A study with one network for each latency, in six processes within a percent."""
    environment = ENVIRONMENT.model_copy(update={"cpu": cpu})

    def made(name: str, number: int, seconds: float) -> Record:
        runs = latency(*(seconds * (1 + 0.001 * (n - 2.5)) for n in range(6)))
        told = profile(seconds, model_latency=runs, environment=environment)
        return record(name, 0.3 + 0.1 * number, profile=told, fingerprint=name)

    records = [made(name, number, seconds) for number, (name, seconds) in enumerate(latencies_s.items())]
    return Study(Path(cpu), cpu, cpu, tuple(records))


def test_tau_of_equal_reversed_and_tied_orders() -> None:
    same = [(float(n), 2.0 * n) for n in range(6)]
    assert kendall_tau(same) == 1.0
    assert kendall_tau([(a, -b) for a, b in same]) == -1.0
    assert kendall_tau([(1.0, 1.0), (1.0, 2.0)]) is None  # all tied on one side
    # By hand: of 3 pairs one is tied in the second, two agree: 2 / sqrt(3 * 2).
    assert kendall_tau([(1, 1), (2, 2), (3, 2)]) == pytest.approx(2 / 6**0.5)


def test_tau_agrees_with_scipy_where_it_is() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = random.Random(1)
    for _ in range(20):
        pairs = [(float(generator.randrange(6)), float(generator.randrange(6))) for _ in range(12)]
        expected = stats.kendalltau(*zip(*pairs, strict=True)).statistic
        assert kendall_tau(pairs) == pytest.approx(expected)


def test_the_interval_holds_tau_and_is_the_same_each_time() -> None:
    pairs = [(float(n), float(n ^ 1)) for n in range(12)]
    interval = tau_interval(pairs)
    assert interval
    low, high = interval
    tau = kendall_tau(pairs)
    assert tau
    assert low <= tau <= high
    assert tau_interval(pairs) == (low, high)


def test_few_networks_or_one_order_have_no_interval() -> None:
    assert tau_interval([(float(n), float(n ^ 1)) for n in range(6)]) is None
    assert tau_interval([(float(n), float(n)) for n in range(20)]) is None


def test_flips_are_pairs_told_apart_on_both_devices_in_the_other_order() -> None:
    here = on("here", a=0.010, b=0.020, c=0.030, d=0.0301)
    there = on("there", a=0.100, b=0.400, c=0.300, d=0.3001)
    told = measure_transfer(here, there)
    assert told.flips == (("b", "c"), ("b", "d"))
    assert told.pairs == 5  # c and d are a tie on both
    table = build_transfer(here, there)
    assert [row.name for row in table.rows] == ["a", "b", "c", "d"]
    ranks = [(row.cells[1].text, row.cells[3].text) for row in table.rows]
    assert ranks == [("1", "1"), ("2", "4"), ("3", "2"), ("4", "3")]
    assert [row.cells[3].is_strong for row in table.rows] == [False, True, True, True]
    assert any("b before c; b before d" in note for note in table.notes.essential)


def test_too_few_networks_in_common_are_refused() -> None:
    with pytest.raises(SpecError, match="2 networks in common"):
        measure_transfer(on("here", a=0.01, b=0.02, x=0.03), on("there", a=0.01, b=0.02, y=0.03))


def test_more_than_the_device_must_not_differ() -> None:
    here, there = on("here", a=0.01, b=0.02, c=0.03), on("there", a=0.01, b=0.02, c=0.03)
    batched = tuple(
        each.model_copy(update={"profiling_config": ProfilingConfig(batch_size=8)}) for each in there.records
    )
    with pytest.raises(SpecError, match="more than the device: batch: 1 against 8"):
        measure_transfer(here, Study(Path("x"), "x", "x", batched))
