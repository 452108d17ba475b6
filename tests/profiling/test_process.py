import pytest
import torch

from jetbench import build_model, load_architecture
from jetbench.network.closed_form import cost_of
from jetbench.profiling.live import profile_model
from jetbench.records.record import Profile
from jetbench.spec.device import load_device
from jetbench.spec.profiling import ProfilingConfig

QUICK = {"warmup_iterations": 1, "min_iterations": 3, "min_seconds": 0, "precision": 1}
SIZE = (64, 96)


def profiled(**more: object) -> tuple[Profile, torch.nn.Module]:
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano"), 5, SIZE)
    config = ProfilingConfig.model_validate({**QUICK, **more})
    return profile_model(model.train(), SIZE, config, torch.device("cpu"), load_device("cpu")), model


def test_a_profile_has_every_number_or_the_reason_why_not() -> None:
    profile, _ = profiled(rate=100, paced_seconds=0.2, soak_seconds=0.2)
    cost = cost_of(load_architecture("jetseg-nano"), 5, SIZE)
    assert (profile.parameters, profile.macs) == (cost.parameters, cost.macs)
    assert [counter.tool for counter in profile.counters] == ["fvcore", "thop"]
    assert all(counter.macs is not None and counter.macs > cost.macs for counter in profile.counters)
    assert profile.model_latency
    assert profile.end_to_end_latency
    assert len(profile.model_latency.samples_s) == len(profile.end_to_end_latency.samples_s) >= 6
    (run,) = profile.model_latency.runs
    assert len(run.cpu_s) == len(run.samples_s)
    assert len(run.warmup_s) >= 10
    assert profile.cold_start
    assert profile.cold_start.first_pass_s > 0
    assert profile.memory
    assert profile.memory.allocator_peak_bytes
    assert profile.memory.allocator_peak_bytes > profile.memory.weights_bytes + profile.memory.image_bytes
    assert profile.paced
    assert profile.paced.frames == 20
    assert profile.soak
    assert profile.soak.steady_fps > 0
    assert profile.finite
    assert profile.denormals
    assert profile.environment.threads == 1
    assert profile.environment.torch == torch.__version__
    if profile.energy is None:
        assert "no power sensor can be read here, and power is never guessed" in profile.notes["power_w"]
    assert profile.estimate is None
    assert "none are assumed" in profile.notes["estimate"]


@pytest.mark.parametrize(
    "more",
    [{"dtype": "bf16"}, {"channels_last": True}, {"batch_size": 2}, {"flush_denormals": False}],
    ids=lambda more: next(iter(more)),
)
def test_every_setting_runs_and_changes_no_count(more: dict[str, object]) -> None:
    profile, _ = profiled(**more)
    assert profile.macs == cost_of(load_architecture("jetseg-nano"), 5, SIZE).macs
    assert profile.model_latency
    assert profile.model_latency.batch_size == more.get("batch_size", 1)
    assert profile.environment.flush_denormals == more.get("flush_denormals", True)
    if profile.model_latency.batch_size == 1:
        assert sum(each.macs for each in profile.kernels) == profile.macs
        assert profile.notes["kernels"].startswith("median of ")
    else:
        assert profile.kernels == ()
        assert profile.notes["kernels"] == ("not measured: kernels are timed with one image, and this batch holds 2")


def test_half_the_bytes_for_half_the_width() -> None:
    single, half = profiled()[0].memory, profiled(dtype="bf16")[0].memory
    assert single
    assert half
    # Batch norm counts its batches in whole numbers, which stay as they are.
    assert half.image_bytes == single.image_bytes / 2
    assert half.weights_bytes == pytest.approx(single.weights_bytes / 2, rel=0.01)


def test_profiling_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    before = build_model(load_architecture("jetseg-nano"), 5, SIZE).state_dict()
    _, model = profiled(dtype="bf16", channels_last=True)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_profile_survives_json() -> None:
    profile, _ = profiled()
    assert Profile.model_validate_json(profile.model_dump_json()) == profile
