import random
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from jetbench.errors import SpecError
from jetbench.search.space import Quantities, SearchSpace, excesses, over_limit, read_search
from jetbench.spec.base import parse_spec
from jetbench.spec.search import Search
from tests.search.conftest import AXES, small_search, small_space


def test_every_random_network_can_be_built_and_its_assignment_read_back() -> None:
    space, generator = small_space(), random.Random(0)
    for _ in range(50):
        chosen = space.draw(generator)
        variant = space.variant(chosen, "x")
        assert space.params(variant.changes) == chosen


def test_a_limit_that_nothing_satisfies_says_how_far_the_nearest_is() -> None:
    space = small_space(limits={"macs": "1M"})
    look = space.look()
    assert look.fit == 0
    with pytest.raises(SpecError, match=r"The nearest one: macs: [0-9.]+ M is [0-9,]+% over the limit of 1.0 M"):
        look.check()


def test_the_nearest_is_one_network_with_all_that_it_is_over() -> None:
    # Few parameters and few MACs are there, but not in a network of this space at once.
    space = small_space(limits={"macs": "5M", "parameters": "5k"})
    look = space.look()
    (parameters, macs) = look.nearest.over
    assert macs.startswith("macs: ")
    assert parameters.startswith("parameters: ")
    generator = random.Random(5)
    for _ in range(50):
        cost = space.cost(space.architecture(space.draw(generator)))
        assert max(cost.macs / 5e6, cost.parameters / 5e3) - 1 >= look.nearest.worst - 1e-9


def test_a_search_that_its_own_base_satisfies_is_never_refused() -> None:
    axes = {"base_channels": [8, *range(100, 160)], "max_channels": [64, 200]}
    free = small_space(axes=axes)
    start = free.start()
    assert start
    most = free.cost(free.architecture(start)).parameters
    look = small_space(axes=axes, limits={"parameters": most}).look()
    look.check()
    assert look.fit > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": ["miou", "speed"]}, "objectives.1"),
        ({"objectives": ["macs", "latency"]}, "expected miou and at least one of"),
        ({"limits": {"latency": "fast"}}, "'fast' is not a latency; write 33ms or 0.5s"),
        ({"limits": {"energy": "50"}}, "'50' is not an energy"),
        ({"limits": {"latency": 33}}, "33 has no unit; write for example 33ms"),
        ({"limits": {"memory": 64}}, "64 has no unit; write for example 64MiB"),
        ({"axes": {"expansion": [1, "zwei"]}}, "(given: 'zwei')"),
        ({"axes": {"expansion": [2, 2]}}, "axes.expansion: has the same value twice"),
        ({"axes": {"base_chanels": [4]}}, "axes.base_chanels: an architecture has no such field"),
        (
            {"axes": {"groups": {"values": [1], "when": {"expansion": [2]}}}},
            "axes.groups.when.expansion: no axis of that name comes before this one",
        ),
        (
            {"axes": {"expansion": [1], "groups": {"values": [1], "when": {"expansion": [2]}}}},
            "2 is not a value of that axis",
        ),
        ({"sampler": "best"}, "sampler"),
    ],
)
def test_wrong_searches_are_refused_with_their_key(change: dict[str, object], message: str, tmp_path: Path) -> None:
    raw = {"base": "jetseg-nano", "axes": AXES, **change}
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(SpecError) as raised:
        read_search(str(path))
    assert message in str(raised.value)


def test_the_cheapest_limit_to_know_is_the_one_that_is_named() -> None:
    limits = small_search(limits={"energy": "50mJ", "memory": "64MiB", "latency": "33ms"}).limits
    known = Quantities(parameters=1, macs=1, memory=2**20, estimated_latency=0.01, latency=0.03, energy=0.06)
    failure = over_limit(limits, known)
    assert failure
    assert failure.reason == "energy: 60.0 mJ is 20% over the limit of 50.0 mJ"
    slow = replace(known, estimated_latency=0.066, latency=0.1)
    assert [what for what, _, _ in excesses(limits, slow)] == ["estimated latency", "latency", "energy"]
    assert over_limit(limits, replace(known, energy=None)) is None


def test_power_is_a_limit_and_no_objective() -> None:
    limits = small_search(limits={"power": "15W"}).limits
    assert limits.given == {"power": 15.0}
    known = Quantities(parameters=1, macs=1, memory=1, power=16.5)
    failure = over_limit(limits, known)
    assert failure is not None
    assert failure.limit == "power"
    assert failure.excess == pytest.approx(0.1)
    assert "power: 16.50 W is 10% over the limit of 15.00 W" in failure.reason
    assert over_limit(limits, replace(known, power=None)) is None
    with pytest.raises(SpecError, match="power is a limit"):
        small_search(objectives=["miou", "power"])


def test_limits_are_in_the_order_of_their_cost() -> None:
    given = small_search(limits={"energy": "50mJ", "latency": "33ms", "memory": "64MiB", "macs": "1.2G"}).limits.given
    assert list(given.items()) == [("macs", 1.2e9), ("memory", 64 * 2**20), ("latency", 0.033), ("energy", 0.05)]


def test_the_bundled_searches_can_begin() -> None:
    for name in ("search-nano", "search-quick", "search-camvid"):
        search = read_search(name)
        size = search.dataset.size
        assert size
        space = SearchSpace(search, 11, size)
        start = space.start()
        assert start
        # The network that the search starts from is within its own limits, and its seeds are fresh.
        assert space.fits(start)
        assert search.training.seed not in search.final.seeds


def test_limits_are_written_as_they_are_read() -> None:
    search = small_search(limits={"energy": "50mJ", "latency": "33us", "memory": "64MiB", "macs": "1.2G"})
    written = search.model_dump(mode="json")
    assert written["limits"]["latency"] == "0.000033s"
    assert parse_spec(Search, written, "written") == search
