from pathlib import Path

import pytest

from jetbench import SpecError
from jetbench.network.variants import expand_sweep, read_sweep
from jetbench.spec.architecture import only_jetseg
from jetbench.spec.base import parse_spec
from jetbench.spec.catalog import names
from jetbench.spec.sweep import Sweep


def sweep(**more: object) -> Sweep:
    return parse_spec(Sweep, {"name": "test", "base": "jetseg-nano", **more}, "test.yaml")


def variant_names(asked: Sweep) -> list[str]:
    return [variant.name for variant in expand_sweep(asked, 11, (272, 272))]


def test_a_grid_gives_every_combination_after_the_base() -> None:
    asked = sweep(variants=[{"grid": {"jetconv.branches": ["3a", "3a 5a"], "groups": [1, "gcd"]}}])
    assert variant_names(asked) == [
        "jetseg-nano",
        "branches=3a, groups=1",
        "branches=3a, groups=gcd",
        "branches=3a 5a, groups=1",
        "branches=3a 5a, groups=gcd",
    ]


def test_cases_have_their_own_names_and_may_change_the_training() -> None:
    asked = sweep(
        include_base=False, variants=[{"cases": {"slow": {"training.learning_rate": 0.001, "activation": "relu"}}}]
    )
    (variant,) = expand_sweep(asked, 11, (272, 272))
    assert variant.training.learning_rate == 0.001
    assert only_jetseg(variant.architecture).activation == "relu"


def test_identical_networks_are_merged_under_the_first_name() -> None:
    asked = sweep(variants=[{"grid": {"groups": ["mean-divisor", 1]}}, {"cases": {"dense": {"groups": 1}}}])
    variants = expand_sweep(asked, 11, (272, 272))
    assert [(v.name, v.also_named) for v in variants] == [
        ("jetseg-nano", ("groups=mean-divisor",)),
        ("groups=1", ("dense",)),
    ]


def test_settings_of_a_loss_that_is_not_used_make_no_other_variant() -> None:
    shares = {"grid": {"training.loss": ["jetloss", "cross-entropy"], "training.jetloss.rare_share": [0.1, 0.2]}}
    assert len(variant_names(sweep(include_base=False, variants=[shares]))) == 3


def test_the_same_network_with_another_training_is_another_variant() -> None:
    assert len(variant_names(sweep(variants=[{"grid": {"training.loss": ["jetloss", "cross-entropy"]}}]))) == 2


def test_every_variant_that_cannot_be_built_is_named_before_anything_runs() -> None:
    asked = sweep(variants=[{"grid": {"groups": [1, 3, 4]}}, {"cases": {"odd": {"jetconv.branches": "4"}}}])
    with pytest.raises(SpecError) as caught:
        expand_sweep(asked, 11, (272, 272))
    message = str(caught.value)
    assert "3 of 5 variants cannot be built; nothing was run" in message
    for part in ("groups=3", "groups=4", "odd", "kernel_size=4 must be odd", "must divide both"):
        assert part in message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"variants": [{}]}, "exactly one of grid: and cases:"),
        ({"variants": [{"grid": {"groups": []}}]}, "at least one value"),
        ({"variants": [{"grid": {"groups": 4}}]}, "expected a list"),
        ({"trainng": {}}, "trainng: no such key"),
        ({"training": {"budget": "ten steps"}}, "'ten steps' is not a budget; write 300steps"),
        ({"training": {"budget": 300}}, "300 has no unit; write 300steps"),
        ({"training": {"budget": "2.5 steps"}}, "whole number of steps"),
        ({"training": {"loss": "hinge"}}, "training.loss"),
        ({"dataset": {"name": "cityscapes"}}, "dataset"),
        ({"dataset": {"name": "streets", "size": "320"}}, "HEIGHTxWIDTH"),
        ({"name": "../x"}, "name"),
    ],
)
def test_a_bad_sweep_names_its_key(more: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        sweep(**more)
    assert message in str(caught.value)


def test_a_misspelt_field_of_a_variant_is_named() -> None:
    with pytest.raises(SpecError, match=r"stages.s2.repeat: no such key"):
        expand_sweep(sweep(variants=[{"grid": {"stages.s2.repeat": [1]}}]), 11, (272, 272))


def test_a_sweep_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="has no variants"):
        expand_sweep(sweep(include_base=False), 11, (272, 272))


