from pathlib import Path
from typing import Any

import pytest

from jetbench import load_architecture
from jetbench.errors import SpecError
from jetbench.network.variants import describe_changes
from jetbench.records.record import Record
from jetbench.reporting.questions.effects import CASES, build_effects, list_effects
from jetbench.reporting.studies import Study
from jetbench.spec.training import TrainingConfig
from tests.made_up import profile, record, training


def run(changes: dict[str, Any], seed: int, miou: float, latency_s: float = 0.01, name: str | None = None) -> Record:
    name = name or describe_changes(changes) or "jetseg-nano"
    return record(
        f"{name}, seed={seed}",
        architecture=load_architecture("jetseg-nano", **changes),
        key=f"{name}{seed}",
        changes={**changes, "training.seed": seed},
        fingerprint=name,
        training=training(miou),
        training_config=TrainingConfig(seed=seed),
        profile=profile(latency_s),
    )


BASE = [run({}, seed, miou) for seed, miou in enumerate((0.50, 0.52, 0.51))]


def test_the_effect_is_the_mean_of_pairs_of_one_seed_with_students_interval() -> None:
    made = [*BASE, *(run({"groups": "gcd"}, seed, miou, 0.012) for seed, miou in enumerate((0.53, 0.55, 0.57)))]
    (found,) = list_effects(made)
    assert (found.axis, found.value, found.instead_of) == ("groups", "gcd", "mean-divisor")
    test = found.effects["test"]
    assert test
    # Differences 3, 3 and 6 points: mean 4, deviation 1.732, t(0.975, 2) = 4.3027.
    assert test.mean == pytest.approx(0.04)
    assert (test.low, test.high) == pytest.approx((0.04 - 0.043027, 0.04 + 0.043027), rel=1e-3)
    assert not test.is_significant
    latency = found.effects["latency"]
    assert latency
    assert latency.mean == pytest.approx(0.2)
    assert latency.is_significant
    assert latency.pairs == 3


def test_a_profile_alone_in_the_folder_is_no_variant() -> None:
    """`profile` may keep its rows in a sweep's folder; they have no seed and no recipe."""
    made = [*BASE, *(run({"groups": "gcd"}, seed, 0.53) for seed in range(3))]
    alone = record("timed", kind="profile").model_copy(update={"dataset": None, "training_config": None})
    assert list_effects([alone, *made, alone]) == list_effects(made)


def test_rows_whose_profiles_are_invalid_are_not_said_to_be_unprofiled(tmp_path: Path) -> None:
    wrong = profile(0.01, output_difference=0.5)
    made = [run(changes, 0, 0.5).model_copy(update={"profile": wrong}) for changes in ({}, {"groups": "gcd"})]
    notes = "\n".join(build_effects(Study(tmp_path, "x", "x", tuple(made), (), {})).notes.all)
    assert "are invalid" in notes
    assert "Profiled: no row" not in notes


def test_a_grid_gives_pairs_at_each_value_of_the_other_axis() -> None:
    made = [
        run({}, 0, 0.50),
        run({"groups": "gcd"}, 0, 0.52),
        run({"activation": "relu"}, 0, 0.40),
        run({"groups": "gcd", "activation": "relu"}, 0, 0.44),
    ]
    effects = {each.axis: each.effects["val"] for each in list_effects(made)}
    groups, activation = effects["groups"], effects["activation"]
    assert groups
    assert activation
    assert (groups.pairs, activation.pairs) == (2, 2)
    assert groups.mean == pytest.approx(0.03)
    assert activation.mean == pytest.approx(-0.09)


def test_a_grid_without_the_bases_values_compares_with_its_own_first_ones() -> None:
    mious = iter((0.40, 0.44, 0.50, 0.58))
    grid = [
        run({"groups": groups, "activation": activation}, 0, next(mious))
        for groups in (1, "gcd")
        for activation in ("relu", "silu")
    ]
    labels = {"jetseg-nano": "ours", "groups=gcd": "shared", "activation": "unit", "relu": "unused"}
    study = Study(Path("x"), "x", "x", (run({}, 0, 0.45, name="jetseg-nano"), *grid), (), {"labels": labels})
    table = build_effects(study)
    found = {each.axis: each for each in list_effects(study.records) if each.axis != CASES}
    assert {axis: (each.value, each.instead_of) for axis, each in found.items()} == {
        "groups": ("gcd", 1),
        "activation": ("silu", "relu"),
    }
    val = found["groups"].effects["val"]
    assert val
    assert val.pairs == 2
    assert val.mean == pytest.approx(0.12)
    titles = [section.label for section in table.sections]
    assert titles == ["groups, instead of 1", "unit, instead of relu", "several things at once, instead of ours"]
    assert [row.name for row in table.sections[0].rows] == ["shared"]


