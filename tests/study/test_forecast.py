import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetbench.execution.executor import Job, Progress
from jetbench.execution.requests import Phase
from jetbench.network.variants import Variant, expand_sweep
from jetbench.spec.base import parse_spec
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.sweep import Sweep
from jetbench.study.forecast import Forecast, Work, list_work, profile_guess
from tests.made_up import DATASET, SIZE, job_request

BOTH: tuple[Phase, ...] = ("train", "profile")


def running(key: str, phase: Phase, share: float, seconds: float) -> Progress:
    return Progress(Job(key, key, Path(), job_request(phase), 1, 1.0), share, "", seconds)


def forecast(count: int = 4, width: int = 2, is_alone: bool = True, phases: tuple[Phase, ...] = BOTH) -> Forecast:
    return Forecast({str(n): Work(10.0) for n in range(count)}, phases, width, is_alone)


def test_there_is_none_before_a_job_of_each_phase_has_finished() -> None:
    made = forecast()
    assert made.left([]) is None
    made.took("0", "train", 60.0)
    assert made.left([]) is None
    made.took("0", "profile", 10.0)
    assert made.left([]) is not None
    only_trains = forecast(phases=("train",))
    only_trains.took("0", "train", 60.0)
    assert only_trains.left([]) == 120.0


def test_trainings_share_the_slots_and_profiles_come_one_by_one() -> None:
    made = forecast()
    made.took("0", "train", 60.0)
    made.took("0", "profile", 10.0)
    assert made.left([]) == 2 * 60 + 3 * 10  # three trainings in two slots, then three profiles
    elsewhere = forecast(is_alone=False)
    elsewhere.took("0", "train", 60.0)
    elsewhere.took("0", "profile", 10.0)
    assert elsewhere.left([]) == 2 * 60


def test_a_larger_network_takes_longer_and_a_budget_in_seconds_takes_what_it_says() -> None:
    made = Forecast({"small": Work(1.0), "large": Work(5.0), "timed": Work(0.0, 30.0)}, ("train",), 1, True)
    made.took("small", "train", 4.0)
    assert made.left([]) == 5 * 4 + 30


def test_a_job_under_way_counts_by_its_own_pace_once_much_of_it_is_done() -> None:
    made = forecast(2, 1, phases=("train",))
    made.took("0", "train", 60.0)
    assert made.left([running("1", "train", 0.1, 20.0)]) == pytest.approx(40.0)
    assert made.left([running("1", "train", 0.5, 20.0)]) == pytest.approx(20.0)


def test_what_has_landed_takes_nothing_and_what_is_profiled_again_a_profile() -> None:
    made = forecast(2, 1)
    for key in ("0", "1"):
        made.took(key, "train", 60.0)
        made.took(key, "profile", 10.0)
        made.drop(key)
    assert made.left([]) == 0.0
    made.again("1", "profile")
    assert made.left([]) == 10.0


def variants(**more: object) -> tuple[Variant, ...]:
    raw = {"name": "t", "base": "jetseg-nano", "variants": [{"grid": {"base_channels": [16]}}], **more}
    return expand_sweep(parse_spec(Sweep, raw, "t.yaml"), 3, SIZE)


def test_the_work_of_a_training_follows_its_network_and_its_budget() -> None:
    (base, wide) = list_work(variants(), DATASET.images)
    assert wide.amount > 1.2 * base.amount
    (longer, _) = list_work(variants(training={"budget": "600 steps"}), DATASET.images)
    assert 1.9 < longer.amount / base.amount < 2.0  # evaluations are no longer
    (timed, _) = list_work(variants(training={"budget": "60s"}), DATASET.images)
    assert timed.seconds == 60
    assert timed.amount < base.amount


RECORDED = Path(__file__).with_name("recorded") / "nano.jsonl"


def replay(landed_before: int) -> Iterator[tuple[float, float | None, float]]:
    """The forecasts of a recorded run of sweeps/nano.yaml on two cores: time, forecast, true time left, in seconds.

    The recording has the work and the seconds of each variant, what ran every five seconds, and when each row landed.
    With `landed_before` the run is a resumed one: so many rows have landed in an earlier run.
    """
    head, *events = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    works = {key: Work(amount) for key, amount in head["amounts"].items()}
    made = Forecast(works, BOTH, 2, True, profile_guess(ProfilingConfig(min_seconds=2)))
    trained: set[str] = set()
    seen: set[str] = set()

    def took_training(key: str) -> None:
        if key not in trained:
            trained.add(key)
            made.took(key, "train", head["seconds"][key]["train"])

    count = 0
    for event in events:
        if "land" in event:
            key = str(event["land"])
            took_training(key)
            made.took(key, "profile", head["seconds"][key]["profile"])
            made.drop(key)
            count += 1
            continue
        training = {str(key) for key, phase, _, _ in event["running"] if phase == "train"}
        for key in seen - training:
            took_training(key)
        seen |= training
        if count >= landed_before:
            jobs = [running(str(key), phase, share, seconds) for key, phase, share, seconds in event["running"]]
            yield event["t"], made.left(jobs), head["end"] - event["t"]


@pytest.mark.parametrize("landed_before", [0, 4], ids=["fresh", "resumed"])
def test_a_recorded_run_was_told_within_a_factor_of_one_and_a_half(landed_before: int) -> None:
    told = list(replay(landed_before))
    end = told[-1][0]
    first = 0 if landed_before else end / 3
    checked = [(left, true) for at, left, true in told if at > first and true > 60]
    assert len(checked) > 8
    assert all(left is not None and 1 / 1.5 < left / true < 1.5 for left, true in checked), checked
