import pytest
from pydantic import ValidationError

from jetbench.records.measurement import Latency, LatencyRun
from jetbench.records.record import DatasetInfo, Record
from jetbench.records.scores import ClassCounts
from tests.made_up import DATASET, failed, record


def test_records_survive_json() -> None:
    for made in (record("a"), failed("b")):
        assert Record.model_validate_json(made.model_dump_json()) == made


def test_miou_leaves_out_classes_that_do_not_occur() -> None:
    counts = ClassCounts(true_positives=(6, 0, 2), false_positives=(2, 5, 0), false_negatives=(4, 0, 2))
    assert counts.class_iou == (0.5, None, 0.5)
    assert counts.miou == 0.5


def test_fps_is_taken_at_the_median() -> None:
    assert Latency(batch_size=2, runs=(LatencyRun(samples_s=(0.1, 0.1, 9.0)),)).throughput_fps == pytest.approx(20)


def test_the_first_of_equal_evaluations_is_the_best() -> None:
    made = record("a").training
    assert made is not None
    first = made.val[-1]
    twice = made.model_copy(update={"val": (first, first.model_copy(update={"step": 20}))})
    assert twice.best.step == 10
    assert twice.last.step == 20


@pytest.mark.parametrize("field", ["images", "constant_miou"])
def test_a_dataset_without_one_of_its_splits_is_refused(field: str) -> None:
    raw = DATASET.model_dump(mode="json")
    del raw[field]["val"]
    with pytest.raises(ValidationError, match="has no entry for val"):
        DatasetInfo.model_validate(raw)
