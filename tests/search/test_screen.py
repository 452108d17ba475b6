from pathlib import Path
from typing import Any

import pytest
import yaml

from jetbench import SpecError, load_architecture, plan_architecture
from jetbench.network.closed_form import cost_of
from jetbench.search.screen import (
    Screening,
    ScreenLimits,
    changes_at,
    count_variants,
    distinct,
    rank_survivors,
    read_space,
    screen,
)
from jetbench.spec.search import Space

AXES: dict[str, list[Any]] = {
    "jetconv.branches": ["3a", ["3a", "5a"], "3a 5a 7a"],
    "groups": [1, "gcd"],
    "stages.s2.attention": [None, "none", "sam"],
    "decoder.head_channels": [16, 64],
}


def space(**changes: Any) -> Space:
    return Space(**{"name": "small", "base": "jetseg-nano", "size": (64, 96), "classes": 5, "axes": AXES, **changes})


def write(folder: Path, **fields: Any) -> str:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({"base": "jetseg-nano", "axes": {"groups": [1]}, **fields}))
    return str(path)


def test_a_space_is_every_combination_once_the_last_axis_fastest() -> None:
    all_changes = [changes_at(space(), index) for index in range(count_variants(space()))]
    assert len(all_changes) == 3 * 2 * 3 * 2
    assert len({repr(changes) for changes in all_changes}) == len(all_changes)
    assert [changes["decoder.head_channels"] for changes in all_changes[:4]] == [16, 64, 16, 64]
    assert all_changes[-1] == {axis: values[-1] for axis, values in AXES.items()}


def by_hand(limits: ScreenLimits) -> list[int]:
    """The survivors found the slow way."""
    found = []
    for index in range(count_variants(space())):
        cost = cost_of(load_architecture("jetseg-nano", **changes_at(space(), index)), 5, (64, 96))
        values = {"parameters": cost.parameters, "macs": cost.macs, "eq2": cost.eq2_flops, "memory": cost.memory_bytes}
        if all(values[quantity] <= limit for quantity, limit in limits.items()):
            found.append(index)
    return found


@pytest.mark.parametrize(
    "limits", [{}, {"parameters": 30_000}, {"macs": 20_000_000, "memory": 1_000_000}, {"eq2": 15_000_000}]
)
def test_a_walk_keeps_exactly_what_fits(limits: ScreenLimits) -> None:
    result = screen(space(), limits)
    assert result.walked
    assert result.survivors.indices == by_hand(limits)
    assert result.share == len(result.survivors) / 36
    assert result.share_interval == (result.share, result.share)


def test_what_is_over_a_limit_is_counted_for_each_limit() -> None:
    result = screen(space(), {"parameters": 1, "macs": 10**12})
    assert result.over == {"parameters": 36}
    assert len(result.survivors) == 0
    assert result.smallest["parameters"] > 1


def test_the_number_of_processes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetbench.search.screen.CHUNK", 5)
    told: list[tuple[int, int, int]] = []
    alone = screen(space(), {"parameters": 30_000})
    shared = screen(space(), {"parameters": 30_000}, jobs=2, report=lambda *numbers: told.append(numbers))
    assert shared.survivors.indices == alone.survivors.indices
    assert shared.survivors.macs.tolist() == alone.survivors.macs.tolist()
    assert told[-1] == (36, 36, len(alone.survivors))
    assert len(told) == 8


def test_a_sample_is_seeded_distinct_and_says_how_sure_it_is() -> None:
    one, again, other = (screen(space(), {"parameters": 30_000}, samples=20, seed=seed) for seed in (0, 0, 1))
    assert one.survivors.indices == again.survivors.indices
    assert one.survivors.indices != other.survivors.indices
    assert (one.looked_at, one.total, one.walked) == (20, 36, False)
    low, high = one.share_interval
    assert low < one.share < high
    assert screen(space(), {}, samples=1000).walked  # more than there are: all of them


def test_the_interval_of_a_share_is_wilsons() -> None:
    # 10 of 100: 5.52 to 17.44 %, the textbook's value.
    result = Screening(space=space(), limits={}, total=1000, seed=0, looked_at=100)
    result.survivors = screen(space(), {}).survivors.take(range(10))
    assert result.share_interval == pytest.approx((0.05523, 0.17437), abs=1e-4)


def test_what_was_seen_bounds_the_estimate_for_a_small_space() -> None:
    result = screen(space(axes={"groups": [1, "gcd"]}), {}, samples=1)
    low, high = result.share_interval
    assert low >= 0.5  # one of two is known to fit
    assert high == 1


