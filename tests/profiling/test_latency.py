import pytest
import torch
from jetbench.profiling.latency import measure_end_to_end_latency, measure_latency
from torch import Tensor, nn

from jetbench.errors import ProfilingError
from jetbench.experiment import ProfilingConfig


class Clock:
    """A clock that only the model moves: each pass takes as long as the list says."""

    def __init__(self, seconds: list[float]) -> None:
        self.now, self.seconds = 0.0, iter(seconds)

    def __call__(self) -> float:
        return self.now

    def advance(self) -> None:
        self.now += next(self.seconds)


class Timed(nn.Module):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        self.clock.advance()
        self.seen.append(tuple(x.shape))
        return x


def config(**more: object) -> ProfilingConfig:
    return ProfilingConfig.model_validate({"warmup_iterations": 2, "min_iterations": 3, "min_seconds": 0, **more})


def test_warm_up_is_not_sampled_and_samples_are_raw() -> None:
    clock = Clock([9, 9, 1, 3, 2])
    latency = measure_latency(Timed(clock).eval(), torch.randn(1, 3, 4, 4), config(), clock)
    assert latency.samples_s == (1, 3, 2)
    assert latency.median_s == 2
    assert latency.throughput_fps == 0.5


def test_both_minimums_are_reached() -> None:
    clock = Clock([1.0] * 20)
    latency = measure_latency(Timed(clock).eval(), torch.randn(1, 3, 4, 4), config(min_seconds=7), clock)
    assert len(latency.samples_s) == 7


def test_fps_counts_images_and_not_batches() -> None:
    clock = Clock([1.0] * 20)
    latency = measure_latency(Timed(clock).eval(), torch.randn(4, 3, 4, 4), config(batch_size=4), clock)
    assert latency.throughput_fps == 4


def test_percentiles_are_samples_of_nearest_rank() -> None:
    clock = Clock([0.0, 0.0, *range(1, 101)])
    latency = measure_latency(Timed(clock).eval(), torch.randn(1, 3, 4, 4), config(min_iterations=100), clock)
    assert latency.percentile_s(90) == 90
    assert latency.percentile_s(99) == 99
    assert latency.percentile_s(100) == 100


def test_end_to_end_takes_bytes_normalises_and_gives_classes() -> None:
    clock = Clock([1.0] * 20)
    pixels = torch.randint(0, 256, (2, 6, 8, 3), dtype=torch.uint8)
    model = Timed(clock).eval()
    mean, std = torch.full((1, 3, 1, 1), 100.0), torch.full((1, 3, 1, 1), 50.0)
    latency = measure_end_to_end_latency(model, pixels, config(batch_size=2), mean, std, clock)
    assert latency.samples_s == (1, 1, 1)
    assert set(model.seen) == {(2, 3, 6, 8)}


def test_a_model_in_training_mode_is_refused_with_the_cure() -> None:
    with pytest.raises(ProfilingError, match=r"call model.eval\(\)"):
        measure_latency(nn.Identity(), torch.randn(1, 3, 4, 4), config())