def test_a_case_that_changes_several_things_has_an_effect_as_a_whole() -> None:
    changes = {"stages.s2.attention": "none", "stages.s3.attention": "none"}
    found = list_effects([*BASE, *(run(changes, seed, 0.4, name="no attention") for seed in range(3))])
    assert [(each.axis, each.value) for each in found] == [(CASES, "no attention")]


def test_a_failed_seed_is_left_out_and_one_pair_has_no_interval() -> None:
    lost = run({"groups": "gcd"}, 1, 0.5).model_copy(update={"training": None})
    (found,) = list_effects([*BASE, run({"groups": "gcd"}, 0, 0.6), lost])
    test = found.effects["test"]
    assert test
    assert (test.pairs, test.low) == (1, None)
    assert not test.is_significant


def test_the_table_says_its_axes_and_nothing_to_pair_is_refused() -> None:
    made = (*BASE, *(run({"groups": "gcd"}, seed, 0.6) for seed in range(3)))
    table = build_effects(Study(Path("x"), "x", "x", made))
    assert [section.label for section in table.sections] == ["groups, instead of mean-divisor"]
    assert [row.name for row in table.rows] == ["gcd"]
    assert "3 pairs" in table.notes.essential[0]
    with pytest.raises(SpecError, match="no two variants differ in one key only"):
        build_effects(Study(Path("x"), "x", "x", tuple(BASE)))


def test_pairs_are_told_by_what_networks_are_and_not_by_how_a_sweep_spells_them() -> None:
    # The base leaves out its seed, and a variant names the base's own expansion.
    base = run({}, 0, 0.50).model_copy(update={"changes": {}, "variant": "jetseg-nano"})
    spelt = run({"expansion": 2, "groups": "gcd"}, 0, 0.56)
    (found,) = list_effects([base, spelt])
    assert (found.axis, found.value) == ("groups", "gcd")
    test = found.effects["test"]
    assert test
    assert test.mean == pytest.approx(0.06)


def test_a_value_that_a_rule_gives_the_base_is_the_bases_own() -> None:
    spelt = run({"jetconv.branches": "3a 5a 7a", "groups": "gcd"}, 0, 0.56)
    other = run({"jetconv.branches": "3a", "groups": "gcd"}, 0, 0.5)
    found = {(each.axis, str(each.value)): each.effects["test"] for each in list_effects([*BASE, spelt, other])}
    assert [axis for axis, _ in found] == ["jetconv.branches", "groups"]
    test = found["groups", "gcd"]
    assert test
    assert test.mean == pytest.approx(0.06)


def test_a_fall_and_a_rise_are_told_by_the_same_measure() -> None:
    falls = [run({"groups": "gcd"}, seed, 0.5, 0.01 * factor) for seed, factor in enumerate((0.85, 0.88, 0.93))]
    rises = [run({"groups": "gcd"}, seed, 0.5, 0.01 / factor) for seed, factor in enumerate((0.85, 0.88, 0.93))]
    told = []
    for made in (falls, rises):
        (found,) = list_effects([*BASE, *made])
        latency = found.effects["latency"]
        assert latency
        told.append(latency.is_significant)
    assert told[0] == told[1]


def test_a_case_is_paired_with_the_base_of_its_own_budget() -> None:
    def trained(changes: dict[str, Any], steps: int, miou: float) -> Record:
        made = run(changes, 0, miou, name=f"{describe_changes(changes)} {steps}")
        config = TrainingConfig.model_validate({"budget": f"{steps} steps"})
        more = {"training_config": config, "changes": {**made.changes, "training.budget": f"{steps} steps"}}
        return made.model_copy(update=more)

    case = {"groups": "gcd", "activation": "relu"}
    made = [
        *(trained({}, steps, miou) for steps, miou in ((50, 0.2), (200, 0.4))),
        *(trained(case, steps, miou) for steps, miou in ((50, 0.3), (200, 0.5))),
    ]
    effects = {each.axis: each.effects["val"] for each in list_effects(made)}
    told = effects[CASES]
    assert told
    assert told.mean == pytest.approx(0.1)
