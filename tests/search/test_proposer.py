import statistics
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from jetbench.profiling.listing import list_network
from jetbench.profiling.roofline import estimate, least_seconds
from jetbench.records.record import Failure, Record
from jetbench.search.ledger import MOST_OVER
from jetbench.search.samplers.additive import LinearModel
from jetbench.spec.device import load_device
from jetbench.stats import hypervolume
from tests.made_up import profile, training
from tests.records.test_verdict import idle_and_load, watch
from tests.search.conftest import proposer_of, small_space

Drive = Callable[..., list[Record]]
REST = {
    "repeats": [0, 1, 2, 3],
    "attention": ["none", "eca", "sam", "cbam"],
    "branches": ["3", "5", "3 5", "3 5 7", "3a", "3a 5a"],
}


def test_the_base_comes_first_and_no_network_twice(drive: Drive) -> None:
    found = drive(proposer_of(small_space()))
    assert len(found) == 12
    assert found[0].changes == {
        "base_channels": 8,
        "groups": "mean-divisor",
        "activation": "reu",
        "stages.s2.repeats": 1,
        "stages.s2.residual_branches": "3a 5a 7a",
    }
    assert len({record.fingerprint for record in found}) == len({record.variant for record in found}) == 12


def test_an_axis_is_chosen_only_where_its_condition_holds(drive: Drive) -> None:
    for record in drive(proposer_of(small_space(trainings=30, sampler="random"))):
        assert ("stages.s2.residual_branches" in record.changes) == (record.changes["stages.s2.repeats"] > 0)


def test_what_is_over_a_limit_is_never_trained_and_says_by_how_much(drive: Drive) -> None:
    space = small_space(limits={"parameters": "40k"}, sampler="random", trainings=8)
    proposer = proposer_of(space)
    found = drive(proposer)
    over = [record for record in found if record.failure]
    assert over
    for record in found:
        parameters = space.cost(record.architecture).parameters
        assert (record.failure is not None) == (parameters > 40_000)
        if record.failure:
            assert record.training is None
            assert record.failure.reason == (
                f"parameters: {parameters:,} is {parameters / 40_000 - 1:.0%} over the limit of 40,000"
            )
    assert proposer.ledger.counts["trained"] == 8
    assert proposer.ledger.over["parameters"] == len(over)


def test_counts_are_checked_before_what_must_be_measured(drive: Drive) -> None:
    proposer = proposer_of(small_space(limits={"macs": "1", "latency": "1ms"}))
    assert proposer.phases == ("profile", "train")
    variant = proposer.ask()
    assert variant
    failure = proposer.stop(variant, None)
    assert failure
    assert failure.reason.startswith("macs: ")


def test_measured_latency_is_a_limit_and_a_search_that_cannot_meet_it_ends_with_the_nearest(drive: Drive) -> None:
    proposer = proposer_of(small_space(limits={"latency": "8ms"}, sampler="random"))
    found = drive(proposer, latency_s=0.01)
    assert len(found) == MOST_OVER
    assert not proposer.ledger.front()
    assert proposer.ended_by
    assert f"the last {MOST_OVER} networks whose latency" in proposer.ended_by
    assert "latency: 10.0 ms is 25% over the limit of 8.00 ms" in proposer.ended_by
    assert found[0].failure
    assert found[0].failure.reason == "latency: 10.0 ms is 25% over the limit of 8.00 ms"


@pytest.mark.parametrize("is_here", [True, False])
def test_what_a_data_sheet_rules_out_is_stopped_before_anything_is_measured(is_here: bool, drive: Drive) -> None:
    board = load_device("agx")
    space = small_space(objectives=["miou", "macs"], limits={"latency": "10ns"}, sampler="random")
    proposer = proposer_of(space, board=board, is_here=is_here)
    assert ("profile" in proposer.phases) == is_here
    variant = proposer.ask()
    assert variant
    told = estimate(list_network(variant.plan), board, "fp32", 1)
    assert not isinstance(told, str)
    # What will be measured is ruled out only by what no program could undercut.
    least = least_seconds(list_network(variant.plan), board)
    assert least
    assert least < told.seconds
    assert least == 2 * space.cost(variant.architecture).macs / max(
        peak.value for name, peak in board.peaks.items() if name != "bandwidth"
    )
    failure = proposer.stop(variant, None)
    assert failure
    assert failure.reason.startswith("estimated latency on agx: ")
    assert f"is {(least if is_here else told.seconds) / 1e-8 - 1:,.0%} over the limit" in failure.reason
    found = drive(proposer_of(space, board=board, is_here=is_here))
    assert len(found) == MOST_OVER
    proposer = proposer_of(space, found, board, is_here)
    assert proposer.ask() is None
    assert proposer.ended_by
    assert "estimated latency on agx: " in proposer.ended_by
    assert proposer.ledger.over == {"estimated latency": MOST_OVER}


