import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetbench.records.energy import Energy, PowerSample

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
            "rail part of b disappeared",
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
    assert "no rule says which rails make up the total" in (energy(steady(), total_rails=None).problem or "")
    assert "needs rail c" in (energy(steady(), total_rails=("a", "c")).problem or "")


def test_a_sensor_that_failed_gives_nothing() -> None:
    assert "failed during the measurement: lost" in (energy(steady(), errors=("lost",)).problem or "")


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


def test_a_counter_that_stands_still_is_no_zero_watts() -> None:
    still = [PowerSample(at_s=0.1 * n, energy_j={"gpu": 7e3}) for n in range(200)]
    found = energy(
        still, ((6.0, 16.0, 20),), ((1.0, 5.0),), total_rails=("gpu",), meta={"rails": ["gpu"]}, interval_s=0.1
    )
    assert found.problem == "the counter of gpu did not move in a load window of 10.0 s"
    assert found.power_w is found.energy_j_per_image is None
