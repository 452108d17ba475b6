import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbench.measurement import Comparison, Energy, Latency, LatencyRun, Memory, Paced, PowerSample, Soak, Watch
from jetbench.measurement import MachineState as State
from tests.made_up import latency

INTERVAL = 0.5


def energy(
    samples: list[PowerSample],
    load: tuple[tuple[float, float, int], ...] = ((10.0, 20.0, 100),),
    idle: tuple[tuple[float, float], ...] = ((0.0, 10.0), (20.0, 30.0)),
    **more: object,
) -> Energy:
    fields = {
        "sensor": "made-up",
        "interval_s": INTERVAL,
        "scope": "made up",
        "total_rails": ("a", "b"),
        "images_per_pass": 2,
        "samples": tuple(samples),
        "idle": idle,
        "load": load,
        "meta": {"rails": ["a", "b", "part of b"]},
    }
    return Energy.model_validate({**fields, **more})


def watts(t: float) -> dict[str, float]:
    load = 10 < t <= 20.2  # the sensor is slow: it shows the load a little after its end
    return {"a": 5.0 if load else 1.0, "b": 3.0 if load else 2.0, "part of b": 1.0}


def steady(step: float = INTERVAL, until: float = 30.0) -> list[PowerSample]:
    times = [step * n for n in range(round(until / step) + 1)]
    return [PowerSample(at_s=t, power_w=watts(t)) for t in times]


def test_the_total_is_the_boards_rule_and_nothing_is_added_twice() -> None:
    found = energy(steady())
    assert found.problem is None
    assert found.power_w == 8.0
    assert found.idle_w == 3.0
    assert found.idle_drift_w == 0.0
    assert found.rails_w == {"a": 5.0, "b": 3.0, "part of b": 1.0}


def test_joules_per_image_gross_and_net() -> None:
    found = energy(steady())
    assert found.energy_j_per_image == pytest.approx(8.0 * 10 / 200)
    assert found.net_energy_j_per_image == pytest.approx(5.0 * 10 / 200)
    assert found.window_energies_j == pytest.approx((0.4,))


def test_windows_of_different_lengths_weigh_by_their_seconds() -> None:
    found = energy(steady(), load=((10.0, 13.0, 10), (13.0, 20.0, 90)))
    assert found.power_w == pytest.approx(8.0)
    assert found.energy_j_per_image == pytest.approx(8.0 * 10 / 200)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([s for s in steady() if not 14 < s.at_s < 17], "was silent for 3.0 s"),
        ([s for s in steady() if s.at_s < 15 or s.at_s > 20], "cover"),
        ([s.model_copy(update={"fresh": s.at_s < 13}) for s in steady()], "more were stale"),
        (
            [s.model_copy(update={"power_w": {"a": 1.0, "b": 1.0}}) if s.at_s > 15 else s for s in steady()],
            "rail part of b vanished",
        ),
        ([], "gave 0 fresh samples"),
    ],
    ids=["gap", "coverage", "stale", "rail", "nothing"],
)
def test_what_does_not_cover_its_windows_is_no_measurement(samples: list[PowerSample], reason: str) -> None:
    found = energy(samples)
    assert reason in (found.problem or "")
    assert found.power_w is found.energy_j_per_image is found.net_energy_j_per_image is found.idle_w is None
    assert found.windows_w == found.window_energies_j == ()


def test_a_board_without_a_rule_gets_no_guess() -> None:
    assert "no rule says which rails make the total" in (energy(steady(), total_rails=None).problem or "")
    assert "needs rail c" in (energy(steady(), total_rails=("a", "c")).problem or "")


def test_a_sensor_that_failed_gives_nothing() -> None:
    assert "ended in the middle: lost" in (energy(steady(), errors=("lost",)).problem or "")


@given(power=st.floats(1, 300), step=st.floats(0.05, 0.3), start=st.floats(5, 8), seconds=st.floats(3, 9))
def test_a_counter_gives_the_joules_between_its_readings(
    power: float, step: float, start: float, seconds: float
) -> None:
    samples = [PowerSample(at_s=step * n, energy_j={"gpu": 7e3 + power * step * n}) for n in range(int(20 / step))]
    found = energy(
        samples,
        load=((start, start + seconds, 10),),
        idle=(),
        total_rails=("gpu",),
        meta={"rails": ["gpu"]},
        interval_s=step,
    )
    assert found.problem is None
    assert found.power_w == pytest.approx(power)
    assert found.energy_j_per_image == pytest.approx(power * seconds / 20)


def test_the_headline_is_over_processes_and_not_over_passes() -> None:
    six = latency(0.10, 0.11, 0.12, 0.13, 0.14, 0.15)
    assert six.median_s == pytest.approx(0.125)
    assert six.interval_s == (0.10, 0.15)
    assert six.spread == pytest.approx(0.4)
    assert latency(0.1, 0.2, 0.3, 0.4, 0.5).interval_s is None
    assert latency(0.1).spread is None


def test_percentiles_are_samples_of_nearest_rank() -> None:
    made = Latency(batch_size=1, runs=(LatencyRun(samples_s=tuple(range(1, 101))),))
    assert [made.percentile_s(percent) for percent in (50, 90, 95, 99, 100)] == [50, 90, 95, 99, 100]
    assert made.worst_s == 100


def compare(ratios: list[float], copies: list[float]) -> Comparison:
    return Comparison(
        reference="r",
        ratios=tuple((ratio,) * 9 for ratio in ratios),
        control=tuple((copy,) * 9 for copy in copies),
    )


def test_what_a_copy_of_the_reference_differs_by_cannot_be_told() -> None:
    copies = [0.97, 1.01, 0.99, 1.0, 1.02, 1.01]
    apart = compare([1.05, 1.06, 1.05, 1.04, 1.06, 1.05], copies)
    assert apart.resolution == pytest.approx(0.03)
    assert apart.is_told_apart
    assert not compare([1.05, 1.06, 1.05, 1.02, 1.06, 1.05], copies).is_told_apart
    assert compare([0.9] * 6, copies).is_told_apart


def test_missed_deadlines_are_dropped_and_late_frames() -> None:
    paced = Paced(rate=10, seconds=1, frames=10, dropped=2, latency_s=(0.05, 0.101, 0.1, 0.2))
    assert (paced.late, paced.missed) == (2, 4)


def test_a_soak_compares_its_beginning_with_its_end() -> None:
    soak = Soak(seconds=10, batch_size=2, bins=((1.0, 10),) + ((1.0, 8),) * 9)
    assert (soak.first_fps, soak.steady_fps) == (20, 16)


def test_baselines_are_subtracted() -> None:
    memory = Memory(
        weights_bytes=10,
        image_bytes=5,
        allocator_peak_bytes=100,
        process_baseline_bytes=1000,
        process_peak_bytes=1500,
        available_baseline_bytes=900,
        available_least_bytes=700,
        nvmap_baseline_bytes=50,
    )
    assert memory.activations_peak_bytes == 85
    assert memory.process_growth_bytes == 500
    assert memory.unified_growth_bytes == 200
    assert memory.nvmap_growth_bytes is None


def test_what_others_used_is_all_less_our_own() -> None:
    before, after = State(at_s=0, busy_s=100, own_s=1), State(at_s=10, busy_s=115, own_s=11)
    assert Watch(before=before, after=after).foreign_load == pytest.approx(0.5)
    still = after.model_copy(update={"busy_s": 100})
    assert Watch(before=before, after=still).foreign_load is None
