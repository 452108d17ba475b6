"""A latency model in a search: what is over the limit for sure is not measured, and elsewhere its prediction counts."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from jetbench.data.cache import open_source
from jetbench.errors import SpecError
from jetbench.network.variants import Variant
from jetbench.profiling.environment import describe_environment
from jetbench.profiling.latency_model import LatencyModel
from jetbench.profiling.latency_predict import Predictor
from jetbench.search import prediction
from jetbench.search.ledger import Ledger
from jetbench.search.prediction import check_model
from jetbench.search.space import SearchSpace, over_limit, read_search
from jetbench.spec.architecture import Architecture
from jetbench.spec.device import Device, load_device
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.search import Search
from tests.cli.test_verbs import jetbench
from tests.profiling.test_latency_model import model_of, sample

QUICK = (64, 128)


def space(**changes: object) -> SearchSpace:
    return SearchSpace(read_search("search-quick", changes), 11, QUICK)


def networks(own: SearchSpace, count: int) -> list[Variant]:
    generator, found = random.Random(3), dict[str, Variant]()
    while len(found) < count:
        try:
            variant = own.variant(own.draw(generator), "")
        except SpecError:
            continue
        found[variant.plan.fingerprint] = variant
    return list(found.values())


def jetseg(variants: Sequence[Variant]) -> list[Architecture]:
    return [each.architecture for each in variants if isinstance(each.architecture, Architecture)]


@pytest.fixture(scope="module")
def model() -> LatencyModel:
    """Learnt from networks of search-quick without CBAM."""
    plain = [
        each
        for each in networks(space(), 120)
        if isinstance(each.architecture, Architecture)
        and "cbam" not in (each.architecture.stages.s2.attention, each.architecture.stages.s3.attention)
    ]
    return model_of([sample(each, size=QUICK) for each in jetseg(plain)[:30]], input_size=QUICK)


def test_where_it_will_be_measured_only_what_is_over_for_sure_is_refused(model: LatencyModel) -> None:
    own = space(objectives=["miou", "latency"], **{"limits.latency": "4ms"})
    ledger = Ledger(own, load_device("cpu"), is_here=True, model=model)
    predictor, seen = Predictor(model), set()
    for variant in networks(own, 60):
        assert isinstance(variant.architecture, Architecture)
        seconds = predictor.seconds(variant.architecture)
        known = ledger.quantities(variant.architecture, variant.plan, None)
        failure = over_limit(own.search.limits, known)
        is_sure = seconds is not None and seconds * (1 - model.half) > 0.004
        by_it = failure is not None and failure.limit == "predicted latency"
        assert is_sure == by_it or (failure is not None and failure.limit == "macs")
        seen.add(by_it)
        assert not known.unpredicted  # what has no prediction is measured
    assert seen == {True, False}
    assert ledger.measures
    assert not ledger.estimates


def test_for_a_device_elsewhere_the_prediction_is_the_latency_and_the_unknown_is_refused(model: LatencyModel) -> None:
    own = space(objectives=["miou", "latency"])
    ledger = Ledger(own, load_device("agx"), is_here=False, model=model)
    predictor, unknown = Predictor(model), 0
    for variant in networks(own, 60):
        assert isinstance(variant.architecture, Architecture)
        seconds = predictor.seconds(variant.architecture)
        assert ledger.assumed_latency(variant.architecture) == seconds
        assert ledger.estimated_latency(variant.architecture) is None  # no data sheet beside it
        failure = over_limit(own.search.limits, ledger.quantities(variant.architecture, variant.plan, None))
        if seconds is None and (failure is None or failure.limit != "macs"):
            assert failure is not None
            assert failure.limit == "predicted latency"
            assert "was never seen" in failure.reason
            unknown += 1
    assert unknown > 0
    assert not ledger.measures


@pytest.mark.parametrize(
    ("changes", "device", "said"),
    [
        (
            {"profiling": {"backend": "onnxruntime"}},
            "cpu",
            "learnt with backend eager, and this search has onnxruntime",
        ),
        ({"profiling": {"threads": 2}}, "cpu", "learnt with threads 1, and this search has 2"),
        ({"profiling": {"batch_size": 4}}, "cpu", "learnt with batch_size 1, and this search has 4"),
        ({}, "agx", "learnt with device cpu, and this search has agx"),
    ],
)
def test_a_model_of_another_device_or_setting_is_refused(
    changes: dict[str, object], device: str, said: str, model: LatencyModel
) -> None:
    asked = read_search("search-quick", {"latency_model": "m.json", **changes})
    with pytest.raises(SpecError, match=said):
        check_model(asked, model, load_device(device), is_this_machine=False)


def test_a_model_of_another_processor_is_refused_where_this_machine_measures(model: LatencyModel) -> None:
    asked = read_search("search-quick", {"latency_model": "m.json"})
    here: Device = load_device("cpu")
    check_model(asked, model, here, is_this_machine=False)
    with pytest.raises(SpecError, match="learnt with processor made-up processor"):
        check_model(asked, model, here, is_this_machine=True)
    found = describe_environment(torch.device("cpu"), None)
    own = model.model_copy(update={"environment": found, "runtime": f"torch {found.torch}"})
    check_model(asked, own, here, is_this_machine=True)
    with pytest.raises(SpecError, match=r"learnt with runtime torch 1\.13\.0, and this search has torch "):
        check_model(asked, own.model_copy(update={"runtime": "torch 1.13.0"}), here, is_this_machine=True)


def test_a_model_of_the_runtime_that_is_installed_here_is_taken(model: LatencyModel) -> None:
    runtime = pytest.importorskip("onnxruntime")
    asked = read_search("search-quick", {"latency_model": "m.json", "profiling.backend": "onnxruntime"})
    own = model.model_copy(
        update={
            "config": asked.profiling,
            "environment": describe_environment(torch.device("cpu"), None),
            "runtime": f"onnxruntime {runtime.__version__}",
        }
    )
    check_model(asked, own, load_device("cpu"), is_this_machine=True)
    with pytest.raises(SpecError, match=r"learnt with runtime onnxruntime 1\.0, and this search has onnxruntime "):
        check_model(
            asked, own.model_copy(update={"runtime": "onnxruntime 1.0"}), load_device("cpu"), is_this_machine=True
        )


def test_a_model_that_a_search_has_no_use_for_is_refused() -> None:
    """It would be read, checked and never asked."""
    asked = read_search("search-quick", {"latency_model": "m.json", "objectives": ["miou", "macs"]})
    with pytest.raises(SpecError, match="neither minimises nor limits them; use --objectives miou,latency"):
        prediction.model_of(asked, open_source(asked.dataset))


def test_a_search_without_latency_asks_no_model(model: LatencyModel) -> None:
    asked: Search = read_search("search-quick")
    ledger = Ledger(SearchSpace(asked, 11, QUICK), load_device("cpu"), True, model)
    assert ledger.model is None
    assert asked.latency_model is None
    assert "latency_model" not in asked.model_dump()  # so that earlier searches go on


@pytest.mark.slow
def test_a_search_for_a_device_elsewhere_says_that_latencies_are_predicted(model: LatencyModel, tmp_path: Path) -> None:
    own = model.model_copy(update={"device": "agx", "config": ProfilingConfig()})
    (tmp_path / "agx.latency.json").write_text(own.model_dump_json())
    command = ["search", "search-quick", "--device", "agx", "--objectives", "miou,latency", "--trainings", "3"]
    command += ["--latency-model", "agx.latency.json", "--budget", "2steps"]
    said = jetbench(*command, "--dry-run", cwd=tmp_path)
    assert "PREDICTED by agx.latency.json" in said
    assert "by prediction" in said
    assert "(agx: batch 1, fp32, 1 thread, eager at 64x128)" in said
    final = ("--set", "final.seeds=[1]", "--set", "final.budget=2 steps", "--set", "final.most=1")
    said = jetbench(*command, *final, cwd=tmp_path)
    assert "PREDICTED" in said
    assert "PREDICTED for agx by agx.latency.json" in (tmp_path / "reports/search-quick/answer.md").read_text()
    assert "predicted_latency_s" in (tmp_path / "reports/search-quick/proposals.csv").read_text()
