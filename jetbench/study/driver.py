"""The driver of a study: asks a chooser for variants, places jobs, writes records, and resumes an interrupted study.

A variant is trained, then profiled, in two separate jobs. A variant with a record in records.jsonl is not run again.
Optuna's study gets the same records.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from jetbench.errors import StorageError, StudyError
from jetbench.execution.executor import Executor, Outcome, Progress
from jetbench.execution.requests import Phase
from jetbench.files import read_json
from jetbench.records.folder import append_records, is_worth_a_retry, read_landed
from jetbench.records.record import RECORD_VERSION, Failure, Record
from jetbench.records.verdict import Level, judge
from jetbench.spec.profiling import settings_of
from jetbench.study.chooser import Chooser, SuppressedView, View
from jetbench.study.forecast import Forecaster
from jetbench.study.jobs import Jobs, Task, forms_of, variant_key
from jetbench.study.trials import Trials
from jetbench.study.trouble import Trouble

READABLE_RESULTS = (2, RECORD_VERSION)  # versions of job results that this version can read
MAX_ATTEMPTS = 2
POLL_S = 0.1
POLL_WHILE_PROFILING_S = 0.5
STORAGE_WAIT_S = 600.0
TELL_EVERY_S = 1.0
SPACE = 2**16  # bytes that must fit on the disk before a failed write is tried again


class Driver:
    """Places the jobs of the chooser's variants and writes their records. The caller must hold the folder's lock.

    While the folder or the storage cannot be written, the driver requests no new variant, and only jobs that are
    already placed begin. Records of ended jobs are kept in memory and written later.
    """

    def __init__(
        self,
        jobs: Jobs,
        chooser: Chooser,
        executor: Executor,
        view: View,
        trials: Trials | None = None,
        storage_wait_s: float = STORAGE_WAIT_S,
        check_folder: Callable[[], None] = lambda: None,
        forecast: Forecaster | None = None,
    ) -> None:
        """A driver that has not begun.

        Args:
            jobs: makes the jobs of the study, in its folder.
            chooser: chooses the next variant.
            executor: runs the jobs.
            view: shows the progress.
            trials: the study's Optuna side, if it has one.
            storage_wait_s: seconds to wait for a folder or a storage that cannot be written.
            check_folder: raises an OSError if the folder is no longer the one that was locked.
            forecast: estimates the time left.
        """
        self.jobs, self.folder, self.chooser, self.executor = jobs, jobs.folder, chooser, executor
        self.view, self.trials, self._check_folder = SuppressedView(view), trials, check_folder
        self.landed: dict[str, Record] = {}
        self._forecast = forecast
        self._known: dict[str, Record] = {}
        self._earlier: dict[str, Record] = {}
        self._early: str | None = None  # the variant that is profiled at once
        self._knows_profiles = False
        self._busy: dict[str, Task] = {}
        self._to_submit: deque[Task] = deque()
        self._to_write: deque[Record] = deque()
        self._trouble = Trouble(storage_wait_s)
        self._told: tuple[float, float | None] = (-TELL_EVERY_S, None)

    def recall(self, retry_failed: bool = False, remeasure: Collection[Level] = ()) -> set[str]:
        """Read the records of earlier runs, whose variants are not run again; returns their keys.

        Args:
            retry_failed: run failed variants again.
            remeasure: profile variants again whose profile has one of these verdicts; their trainings are kept.
        """
        records = read_landed(self.folder)
        self._known = {r.key: r for r in records if not (retry_failed and is_worth_a_retry(r))}
        for record in list(self._known.values()):
            profiles = [each for each in (record.profile, *(form.profile for form in record.forms)) if each is not None]
            if record.failure is None and any(judge(each).level in remeasure for each in profiles):
                self._earlier[record.key] = self._known.pop(record.key)
        if self._forecast is not None:
            for record in records:
                self._count(record)
        return set(self._known)

    def _count(self, record: Record) -> None:
        """Let the forecast know how long the jobs of an earlier record took, and which of them are run again."""
        assert self._forecast
        if record.training is not None and not record.training.stopped:
            self._forecast.took(record.key, "train", record.seconds_of("train"))
        if record.profile is not None:
            self._forecast.took(record.key, "profile", record.seconds_of("profile"))
            self._knows_profiles = self._knows_profiles or record.seconds_of("profile") is not None
        if record.key in self._known:
            self._forecast.drop(record.key)
        elif record.key in self._earlier:
            self._forecast.again(record.key, "profile")
        else:
            self._forecast.again(record.key, "train")
            self._forecast.again(record.key, "profile")

    def run(self) -> None:
        """Run until the chooser has no more variants and all have records; ends all jobs, also after an exception.

        Raises:
            StudyError: records could not be written for too long.
        """
        try:
            self.jobs.make_folders()
            while True:
                is_written = self._write_down()
                has_asked = is_written and self._ask()
                if is_written:
                    self._submit_jobs()
                is_behind = self.trials is not None and self.trials.is_behind
                if not (
                    has_asked or self._busy or self._to_submit or self._to_write or self._trouble.is_there or is_behind
                ):
                    return
                for outcome in self.executor.poll():
                    self._receive(outcome)
                running = self.executor.running()
                self.view.show(len(self.landed), running, self._left(running))
                is_profiling = any(progress.job.phase == "profile" and progress.has_begun for progress in running)
                time.sleep(POLL_WHILE_PROFILING_S if is_profiling else POLL_S)
        except KeyboardInterrupt:
            self.view.note("stopping: jobs have a few seconds to end")
            raise
        finally:
            try:
                with contextlib.suppress(OSError):
                    self._write_records()  # records of jobs that ended while the driver was stopped
            finally:
                self.executor.stop()

    def _left(self, running: Sequence[Progress]) -> float | None:
        """Seconds left, computed anew once a second."""
        if self._forecast is not None and time.monotonic() - self._told[0] >= TELL_EVERY_S:
            self._told = time.monotonic(), self._forecast.left(running)
        return self._told[1]

    def _write_down(self) -> bool:
        """Write all records that wait; returns True if that succeeded."""
        if not self._trouble.may_try():
            return False
        try:
            if self._trouble.is_there:
                self._try_folder()
            if self.trials is not None:
                self.trials.flush()  # first: a driver that has lost the study to another one must write nothing
            self._write_records()
            if self.trials is not None:
                self.trials.flush()
        except StorageError as error:
            self._meet_trouble(None, str(error))
            return False
        except OSError as error:
            self._meet_trouble(None, f"{error.filename or self.folder}: {error.strerror}")
            return False
        if self._trouble.is_there:
            self._trouble.pass_by()
            self.view.note("it can be written again; continuing")
        return True

    def _write_records(self) -> None:
        while self._to_write:
            record = self._to_write[0]
            self._check_folder()
            append_records(self.folder, record)
            self._to_write.popleft()
            self._trouble.forget()
            with contextlib.suppress(OSError):
                # The record has the profile now. If the variant is retried, it must be measured again.
                self.jobs.result_file(record.key, "profile").unlink()
            self.landed[record.key] = record
            self.chooser.learn(record)
            if self._forecast is not None:
                self._forecast.drop(record.key)
            self.view.land(record, len(self.landed), self._left(self.executor.running()))

    def _try_folder(self) -> None:
        self._check_folder()
        path = self.folder / ".space"
        try:
            path.write_bytes(bytes(SPACE))
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def _meet_trouble(self, job: str | None, reason: str) -> None:
        """Begin or continue to wait, with one note; give up after the limit."""
        if self._trouble.meet(job):
            self.view.note(
                f"{reason}. Finished results are kept, and no new variant starts; retrying for up to "
                f"{self._trouble.limit}"
            )
        if self._trouble.why_hopeless:
            kept = f"; rows not written yet: {len(self._to_write)}" if self._to_write else ""
            raise StudyError(
                f"{reason}{kept}. {self._trouble.why_hopeless}. No row is lost: fix the cause and repeat the command "
                "to continue"
            )

    def _ask(self) -> bool:
        """Ask the chooser for variants while jobs can take more; returns True if it had any."""
        has_asked = False
        while self._under_way() < self.executor.width:
            variant = self.chooser.ask()
            if variant is None:
                break
            has_asked = True
            task = Task(variant, variant_key(variant, self.jobs.asked, self.jobs.dataset, self.jobs.device))
            if task.key in self.landed or task.key in self._known:
                record = self.landed.get(task.key) or self._known[task.key]
                self.landed[task.key] = record
                self.chooser.learn(record)
            elif task.key in self._earlier:
                self._measure_again(task)
            elif failure := self.chooser.stop(variant, None):
                self._land(task, failure)
                if not self._write_down():
                    break
            else:
                self._advance(task)
        return has_asked

    def _measure_again(self, task: Task) -> None:
        """Profile a variant again whose earlier training is kept; without its weights its row stays as it was."""
        if not self.jobs.weights_file(task).is_file():
            self._keep_earlier(task, f"{self.jobs.weights_file(task)} is gone")
            return
        task.take_training(self._earlier[task.key])
        with contextlib.suppress(OSError):
            self.jobs.result_file(task.key, "profile").unlink()
        self._advance(task)

    def _keep_earlier(self, task: Task, reason: str) -> None:
        self.view.note(f"{task.variant.name}: not profiled again, its row stays as it was: {reason}")
        record = self.landed[task.key] = self._known[task.key] = self._earlier.pop(task.key)
        self.chooser.learn(record)
        if self._forecast is not None:
            self._forecast.drop(task.key)

    def _under_way(self) -> int:
        """Number of variants without a record yet, without a wave of those whose profile may wait."""
        tasks = [*self._busy.values(), *self._to_submit]
        patient = sum(self._may_wait(task) for task in tasks)
        return len(tasks) + len(self._to_write) - min(patient, self.executor.wave)

    def _may_wait(self, task: Task) -> bool:
        """True for a profile that may be made later, with others. The first shows a row early."""
        return task.phase == "profile" and self.chooser.may_wait and task.key != self._early

    def _advance(self, task: Task) -> None:
        """Move a variant to its next phase, or record it. Results that an earlier driver left are adopted."""
        while True:
            phase = next((phase for phase in self.chooser.phases if not task.has(phase)), None)
            if phase is None:
                stopped = task.training.stopped if task.training else None
                self._land(task, Failure(phase="train", status="stopped", reason=stopped) if stopped else None)
                return
            if phase != self.chooser.phases[0] and task.training is None:
                failure = self.chooser.stop(task.variant, task.profile)
                if failure is not None:
                    self._land(task, failure)
                    return
            if not self._adopt(task, phase):
                task.phase = phase
                if phase == "profile" and self._early is None and not self._knows_profiles:
                    self._early = task.key
                self._to_submit.append(task)
                return

    def _adopt(self, task: Task, phase: Phase) -> bool:
        """Adopt the result that a job of an earlier driver left, if its version is readable; True if there was one."""
        envelope = read_json(self.jobs.result_file(task.key, phase))
        if envelope is None or envelope.get("records") not in READABLE_RESULTS:
            return False
        if phase == "train" and not self.jobs.weights_file(task).is_file():
            return False
        took, waited = envelope.get("seconds"), envelope.get("waited_s")
        if isinstance(took, int | float) and isinstance(waited, int | float) and took >= waited >= 0:
            self._took(task, phase, float(took - waited))
        return task.keep(phase, envelope.get("result"))

    def _took(self, task: Task, phase: Phase, seconds: float) -> None:
        task.seconds[phase] = seconds
        if self._forecast is not None:
            self._forecast.took(task.key, phase, seconds)

    def _submit_jobs(self) -> None:
        """Submit waiting jobs: profiles first, because their trainings are done; profiles that may wait come last."""
        for task in sorted(self._to_submit, key=lambda task: (self._may_wait(task), task.phase != "profile")):
            floors = self.chooser.floors(task.variant, task.profile) if task.phase == "train" else ()
            job = self.jobs.make(task, floors, self._may_wait(task))
            try:
                if job.phase == "train" and not task.has("profile"):
                    # That profile is of the weights that this training replaces.
                    self.jobs.result_file(task.key, "profile").unlink(missing_ok=True)
                self._check_folder()
                self.executor.submit(job)
            except OSError as error:
                self._meet_trouble(None, f"{job.folder}: {error.strerror}")
                return
            self._to_submit.remove(task)
            task.attempts[job.phase] += 1
            self._busy[task.key] = task

    def _receive(self, outcome: Outcome) -> None:
        job, phase = outcome.job, outcome.job.phase
        task = self._busy.get(job.key)
        if task is None or (task.phase, task.attempts[phase]) != (phase, job.attempt):
            self.view.note(
                f"{job.variant}: ignored a late outcome ({outcome.status}) of its {phase}, attempt {job.attempt}"
            )
            return
        del self._busy[job.key]
        if outcome.status == "unable":
            self._to_submit.appendleft(task)
            self._meet_trouble(f"{phase} {job.key}", outcome.reason)
        elif outcome.status == "lost" and task.lost[phase] < MAX_ATTEMPTS - 1:
            task.lost[phase] += 1
            self.view.note(f"{task.variant.name}: {phase} lost ({outcome.reason}); trying once more")
            self._to_submit.appendleft(task)
        elif outcome.result is None:
            self._land(task, Failure(phase=phase, status=outcome.status, reason=outcome.reason))
        elif task.keep(phase, outcome.result):
            self._took(task, phase, outcome.seconds)
            self._advance(task)
        else:
            reason = "its result has a form that this version of jetbench cannot read"
            self._land(task, Failure(phase=phase, status="error", reason=reason))

    def _land(self, task: Task, failure: Failure | None) -> None:
        if failure is not None and task.key in self._earlier:
            self._keep_earlier(task, f"{failure.status}, {failure.reason}")
            return
        first, *forms = settings_of(self.jobs.asked.profiling, forms_of(self.jobs.asked))
        self._to_write.append(task.to_record(self.jobs.dataset, first, failure, forms))
