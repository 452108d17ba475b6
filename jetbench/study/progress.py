"""Shows a study's progress while it runs: bars on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from jetbench.execution.executor import QUEUED
from jetbench.execution.executor import Progress as JobProgress
from jetbench.records.record import Record
from jetbench.records.verdict import judge
from jetbench.reporting import units

JOB_SHARE = {"train": (0.0, 0.85), "profile": (0.85, 0.15)}
"""For each phase: its start and its share within a variant's progress (a guess, for the bar)."""


def describe_left(left_s: float | None, landed: int, total: int) -> str:
    """`about 4 min left`; `estimating the time left` until a job of each phase has finished; `done` at the end."""
    if landed >= total:
        return "done"
    return "estimating the time left" if left_s is None else f"{units.roughly(left_s)} left"


def _share(landed: int, running: Sequence[JobProgress]) -> float:
    """Number of variants done, with fractions for those under way."""
    return landed + sum(JOB_SHARE[job.job.phase][0] + JOB_SHARE[job.job.phase][1] * job.share for job in running)


def describe_landing(record: Record) -> str:
    """One line about a new record."""
    if record.failure:
        return f"{record.failure.phase} {record.failure.status}: {record.failure.reason}"
    assert record.training
    model = record.profile.model_latency if record.profile else None
    val = record.counts_on("val")
    parts = [f"val mIoU {units.score(val.miou)} %" if val is not None else "its file was not scored"]
    parts += [f"{units.milliseconds(model.median_s)} ms"] if model else []
    parts += [f"{units.count(record.profile.parameters)} parameters"] if record.profile else []
    verdict = judge(record.profile) if record.profile else None
    if verdict is not None and verdict.level in ("suspect", "invalid"):
        parts.append(f"profile {'INVALID' if verdict.level == 'invalid' else 'suspect'}: {'; '.join(verdict.reasons)}")
    return ", ".join(parts)


def _mark(record: Record) -> str:
    """A sign for a new row: failed, with a profile in doubt, or sound."""
    if record.failure:
        return "[red]x[/]"
    doubtful = record.profile is not None and judge(record.profile).level in ("suspect", "invalid")
    return "[yellow]![/]" if doubtful else "[green]\N{CHECK MARK}[/]"


class _Follows:
    """What the two views of a search share: where they get its state, and how they show it."""

    def follow(self, finished: Callable[[], int], state: Callable[[], Sequence[str]]) -> None:
        """See `search.run.SearchView`."""
        self.finished, self.state = finished, state

    def note(self, text: str) -> None:
        """See `chooser.View`; each view implements it."""

    def say_state(self) -> None:
        """Show the counts of proposals by outcome, and the front."""
        for line in self.state():
            self.note(f"    {line}")