def test_a_data_sheet_without_peaks_rules_nothing_out(drive: Drive) -> None:
    proposer = proposer_of(small_space(limits={"latency": "1us"}), board=load_device("cpu"))
    variant = proposer.ask()
    assert variant
    assert proposer.stop(variant, None) is None


def test_a_finite_space_is_exhausted_and_says_so(drive: Drive) -> None:
    axes = {"base_channels": [6, 8], "activation": ["reu", "hardswish"]}
    proposer = proposer_of(small_space(axes=axes, sampler="random"))
    assert len(drive(proposer)) == 4
    assert proposer.ended_by
    assert proposer.ended_by.startswith("the space is exhausted")


def test_the_front_is_what_nothing_beats_in_every_objective(drive: Drive) -> None:
    proposer = proposer_of(small_space(trainings=40, sampler="random"))
    drive(proposer)
    rows = list(proposer.ledger.points())
    front = {record.key for record in proposer.ledger.front()}
    for record, values in rows:
        beaten = any(all(a <= b for a, b in zip(other, values, strict=True)) and other != values for _, other in rows)
        assert (record.key in front) != beaten
    assert all(record.changes["activation"] == "hardswish" for record in proposer.ledger.front() if record.training)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "gp", "additive"])
def test_every_sampler_goes_on_after_a_stop_and_repeats_nothing(sampler: str, drive: Drive) -> None:
    space = small_space(sampler=sampler, trainings=14)
    first = drive(proposer_of(space), most=9)
    resumed = proposer_of(space, first)
    second = drive(resumed)
    assert len(first) + len(second) == 14
    assert len({record.fingerprint for record in first + second}) == 14
    assert len({record.variant for record in first + second}) == 14
    assert resumed.ledger.finished == 14


def test_a_training_that_was_ended_early_is_told_but_on_no_front(drive: Drive) -> None:
    proposer = proposer_of(small_space())
    found = drive(proposer, most=1)
    variant = proposer.ask()
    assert variant
    stopped = found[0].model_copy(
        update={
            "key": "stopped",
            "variant": variant.name,
            "fingerprint": variant.plan.fingerprint,
            "architecture": variant.architecture,
            "changes": variant.changes,
            "training": training(0.9),
            "failure": Failure(phase="train", status="stopped", reason="made up"),
        }
    )
    proposer.learn(stopped)
    assert proposer.ledger.counts["stopped"] == 1
    assert [record.key for record in proposer.ledger.front()] == [found[0].key]
    assert proposer.study.trials[-1].state == TrialState.COMPLETE


def test_rows_of_another_study_are_taken_over_by_what_they_are(drive: Drive) -> None:
    (row,) = drive(proposer_of(small_space()), most=1)
    named = row.model_copy(update={"changes": {"base": "jetseg-nano"}, "variant": "elsewhere"})
    taken = proposer_of(small_space()).ledger.take_over(named)
    assert taken
    assert taken.changes == row.changes
    outside = small_space(axes={"base_channels": [4, 6]})
    assert proposer_of(outside).ledger.take_over(named) is None
    proposer = proposer_of(small_space(), [taken])
    assert proposer.ledger.counts["taken over"] == 1
    assert proposer.spent == 0
    assert [record.variant for record in proposer.ledger.front()] == ["elsewhere"]


@pytest.mark.parametrize(
    ("sampler", "kind"),
    [("tpe", optuna.samplers.TPESampler), ("nsga2", optuna.samplers.NSGAIISampler), ("gp", optuna.samplers.GPSampler)],
)
def test_the_sampler_that_was_asked_for_takes_over_from_chance(sampler: str, kind: type, drive: Drive) -> None:
    proposer = proposer_of(small_space(sampler=sampler, trainings=14))
    drive(proposer)
    assert isinstance(proposer.study.sampler, kind)


def test_genetic_search_goes_on_from_its_generations(drive: Drive) -> None:
    space = small_space(sampler="nsga2", trainings=40)
    first = drive(proposer_of(space), most=25)
    resumed = proposer_of(space, first)
    told = [trial for trial in resumed.study.trials if trial.state == TrialState.COMPLETE]
    assert len(told) == 25
    assert all(any("generation" in key for key in trial.system_attrs) for trial in told)


