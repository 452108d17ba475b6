from pathlib import Path
from typing import Any

import pytest

from jetbench.errors import SpecError
from jetbench.records.record import Record
from jetbench.reporting.questions.compare import StudyComparison, build_comparison, compare_studies, read_limits
from jetbench.reporting.studies import Study
from jetbench.spec.training import TrainingConfig
from tests.made_up import ENVIRONMENT, failed, latency, profile, record, training


def study(name: str, *records: Record) -> Study:
    """A study of those rows; each is a network of its own, but for seeds."""
    networks = [r if "training.seed" in r.changes else r.model_copy(update={"fingerprint": r.variant}) for r in records]
    return Study(Path(name), name, name, tuple(networks))


def timed(median_s: float, **more: Any) -> Any:
    """Six processes, a percent apart in all."""
    return profile(median_s, model_latency=latency(*(median_s * (1 + 0.002 * (n - 2.5)) for n in range(6))), **more)


def seeds(name: str, mious: list[float]) -> list[Record]:
    return [
        record(
            f"seed={seed}",
            key=f"{name}{seed}",
            changes={"training.seed": seed},
            training=training(miou),
            training_config=TrainingConfig(seed=seed),
        )
        for seed, miou in enumerate(mious)
    ]


def outcomes(found: StudyComparison, metric: str) -> list[str]:
    return [pair.changes[metric].outcome for pair in found.pairs]


def test_a_latency_is_better_worse_or_a_tie_by_what_a_machine_repeats_from_study_to_study() -> None:
    before = study("a", *(record(name, profile=timed(0.0100)) for name in ("x", "y", "z")))
    after = study(
        "b",
        record("x", profile=timed(0.0080)),
        record("y", profile=timed(0.0114)),
        record("z", profile=timed(0.0120)),
    )
    found = compare_studies(before, after)
    assert outcomes(found, "latency") == ["better", "tie", "worse"]
    assert found.pairs[2].changes["latency"].amount == pytest.approx(0.20)
    assert outcomes(found, "parameters") == ["same"] * 3
    # A limit is for what is worse, and a tie never is.
    assert found.failures(read_limits("latency:3%")) == [
        "z: latency +20.0 \N{PLUS-MINUS SIGN} 15.0 % worse, more than latency:3% allows"
    ]
    assert found.failures(read_limits("latency:21%")) == []


def test_accuracy_in_points_with_seeds_and_not_told_with_one_run() -> None:
    before, after = study("a", *seeds("a", [0.50, 0.51, 0.49])), study("b", *seeds("b", [0.45, 0.46, 0.44]))
    change = compare_studies(before, after).pairs[0].changes["test"]
    assert change.outcome == "worse"
    assert change.amount == pytest.approx(-0.05)
    # Two means of three with a deviation of a point each: t(0.975, 4) * sqrt(2 / 3) points.
    assert change.half == pytest.approx(0.01 * 2.7764 * (2 / 3) ** 0.5, rel=1e-3)
    once = compare_studies(study("a", record("x", 0.50)), study("b", record("x", 0.45)))
    assert outcomes(once, "test") == ["not told"]
    (said,) = once.failures(read_limits("miou:1"))
    assert "may be chance" in said
    assert once.failures(read_limits("miou:6")) == []


def test_what_failed_or_is_gone_does_not_pass_a_limit() -> None:
    found = compare_studies(study("a", record("x"), record("y")), study("b", failed("x"), record("new")))
    assert outcomes(found, "latency") == ["gone"]
    assert found.failures(read_limits("latency:50%")) == [
        "y: is no longer in b",
        "x: latency is no longer measured",
    ]
    assert found.failures([]) == []
    notes = build_comparison(found).notes.essential
    assert "Only in a: y." in notes
    assert "Only in b: new." in notes


def test_other_machines_compare_in_accuracy_only_and_another_version_of_jetbench_in_all() -> None:
    elsewhere = profile(0.02, environment=ENVIRONMENT.model_copy(update={"cpu": "another"}))
    found = compare_studies(study("a", record("x")), study("b", record("x", profile=elsewhere)))
    assert outcomes(found, "latency") == ["not comparable"]
    assert outcomes(found, "test") == ["not told"]
    assert not found.is_empty
    assert found.differing["latency"] == "processor: made-up processor, 2 cores against another, 2 cores"
    newer = profile(0.02, environment=ENVIRONMENT.model_copy(update={"jetbench": "9.9"}))
    assert outcomes(compare_studies(study("a", record("x")), study("b", record("x", profile=newer))), "latency") == [
        "worse"
    ]


@pytest.mark.parametrize("text", ["speed:3%", "latency:3", "miou:3%", "latency", "latency:-1%", ""])
def test_a_limit_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--fail-on"):
        read_limits(text)
