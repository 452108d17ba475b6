"""An executor with as many slots as wanted, on paper: jobs take no time of this machine and end as chance has it.

What it measures is the driver: its loop, its files, its database.

    python -m tests.simulated.cluster FOLDER RECORDS SLOTS
"""

import json
import random
import sys
import time
from pathlib import Path

from jetbench.execution.executor import Job, Outcome, Progress
from jetbench.network.variants import Variant, expand_sweep
from jetbench.records.record import Record
from jetbench.spec.sweep import Sweep
from jetbench.study.run import run_study
from tests.made_up import DATASET, ENVIRONMENT, SIZE, profile, training
from tests.simulated.driver import made_up_sweep

FATES = ("ok", "lost", "oom", "timeout", "error", "diverged")
ODDS = (0.93, 0.03, 0.01, 0.01, 0.01, 0.01)


class PaperCluster:
    """`slots` trainings and `boards` profiles at once; each takes some polls. Failures are drawn with a seed."""

    def __init__(self, slots: int, boards: int, seed: int = 0, polls: int = 3) -> None:
        self.width, self.wave, self.boards, self.polls = slots, 0, boards, polls
        self.profiles_alone = False
        self.chance = random.Random(seed)
        self.jobs: dict[tuple[str, str], tuple[Job, int]] = {}
        self.late: list[Outcome] = []
        self.most_profiles = self.submitted = 0

    def submit(self, job: Job) -> None:
        self.jobs[job.key, job.phase] = job, self.chance.randint(1, 2 * self.polls)
        self.submitted += 1

    def poll(self) -> list[Outcome]:
        ended: list[Outcome] = []
        profiles = 0
        for at, (job, left) in list(self.jobs.items()):
            if job.phase == "profile":
                profiles += 1
                if profiles > self.boards:
                    continue
            self.jobs[at] = job, left - 1
            if left <= 1:
                del self.jobs[at]
                ended.append(self.outcome(job))
        self.most_profiles = max(self.most_profiles, min(profiles, self.boards))
        # What was given up for lost is heard of after all, now and then.
        told, self.late = self.late, [o for o in ended if o.status == "lost" and self.chance.random() < 0.3]
        return [*ended, *(Outcome(o.job, "ok", "", {}, 1.0) for o in told)]

    def outcome(self, job: Job) -> Outcome:
        fate = self.chance.choices(FATES, ODDS)[0]
        if fate != "ok":
            return Outcome(job, fate, f"made up: {fate}", None, 1.0)  # type: ignore[arg-type]
        if job.phase == "profile":
            return Outcome(job, "ok", "", profile(0.01).model_dump(mode="json"), 1.0)
        reply = {
            "training": training(0.5).model_dump(mode="json"),
            "environment": ENVIRONMENT.model_dump(mode="json"),
        }
        return Outcome(job, "ok", "", reply, 1.0)

    def running(self) -> list[Progress]:
        return [Progress(job, 0.5, "on paper", 1.0) for job, _ in self.jobs.values()]

    def stop(self) -> None:
        self.jobs.clear()


class Clock:
    """A view that notes when records land, and lets the driver sleep for nothing."""

    def __init__(self) -> None:
        self.landed: list[float] = []
        self.shows = 0
        self.notes: list[str] = []

    def begin(self, total: int, landed: int) -> None:
        self.begun = time.perf_counter()

    def show(self, landed: int, running: object, left_s: float | None) -> None:
        self.shows += 1

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        self.landed.append(time.perf_counter())

    def note(self, text: str) -> None:
        self.notes.append(text)

    def prepare(self, done: int, total: int) -> None:
        pass


def variants_of(count: int) -> tuple[Sweep, tuple[Variant, ...]]:
    """A sweep of so many trainings of one network: learning rates, weight decays and seeds."""
    grid = {
        "training.learning_rate": [0.001 * (number + 1) for number in range(10)],
        "training.weight_decay": [0.0001 * (number + 1) for number in range(10)],
        "training.seed": list(range(-(-count // 100))),
    }
    sweep = made_up_sweep(count, variants=[{"grid": grid}])
    return sweep, expand_sweep(sweep, 3, SIZE)


def run(folder: Path, count: int, slots: int, boards: int = 8) -> tuple[Clock, PaperCluster, list[Record]]:
    """A study of `count` variants on paper."""
    sweep, variants = variants_of(count)
    clock, cluster = Clock(), PaperCluster(slots, boards)
    records = run_study(folder, sweep, variants, DATASET, "cpu", cluster, clock)
    return clock, cluster, records


def main() -> None:
    import jetbench.study.driver

    jetbench.study.driver.POLL_S = jetbench.study.driver.POLL_WHILE_PROFILING_S = 0.0
    folder, count, slots = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    t0 = time.perf_counter()
    variants_of(count)
    t1 = time.perf_counter()
    clock, cluster, records = run(folder, count, slots, boards=max(8, slots // 8))
    times = [clock.begun, *clock.landed]
    part = max(1, count // 10)
    pace = [1e3 * (times[i + part] - times[i]) / part for i in range(0, len(times) - part, part)]
    t2 = time.perf_counter()
    run(folder, count, slots)
    t3 = time.perf_counter()
    told = {
        "records": count, "slots": slots, "expand_s": round(t1 - t0, 2),
        "ms_per_record": [round(each, 2) for each in pace], "resume_s": round(t3 - t2, 2),
        "jobs": cluster.submitted, "failed": sum(r.failure is not None for r in records),
        "late": sum("a late" in note for note in clock.notes), "shows": clock.shows,
        "records_mb": round((folder / "records.jsonl").stat().st_size / 1e6, 1),
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()
