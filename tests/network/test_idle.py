from pathlib import Path
from typing import Any

import pytest

from jetbench.network.idle import describe_idle
from jetbench.network.variants import expand_sweep
from jetbench.spec.base import parse_spec
from jetbench.spec.catalog import find
from jetbench.spec.sweep import Sweep

SMALL, LARGE = (96, 128), (96, 288)


def told(groups: list[dict[str, Any]], size: tuple[int, int] = SMALL, **more: Any) -> list[str]:
    sweep = parse_spec(Sweep, {"name": "t", "base": "jetseg-nano", "variants": groups, **more}, "t.yaml")
    return describe_idle(sweep, expand_sweep(sweep, 3, size))


def test_an_axis_of_a_stage_without_a_block_is_named_with_the_size_that_has_one() -> None:
    grid = [{"grid": {"stages.s1.attention": ["none", "cbam"], "groups": [1, "gcd"]}}]
    assert told(grid) == [
        "stages.s1.attention changes nothing: S1 has no block at 96x128 (a longer side over 256 has one)."
    ]
    assert told(grid, LARGE) == []


def test_a_case_that_is_the_base_again_is_named() -> None:
    cases = [{"cases": {"ECA in S1": {"stages.s1.attention": "eca"}, "relu": {"activation": "relu"}}}]
    assert [line.split(":")[0] for line in told(cases)] == ["ECA in S1 changes nothing"]
    assert told(cases, LARGE) == []


@pytest.mark.parametrize("seeds", [[], [1, 2]])
def test_a_setting_of_a_loss_that_is_not_used_is_named(seeds: list[int]) -> None:
    grid = [{"grid": {"training.jetloss.recall": [0, 1]}}]
    assert told(grid, training={"loss": "dice"}, seeds=seeds) == [
        "training.jetloss.recall changes nothing: the loss is dice."
    ]
    assert told(grid, training={"loss": "jetloss"}, seeds=seeds) == []


def test_a_null_that_repeats_the_base_is_named() -> None:
    assert told([{"grid": {"decoder.fusion": [None, "released"]}}]) == [
        "decoder.fusion: null means as jetseg-nano has it, so that value is the base again."
    ]


def test_the_value_of_the_base_itself_among_others_is_no_idle_axis() -> None:
    assert told([{"grid": {"activation": ["reu", "relu"]}}]) == []


def test_a_label_of_nothing_is_named() -> None:
    grid = [{"grid": {"groups": [1, "gcd"], "jetconv.branches": ["3a", "3a 5a"]}}]
    labels = {"groups=gcd": "shared", "jetconv.branches": "kernels", "branches=3a": "one", "jetseg-nano": "ours"}
    assert told(grid, labels=labels) == []
    assert told(grid, labels={"groups=gdc": "typo"}) == [
        "labels: 'groups=gdc' names no axis, value or variant of this sweep."
    ]


def test_a_base_or_a_smaller_size_that_cannot_be_built_ends_nothing(tmp_path: Path) -> None:
    own = tmp_path / "coarse.yaml"
    own.write_text(f"{find('architecture', 'jetseg-nano').read_text()}smallest_map: 64\n")
    grid = [{"grid": {"stages.s1.attention": ["none", "eca"]}}]
    assert told(grid, (300, 400), base=str(own)) == ["stages.s1.attention changes nothing: S1 has no block at 300x400."]
    released = [{"cases": {"paper": {"base": "jetseg-nano"}}}]
    assert told(released, base="jetseg-nano-released", include_base=False) == []
