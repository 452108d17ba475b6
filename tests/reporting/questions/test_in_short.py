from pathlib import Path

import pytest

from jetbench.records.measurement import Watch
from jetbench.records.record import Record
from jetbench.reporting.questions.in_short import Line, answer_in_short, what_next
from jetbench.reporting.studies import Study, study_of
from jetbench.spec.training import TrainingConfig
from tests.made_up import ENVIRONMENT, failed, profile, record, training


def study(records: list[Record], folder: Path = Path("reports/mine")) -> Study:
    return study_of(folder, records, {"name": "mine"})


def answer(records: list[Record]) -> dict[str, str]:
    made = study(records)
    return {line.role: line.text for line in answer_in_short(made.rows())}


def network(
    name: str, miou: float, latency_s: float, number: int = 0, seeds: int = 1, spread: float = 0.0
) -> list[Record]:
    """A network and its seeds, whose mIoU lie evenly within `spread` of `miou`. Without a name it is the base."""
    return [
        record(
            ", ".join(filter(None, (name or "jetseg-nano", f"seed={seed}" if seeds > 1 else ""))),
            key=f"{number}{seed}",
            changes=({"groups": number} if name else {}) | ({"training.seed": seed} if seeds > 1 else {}),
            fingerprint=f"network {number}",
            training=training(miou + (spread * (2 * seed / (seeds - 1) - 1) if seeds > 1 else 0.0)),
            training_config=TrainingConfig(seed=seed),
            profile=profile(latency_s),
        )
        for seed in range(seeds)
    ]


def test_from_one_training_each_latency_is_decided_and_accuracy_is_not() -> None:
    records = [*network("", 0.40, 0.030), *network("groups=1", 0.30, 0.015, 1), *network("groups=2", 0.39, 0.018, 2)]
    assert answer(records) == {
        "base": "jetseg-nano: val 40.0 %, 30.0 ms",
        "fastest": "groups=1: 15.0 ms (-50 %), val 30.0 % (-10.0 ?)",
        "most accurate": "jetseg-nano, the base",
        "best compromise": "groups=2: val 39.0 % (-1.0 ?), 18.0 ms (-40 %); by the plain numbers, of which some are "
        "undecided",
        "undecided": "which is the most accurate, from one training each: `--seeds 3` decides it",
    }


def test_with_seeds_a_difference_is_significant_or_shared() -> None:
    records = [
        *network("", 0.40, 0.030, seeds=3, spread=0.01),
        *network("groups=1", 0.41, 0.030, 1, 3, 0.01),
        *network("groups=2", 0.30, 0.020, 2, 3, 0.01),
    ]
    told = answer(records)
    assert told["most accurate"] == "groups=1: val 41.0 % (+1.0 =), 30.0 ms (0 % =); 1 other is not significantly worse"
    assert told["fastest"] == "groups=2: 20.0 ms (-33 %), val 30.0 % (-10.0)"
    assert told["undecided"] == "which of 2 is the most accurate, from 3 trainings each: `--seeds 6` narrows it"


def test_without_a_profile_the_cost_is_in_macs() -> None:
    records = [each.model_copy(update={"profile": None}) for n in (1, 2) for each in network(f"groups={n}", 0.4, 1, n)]
    told = answer(records)
    assert "base" not in told
    assert "MACs" in told["fewest MACs"]
    assert "fastest" not in told


def test_what_failed_or_is_invalid_is_counted_and_not_named() -> None:
    swap = {"before": {"at_s": 0.0, "swapped_pages": 0}, "after": {"at_s": 1.0, "swapped_pages": 10**6}}
    invalid = profile(0.001, watches=(Watch.model_validate(swap),))
    records = [
        *network("", 0.40, 0.030),
        network("groups=1", 0.3, 0.001, 1)[0].model_copy(update={"profile": invalid}),
        *network("groups=2", 0.39, 0.018, 2),
        failed("groups=3").model_copy(update={"changes": {"groups": 3}, "fingerprint": "another"}),
    ]
    told = answer(records)
    assert told["fastest"].startswith("groups=2: 18.0 ms")
    assert (
        told["in doubt"]
        == "1 row failed; 1 row with an invalid profile, whose measurements are left out; the notes say why"
    )


def test_only_rows_that_were_measured_like_the_base_are_compared() -> None:
    elsewhere = profile(0.001, environment=ENVIRONMENT.model_copy(update={"cpu": "another processor"}))
    (other,) = network("groups=3", 0.9, 0.001, 3)
    records = [
        *network("", 0.40, 0.030),
        *network("groups=1", 0.30, 0.015, 1),
        other.model_copy(update={"profile": elsewhere}),
    ]
    told = answer(records)
    assert told["fastest"].startswith("groups=1")
    assert told["in doubt"].startswith("1 row measured in another way, left out")


def test_rows_that_learned_nothing_are_told() -> None:
    records = [*network("", 0.15, 0.030), *network("groups=1", 0.30, 0.015, 1)]  # a constant prediction scores 20 %
    told = answer(records)["in doubt"]
    assert told == "1 of 2 rows scores no more than a constant prediction (20.0 %): train longer"


@pytest.mark.parametrize("count", [0, 1])
def test_one_row_needs_no_answer(count: int) -> None:
    assert answer(network("", 0.4, 0.03)[:count]) == {}


def test_the_next_commands_name_the_folder_and_the_weights_of_the_pick(tmp_path: Path) -> None:
    records = [*network("", 0.40, 0.030), *network("groups=1", 0.50, 0.015, 1)]
    made = study(records, tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "groups-1-10.safetensors").touch()
    lines = answer_in_short(made.rows())
    assert what_next(made, made.rows(), lines) == (
        f"jetbench report {tmp_path}; jetbench table {tmp_path} --per axis",
        f"jetbench profile {tmp_path}/weights/groups-1-10.safetensors",
    )


def test_an_answer_has_eight_lines_at_most() -> None:
    lines = answer_in_short(study([*network("", 0.4, 0.03), *network("a", 0.3, 0.02, 1)]).rows())
    assert all(isinstance(line, Line) for line in lines)
    assert len(lines) + 1 <= 8
