from pathlib import Path

import numpy as np
import pytest

from jetbench.errors import SpecError
from jetbench.records.record import Record
from jetbench.study.trackers import TrackedView, open_trackers
from tests.made_up import failed, record
from tests.study.test_run import SilentView


def made() -> list[Record]:
    return [record("groups=1", 0.5, 0.01, key="a1", changes={"groups": 1}), failed("groups=2")]


def test_tensorboard_has_the_curves_and_costs_of_each_row(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tracker,) = open_trackers(["tensorboard"], tmp_path)
    for each in (*made(), made()[0]):  # a row that lands again replaces the first
        tracker.land(each)
    (folder,) = (tmp_path / "tensorboard").glob("groups-1-*")
    events = EventAccumulator(str(folder)).Reload()
    assert [(each.step, each.value) for each in events.Scalars("loss")] == [(5, 2.0), (10, 1.0)]
    scores = [(each.step, round(each.value, 4)) for each in events.Scalars("val/mIoU_percent")]
    assert scores == [(5, 50.0), (10, 50.0)]
    assert np.isclose(events.Scalars("cost/latency_ms_per_image")[0].value, 10.0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow with a new SQLAlchemy
def test_mlflow_has_a_run_for_each_row_with_its_settings_and_numbers(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    (tracker,) = open_trackers(["mlflow"], tmp_path)
    for each in (*made(), made()[0]):
        tracker.land(each)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(tmp_path.name)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"groups=1", "groups=2"}
    run = runs["groups=1"]
    assert run.data.params["groups"] == "1"
    assert run.data.metrics["test/mIoU_percent"] == 50.0
    assert [each.value for each in client.get_metric_history(run.info.run_id, "loss")] == [2.0, 1.0]
    assert runs["groups=2"].info.status == "FAILED"


def test_a_tracker_that_is_not_known_or_fails_ends_no_study(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected tensorboard or mlflow"):
        open_trackers(["wandb"], tmp_path)

    class Broken:
        def land(self, record: Record) -> None:
            raise RuntimeError("no server")

    view = SilentView()
    TrackedView(view, [Broken()]).land(made()[0], 1, None)
    assert view.notes == ["groups=1: not written for Broken (no server)"]
