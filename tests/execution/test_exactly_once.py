"""Exactly once: the driver and its workers are killed again and again, and every variant lands once."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import optuna
import pytest

from tests.execution.made_up import Study, wait_until

VARIANTS, DRIVERS, WORKERS, SLOTS = 100, 10, 20, 4  # 200 jobs: each variant is trained and profiled


@pytest.mark.slow
def test_200_jobs_survive_10_dead_drivers_and_20_dead_workers(tmp_path: Path) -> None:
    study, chance = Study(tmp_path), random.Random(0)
    hit: set[tuple[int, str]] = set()
    drivers = workers = 0
    while True:
        process = study.start(VARIANTS, slots=SLOTS)
        dies_at = time.monotonic() + chance.uniform(1.5, 6.0)  # a driver needs some 2 s to begin
        while process.poll() is None and (drivers >= DRIVERS or time.monotonic() < dies_at):
            victims = [m for m in study.working() if (m["seed"], m["phase"]) not in hit]
            if victims and workers < WORKERS and chance.random() < 0.3:
                victim = chance.choice(victims)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim["pid"], signal.SIGKILL)
                    hit.add((victim["seed"], victim["phase"]))
                    workers += 1
            time.sleep(0.05)
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        drivers += 1
        wait_until(lambda: not study.working(), "jobs that die with their driver", 10)
    text = process.communicate()[0]
    assert process.returncode == 0, text
    assert (drivers, workers) == (DRIVERS, WORKERS)

    records = study.records()
    assert set(records) == {f"seed={seed}" for seed in range(VARIANTS)}
    for record in records.values():
        assert record.failure is None
        assert record.training
        assert record.profile
        assert record.profile.model_latency
        seed = record.recipe.seed
        assert record.training.best.counts.miou == pytest.approx(seed / 1000)
        assert record.profile.model_latency.median_s == pytest.approx(0.001 * (1 + seed))
    trials = optuna.load_study(study_name="made-up", storage=f"sqlite:///{study.folder / 'study.db'}").trials
    assert Counter(trial.user_attrs["key"] for trial in trials) == Counter(r.key for r in records.values())

    marks = study.marks()
    ends = Counter((m["seed"], m["phase"]) for m in marks if m["event"] == "end")
    assert set(ends) == {(seed, phase) for seed in range(VARIANTS) for phase in ("train", "profile")}
    # A job whose driver dies between the job's last line and its result is the only one that works twice.
    assert sum(ends.values()) - len(ends) <= DRIVERS * SLOTS
    assert not [m for m in marks if m["event"] == "beside" and m["others"]]
    profiles = sorted(
        (m["at"], next((e["at"] for e in marks if e["event"] == "end" and e["pid"] == m["pid"]), m["at"]))
        for m in marks
        if m["event"] == "begin" and m["phase"] == "profile"
    )
    assert all(end <= begin for (_, end), (begin, _) in pairwise(profiles))
