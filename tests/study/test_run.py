import json
import multiprocessing
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from jetbench.errors import StudyError
from jetbench.execution.executor import Job, Outcome, Progress
from jetbench.network.variants import Variant, expand_sweep
from jetbench.records.folder import append_records, keep_sweep, lock_folder, read_records
from jetbench.records.measurement import Watch
from jetbench.records.record import RECORD_VERSION, Record
from jetbench.records.verdict import Level, judge
from jetbench.spec.base import parse_spec
from jetbench.spec.sweep import Sweep
from jetbench.study.place import Place
from jetbench.study.run import SweepRun, run_study
from jetbench.study.trouble import Trouble
from tests.landed import count_landed
from tests.made_up import DATASET, ENVIRONMENT, SIZE, failed, profile, record, training


class SilentView:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, total: int, landed: int) -> None:
        self.total, self.already = total, landed

    def show(self, landed: int, running: Sequence[Progress], left_s: float | None) -> None:
        pass

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def prepare(self, done: int, total: int) -> None:
        pass


class ScriptedExecutor:
    """Ends each job after a few polls, as the script says; no process is started. Keeps what ran beside what."""

    def __init__(self, script: dict[tuple[str, str], list[str]] | None = None, polls: int = 2, width: int = 2) -> None:
        self.script = script or {}
        self.polls, self.width, self.wave, self.profiles_alone = polls, width, 0, True
        self.jobs: list[tuple[Job, int]] = []
        self.submitted: list[tuple[str, str]] = []
        self.stopped = False

    def submit(self, job: Job) -> None:
        self.jobs.append((job, self.polls))
        self.submitted.append((job.variant, job.phase))

    def poll(self) -> list[Outcome]:
        self.jobs = [(job, left - 1) for job, left in self.jobs]
        ended = [job for job, left in self.jobs if left <= 0]
        self.jobs = [(job, left) for job, left in self.jobs if left > 0]
        outcomes: list[Outcome] = []
        for number, job in enumerate(ended):
            if outcomes and self.script.get((job.variant, job.phase), [""])[:1] == ["interrupt"]:
                self.jobs += [(later, 0) for later in ended[number:]]  # not before the others are told
                break
            outcomes.append(self.outcome(job))
        return outcomes

    def outcome(self, job: Job) -> Outcome:
        told = self.script.get((job.variant, job.phase), [])
        status = told.pop(0) if told else "ok"
        if status == "interrupt":
            raise KeyboardInterrupt
        if status != "ok":
            return Outcome(job, status, f"made up: {status}", None, 1.0)  # type: ignore[arg-type]
        if job.phase == "train":
            weights = Path(job.request.file_to_write or "")
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.write_bytes(b"")
            reply: dict[str, object] = {
                "training": training(0.5).model_dump(mode="json"),
                "environment": ENVIRONMENT.model_dump(mode="json"),
            }
            job.folder.mkdir(parents=True, exist_ok=True)
            (job.folder / "result.json").write_text(
                json.dumps({"records": RECORD_VERSION, "result": reply})
            )  # as a real job leaves it
            return Outcome(job, "ok", "", reply, 1.0)
        return Outcome(job, "ok", "", profile(0.01).model_dump(mode="json"), 1.0)

    def running(self) -> list[Progress]:
        return [Progress(job, 0.5, "", 1.0) for job, _ in self.jobs]

    def stop(self) -> None:
        self.jobs, self.stopped = [], True


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetbench.study.driver.POLL_S", 0.0)
    monkeypatch.setattr("jetbench.study.driver.POLL_WHILE_PROFILING_S", 0.0)


def asked(**more: object) -> Sweep:
    raw = {"name": "test", "base": "jetseg-nano", "variants": [{"grid": {"groups": [1, "gcd"]}}], **more}
    return parse_spec(Sweep, raw, "test.yaml")


def variants(sweep: Sweep) -> tuple[Variant, ...]:
    return expand_sweep(sweep, 3, SIZE)


def run(
    folder: Path, executor: ScriptedExecutor, sweep: Sweep | None = None, retry_failed: bool = False
) -> list[Record]:
    sweep = sweep or asked()
    return run_study(folder, sweep, variants(sweep), DATASET, "cpu", executor, SilentView(), retry_failed)


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="test", storage=f"sqlite:///{folder / 'study.db'}").trials


