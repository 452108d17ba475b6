"""A search whose base is a network of the user's own: its axes are arguments, and it is counted by running it."""

from pathlib import Path

import pytest

from jetbench.errors import SpecError
from jetbench.network.plan import plan_network
from jetbench.profiling.listing import count_quickly, count_together, list_network
from jetbench.search.ledger import Ledger
from jetbench.search.proposer import Proposer
from jetbench.search.run import run_search
from jetbench.search.space import SearchSpace, check_axes, read_search
from jetbench.spec.architecture import Foreign
from jetbench.spec.catalog import load_architecture, read_architecture
from jetbench.spec.sources import NAMED
from tests.made_up import DATASET, SIZE, record
from tests.models.test_foreign import SOURCE, parameters_of
from tests.search.conftest import small_search, small_space

CLASSES = len(DATASET.class_names)
CRASHING = """
def crashing(num_classes, code=0):
    import os
    if code:
        os._exit(code)
    return build(num_classes, 4)
"""


@pytest.fixture(autouse=True)
def _names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMED, "")


@pytest.fixture
def base(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(SOURCE + CRASHING)
    path = tmp_path / "mine.yaml"
    path.write_text("model: net.py:build\narguments: {width: 8}\n")
    return str(path)


def space_of(base: str, **more: object) -> SearchSpace:
    search = small_search(base=base, **{"axes": {"arguments.width": [4, 8, 16]}, "trainings": 3, **more})
    check_axes(search, "small.yaml")
    return SearchSpace(search, CLASSES, SIZE)


@pytest.mark.slow
def test_the_base_is_proposed_first_then_each_network_once(base: str) -> None:
    space = space_of(base)
    assert space.start() == {"arguments.width": "8"}
    proposer = Proposer(Ledger(space))
    proposed = [variant for _ in range(3) if (variant := proposer.ask())]
    widths = [
        variant.architecture.arguments["width"] for variant in proposed if isinstance(variant.architecture, Foreign)
    ]
    assert widths[0] == 8
    assert sorted(widths) == [4, 8, 16]
    counted = {space.cost(variant.architecture).parameters for variant in proposed}
    assert counted == {parameters_of(width, CLASSES) for width in widths}


def test_limits_hold_for_counts_of_the_users_network(base: str) -> None:
    most = parameters_of(8, CLASSES)
    look = space_of(base, limits={"parameters": most}).look()
    assert (look.looked_at, look.fit) == (3, 2)
    with pytest.raises(SpecError, match="none of 3 counted networks is within the limits"):
        space_of(base, limits={"parameters": 10}).look().check()


def test_networks_that_the_factory_refuses_are_unbuildable_and_the_others_are_proposed(base: str) -> None:
    space = space_of(base, axes={"arguments.width": [8, "wide", -1]})
    assert space.look().buildable == 1
    proposer = Proposer(Ledger(space))
    assert proposer.ask() is not None
    assert proposer.ask() is None
    assert proposer.ended_by is not None
    assert "cannot be built (the last one that cannot: mine: build(" in proposer.ended_by
    with pytest.raises(SpecError, match=r"none of 1 networks .* unexpected keyword argument 'depth'"):
        space_of(base, axes={"arguments.depth": [1]}).look().check()


@pytest.mark.slow
def test_a_network_that_ends_the_counting_process_is_refused_and_the_others_are_counted(base: str) -> None:
    Path(base).write_text("model: net.py:crashing\n")
    networks = [read_architecture(base, {"arguments.code": code}) for code in (0, 7, False)]
    count_together([plan_network(network, CLASSES, SIZE) for network in networks])
    first, ended, last = networks
    assert count_quickly(first, CLASSES, SIZE).parameters == parameters_of(4, CLASSES)
    assert count_quickly(last, CLASSES, SIZE).parameters == parameters_of(4, CLASSES)
    with pytest.raises(SpecError, match=r"mine: its process ended while it was counted \(exit code 7"):
        list_network(plan_network(ended, CLASSES, SIZE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {"width": [1, 2]}}, "axes.width: of a network of your own, only arguments.NAME and output vary"),
        ({"axes": {"arguments.width": [4, 4]}}, "axes.arguments.width: has the same value twice"),
        ({"sampler": "additive"}, "sampler: additive counts thousands of networks before each proposal"),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_runs(
    change: dict[str, object], message: str, base: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        run_search(small_search(base=base, **{"axes": {"arguments.width": [4, 8]}, **change}))


def test_the_search_of_a_report_folder_names_nothing(base: str, tmp_path: Path) -> None:
    path = tmp_path / "find.yaml"
    path.write_text(f"base: {base}\naxes: {{arguments.width: [4, 8]}}\nobjectives: [miou, macs]\n")
    read_search(str(path))
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(SpecError, match="is the YAML of a report folder, which may come from others"):
        read_search(str(path))


def test_rows_of_other_kinds_of_networks_are_not_taken_over(base: str) -> None:
    baseline = load_architecture("cgnet")
    row = record("cgnet", architecture=baseline, fingerprint=plan_network(baseline, CLASSES, SIZE).fingerprint)
    assert Ledger(small_space()).take_over(row) is None
    assert Ledger(space_of(base)).take_over(row) is None
    assert Ledger(space_of(base)).take_over(record("jetseg-nano")) is None
