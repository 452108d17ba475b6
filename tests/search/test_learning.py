"""Learning latencies: which networks are measured, and that what was measured is kept."""

from pathlib import Path

import pytest
import torch

from jetbench.errors import SpecError
from jetbench.network.list_operations import list_operations
from jetbench.network.plan import plan_architecture
from jetbench.probe.machine import power_mode
from jetbench.profiling.environment import describe_environment
from jetbench.profiling.host import find_site
from jetbench.profiling.latency_sample import choose, facts_of
from jetbench.records.folder import read_profiles
from jetbench.records.measurement import Standard
from jetbench.records.record import Profile
from jetbench.search import learning
from jetbench.search.learning import cases_of, choose_networks, draw_members, fit_model, learning_config, measure
from jetbench.spec.architecture import Architecture
from jetbench.spec.profiling import ProfilingConfig
from tests.cli.test_verbs import jetbench
from tests.made_up import ENVIRONMENT, latency, profile, record

SIZE = (64, 96)


@pytest.mark.parametrize("name", ["search-nano", "nano", "ablation"])
def test_networks_are_drawn_from_searches_spaces_and_sweeps(name: str) -> None:
    _, found = draw_members(name, (288, 512), 11, 10, seed=1)
    assert len({each.plan.fingerprint for each in found}) == len(found) >= 5
    _, again = draw_members(name, (288, 512), 11, 10, seed=1)
    assert [each.plan.fingerprint for each in found] == [each.plan.fingerprint for each in again]


def test_a_sample_has_the_kernels_of_its_space_and_its_ends() -> None:
    facts = [frozenset({("a",)}), frozenset({("a",), ("b",)}), frozenset({("c",)}), frozenset({("a",)})]
    macs = [2.0, 3.0, 4.0, 1.0]
    assert choose(facts, macs, 3) == [3, 2, 0]  # the least and the most MACs, then the first
    assert choose(facts, macs, 4) == [3, 2, 0, 1]
    assert choose(facts, macs, 8) == [3, 2, 1, 0]  # half of the sample covers kernels: b comes before the first
    _, candidates = draw_members("search-nano", (96, 160), 11, 300)
    chosen, tested = choose_networks(candidates, 40, 20)
    assert len({each.plan.fingerprint for each in (*chosen, *tested)}) == 60
    known: set[object] = set()
    for each in chosen:
        assert isinstance(each.architecture, Architecture)
        known |= facts_of(list_operations(plan_architecture(each.architecture, 11, (96, 160))))
    inside = 0
    for each in tested:
        assert isinstance(each.architecture, Architecture)
        inside += facts_of(list_operations(plan_architecture(each.architecture, 11, (96, 160)))) <= known
    assert inside >= 18


def test_too_small_a_space_is_refused() -> None:
    _, candidates = draw_members("ablation", (288, 512), 11, 500)
    with pytest.raises(SpecError, match="give smaller --networks and --held-out"):
        choose_networks(candidates, 500, 0)


@pytest.mark.slow
def test_what_was_measured_is_kept_and_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETBENCH_LOCKS", str(tmp_path))
    _, candidates = draw_members("search-nano", SIZE, 11, 20)
    config = learning_config(ProfilingConfig()).model_copy(update={"min_iterations": 3, "min_seconds": 0.0})
    cases = cases_of(candidates[:2], "network", config)
    site = find_site("cpu")
    first = measure(cases[:1], site, tmp_path / "learnt", lambda share, text: None)
    (record,) = first
    assert record.measured.normalised is not None
    assert len(record.measured.normalised.medians) == 2
    assert record.measured.memory is None  # nothing but latency and kernels is measured
    assert sum(each.macs for each in record.measured.kernels) == record.measured.macs > 0
    told: list[str] = []
    both = measure(cases, site, tmp_path / "learnt", lambda share, text: told.append(text))
    assert both[0] == first[0]
    assert not any("network 1 " in text for text in told)
    assert len(read_profiles(tmp_path / "learnt")) == 2
    with pytest.raises(SpecError, match="too few to learn from"):
        fit_model("tiny", both, [])


def test_a_model_needs_one_standard_network() -> None:
    with pytest.raises(SpecError, match="no time of the standard network"):
        fit_model("made up", [record("a"), record("b")], [])


def test_a_model_is_of_one_runtime() -> None:
    later = profile(0.01, environment=ENVIRONMENT.model_copy(update={"torch": "2.14.0"}))
    with pytest.raises(SpecError, match=r"measured with torch 2\.13\.0 and torch 2\.14\.0; a model is of one of them"):
        fit_model("made up", [record("a"), record("b", profile=later)], [])


@pytest.mark.parametrize("field", ["cpu", "torch", "device", "power_mode"])
def test_what_another_machine_measured_is_measured_again(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the measurement itself is a stand-in; it counts what is measured."""
    _, candidates = draw_members("search-nano", SIZE, 11, 1)
    (case,) = cases_of(candidates, "network", learning_config(ProfilingConfig()))
    site = find_site("cpu")
    assert site.torch_device is not None
    here = describe_environment(torch.device(site.torch_device), None).model_copy(update={"power_mode": power_mode()})
    runs = latency(0.02).runs
    standard = Standard(name="standard-1", digest="0" * 64, form="eager", input_size=SIZE, runs=runs)
    environments = [here.model_copy(update={field: "another"}), here]
    measured: list[Profile] = []

    def stand_in(*_: object, **__: object) -> list[Profile]:
        environment = environments[len(measured)]
        measured.append(profile(0.01, input_size=SIZE, device="cpu", standard=standard, environment=environment))
        return measured[-1:]

    monkeypatch.setattr(learning, "profile_cases", stand_in)
    for _ in environments:
        measure([case], site, tmp_path / "learnt", lambda share, text: None)
    assert len(measured) == 2
    measure([case], site, tmp_path / "learnt", lambda share, text: None)
    assert len(measured) == 2


def test_the_command_says_what_it_cannot_learn(tmp_path: Path) -> None:
    said = jetbench("latency", "learn", "search-nano", "--device", "agx", cwd=tmp_path, code=2)
    assert "learning measures, so run it there" in said
    said = jetbench("latency", "learn", "search-nano", "--backend", "eager,onnxruntime", cwd=tmp_path, code=2)
    assert "a model is of one setting" in said
    said = jetbench("latency", "learn", "nowhere", "--device", "cpu", cwd=tmp_path, code=2)
    assert "no bundled search has that name" in said
    said = jetbench("latency", "learn", "ablation", "--device", "cpu", "--size", "288x512", cwd=tmp_path, code=2)
    assert "are asked for; give smaller --networks" in said
