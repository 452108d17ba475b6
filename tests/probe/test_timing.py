import random
import statistics

import pytest

from jetbench.probe.timing import (
    Pass,
    Stop,
    is_precise,
    median_interval,
    run_paced,
    run_soak,
    sample_rounds,
    time_pass,
    warm_up,
)


class Device:
    """An asynchronous device: `run` only queues work, and lies to who does not wait. Its clock is the only time."""

    def __init__(self, *seconds: float, launch: float = 0.001) -> None:
        self.now, self.busy_until, self.launch = 0.0, 0.0, launch
        self.seconds, self.runs = list(seconds), 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self) -> None:
        self.now += self.launch
        work = self.seconds[min(self.runs, len(self.seconds) - 1)]
        self.busy_until = max(self.busy_until, self.now) + work
        self.runs += 1

    def wait(self) -> None:
        self.now = max(self.now, self.busy_until)

    @property
    def timed(self) -> Pass:
        return Pass(self.run, self.wait)


def test_a_pass_is_launch_and_work_though_the_device_returns_at_once() -> None:
    device = Device(0.5)
    assert time_pass(device.timed, device.clock) == pytest.approx(0.501)
    careless = Pass(device.run, lambda: None)
    assert time_pass(careless, device.clock) == pytest.approx(0.001)


def test_work_left_in_the_queue_is_not_billed_to_the_next_pass() -> None:
    device = Device(0.5)
    device.run()
    assert time_pass(device.timed, device.clock) == pytest.approx(0.501)


def test_warm_up_goes_on_until_two_windows_agree() -> None:
    device = Device(*[0.1 * 0.8**n + 0.01 for n in range(30)], launch=0)
    samples, settled = warm_up(device.timed, clock=device.clock)
    assert settled
    last, before = statistics.median(samples[-5:]), statistics.median(samples[-10:-5])
    assert last == pytest.approx(before, rel=0.05)
    earlier, first = statistics.median(samples[-6:-1]), statistics.median(samples[-11:-6])
    assert abs(earlier / first - 1) > 0.05  # and not a pass longer


def test_a_warm_up_that_never_settles_ends_and_says_so() -> None:
    device = Device(*[1.1**n for n in range(100)], launch=0)
    samples, settled = warm_up(device.timed, max_seconds=20, clock=device.clock)
    assert not settled
    assert sum(samples) < 30


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (100, 40)])
def test_the_interval_is_the_binomials(count: int, rank: int) -> None:
    """Ranks as in tables of the sign test at 5 %."""
    assert median_interval(range(1, count + 1)) == (rank, count + 1 - rank)


def test_five_samples_have_no_interval_of_95_percent() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert not is_precise([1.0] * 5, 0.5)


def test_the_interval_holds_the_true_median_as_often_as_it_claims() -> None:
    generator = random.Random(0)
    draws = [[generator.lognormvariate(0, 0.5) for _ in range(25)] for _ in range(2000)]  # their median is 1
    intervals = [median_interval(samples) for samples in draws]
    held = sum(low <= 1 <= high for low, high in filter(None, intervals)) / len(intervals)
    assert 0.94 < held < 0.985


def test_sampling_stops_when_the_median_is_precise_and_says_so() -> None:
    device = Device(0.1, launch=0)
    rounds = sample_rounds([device.timed], Stop(0.02, 10, 0, 100), device.clock, device.clock)
    assert rounds.stopped_by == "precision"
    assert len(rounds.wall_s[0]) == 10


def test_sampling_stops_at_the_limit_and_says_so() -> None:
    generator = random.Random(0)
    device = Device(*[generator.choice([0.1, 0.2]) for _ in range(2000)], launch=0)
    rounds = sample_rounds([device.timed], Stop(0.02, 10, 0, 30), device.clock, device.clock)
    assert rounds.stopped_by == "limit"
    assert 30 <= sum(rounds.wall_s[0]) < 30.3


def test_only_the_judged_passes_must_be_precise() -> None:
    generator = random.Random(0)
    steady = Device(0.1, launch=0)
    noisy = Device(*[generator.choice([0.1, 0.2]) for _ in range(2000)], launch=0)
    rounds = sample_rounds([steady.timed, noisy.timed], Stop(0.02, 10, 0, 30), steady.clock, steady.clock, judged=1)
    assert rounds.stopped_by == "precision"
    assert [len(samples) for samples in rounds.wall_s] == [10, 10]


def test_both_minimums_are_reached() -> None:
    device = Device(1.0, launch=0)
    rounds = sample_rounds([device.timed], Stop(0.5, 10, 25, 100), device.clock, device.clock)
    assert len(rounds.wall_s[0]) == 25


def test_passes_take_turns_forwards_and_backwards() -> None:
    device = Device(0.1, launch=0)
    order: list[str] = []

    def noted(name: str) -> Pass:
        def run() -> None:
            order.append(name)
            device.run()

        return Pass(run, device.wait)

    looks: list[float] = []
    sample_rounds([noted("a"), noted("b")], Stop(1, 6, 0, 100), device.clock, device.clock, looks.append)
    assert "".join(order) == "abba" * 3
    assert len(looks) == 6


def test_a_network_in_time_misses_nothing() -> None:
    device = Device(0.02, launch=0)
    paced = run_paced(device.timed, 10, 2, device.clock, device.sleep)
    assert (paced["frames"], paced["dropped"]) == (20, 0)
    assert paced["latency_s"] == pytest.approx([0.02] * 20)


def test_a_slow_network_serves_the_newest_frame_and_drops_the_rest() -> None:
    # 0.25 s a frame at 10 frames a second: frame 0 until 0.25, then frame 2 (came at 0.2) until 0.5, frame 5 ...
    device = Device(0.25, launch=0)
    paced = run_paced(device.timed, 10, 1, device.clock, device.sleep)
    assert paced["latency_s"] == pytest.approx([0.25, 0.3, 0.25, 0.3])
    assert paced["dropped"] == 10 - 4


def test_one_slow_frame_is_late_and_the_camera_is_caught_up_with() -> None:
    device = Device(0.02, 0.13, 0.02, launch=0)
    paced = run_paced(device.timed, 10, 1, device.clock, device.sleep)
    assert paced["dropped"] == 0
    assert paced["latency_s"][:4] == pytest.approx([0.02, 0.13, 0.05, 0.02])


def test_a_soak_keeps_passes_in_stretches() -> None:
    device = Device(*[0.125] * 40, 0.25, launch=0)
    soak = run_soak(device.timed, 15, 1, device.clock)
    assert soak["seconds"] == pytest.approx(15)
    assert sum(seconds for seconds, _ in soak["bins"]) == pytest.approx(15)
    assert soak["bins"][0] == (1.0, 8)
    assert soak["bins"][-1] == (1.0, 4)
