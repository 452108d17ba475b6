"""What running jobs costs: idle slots, and a driver's own work as records and slots grow.

Not tests: `make benchmark` runs them, on a machine with nothing else to do.
"""

import json
import statistics
import time
from pathlib import Path

import pytest

from jetbench.data.cache import load_data
from jetbench.execution.executor import PROFILER
from jetbench.execution.local import LocalExecutor
from jetbench.network.variants import expand_sweep
from jetbench.spec.base import parse_spec
from jetbench.spec.sweep import Sweep
from jetbench.study.run import run_study
from tests.simulated.cluster import run
from tests.study.test_run import SilentView

pytestmark = pytest.mark.benchmarks

JOBS, SECONDS = 24, 10


def test_slots_stand_idle_for_at_most_a_twentieth_of_the_time(tmp_path: Path) -> None:
    """Trainings of 10 s on both cores: wall time over the jobs' own seconds, from the driver's start to its end.

    A job's seconds are its worker's, from its first line to its result; how it was started is not in them.
    """
    raw = {
        "name": "overhead", "base": "jetseg-nano", "include_base": False,
        "dataset": {"name": "streets", "size": "64x96", "train": 16, "val": 6, "test": 4},
        "training": {"budget": f"{SECONDS} seconds", "batch_size": 4, "evaluations": 2},
        "variants": [{"grid": {"training.seed": list(range(JOBS))}}],
    }  # fmt: skip
    sweep = parse_spec(Sweep, raw, "overhead.yaml")
    data = load_data(sweep.dataset).info
    variants = expand_sweep(sweep, data.num_classes, data.size)
    slots = 2
    begun = time.monotonic()
    executor = LocalExecutor({"cpu": slots, PROFILER: 1}, slots).prepare()
    records = run_study(tmp_path, sweep, variants, data, "cpu", executor, SilentView(), phases=("train",))
    wall = time.monotonic() - begun
    assert all(record.failure is None for record in records)
    own = [json.loads(path.read_text())["seconds"] for path in tmp_path.glob("jobs/*/result.json")]
    ratio = wall / (sum(own) / slots)
    print(
        f"\n{JOBS} trainings of {statistics.median(own):.1f} s on {slots} slots: {wall:.1f} s, {ratio:.3f} of their own"
    )
    assert ratio <= 1.05


def test_a_record_costs_the_driver_the_same_at_any_number_of_records_and_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On paper: milliseconds of the driver for one record, the last thousand of 10,000 against the first, 64 slots."""
    monkeypatch.setattr("jetbench.study.driver.POLL_S", 0.0)
    monkeypatch.setattr("jetbench.study.driver.POLL_WHILE_PROFILING_S", 0.0)
    clock, _, records = run(tmp_path, 10_000, 64)
    assert len(records) == 10_000
    gaps = [b - a for a, b in zip(clock.landed, clock.landed[1:], strict=False)]
    first, last = sum(gaps[:1000]), sum(gaps[-1000:])
    print(f"\n64 slots: {first:.1f} ms a record among the first 1,000, {last:.1f} ms among the last of 10,000")
    assert last <= 1.5 * first