NAMES = ["jetseg-nano", "groups=1", "groups=gcd"]


def test_every_variant_lands_once_in_order_and_optuna_is_told_the_same(tmp_path: Path) -> None:
    records = run(tmp_path, ScriptedExecutor())
    assert [r.variant for r in records] == NAMES
    assert [r.variant for r in read_records(tmp_path)] == NAMES
    told = trials(tmp_path)
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * 3
    assert {trial.user_attrs["variant"]: trial.values for trial in told} == {name: [0.5, 0.01] for name in NAMES}
    assert [trial.params["groups"] for trial in told] == ["(as the base)", "1", '"gcd"']


def test_as_many_variants_are_under_way_as_the_executor_is_wide(tmp_path: Path) -> None:
    executor = ScriptedExecutor(width=2)
    run(tmp_path, executor)
    assert executor.submitted[:2] == [("jetseg-nano", "train"), ("groups=1", "train")]
    assert [phase for _, phase in executor.submitted[2:4]] == ["profile", "profile"]
    assert executor.stopped


def test_a_failure_is_a_row_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    executor = ScriptedExecutor({("groups=1", "train"): ["diverged"], ("groups=gcd", "profile"): ["timeout"]})
    records = {r.variant: r for r in run(tmp_path, executor)}
    assert records["jetseg-nano"].failure is None
    one, gcd = records["groups=1"].failure, records["groups=gcd"].failure
    assert one is not None
    assert gcd is not None
    assert (one.phase, one.status, one.reason) == ("train", "diverged", "made up: diverged")
    assert (gcd.phase, gcd.status) == ("profile", "timeout")
    assert records["groups=gcd"].training is not None
    states = {trial.user_attrs["variant"]: trial.state for trial in trials(tmp_path)}
    assert states["groups=1"] == states["groups=gcd"] == TrialState.FAIL
    assert executor.submitted.count(("groups=1", "train")) == 1


def test_a_lost_job_is_tried_once_more(tmp_path: Path) -> None:
    executor = ScriptedExecutor({("groups=1", "train"): ["lost"], ("groups=gcd", "train"): ["lost", "lost"]})
    records = {r.variant: r for r in run(tmp_path, executor)}
    assert records["groups=1"].failure is None
    failure = records["groups=gcd"].failure
    assert failure is not None
    assert failure.status == "lost"
    assert executor.submitted.count(("groups=gcd", "train")) == 2


def test_what_has_landed_is_not_run_again(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    executor = ScriptedExecutor()
    assert [r.variant for r in run(tmp_path, executor)] == NAMES
    assert executor.submitted == []
    assert len(trials(tmp_path)) == 3


def test_an_interrupted_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    executor = ScriptedExecutor({("groups=1", "profile"): ["interrupt"]})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, executor)
    assert executor.stopped
    assert [r.variant for r in read_records(tmp_path)] == ["jetseg-nano"]
    again = ScriptedExecutor()
    assert [r.variant for r in run(tmp_path, again)] == NAMES
    assert ("jetseg-nano", "train") not in again.submitted
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 3
    assert len(read_records(tmp_path)) == 3


def test_a_training_that_ended_before_its_driver_died_is_not_run_again(tmp_path: Path) -> None:
    executor = ScriptedExecutor({("jetseg-nano", "profile"): ["interrupt"]})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, executor)
    trained = [name for name, phase in executor.submitted if phase == "train"]
    assert trained == ["jetseg-nano", "groups=1"]
    assert read_records(tmp_path) == []
    again = ScriptedExecutor()
    assert [r.variant for r in run(tmp_path, again)] == NAMES
    assert [name for name, phase in again.submitted if phase == "train"] == ["groups=gcd"]


def test_a_training_whose_weights_are_gone_is_run_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ScriptedExecutor({("jetseg-nano", "profile"): ["interrupt"]}))
    for weights in (tmp_path / "weights").iterdir():
        weights.unlink()
    again = ScriptedExecutor()
    run(tmp_path, again)
    assert ("jetseg-nano", "train") in again.submitted


