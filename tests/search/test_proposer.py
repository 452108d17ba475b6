import statistics
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from jetbench.profiling.listing import list_network
from jetbench.profiling.roofline import estimate, least_seconds
from jetbench.records.record import Failure, Record
from jetbench.search.additive import LinearModel
from jetbench.search.proposer import MOST_OVER, Searcher
from jetbench.spec.device import load_device
from jetbench.stats import hypervolume
from tests.made_up import profile, training
from tests.records.test_verdict import idle_and_load, watch
from tests.search.conftest import small_space

Drive = Callable[..., list[Record]]
REST = {
    "repeats": [0, 1, 2, 3],
    "attention": ["none", "eca", "sam", "cbam"],
    "branches": ["3", "5", "3 5", "3 5 7", "3a", "3a 5a"],
}


def test_the_base_comes_first_and_no_network_twice(drive: Drive) -> None:
    found = drive(Searcher(small_space()))
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
    for record in drive(Searcher(small_space(trainings=30, sampler="random"))):
        assert ("stages.s2.residual_branches" in record.changes) == (record.changes["stages.s2.repeats"] > 0)


def test_what_is_over_a_limit_is_never_trained_and_says_by_how_much(drive: Drive) -> None:
    space = small_space(limits={"parameters": "40k"}, sampler="random", trainings=8)
    searcher = Searcher(space)
    found = drive(searcher)
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
    assert searcher.counts["trained"] == 8
    assert searcher.counts["over parameters"] == len(over)


def test_counts_are_checked_before_what_must_be_measured(drive: Drive) -> None:
    searcher = Searcher(small_space(limits={"macs": "1", "latency": "1ms"}))
    assert searcher.phases == ("profile", "train")
    variant = searcher.ask()
    assert variant
    failure = searcher.stop(variant, None)
    assert failure
    assert failure.reason.startswith("macs: ")


def test_measured_latency_is_a_limit_and_a_search_that_cannot_meet_it_ends_with_the_nearest(drive: Drive) -> None:
    searcher = Searcher(small_space(limits={"latency": "8ms"}, sampler="random"))
    found = drive(searcher, latency_s=0.01)
    assert len(found) == MOST_OVER
    assert not searcher.front()
    assert searcher.ended_by
    assert f"the last {MOST_OVER} networks whose latency" in searcher.ended_by
    assert "latency: 10.0 ms is 25% over the limit of 8.00 ms" in searcher.ended_by
    assert found[0].failure
    assert found[0].failure.reason == "latency: 10.0 ms is 25% over the limit of 8.00 ms"


@pytest.mark.parametrize("is_here", [True, False])
def test_what_a_data_sheet_rules_out_is_stopped_before_anything_is_measured(is_here: bool, drive: Drive) -> None:
    board = load_device("agx")
    space = small_space(objectives=["miou", "macs"], limits={"latency": "10ns"}, sampler="random")
    searcher = Searcher(space, board=board, is_here=is_here)
    assert ("profile" in searcher.phases) == is_here
    variant = searcher.ask()
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
    failure = searcher.stop(variant, None)
    assert failure
    assert failure.reason.startswith("estimated latency: ")
    assert f"is {(least if is_here else told.seconds) / 1e-8 - 1:,.0%} over the limit" in failure.reason
    found = drive(Searcher(space, board=board, is_here=is_here))
    assert len(found) == MOST_OVER
    searcher = Searcher(space, found, board, is_here)
    assert searcher.ask() is None
    assert searcher.ended_by
    assert "estimated latency: " in searcher.ended_by
    assert searcher.counts == {"over estimated latency": MOST_OVER}


def test_a_data_sheet_without_peaks_rules_nothing_out(drive: Drive) -> None:
    searcher = Searcher(small_space(limits={"latency": "1us"}), board=load_device("cpu"))
    variant = searcher.ask()
    assert variant
    assert searcher.stop(variant, None) is None


def test_a_finite_space_is_exhausted_and_says_so(drive: Drive) -> None:
    axes = {"base_channels": [6, 8], "activation": ["reu", "hardswish"]}
    searcher = Searcher(small_space(axes=axes, sampler="random"))
    assert len(drive(searcher)) == 4
    assert searcher.ended_by
    assert searcher.ended_by.startswith("the space is exhausted")


def test_the_front_is_what_nothing_beats_in_every_objective(drive: Drive) -> None:
    searcher = Searcher(small_space(trainings=40, sampler="random"))
    drive(searcher)
    rows = list(searcher.points())
    front = {record.key for record in searcher.front()}
    for record, values in rows:
        beaten = any(all(a <= b for a, b in zip(other, values, strict=True)) and other != values for _, other in rows)
        assert (record.key in front) != beaten
    assert all(record.changes["activation"] == "hardswish" for record in searcher.front() if record.training)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "gp", "additive"])
