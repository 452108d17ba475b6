import pytest

from jetbench.records.measurement import Comparison, Latency, LatencyRun, Memory, Paced, Soak, Watch
from jetbench.records.measurement import MachineState as State
from tests.made_up import latency


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
    assert apart.is_significant
    assert not compare([1.05, 1.06, 1.05, 1.02, 1.06, 1.05], copies).is_significant
    assert compare([0.9] * 6, copies).is_significant


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
