"""A latency model: costs that were put in come out again, what was never seen gets no number, files are checked."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jetbench.errors import SpecError
from jetbench.network.kernels import ADDED, REORDERED, kernel_class
from jetbench.network.layouts import Layouts
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Operation
from jetbench.network.plan import plan_architecture
from jetbench.profiling.latency_features import features_by_class
from jetbench.profiling.latency_model import (
    FEWEST,
    LatencyModel,
    Learnt,
    Sample,
    domain_of,
    errors_of,
    errors_of_proxy,
    learn,
    non_negative,
    outside,
    repeatability,
)
from jetbench.profiling.latency_predict import Predictor, fit_of, predict, predict_networks, read_model
from jetbench.search.learning import draw_members
from jetbench.spec.architecture import Architecture
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import ENVIRONMENT

SIZE = (96, 160)
PER_MAC, PER_BYTE, PER_KERNEL = 5e-11, 1e-10, 4e-6


def networks(count: int, seed: int = 0) -> list[Architecture]:
    _, variants = draw_members("search-nano", SIZE, 11, count, seed)
    found = [variant.architecture for variant in variants]
    assert all(isinstance(each, Architecture) for each in found)
    return [each for each in found if isinstance(each, Architecture)]


def operations_of(architecture: Architecture, size: tuple[int, int] = SIZE) -> tuple[Operation, ...]:
    return list_operations(plan_architecture(architecture, 11, size))


def true_seconds(operation: Operation) -> float:
    """A made-up machine: MACs, bytes and launches."""
    return PER_KERNEL + PER_MAC * operation.macs + PER_BYTE * operation.read_bytes


def sample(
    architecture: Architecture,
    noise: Callable[[], float] = lambda: 1.0,
    with_kernels: bool = True,
    size: tuple[int, int] = SIZE,
) -> Sample:
    operations = operations_of(architecture, size)
    kernels: dict[tuple[str, str], float] = {}
    for each in operations:
        key = (each.part, kernel_class(each))
        kernels[key] = kernels.get(key, 0.0) + true_seconds(each) * noise()
    seconds = 0.001 + 1.1 * sum(map(true_seconds, operations))
    repeats = (seconds * noise(), seconds * noise())
    return Sample("", "", {}, operations, seconds * noise(), kernels if with_kernels else {}, repeats)


def model_of(samples: list[Sample], **more: object) -> LatencyModel:
    fit, crossed = learn(samples, runs_file=False)
    domain, kernels = domain_of(each.operations for each in samples)
    fields: dict[str, object] = {
        "jetbench": "0",
        "space": "made up",
        "device": "cpu",
        "environment": ENVIRONMENT,
        "runtime": "torch",
        "config": ProfilingConfig(),
        "input_size": SIZE,
        "num_classes": 11,
        "standard": "standard-1",
        "standard_s": 0.01,
        "block": fit.block,
        "costs": fit.costs,
        "constant_s": fit.constant_s,
        "kernel_s": fit.kernel_s,
        "scale": fit.scale,
        "domain": domain,
        "kernels": kernels,
        "learnt": tuple(
            Learnt(
                name=str(number),
                fingerprint=str(number),
                changes={},
                macs=sum(each.macs for each in own.operations),
                bytes_moved=sum(each.moved_bytes for each in own.operations),
                seconds=own.seconds,
                predicted_s=seconds,
                repeats_s=own.repeats,
            )
            for number, (own, seconds) in enumerate(zip(samples, crossed, strict=True))
        ),
    }
    return LatencyModel.model_validate({**fields, **more})


@pytest.fixture(scope="module")
def model() -> LatencyModel:
    generator = random.Random(0)
    return model_of([sample(each, lambda: generator.lognormvariate(0, 0.02)) for each in networks(40)])


def test_non_negative_least_squares_by_hand_and_by_its_conditions() -> None:
    """The best unrestricted second number would be negative, so it is 0, and the first is fitted alone."""
    table, target = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 2.0]]), np.array([2.0, 3.0, 1.0])
    assert non_negative(table, target) == pytest.approx([2.0, 0.0])
    generator = np.random.default_rng(0)
    table, target = generator.normal(size=(50, 12)), generator.normal(size=50)
    found = non_negative(table, target)
    slope = table.T @ (table @ found - target)
    assert (found >= 0).all()
    assert slope[found > 0] == pytest.approx(0, abs=1e-6)
    assert (slope[found == 0] >= -1e-6).all()


@pytest.mark.parametrize("with_kernels", [True, False], ids=["from the times of kernels", "from whole latencies"])
def test_a_machine_that_the_features_describe_is_learnt_exactly(with_kernels: bool) -> None:
    samples = [sample(each, with_kernels=with_kernels) for each in networks(60)]
    _, crossed = learn(samples, runs_file=False)
    errors = errors_of([(predicted, each.seconds) for predicted, each in zip(crossed, samples, strict=True)])
    assert errors.median < (0.005 if with_kernels else 0.02)
    assert errors.tau is not None
    assert errors.tau > (0.98 if with_kernels else 0.95)


def test_noise_of_the_measurement_stays_out_of_the_prediction(model: LatencyModel) -> None:
    """Networks that it never saw, against their true latencies, which no measurement gives."""
    found = []
    for each in networks(30, seed=9):
        prediction = predict(model, "", operations_of(each))
        if prediction.seconds is not None:
            found.append((prediction.seconds, 0.001 + 1.1 * sum(map(true_seconds, operations_of(each)))))
    errors = errors_of(found)
    assert len(found) > 15
    assert errors.median < 0.01
    assert model.half < 0.1
    assert all(abs(predicted / true - 1) < model.half for predicted, true in found)


def test_the_size_of_a_block_is_learnt() -> None:
    """A made-up runtime whose reordered maps of blocks of 8 cost time."""
    samples = []
    for architecture in networks(40):
        plain = sample(architecture)
        moved = sum(
            reorder.bytes
            for placed in Layouts(8).follow(plain.operations)
            for reorder in placed.reorders
        )  # fmt: skip
        own = {**plain.kernels, (ADDED, REORDERED): 1e-8 * moved}
        seconds = sum(own.values())
        samples.append(Sample("", "", {}, plain.operations, seconds, own, ()))
    fit, crossed = learn(samples, runs_file=True)
    assert fit.block == 8
    assert errors_of([(p, s.seconds) for p, s in zip(crossed, samples, strict=True)]).median < 0.005


def test_a_predictor_of_millions_gives_what_one_prediction_gives(model: LatencyModel) -> None:
    """Also with blocks, whose reorders cross the parts: costs of any kind will do."""
    costs = {
        name: {**own, **{f"blocks: {key}": 2 * cost for key, cost in own.items()}} for name, own in model.costs.items()
    }
    costs[REORDERED] = {"into blocks: bytes": 1e-9, "out of blocks: bytes": 3e-9, "out of blocks: kernels": 1e-6}
    for block in (0, 8, 16):
        changed = model.model_copy(update={"block": block, "costs": costs})
        predictor = Predictor(changed)
        for architecture in networks(60, seed=4):
            seconds, reason = predictor.predict(architecture)
            operations = operations_of(architecture)
            assert seconds == pytest.approx(fit_of(changed).predict(operations), rel=1e-9)
            assert (reason is None) == (predict(changed, "", operations).seconds is not None)


def test_features_of_parts_add_up_to_those_of_the_network() -> None:
    (architecture,) = networks(1)
    operations = operations_of(architecture)
    found = features_by_class(operations, 0)
    macs = sum(value for own in found.values() for name, value in own.items() if name == "MACs")
    assert macs == sum(each.macs for each in operations if each.convolution is not None)
    kernels = sum(value for own in found.values() for name, value in own.items() if name.endswith("kernels"))
    assert kernels == len(operations)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"jetconv": {"branches": ["9a"]}}, "depthwise 9x1 d4 was never seen"),
        ({"base_channels": 40, "max_channels": 200, "groups": 1}, "channels was never seen"),
        ({"activation": "silu"}, "the kernel silu was never seen"),
        ({"smallest_map": 4}, "on a map of"),
        ({"groups": "at-most-7", "base_channels": 14}, "groups was never seen"),
    ],
)
def test_what_was_never_seen_is_named_and_gets_no_number(
    changes: dict[str, object], reason: str, model: LatencyModel
) -> None:
    base = networks(1)[0].model_dump(mode="json")
    base["stages"] = {}
    other = Architecture.model_validate({**base, **changes})
    prediction = predict(model, "other", operations_of(other))
    assert prediction.seconds is None
    assert prediction.interval is None
    assert any(reason in each for each in prediction.reasons), prediction.reasons
    assert Predictor(model).seconds(other) is None
    assert prediction.describe()["class"] == "missing"


def test_another_size_and_another_kind_of_network_get_no_number(model: LatencyModel) -> None:
    (other,) = predict_networks(model, ["jetseg-nano"], (128, 160), 11)
    assert other.reasons == ("learnt at 96x160, not at 128x160",)
    (baseline,) = predict_networks(model, ["cgnet"], SIZE, 11)
    assert baseline.reasons == ("it is no JetSeg network",)
    (classes,) = predict_networks(model, ["jetseg-nano"], SIZE, 19)
    assert classes.seconds is None
    assert classes.reasons == ("learnt with 11 classes, not with 19",)


def test_an_interval_ends_at_zero(model: LatencyModel) -> None:
    """A model whose errors exceed its predictions knows nothing below."""
    wild = tuple(each.model_copy(update={"predicted_s": 3 * each.seconds}) for each in model.learnt)
    (architecture,) = networks(1)
    prediction = predict(model.model_copy(update={"learnt": wild}), "", operations_of(architecture))
    assert prediction.seconds is not None
    assert prediction.interval == pytest.approx((0.0, 3 * prediction.seconds))


def test_what_was_learnt_is_inside(model: LatencyModel) -> None:
    for architecture in networks(40):
        assert not [each for op in operations_of(architecture) if (each := outside(op, model.domain, model.kernels))]


def test_errors_and_proxies_by_hand() -> None:
    errors = errors_of([(1.1, 1.0), (1.8, 2.0), (3.0, 3.0)])
    assert errors.median == pytest.approx(0.1)
    assert errors.tau == 1.0
    own = {"name": "", "fingerprint": "", "changes": {}, "bytes_moved": 1, "predicted_s": 1.0}
    pairs = ((10, 1.0, (1.0, 1.1)), (20, 2.0, (2.0, 2.0)), (30, 1.5, (1.5, 1.5)))
    found = [Learnt(macs=macs, seconds=seconds, repeats_s=repeats, **own) for macs, seconds, repeats in pairs]
    by_macs = errors_of_proxy(found, lambda each: each.macs)
    assert by_macs is not None
    assert by_macs.tau == pytest.approx(1 / 3)
    assert by_macs.median == pytest.approx(0.0)
    assert errors_of_proxy(found, lambda each: each.roofline_s) is None
    again = repeatability(found)
    assert again is not None
    assert again.median == pytest.approx(0.0)
    assert again.p90 == pytest.approx(0.8 * (1 - 1 / 1.1))


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(SpecError, match=f"at least {FEWEST} are needed"):
        learn([sample(each) for each in networks(5)], runs_file=False)


def test_a_model_survives_its_file_and_a_damaged_one_is_refused(model: LatencyModel, tmp_path: Path) -> None:
    path = tmp_path / "cpu.latency.json"
    path.write_text(model.model_dump_json())
    assert read_model(path) == model
    raw = json.loads(path.read_text())
    changes: tuple[dict[str, object], ...] = (
        {"version": 2}, {"costs": {"1x1": {"MACs": "nan"}}}, {"learnt": []},
        {"costs": {"1x1": {"MACs": -1e-12}}}, {"costs": {"1x1": {"MACs": 1e300}}}, {"constant_s": -1.0},
        {"scale": 1e9}, {"kernel_s": 2.0}, {"standard_s": 0.0}, {"block": -1}, {"extra": 1}
    )  # fmt: skip
    for change in changes:
        path.write_text(json.dumps({**raw, **change}))
        with pytest.raises(SpecError, match="is no latency model of this version"):
            read_model(path)
    path.write_text("{")
    with pytest.raises(SpecError, match="is no latency model of this version"):
        read_model(path)
    path.write_bytes(b"\xff")
    with pytest.raises(SpecError, match="not UTF-8"):
        read_model(path)
    with pytest.raises(SpecError, match="cannot be read"):
        read_model(tmp_path / "none.json")
