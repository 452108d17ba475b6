"""Screening by predicted latency: the limit is that of the model, and what it does not know has no prediction."""

import math
from pathlib import Path

import numpy as np
import pytest

from jetbench.errors import SpecError
from jetbench.profiling.latency_model import LatencyModel, Sample
from jetbench.profiling.latency_predict import Predictor
from jetbench.search.screen import changes_at, rank_survivors, read_space, screen
from jetbench.search.screening import describe_outcome, survivor_frame
from jetbench.spec.architecture import Architecture
from jetbench.spec.base import override
from jetbench.spec.catalog import read_base
from jetbench.spec.search import Space
from tests.cli.test_verbs import jetbench
from tests.profiling.test_latency_model import SIZE, model_of, sample


def space(**more: object) -> Space:
    return read_space("nano", {"size": SIZE, "classes": 11, **more})


def architecture(own: Space, index: int) -> Architecture:
    return Architecture.model_validate(override(read_base(own.base), changes_at(own, index)))


@pytest.fixture(scope="module")
def model() -> LatencyModel:
    """Learnt from networks of the space that have no attention."""
    own, index = space(), 0
    found: list[Sample] = []
    while len(found) < 30:
        index += 7919
        each = architecture(own, index)
        if all(getattr(each.stages, name).attention == "none" for name in ("s1", "s2", "s3")):
            found.append(sample(each))
        assert index < 7919 * 20_000
    return model_of(found)


def test_survivors_are_within_the_predicted_latency_and_unknown_ones_are_counted(model: LatencyModel) -> None:
    own = space()
    everything = screen(own, {}, samples=300, model=model)
    known = everything.survivors.latency[~np.isnan(everything.survivors.latency)]
    assert everything.unknown == sum(np.isnan(everything.survivors.latency))
    assert 0 < everything.unknown < 300  # attention was never seen
    limit = float(sorted(known)[len(known) // 2])
    found = screen(own, {"latency": limit}, samples=300, model=model)
    assert len(found.survivors) == sum(known <= limit)
    assert found.over["latency"] == sum(known > limit)
    assert found.unknown == everything.unknown
    predictor = Predictor(model)
    for index, seconds in zip(found.survivors.indices, found.survivors.latency, strict=True):
        assert predictor.seconds(architecture(own, index)) == seconds
    ranked = rank_survivors(found.survivors, "latency", largest=False)
    assert list(ranked.latency) == sorted(found.survivors.latency)
    assert list(survivor_frame(own, ranked)["predicted_latency_s"]) == list(ranked.latency)
    lines = " ".join(describe_outcome(found))
    assert "ms of latency, PREDICTED" in lines
    assert f"{found.unknown} variants are outside of what the model knows" in lines


def test_processes_give_what_one_gives(model: LatencyModel) -> None:
    one = screen(space(), {}, samples=9000, model=model)
    two = screen(space(), {}, samples=9000, jobs=2, model=model)
    assert one.survivors.indices == two.survivors.indices
    pairs = zip(one.survivors.latency, two.survivors.latency, strict=True)
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def test_a_limit_without_a_model_and_a_model_of_another_size_are_refused(model: LatencyModel) -> None:
    with pytest.raises(SpecError, match="--latency-model"):
        screen(space(), {"latency": 0.01}, samples=10)
    with pytest.raises(SpecError, match="learnt at 96x160 with 11 classes, and nano is screened at 128x160"):
        screen(space(size=(128, 160)), {}, samples=10, model=model)


def test_the_command_takes_size_and_classes_of_the_model(model: LatencyModel, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(model.model_dump_json())
    said = jetbench("screen", "nano", "--latency-model", "m.json", "--samples", "200", "--by", "latency", cwd=tmp_path)
    assert "ms, PREDICTED" in said
    assert "at 96x160, 11 classes" in said
    said = jetbench("screen", "nano", "--by", "latency", cwd=tmp_path, code=2)
    assert "--latency-model FILE" in said