def test_what_is_over_a_limit_is_told_as_a_constraint_that_it_breaks(drive: Drive) -> None:
    space = small_space(limits={"parameters": "40k"}, sampler="random", trainings=8)
    proposer = proposer_of(space)
    over = [record for record in drive(proposer) if record.failure]
    pruned = [trial for trial in proposer.study.trials if trial.state == TrialState.PRUNED]
    assert 0 < len(pruned) <= len(over)
    excess = {space.cost(record.architecture).parameters / 40_000 - 1 for record in over}
    for trial in pruned:
        assert trial.constraints["parameters"] in excess


@pytest.mark.slow
def test_choosing_by_known_cost_finds_more_than_chance_does(drive: Drive) -> None:
    # Many axes that do nothing for the made-up mIoU, and cost: what is good is there, and chance seldom meets it.
    axes = {
        "base_channels": [4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20],
        "activation": ["reu", "relu", "silu", "tanhexp", "hardswish"],
        **{f"stages.s{n}.{field}": values for n in (2, 3) for field, values in REST.items()},
        "decoder.head_channels": [16, 24, 32, 48, 64, 96],
    }
    found = {}
    for sampler in ("random", "additive"):
        proposers = [
            proposer_of(small_space(axes=axes, sampler=sampler, seed=seed, trainings=30, early_stop=False))
            for seed in range(3)
        ]
        for proposer in proposers:
            drive(proposer)
        points = [[values for _, values in proposer.ledger.points()] for proposer in proposers]
        found[sampler] = statistics.fmean(hypervolume(each, (0.0, 200e6)) for each in points)
    assert found["additive"] > 1.03 * found["random"]


def test_the_additive_model_tells_effects_from_noise() -> None:
    generator = np.random.default_rng(0)
    features = (generator.random((60, 12)) < 0.5).astype(float)
    effects = np.array([0.2, -0.1, 0.05, *[0.0] * 9])
    model = LinearModel.fit(features, 0.4 + features @ effects + 0.01 * generator.normal(size=60))
    unseen = (generator.random((30, 12)) < 0.5).astype(float)
    means, unknown = model.predict(unseen)
    misses = np.abs(means - (0.4 + unseen @ effects))
    assert misses.max() < 0.05
    assert 0.5 < np.sqrt((misses**2).mean()) / unknown.mean() < 2
    of_noise, _ = LinearModel.fit(features, generator.normal(size=60)).predict(unseen)
    assert of_noise.std() < 0.5
    # What was never tried is known the least.
    features[:, 11] = 0
    _, unknown = LinearModel.fit(features, 0.4 + features @ effects).predict(np.eye(12))
    assert unknown.argmax() == 11


def test_energy_of_the_untrained_network_is_a_limit_and_an_objective() -> None:
    proposer = proposer_of(small_space(objectives=["miou", "energy"], limits={"energy": "0.5J"}))
    variant = proposer.ask()
    assert variant
    measured = profile(0.01, energy=idle_and_load())  # 8 W for 10 s and 100 images
    failure = proposer.stop(variant, measured)
    assert failure
    assert failure.reason == "energy: 800 mJ is 60% over the limit of 500 mJ"
    failure = proposer.stop(variant, profile(0.01))
    assert failure
    assert (failure.phase, failure.reason) == ("profile", "no energy: made up")


def test_an_invalid_profile_is_no_latency() -> None:
    proposer = proposer_of(small_space(objectives=["miou", "latency"]))
    variant = proposer.ask()
    assert variant
    assert proposer.stop(variant, profile(0.01)) is None
    failure = proposer.stop(variant, profile(0.01, watches=(watch({}, {}, throttled=("thermal",)),)))
    assert failure
    assert failure.reason == "its profile is invalid: throttled: thermal"


def test_the_latency_of_a_device_that_is_elsewhere_is_its_estimate(drive: Drive) -> None:
    board = load_device("agx")
    space = small_space(objectives=["miou", "latency"], sampler="random", trainings=4)
    proposer = proposer_of(space, board=board, is_here=False)
    assert "profile" not in proposer.phases
    found = drive(proposer)
    assert len(found) == 4
    for record in found:
        told = estimate(list_network(space.variant(space.params(record.changes) or {}, "").plan), board, "fp32", 1)
        assert not isinstance(told, str)
        values = proposer.ledger.values(record)
        assert values is not None
        assert values[1] == told.seconds
    assert all(
        f"{1e3 * values[1]:.2f} ms" in proposer.ledger.describe_point(r) for r, values in proposer.ledger.points()
    )
