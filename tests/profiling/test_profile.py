import torch

from jetbench import build_model, load_architecture
from jetbench.cost import cost_of
from jetbench.experiment import ProfilingConfig
from jetbench.profiling.profile import profile_model
from jetbench.record import Profile

QUICK = ProfilingConfig(warmup_iterations=1, min_iterations=3, min_seconds=0)


def profiled() -> tuple[Profile, torch.nn.Module]:
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano"), 5, (64, 96))
    return profile_model(model.train(), (64, 96), QUICK, torch.device("cpu")), model


def test_a_profile_has_every_number_or_the_reason_why_not() -> None:
    profile, _ = profiled()
    cost = cost_of(load_architecture("jetseg-nano"), 5, (64, 96))
    assert (profile.parameters, profile.macs) == (cost.parameters, cost.macs)
    assert [counter.tool for counter in profile.counters] == ["fvcore", "thop"]
    assert all(counter.macs is not None and counter.macs > cost.macs for counter in profile.counters)
    assert len(profile.model_latency.samples_s) == len(profile.end_to_end_latency.samples_s) == 3
    assert profile.power_w is None
    assert "no power sensor is read" in profile.notes["power_w"]
    assert profile.environment.threads == 1
    assert profile.environment.torch == torch.__version__


def test_profiling_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    before = build_model(load_architecture("jetseg-nano"), 5, (64, 96)).state_dict()
    _, model = profiled()
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_profile_survives_json() -> None:
    profile, _ = profiled()
    assert Profile.model_validate_json(profile.model_dump_json()) == profile