class BarView:
    """A bar for the study and one for each running job."""

    unit = "variants"

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("[dim]{task.fields[state]}"),
        )
        self.progress = Progress(*columns, console=console)
        self.most_bars = max(4, console.height - 6)  # bars beyond the edge of the screen are not visible
        self.jobs: dict[str, TaskID] = {}

    def __enter__(self) -> "BarView":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def prepare(self, done: int, total: int) -> None:
        """See `chooser.View`."""
        if "data" not in self.jobs:
            self.jobs["data"] = self.progress.add_task("preparing data", total=total, state="")
        self.progress.update(self.jobs["data"], completed=done, state=f"{done}/{total} images")
        if done >= total:
            self.progress.remove_task(self.jobs.pop("data"))

    def begin(self, total: int, landed: int) -> None:
        """See `chooser.View`."""
        self.total, self.most = total, 0.0
        self.whole = self.progress.add_task(f"[bold]{self.unit}", total=total, completed=landed, state="")
        if landed:
            self.note(f"{landed} of {total} {self.unit} have finished already and are not run again")

    def show(self, landed: int, running: Sequence[JobProgress], left_s: float | None) -> None:
        """See `chooser.View`."""
        state = f"{landed}/{self.total} {self.unit}, {describe_left(left_s, landed, self.total)}"
        # A variant between its training and its profile is in no list for a moment, and its share would be gone.
        self.most = max(self.most, _share(landed, running))
        self.progress.update(self.whole, completed=self.most, state=state)
        present = {f"{job.job.phase} {job.job.variant}": job for job in running if job.has_begun or job.text != QUEUED}
        hidden = len(present) - self.most_bars
        if hidden > 0:
            present = dict(list(present.items())[: self.most_bars])
            state += f", {hidden} more under way"
            self.progress.update(self.whole, state=state)
        for gone in set(self.jobs) - set(present):
            self.progress.remove_task(self.jobs.pop(gone))
        for name, job in present.items():
            if name not in self.jobs:
                self.jobs[name] = self.progress.add_task(escape(f"  {name}"), total=1.0, state="")
            left = f", {units.roughly(job.seconds * (1 - job.share) / job.share)} left" if job.share > 0.1 else ""
            self.progress.update(self.jobs[name], completed=job.share, state=escape(f"{job.text}{left}"))

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """See `chooser.View`."""
        text = escape(f"{record.variant}: {describe_landing(record)}")
        self.progress.console.print(f"{_mark(record)} {text}", highlight=False)

    def note(self, text: str) -> None:
        """See `chooser.View`."""
        self.progress.console.print(f"[dim]{escape(text)}[/]", highlight=False)


class SearchBarView(BarView, _Follows):
    """A BarView for a search: it counts trainings, and shows the proposals by outcome."""

    unit = "trainings"

    def begin(self, total: int, landed: int) -> None:
        """See `chooser.View`; on a resume also shows the state."""
        super().begin(total, landed)
        if landed:
            self.say_state()

    def show(self, landed: int, running: Sequence[JobProgress], left_s: float | None) -> None:
        """See `chooser.View`."""
        super().show(self.finished(), running, left_s)

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """See `chooser.View`; a network that is over a limit is counted but not shown."""
        if record.failure is None or record.failure.phase != "limits":
            super().land(record, landed, left_s)
            self.say_state()


class LineView:
    """One line for each thing that happens: for logs, pipes and CI."""

    unit = "variants"

    def __init__(self, console: Console) -> None:
        self.console = console

    def __enter__(self) -> "LineView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def prepare(self, done: int, total: int) -> None:
        """See `chooser.View`."""
        if done == 1:
            self.note(f"preparing data: {total} images")

    def begin(self, total: int, landed: int) -> None:
        """See `chooser.View`."""
        self.total = total
        self.started: set[str] = set()
        finished = f", {landed} of them finished already" if landed else ""
        self.note(f"{units.counted(total, self.unit.removesuffix('s'))}{finished}")

    def show(self, landed: int, running: Sequence[JobProgress], left_s: float | None) -> None:
        """See `chooser.View`."""
        for job in running:
            name = f"{job.job.phase} {job.job.variant}"
            line = f"{name} begins" if job.has_begun else f"{name} is {job.text}"
            # Waiting for a slot on this machine is normal and not shown.
            if line not in self.started and (job.has_begun or job.text != QUEUED):
                self.started.add(line)
                self.note(line)

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """See `chooser.View`."""
        left = "" if landed == self.total else f" ({describe_left(left_s, landed, self.total)})"
        self.note(f"[{landed}/{self.total}] {record.variant}: {describe_landing(record)}{left}")

    def note(self, text: str) -> None:
        """See `chooser.View`."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class SearchLineView(LineView, _Follows):
    """A LineView for a search."""

    unit = "trainings"

    def begin(self, total: int, landed: int) -> None:
        """See `chooser.View`; on a resume also shows the state."""
        super().begin(total, landed)
        if landed:
            self.say_state()

    def land(self, record: Record, landed: int, left_s: float | None) -> None:
        """See `chooser.View`; a network that is over a limit is counted but not shown."""
        if record.failure is None or record.failure.phase != "limits":
            super().land(record, self.finished(), left_s)
            self.say_state()