def test_other_data_under_the_same_sweep_is_run_anew_and_the_old_rows_stay_out(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    other = DATASET.model_copy(update={"digest": "1" * 16})
    executor = ScriptedExecutor()
    sweep = asked()
    records = run_study(tmp_path, sweep, variants(sweep), other, "cpu", executor, SilentView())
    assert len(executor.submitted) == 6
    assert {r.data.digest for r in records} == {"1" * 16}
    sweep_run = SweepRun(sweep, variants(sweep), (), tmp_path, Place(), "cpu", ScriptedExecutor)
    landed = sweep_run._landed(DATASET)
    assert {r.data.digest for r in landed} == {"0" * 16}


def test_a_longer_limit_or_a_better_description_is_no_other_sweep(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor({("groups=1", "train"): ["timeout"]}))
    longer = asked(timeout_s=99999, description="now with more patience")
    assert all(r.failure is None for r in run(tmp_path, ScriptedExecutor(), longer, retry_failed=True))
    assert "now with more patience" in (tmp_path / "sweep.yaml").read_text()


def test_failed_rows_are_run_again_only_when_asked(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor({("groups=1", "train"): ["error"]}))
    executor = ScriptedExecutor()
    run(tmp_path, executor)
    assert executor.submitted == []
    records = run(tmp_path, executor, retry_failed=True)
    assert executor.submitted == [("groups=1", "train"), ("groups=1", "profile")]
    assert all(r.failure is None for r in records)
    assert [r.variant for r in read_records(tmp_path)].count("groups=1") == 1


def test_another_sweep_under_the_same_name_is_refused_with_the_difference(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    with pytest.raises(StudyError, match=r"training.batch_size: 8 in the folder, 4 requested(.|\n)*--name"):
        run(tmp_path, ScriptedExecutor(), asked(training={"batch_size": 4}))


def hold_lock(folder: Path) -> None:
    with lock_folder(folder):
        (folder / "held").write_text("")
        time.sleep(60)


def test_a_folder_of_several_budgets_may_have_more_and_not_become_one_of_a_single_one(tmp_path: Path) -> None:
    def keep(folder: Path, budget: str, *budgets: str) -> None:
        folder.mkdir(exist_ok=True)
        raw = {"name": "x", "base": "jetseg-nano", "training": {"budget": budget}, "budgets": budgets}
        keep_sweep(folder, Sweep.model_validate(raw))

    several, single = tmp_path / "several", tmp_path / "single"
    keep(several, "300 steps", "10 steps")
    keep(several, "400 steps", "10 steps", "20 steps")  # the first of them is no variant's
    keep(single, "10 steps")
    for folder, budget, budgets in ((several, "10 steps", ()), (single, "10 steps", ("20 steps",))):
        with pytest.raises(StudyError, match=r"budgets: .* in the folder, "):
            keep(folder, budget, *budgets)
    with pytest.raises(StudyError, match=r"training.budget.amount: 10.0 in the folder, 20.0 requested"):
        keep(single, "20 steps")


def test_a_second_driver_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    first = multiprocessing.get_context("spawn").Process(target=hold_lock, args=(tmp_path,))
    first.start()
    try:
        limit = time.monotonic() + 30
        while not (tmp_path / "held").exists() and time.monotonic() < limit:
            time.sleep(0.05)
        expected = re.escape(f"another driver is running this study (pid {first.pid} on")
        with pytest.raises(StudyError, match=expected):
            run(tmp_path, ScriptedExecutor())
    finally:
        first.kill()
        first.join()
    assert len(run(tmp_path, ScriptedExecutor())) == 3  # the lock went with the process


def test_half_a_line_of_a_killed_driver_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    append_records(tmp_path, record("a"))
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write(record("b").model_dump_json()[:100])
    assert [r.variant for r in read_records(tmp_path)] == ["a"]
    append_records(tmp_path, record("c"))
    assert [r.variant for r in read_records(tmp_path)] == ["a", "c"]


def test_a_later_record_replaces_an_earlier_one_of_the_same_variant(tmp_path: Path) -> None:
    append_records(tmp_path, failed("a"))
    append_records(tmp_path, record("a", miou=0.7))
    (only,) = read_records(tmp_path)
    assert only.failure is None


def test_a_record_of_another_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text('{"version": 99}\n')
    with pytest.raises(
        StudyError, match=r"records.jsonl:1: a record of version 99; this jetbench .* reads versions 2 and 3"
    ):
        read_records(tmp_path)


def test_a_damaged_line_says_which_one_to_delete(tmp_path: Path) -> None:
    append_records(tmp_path, record("a"))
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write("garbage{\n")
    with pytest.raises(StudyError, match=r"records.jsonl:3: not JSON; delete this line"):
        read_records(tmp_path)


def test_a_damaged_database_says_that_no_row_is_lost(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    (tmp_path / "study.db").write_text("garbage" * 1000)
    with pytest.raises(StudyError, match=r"study.db: cannot be used .* no row is lost"):
        run(tmp_path, ScriptedExecutor())
    (tmp_path / "study.db").unlink()
    executor = ScriptedExecutor()
    run(tmp_path, executor)
    assert executor.submitted == []


def test_a_sweep_can_grow_and_runs_only_what_is_new(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    executor = ScriptedExecutor()
    grown = asked(variants=[{"grid": {"groups": [1, "gcd", "at-most-2"]}}])
    records = run(tmp_path, executor, grown)
    assert [r.variant for r in records] == [*NAMES, "groups=at-most-2"]
    assert executor.submitted == [("groups=at-most-2", "train"), ("groups=at-most-2", "profile")]
    assert len(trials(tmp_path)) == 4
    shrunk = asked(variants=[{"grid": {"groups": [1]}}])
    assert [r.variant for r in run(tmp_path, ScriptedExecutor(), shrunk)] == NAMES[:2]
    assert len(read_records(tmp_path)) == 4


def test_a_record_that_optuna_was_not_told_is_told_on_resume(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    (tmp_path / "study.db").unlink()
    run(tmp_path, ScriptedExecutor())
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 3


def test_a_late_or_double_result_is_dropped(tmp_path: Path) -> None:
    class Late(ScriptedExecutor):
        """Reports the first training again, as another attempt and after its end."""

        def poll(self) -> list[Outcome]:
            outcomes = super().poll()
            told = [replace(o, job=replace(o.job, attempt=o.job.attempt + 1)) for o in outcomes]
            return [*told, *outcomes, *outcomes]

    view = SilentView()
    sweep = asked()
    records = run_study(tmp_path, sweep, variants(sweep), DATASET, "cpu", Late(), view)
    assert [r.variant for r in records] == NAMES
    assert all(r.failure is None for r in records)
    assert count_landed(tmp_path) == 3
    assert any("ignored a late outcome (ok) of its train, attempt 2" in note for note in view.notes)
    assert len(trials(tmp_path)) == 3


@pytest.mark.parametrize("result", [{"trained": {}}, {"training": {}, "environment": {}}, [], None])
def test_a_result_that_is_none_of_ours_is_run_again_and_stops_nobody(tmp_path: Path, result: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ScriptedExecutor({("jetseg-nano", "profile"): ["interrupt"]}))
    path = next(tmp_path.glob("jobs/*-train/result.json"))
    path.write_text(json.dumps({"records": RECORD_VERSION, "result": result}))
    assert [r.failure for r in run(tmp_path, ScriptedExecutor())] == [None] * 3


def test_a_row_whose_writing_is_interrupted_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_records(tmp_path, record("a"))

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("jetbench.records.folder.os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            append_records(tmp_path, record("b"))
    assert [r.variant for r in read_records(tmp_path)] == ["a"]
    append_records(tmp_path, record("b"))
    assert count_landed(tmp_path) == 2


def test_trouble_that_passed_long_ago_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("jetbench.study.trouble.time.monotonic", lambda: now)
    trouble = Trouble(600.0)
    assert trouble.meet()
    now += 2
    trouble.pass_by()
    now += 10_000  # no row has landed meanwhile
    assert trouble.meet()
    assert trouble.why_hopeless is None
    now += 601
    assert trouble.why_hopeless == "This has lasted for 10 min"


def test_a_job_that_always_meets_trouble_is_not_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("jetbench.study.trouble.time.monotonic", lambda: now)
    for rounds in (["a", "a", "a"], ["b", None, "a", "b", "a", "a"], ["a b", "b a", "a b"]):
        trouble, told = Trouble(600.0), []
        for jobs in rounds:
            for job in jobs.split() if jobs else [None]:
                trouble.meet(job)
                trouble.meet(job)  # at once again: that is no other run
            told.append(trouble.why_hopeless)
            trouble.pass_by()
            now += 3600  # they take so long until they write
        assert told == [None] * (len(rounds) - 1) + ["It was met in 3 long runs of one job"], rounds
        trouble.forget()  # a row has landed
        assert trouble.why_hopeless is None


def test_trouble_that_a_thousand_jobs_meet_at_once_is_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("jetbench.study.trouble.time.monotonic", lambda: now)
    trouble = Trouble(600.0)
    for _ in range(2000):
        trouble.meet()
    assert not trouble.may_try()
    now += 1
    assert trouble.may_try()  # after the first pause, not the longest


SWAPPED = {"before": {"at_s": 0.0, "swapped_pages": 0}, "after": {"at_s": 1.0, "swapped_pages": 10**6}}


class Swapping(ScriptedExecutor):
    """Profiles the named variants on a machine that swaps, which makes a profile invalid."""

    def __init__(self, *names: str, script: dict[tuple[str, str], list[str]] | None = None) -> None:
        super().__init__(script)
        self.names = names

    def outcome(self, job: Job) -> Outcome:
        outcome = super().outcome(job)
        if job.phase == "train" or outcome.result is None or job.variant not in self.names:
            return outcome
        invalid = profile(0.01, watches=(Watch.model_validate(SWAPPED),))
        return Outcome(job, "ok", "", invalid.model_dump(mode="json"), 1.0)


def remeasure(folder: Path, executor: ScriptedExecutor, *levels: Level) -> dict[str, Record]:
    view, sweep = SilentView(), asked()
    records = run_study(
        folder, sweep, variants(sweep), DATASET, "cpu", executor, view, remeasure=levels or ("invalid", "suspect")
    )
    return {record.variant: record for record in records}


def level(record: Record) -> Level:
    assert record.profile is not None
    return judge(record.profile).level


def test_an_invalid_profile_is_made_again_and_its_training_is_kept(tmp_path: Path) -> None:
    before = {record.variant: record for record in run(tmp_path, Swapping("groups=1", "groups=gcd"))}
    assert level(before["groups=1"]) == "invalid"
    executor = Swapping("groups=gcd")
    after = remeasure(tmp_path, executor)
    assert executor.submitted == [("groups=1", "profile"), ("groups=gcd", "profile")]
    assert [level(record) for record in after.values()] == ["valid", "valid", "invalid"]
    assert {name: record.training for name, record in after.items()} == {n: r.training for n, r in before.items()}
    read = {record.variant: record for record in read_records(tmp_path)}
    assert {name: level(record) for name, record in read.items()} == {n: level(r) for n, r in after.items()}


def test_a_valid_or_suspect_profile_stays_where_only_invalid_ones_are_made_again(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    executor = ScriptedExecutor()
    remeasure(tmp_path, executor, "invalid")
    assert executor.submitted == []


def test_a_row_stays_as_it_was_if_it_cannot_be_profiled_again(tmp_path: Path) -> None:
    run(tmp_path, Swapping("groups=1", "groups=gcd"))
    (gone,) = (tmp_path / "weights").glob("groups-gcd-*")
    gone.unlink()
    content = (tmp_path / "records.jsonl").read_text()
    executor = ScriptedExecutor({("groups=1", "profile"): ["error"]})
    after = remeasure(tmp_path, executor)
    assert executor.submitted == [("groups=1", "profile")]
    assert all(record.failure is None and record.training for record in after.values())
    assert (tmp_path / "records.jsonl").read_text() == content


def test_a_record_knows_how_long_its_jobs_took(tmp_path: Path) -> None:
    run(tmp_path, ScriptedExecutor())
    assert all(record.job_seconds == {"train": 1.0, "profile": 1.0} for record in read_records(tmp_path))
