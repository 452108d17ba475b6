"""A search with its driver: trainings are made up, everything else is real, folders and stops too."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from jetbench.errors import SpecError, StudyError
from jetbench.execution.executor import Job, Outcome
from jetbench.records.folder import read_records
from jetbench.records.record import DatasetInfo, Evaluation
from jetbench.search.ledger import MOST_FAILED
from jetbench.search.proposer import Proposer
from jetbench.search.run import UNDER_WAY, finalists, run_final, search_study
from jetbench.spec.architecture import Architecture
from jetbench.spec.search import Search
from jetbench.training.loop import why_stopped
from tests.made_up import DATASET, ENVIRONMENT, training
from tests.search.conftest import small_search
from tests.study.test_run import ScriptedExecutor, SilentView


class SearchView(SilentView):
    def follow(self, finished: Callable[[], int], state: Callable[[], Sequence[str]]) -> None:
        self.finished, self.state = finished, state


class MadeUpTrainings(ScriptedExecutor):
    """Wider is better, and so is hardswish; every training gains alike, and heeds its floors as a real one does."""

    def __init__(self, interrupt_after: int | None = None, fails: bool = False) -> None:
        super().__init__(polls=1)
        self.left, self.fails = interrupt_after, fails

    def outcome(self, job: Job) -> Outcome:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        if self.fails:
            return Outcome(job, "error", "made up: no memory left", None, 1.0)
        if job.phase == "profile":
            return super().outcome(job)
        request = job.request.train
        assert request
        architecture = request.architecture
        assert isinstance(architecture, Architecture)
        end = 0.2 + 0.01 * architecture.base_channels + 0.3 * (architecture.activation == "hardswish")
        val, stopped = [], None
        for number, gain in enumerate((0.20, 0.10, 0.05, 0.0), 1):
            # No two gain quite alike.
            reached = end - gain * (1 + 0.01 * (architecture.base_channels % 3))
            val.append(Evaluation(step=10 * number, epoch=number, counts=training(reached).test))
            stopped = why_stopped(request.floors, number, reached) if number < 4 else None
            if stopped:
                break
        made = training(end).model_copy(update={"val": tuple(val), "stopped": stopped})
        reply = {"training": made.model_dump(mode="json"), "environment": ENVIRONMENT.model_dump(mode="json")}
        return Outcome(job, "ok", "", json.loads(json.dumps(reply)), 1.0)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetbench.study.driver.POLL_S", 0.0)
    monkeypatch.setattr("jetbench.study.driver.POLL_WHILE_PROFILING_S", 0.0)


def go(
    folder: Path,
    search: Search | None = None,
    executor: MadeUpTrainings | None = None,
    view: SearchView | None = None,
    dataset: DatasetInfo = DATASET,
    others: Sequence[Path] = (),
    retry_failed: bool = False,
) -> Proposer:
    return search_study(
        folder=folder,
        search=search or small_search(),
        dataset=dataset,
        device="cpu",
        executor=executor or MadeUpTrainings(),
        view=view or SearchView(),
        others=others,
        retry_failed=retry_failed,
    )


def test_a_stopped_search_goes_on_with_the_networks_that_were_under_way(tmp_path: Path) -> None:
    first = MadeUpTrainings(interrupt_after=4)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, executor=first)
    landed = {record.variant for record in read_records(tmp_path)}
    under_way = {variant for variant, _ in first.submitted} - landed
    assert under_way == set(json.loads((tmp_path / UNDER_WAY).read_text()))
    assert under_way
    second = MadeUpTrainings()
    go(tmp_path, executor=second)
    assert {variant for variant, _ in second.submitted[: len(under_way)]} == under_way
    requests = json.loads((tmp_path / UNDER_WAY).read_text())
    assert requests == {}
    records = read_records(tmp_path)
    assert len({record.fingerprint for record in records}) == len({record.variant for record in records}) == 12


def test_trainings_that_cannot_reach_the_front_are_ended_and_stay_off_it(tmp_path: Path) -> None:
    search = small_search(trainings=30, sampler="random")
    proposer = go(tmp_path / "a", search)
    ended = [record for record in proposer.ledger.landed if record.failure]
    assert ended
    assert {record.failure.status for record in ended if record.failure} == {"stopped"}
    assert all(record.training and len(record.training.val) < 4 for record in ended)
    whole = go(tmp_path / "b", search.model_copy(update={"early_stop": False}))
    assert not [record for record in whole.ledger.landed if record.failure]
    # Here the rule is never wrong: all gain alike.
    assert {record.fingerprint for record in proposer.ledger.front()} == {
        record.fingerprint for record in whole.ledger.front()
    }
    again = go(tmp_path / "a", search)
    assert again.ledger.counts["stopped"] == proposer.ledger.counts["stopped"] == len(ended)
    assert again.ledger.counts["trained"] == proposer.ledger.counts["trained"] == 30 - len(ended)


def test_rows_that_are_taken_over_are_within_the_limits_and_have_names_of_their_own(tmp_path: Path) -> None:
    free = go(tmp_path / "free")
    view = SearchView()
    limited = small_search(name="small-again", limits={"parameters": "40k"})
    proposer = go(tmp_path / "limited", limited, view=view, others=[tmp_path / "free"])
    taken = [record for record in proposer.ledger.landed if record.also_named]
    fitting = {
        record.fingerprint
        for record in free.ledger.landed
        if proposer.ledger.space.cost(record.architecture).parameters <= 4e4
    }
    assert {record.fingerprint for record in taken} == fitting
    assert 0 < len(fitting) < 12
    assert {record.variant for record in taken} == {f"taken-over-{number + 1}" for number in range(len(fitting))}
    assert proposer.ledger.counts["taken over"] == len(fitting)
    assert proposer.ledger.counts["trained"] + proposer.ledger.counts["stopped"] == 12
    assert all(
        proposer.ledger.space.cost(record.architecture).parameters <= 40_000 for record in proposer.ledger.front()
    )
    assert any(f"{len(fitting)} rows of 12 taken over" in note for note in view.notes)


def test_rows_without_what_must_be_measured_are_not_taken_over(tmp_path: Path) -> None:
    go(tmp_path / "counted")
    proposer = go(tmp_path / "timed", small_search(objectives=["miou", "latency"]), others=[tmp_path / "counted"])
    assert proposer.ledger.counts["taken over"] == 0
    assert all(record.profile for record in proposer.ledger.landed)
    with pytest.raises(SpecError, match="has no records"):
        go(tmp_path / "third", others=[tmp_path / "nowhere"])


def test_rows_of_other_data_or_of_another_machine_are_refused(tmp_path: Path) -> None:
    go(tmp_path / "a")
    other = DATASET.model_copy(update={"digest": "1" * 16})
    with pytest.raises(StudyError, match="12 rows of 12 are of other data, another device or another jetseg-nano"):
        go(tmp_path / "a", dataset=other)
    timed = small_search(objectives=["miou", "latency"])
    go(tmp_path / "b", timed)
    with pytest.raises(StudyError, match="was measured on made-up processor"):
        go(tmp_path / "b", timed)


@pytest.mark.parametrize("change", [{"board": "agx"}, {"limits": {"macs": "1G"}}, {"objectives": ["miou", "memory"]}])
def test_another_search_under_the_same_name_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    go(tmp_path)
    with pytest.raises(StudyError, match=f"holds another search.*\n  {next(iter(change))}"):
        go(tmp_path, small_search(**change))


def test_a_search_whose_networks_all_fail_ends_and_can_be_tried_again(tmp_path: Path) -> None:
    proposer = go(tmp_path, executor=MadeUpTrainings(fails=True))
    assert proposer.ended_by
    assert f"the last {MOST_FAILED} networks failed, the most recent one: made up: no memory left" in proposer.ended_by
    assert MOST_FAILED <= len(proposer.ledger.landed) <= MOST_FAILED + 1  # two at a time
    assert go(tmp_path).ledger.counts["trained"] == 0
    mended = go(tmp_path, retry_failed=True)
    assert mended.ledger.counts["trained"] + mended.ledger.counts["stopped"] == 12
    assert mended.ledger.counts["failed"] == 0


def test_the_front_can_be_trained_again_otherwise(tmp_path: Path) -> None:
    search = small_search(final={"budget": "5 steps", "seeds": [1], "most": 2})
    proposer = go(tmp_path, search)
    chosen = finalists(proposer.ledger)
    first = run_final(tmp_path, search, chosen, DATASET, "cpu", ScriptedExecutor(), SilentView())
    longer = small_search(final={"budget": "7 steps", "seeds": [2, 3], "most": 2})
    second = run_final(tmp_path, longer, chosen, DATASET, "cpu", ScriptedExecutor(), SilentView())
    assert {str(record.recipe.budget) for record in first} == {"5 steps"}
    assert {(str(r.recipe.budget), r.recipe.seed) for r in second} == {("7 steps", 2), ("7 steps", 3)}
    assert len(read_records(tmp_path / "final")) == len(first) + len(second)


def test_a_measured_latency_stops_networks_before_they_are_trained(tmp_path: Path) -> None:
    within = MadeUpTrainings()
    go(tmp_path / "within", small_search(limits={"latency": "20ms"}, trainings=3, early_stop=False), within)
    phases: dict[str, list[str]] = {}
    for variant, phase in within.submitted:
        phases.setdefault(variant, []).append(phase)
    assert list(phases.values()) == [["profile", "train"]] * 3
    over = MadeUpTrainings()
    proposer = go(tmp_path / "over", small_search(limits={"latency": "8ms"}, sampler="random"), over)
    assert {phase for _, phase in over.submitted} == {"profile"}
    assert all(fate.limit == "latency" and fate.excess == pytest.approx(0.25) for fate in proposer.ledger.fates())
    assert proposer.ended_by
    assert "the nearest is small-001, latency: 10.0 ms is 25% over the limit of 8.00 ms" in proposer.ended_by