@pytest.mark.parametrize("name", names("sweep"))
def test_every_bundled_sweep_expands(name: str) -> None:
    asked = read_sweep(name)
    size = asked.dataset.size or (360, 480)
    assert len(expand_sweep(asked, 11, size)) >= 2


def test_a_search_is_no_sweep_and_says_how_it_is_run() -> None:
    with pytest.raises(SpecError, match="not a sweep; run `jetbench search`"):
        read_sweep("search-nano")


def test_nano_is_a_real_experiment() -> None:
    variants = expand_sweep(read_sweep("nano"), 11, (160, 320))
    assert 8 <= len(variants) <= 16
    varied = {key.split(".")[0] for variant in variants for key in variant.changes}
    assert {"jetconv", "groups", "stages"} <= varied


def test_camvid_asks_the_question_of_nano() -> None:
    assert read_sweep("camvid").variants == read_sweep("nano").variants


def test_command_line_changes_are_checked_like_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("base: jetseg-nano\n")
    assert read_sweep(str(path), {"training.budget": "5 epochs"}).training.budget.unit == "epochs"
    with pytest.raises(SpecError, match="not a budget"):
        read_sweep(str(path), {"training.budget": "5 lightyears"})


def test_seeds_train_every_variant_once_with_each() -> None:
    asked = sweep(seeds=[0, 3], variants=[{"grid": {"groups": [1]}}])
    variants = expand_sweep(asked, 11, (272, 272))
    assert [each.name for each in variants] == [
        "jetseg-nano, seed=0",
        "jetseg-nano, seed=3",
        "groups=1, seed=0",
        "groups=1, seed=3",
    ]
    assert [each.training.seed for each in variants] == [0, 3, 0, 3]


def test_budgets_train_every_variant_once_as_long_as_each() -> None:
    asked = sweep(seeds=[0, 1], budgets=["5steps", "2 epochs"], variants=[{"grid": {"groups": [1]}}])
    variants = expand_sweep(asked, 11, (272, 272))
    assert [each.name for each in variants][:5] == [
        "jetseg-nano, budget=5 steps, seed=0",
        "jetseg-nano, budget=5 steps, seed=1",
        "jetseg-nano, budget=2 epochs, seed=0",
        "jetseg-nano, budget=2 epochs, seed=1",
        "groups=1, budget=5 steps, seed=0",
    ]
    assert [str(each.training.budget) for each in variants] == 2 * (2 * ["5 steps"] + 2 * ["2 epochs"])
    with pytest.raises(SpecError, match=r"budgets: a value is listed twice \(5 steps, 5 steps\)"):
        variant_names(sweep(budgets=["5 steps", "5steps"]))
    with pytest.raises(SpecError, match=r"sets training.budget, and budgets: sets it"):
        variant_names(sweep(budgets=["5 steps"], variants=[{"grid": {"training.budget": ["6 steps"]}}]))


def test_one_budget_takes_the_place_of_all_of_them() -> None:
    for key, value, trainings in (("training.budget", "10 steps", 20 * 3), ("training.seed", 7, 20 * 6)):
        assert len(expand_sweep(read_sweep("brief", {key: value}), 11, (96, 128))) == trainings
    asked = read_sweep("brief", {"training.budget": "10 steps"})
    assert (asked.budgets, str(asked.training.budget)) == ((), "10 steps")
    assert read_sweep("losses", {"training.seed": 7}).seeds == ()


@pytest.mark.parametrize("written", ["1000000 steps", "1.23456789 epochs", "100000.4 seconds"])
def test_a_budget_is_written_as_exactly_as_it_was_read(written: str) -> None:
    (variant,) = expand_sweep(sweep(budgets=[written], variants=[]), 11, (272, 272))
    assert str(variant.training.budget) == written


def test_seeds_twice_or_beside_an_axis_of_seeds_are_refused() -> None:
    with pytest.raises(SpecError, match="listed twice"):
        variant_names(sweep(seeds=[1, 1]))
    with pytest.raises(SpecError, match="keep only one of them"):
        variant_names(sweep(seeds=[0], variants=[{"grid": {"training.seed": [1]}}]))