def test_every_sampler_goes_on_after_a_stop_and_repeats_nothing(sampler: str, drive: Drive) -> None:
    space = small_space(sampler=sampler, trainings=14)
    first = drive(Searcher(space), most=9)
    resumed = Searcher(space, first)
    second = drive(resumed)
    assert len(first) + len(second) == 14
    assert len({record.fingerprint for record in first + second}) == 14
    assert len({record.variant for record in first + second}) == 14
    assert resumed.finished == 14


def test_a_training_that_was_ended_early_is_told_but_on_no_front(drive: Drive) -> None:
    searcher = Searcher(small_space())
    found = drive(searcher, most=1)
    variant = searcher.ask()
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
    searcher.learn(stopped)
    assert searcher.counts["stopped"] == 1
    assert [record.key for record in searcher.front()] == [found[0].key]
    assert searcher.study.trials[-1].state == TrialState.COMPLETE


def test_rows_of_another_study_are_taken_over_by_what_they_are(drive: Drive) -> None:
    (row,) = drive(Searcher(small_space()), most=1)
    named = row.model_copy(update={"changes": {"base": "jetseg-nano"}, "variant": "elsewhere"})
    taken = Searcher(small_space()).take_over(named)
    assert taken
    assert taken.changes == row.changes
    outside = small_space(axes={"base_channels": [4, 6]})
    assert Searcher(outside).take_over(named) is None
    searcher = Searcher(small_space(), [taken])
    assert searcher.counts["taken over"] == 1
    assert searcher.spent == 0
    assert [record.variant for record in searcher.front()] == ["elsewhere"]


@pytest.mark.parametrize(
    ("sampler", "kind"),
    [("tpe", optuna.samplers.TPESampler), ("nsga2", optuna.samplers.NSGAIISampler), ("gp", optuna.samplers.GPSampler)],
)
def test_the_sampler_that_was_asked_for_takes_over_from_chance(sampler: str, kind: type, drive: Drive) -> None:
    searcher = Searcher(small_space(sampler=sampler, trainings=14))
    drive(searcher)
    assert isinstance(searcher.study.sampler, kind)


def test_genetic_search_goes_on_from_its_generations(drive: Drive) -> None:
    space = small_space(sampler="nsga2", trainings=40)
    first = drive(Searcher(space), most=25)
    resumed = Searcher(space, first)
    told = [trial for trial in resumed.study.trials if trial.state == TrialState.COMPLETE]
    assert len(told) == 25
    assert all(any("generation" in key for key in trial.system_attrs) for trial in told)


def test_what_is_over_a_limit_is_told_as_a_constraint_that_it_breaks(drive: Drive) -> None:
    space = small_space(limits={"parameters": "40k"}, sampler="random", trainings=8)
    searcher = Searcher(space)
    over = [record for record in drive(searcher) if record.failure]
    pruned = [trial for trial in searcher.study.trials if trial.state == TrialState.PRUNED]
    assert 0 < len(pruned) <= len(over)
    excess = {space.cost(record.architecture).parameters / 40_000 - 1 for record in over}
    for trial in pruned:
        assert trial.constraints["parameters"] in excess


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
        searchers = [
            Searcher(small_space(axes=axes, sampler=sampler, seed=seed, trainings=30, early_stop=False))
            for seed in range(3)
        ]
        for searcher in searchers:
            drive(searcher)
        points = [[values for _, values in searcher.points()] for searcher in searchers]
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
    searcher = Searcher(small_space(objectives=["miou", "energy"], limits={"energy": "0.5J"}))
    variant = searcher.ask()
    assert variant
    measured = profile(0.01, energy=idle_and_load())  # 8 W for 10 s and 100 images
    failure = searcher.stop(variant, measured)
    assert failure
    assert failure.reason == "energy: 800 mJ is 60% over the limit of 500 mJ"
    failure = searcher.stop(variant, profile(0.01))
    assert failure
    assert (failure.phase, failure.reason) == ("profile", "no energy: made up")


def test_an_invalid_profile_is_no_latency() -> None:
    searcher = Searcher(small_space(objectives=["miou", "latency"]))
    variant = searcher.ask()
    assert variant
    assert searcher.stop(variant, profile(0.01)) is None
    failure = searcher.stop(variant, profile(0.01, watches=(watch({}, {}, throttled=("thermal",)),)))
    assert failure
    assert failure.reason == "its profile is invalid: throttled: thermal"
