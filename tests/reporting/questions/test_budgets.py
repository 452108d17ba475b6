from pathlib import Path
from typing import Any

import pytest

from jetbench import load_architecture
from jetbench.errors import SpecError
from jetbench.records.record import Record
from jetbench.reporting.questions.budgets import build_budgets, list_predictors, predict
from jetbench.reporting.studies import Study
from jetbench.spec.training import Budget, TrainingConfig
from tests.made_up import ENVIRONMENT, record, training

# Twelve networks: the long training ranks them by number.
GROUPS = [1, "gcd", "at-most-2", "at-most-3", "at-most-4", "at-most-8", "mean-divisor"]
NETWORKS: list[dict[str, Any]] = [{"groups": each} for each in GROUPS] + [
    {"groups": each, "activation": "relu"} for each in GROUPS[:5]
]


def run(number: int, budget: int, miou: float, seed: int = 0, **proxies: float) -> Record:
    changes = {**NETWORKS[number], "training.budget": f"{budget} steps", "training.seed": seed}
    ended = training(miou).model_copy(
        update={"steps": budget, "seconds": float(budget), "proxies": proxies,
                "phase_seconds": {"data": 1.0, "network": budget - 1.0, "proxies": 0.25}}
    )  # fmt: skip
    config = TrainingConfig(budget=Budget(amount=budget, unit="steps"), seed=seed)
    return record(
        f"{number}-{budget}-{seed}", key=f"{number}-{budget}-{seed}", changes=changes, training=ended,
        training_config=config, profile=None, architecture=load_architecture("jetseg-nano", **NETWORKS[number]),
        training_environment=ENVIRONMENT,
    )  # fmt: skip


def study(*records: Record) -> Study:
    return Study(Path("x"), "x", "x", records)


LONG = [run(n, 400, 0.30 + n / 100, synflow=float(n % 3)) for n in range(12)]
BRIEF = [run(n, 50, 0.20 + (n if n > 1 else 1 - n) / 100) for n in range(12)]


def test_a_brief_budget_that_swaps_two_of_twelve_has_its_tau_share_and_cost() -> None:
    predictors, reference, about = list_predictors([study(*BRIEF, *LONG)])
    assert about.startswith("400 steps at made-up 64x96, 1 seed")
    told = {predictor.name: predict(predictor, reference) for predictor in predictors}
    brief = told["50 steps, made-up 64x96"]
    assert brief
    assert brief.test.value == pytest.approx(1 - 2 / 66)
    assert brief.regret == 0
    assert brief.best_half == 1
    assert brief.predictor.seconds == 50
    assert reference.seconds == 400
    itself = told["400 steps, made-up 64x96, by val"]
    assert itself
    assert itself.test.value == 1
    assert {"MACs, untrained", "parameters, untrained", "synflow, untrained"} <= set(told)


def test_val_and_test_of_the_reference_are_ranks_of_their_own() -> None:
    turned = [
        each.model_copy(update={"training": each.training.model_copy(update={"test": training(0.5 - n / 100).test})})
        for n, each in enumerate(LONG)
        if each.training
    ]
    predictors, reference, _ = list_predictors([study(*BRIEF, *turned)])
    brief, itself = (predict(predictor, reference) for predictor in predictors[:2])
    assert brief
    assert brief.val
    assert brief.test.value == pytest.approx(-(1 - 2 / 66)) == -brief.val.value
    assert brief.val.is_significant
    assert not brief.test.is_significant
    assert itself
    assert itself.val is None


def test_what_the_proxies_took_is_told_and_no_part_of_a_training() -> None:
    notes = build_budgets([study(*BRIEF, *LONG)]).notes.all
    assert any("all together take 0.25 s per network" in note for note in notes)
    assert not any("on one batch" in note for note in build_budgets([study(*BRIEF)]).notes.all)  # none was asked for


def test_a_network_whose_proxy_overflowed_is_named() -> None:
    records = [run(0, 400, 0.30, naswot=0.0)]
    records += [run(n, 400, 0.30 + n / 100, naswot=float(n), synflow=float(n)) for n in range(1, 12)]
    table = build_budgets([study(*records)])
    assert "synflow has no finite value for groups=1, which its row leaves out." in table.notes.all
    networks = {row.name: row.cells[0].text for section in table.sections for row in section.rows}
    assert (networks["synflow, untrained"], networks["naswot, untrained"]) == ("11", "12")


def test_a_pick_that_is_wrong_costs_what_the_best_would_have_had() -> None:
    wrong = [run(n, 50, 0.20 + (20 if n == 3 else n) / 100) for n in range(12)]
    predictors, reference, _ = list_predictors([study(*wrong, *LONG)])
    told = predict(predictors[0], reference)
    assert told
    assert told.regret == pytest.approx(0.08)


def test_seeds_are_a_mean_and_one_of_them_against_the_others_is_the_ceiling() -> None:
    more = [run(n, 400, 0.30 + (11 - n if n > 9 else n) / 100, seed=1) for n in range(12)]
    predictors, reference, about = list_predictors([study(*LONG, *more)])
    assert "2 seeds" in about
    lonely, several = ("\n".join(build_budgets([study(*each)]).notes.all) for each in (LONG, [*LONG, *more]))
    assert "one training per network" in lonely
    assert "one training per network" not in several
    ceiling = next(predictor for predictor in predictors if predictor.name == "400 steps, seed 0 against the others")
    told = predict(ceiling, reference)
    assert told
    assert told.test.value < 1
    assert reference.values["groups=1"] == pytest.approx((0.30 + 0.30) / 2)


def test_another_size_or_data_set_is_a_predictor_of_its_own_and_paired_by_name() -> None:
    small = [each.model_copy(update={"dataset": each.data.model_copy(update={"size": (32, 48)})}) for each in BRIEF[:6]]
    table = build_budgets([study(*LONG), study(*small)])
    row = next(row for row in table.rows if row.name == "50 steps, made-up 32x48")
    assert [cell.text for cell in row.cells][:2] == ["6", "0.87"]  # no interval of six
    assert any(
        note.startswith("How well each budget or proxy predicts the reference, 400 steps at made-up 64x96")
        for note in table.notes.all
    )


def test_too_few_networks_or_no_training_is_an_error() -> None:
    with pytest.raises(SpecError, match="3 networks with 400 steps; a ranking needs at least 4"):
        build_budgets([study(*LONG[:3])])
    with pytest.raises(SpecError, match="no finished training"):
        build_budgets([study(*(each.model_copy(update={"training": None}) for each in LONG))])


def test_counts_and_proxies_are_those_of_the_references_size() -> None:
    large = [
        each.model_copy(update={"dataset": each.data.model_copy(update={"size": (256, 384)})}) for each in BRIEF[:6]
    ]
    alone, together = ({predictor.name: predictor.values for predictor in list_predictors(given)[0]} for given in (
        [study(*LONG)], [study(*LONG), study(*large)]
    ))  # fmt: skip
    for name in ("MACs, untrained", "synflow, untrained"):
        assert alone[name] == together[name]


def test_a_study_without_a_training_is_said_and_breaks_nothing() -> None:
    other = study(*(each.model_copy(update={"training": None}) for each in BRIEF))
    table = build_budgets([study(*LONG), other])
    assert any(note.endswith("no finished training.") for note in table.notes.all)
