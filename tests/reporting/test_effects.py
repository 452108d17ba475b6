from pathlib import Path
from typing import Any

import pytest

from jetbench.errors import SpecError
from jetbench.experiment import TrainingConfig
from jetbench.record import Record
from jetbench.reporting.effects import CASES, build_effects, list_effects
from jetbench.reporting.studies import Study
from jetbench.sweep import describe_changes
from tests.made_up import profile, record, training


def run(changes: dict[str, Any], seed: int, miou: float, latency_s: float = 0.01, name: str | None = None) -> Record:
    name = name or describe_changes(changes) or "jetseg-nano"
    return record(
        f"{name}, seed={seed}",
        key=f"{name}{seed}",
        changes={**changes, "training.seed": seed},
        fingerprint=name,
        training=training(miou),
        training_config=TrainingConfig(seed=seed),
        profile=profile(latency_s),
    )


BASE = [run({}, seed, miou) for seed, miou in enumerate((0.50, 0.52, 0.51))]


def test_the_effect_is_the_mean_of_pairs_of_one_seed_with_students_interval() -> None:
    made = [*BASE, *(run({"groups": 4}, seed, miou, 0.012) for seed, miou in enumerate((0.53, 0.55, 0.57)))]
    (found,) = list_effects(made)
    assert (found.axis, found.value, found.instead_of) == ("groups", 4, "mean-divisor")
    test = found.effects["test"]
    assert test
    # Differences 3, 3 and 6 points: mean 4, deviation 1.732, t(0.975, 2) = 4.3027.
    assert test.mean == pytest.approx(0.04)
    assert test.half == pytest.approx(4.3027 * 0.01, rel=1e-3)
    assert not test.is_told
    latency = found.effects["latency"]
    assert latency
    assert latency.mean == pytest.approx(0.2)
    assert latency.is_told
    assert latency.pairs == 3


def test_a_grid_gives_pairs_at_each_value_of_the_other_axis() -> None:
    made = [
        run({}, 0, 0.50),
        run({"groups": 4}, 0, 0.52),
        run({"activation": "relu"}, 0, 0.40),
        run({"groups": 4, "activation": "relu"}, 0, 0.44),
    ]
    effects = {each.axis: each.effects["val"] for each in list_effects(made)}
    groups, activation = effects["groups"], effects["activation"]
    assert groups
    assert activation
    assert (groups.pairs, activation.pairs) == (2, 2)
    assert groups.mean == pytest.approx(0.03)
    assert activation.mean == pytest.approx(-0.09)


def test_a_case_that_changes_several_things_has_an_effect_as_a_whole() -> None:
    changes = {"stages.s1.attention": "none", "stages.s2.attention": "none"}
    found = list_effects([*BASE, *(run(changes, seed, 0.4, name="no attention") for seed in range(3))])
    assert [(each.axis, each.value) for each in found] == [(CASES, "no attention")]


def test_a_failed_seed_is_left_out_and_one_pair_has_no_interval() -> None:
    lost = run({"groups": 4}, 1, 0.5).model_copy(update={"training": None})
    (found,) = list_effects([*BASE, run({"groups": 4}, 0, 0.6), lost])
    test = found.effects["test"]
    assert test
    assert (test.pairs, test.half) == (1, None)
    assert not test.is_told


def test_the_table_says_its_axes_and_nothing_to_pair_is_refused() -> None:
    made = (*BASE, *(run({"groups": 4}, seed, 0.6) for seed in range(3)))
    table = build_effects(Study(Path("x"), "x", "x", made))
    assert [section.label for section in table.sections] == ["groups, instead of mean-divisor"]
    assert [row.name for row in table.rows] == ["4"]
    assert "3 pairs" in table.notes.essential[0]
    with pytest.raises(SpecError, match="no two variants differ in one thing only"):
        build_effects(Study(Path("x"), "x", "x", tuple(BASE)))