def test_a_base_that_changes_on_disk_is_read_again(tmp_path: Path) -> None:
    base = tmp_path / "own.yaml"
    found = []
    for channels in (8, 16):
        architecture = load_architecture("jetseg-nano", base_channels=channels)
        base.write_text(yaml.safe_dump(architecture.model_dump(mode="json", exclude_none=True)))
        found.append(screen(space(base=str(base), axes={"groups": [1]}), {}).survivors.parameters[0])
    assert found[0] < found[1]


def test_a_walk_without_end_is_refused() -> None:
    fields = ("base_channels", "max_channels", "expansion", "decoder.head_channels")
    with pytest.raises(SpecError, match="1,000,000,000,000 variants are too many to walk"):
        screen(space(axes={field: list(range(1, 1001)) for field in fields}), {})


def test_a_space_beyond_64_bits_can_be_sampled() -> None:
    axes = {f"stages.s{n}.{field}": list(range(1, 65)) for n in (1, 2, 3) for field in ("channels", "expansion")}
    axes |= {"base_channels": list(range(1, 65)), "max_channels": list(range(64, 128)), "expansion": list(range(1, 65))}
    axes |= {"max_expanded_channels": list(range(64, 128)), "decoder.head_channels": list(range(1, 65))}
    result = screen(space(axes=axes), {}, samples=3)
    assert result.total == 64**11 > 2**64
    assert len(result.survivors) == 3


def test_what_cannot_be_built_is_counted_with_its_reason() -> None:
    result = screen(space(axes={"groups": [1, 5]}), {})
    assert result.unbuildable == 1
    ((reason, times),) = result.reasons.items()
    assert "groups=5 at stages.s0" in reason
    assert times == 1


def test_rules_between_fields_hold_for_each_combination() -> None:
    result = screen(space(size=(272, 272), axes={"form": ["paper", "released"], "combination": [None, 3]}), {})
    assert len(result.survivors) == 3
    assert list(result.reasons) == ["combination=3 needs form: released; the form here is paper"]


def test_survivors_are_ordered_by_any_quantity() -> None:
    survivors = screen(space(), {}).survivors
    smallest = rank_survivors(survivors, "memory", largest=False)
    largest = rank_survivors(survivors, "memory", largest=True)
    values = smallest.values("memory").tolist()
    assert values == sorted(values)
    assert largest.values("memory").tolist() == values[::-1]


def test_the_same_network_under_two_numbers_is_handed_on_once() -> None:
    survivors = screen(space(), {}).survivors  # None and sam mean the same in S2 of the paper form
    chosen = distinct(space(), survivors, most=100)
    plans = {
        plan_architecture(load_architecture("jetseg-nano", **changes), 5, (64, 96)).fingerprint for _, changes in chosen
    }
    assert len(chosen) == len(plans) == 24
    assert len(distinct(space(), survivors, most=7)) == 7


def test_the_bundled_space_is_read_from_anywhere_and_can_be_built() -> None:
    bundled = read_space("nano")
    assert count_variants(bundled) > 1_000_000
    assert read_space("sweeps/spaces/nano.yaml") == bundled
    assert screen(bundled, {}, samples=300).unbuildable == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"axes": {"stages.s2.repeat": [1]}},
            r"axes.stages.s2.repeat: an architecture has no such field; did you mean",
        ),
        ({"axes": {"jetconv.branches": ["3a", "3b"]}}, r"axes.jetconv.branches: '3b' is not a kernel"),
        ({"axes": {"groups": [1, 2, 1]}}, "axes.groups: has the same value twice"),
        ({"axes": {"jetconv.branches": ["3a 5a", ["3a", "5a"]]}}, "axes.jetconv.branches: has the same value twice"),
        ({"axes": {"name": ["a", "b"]}}, "axes.name: an architecture has no such field"),
        ({"axes": {"groups": []}}, r"axes.groups: .*at least one value"),
        ({"axes": {}}, "axes: "),
        ({"classes": 1}, "classes: must be at least 2"),
        ({"size": "512"}, "not a size; write HEIGHTxWIDTH"),
        ({"base": "jetseg-nono"}, "did you mean jetseg-nano"),
        ({"variants": []}, "is a sweep, not a space with axes:"),
        ({"axis": {"groups": [1]}}, "axis: no such key; did you mean axes"),
    ],
)
def test_a_wrong_space_is_refused_with_the_key_and_the_way_out(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        read_space(write(tmp_path, **fields))
