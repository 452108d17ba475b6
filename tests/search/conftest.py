"""A small search, and networks that are as good as a made-up rule says; nothing is trained."""

from collections.abc import Callable, Sequence

import pytest

from jetbench.records.record import Failure, Record
from jetbench.search.ledger import Ledger
from jetbench.search.proposer import Proposer
from jetbench.search.space import SearchSpace
from jetbench.spec.base import parse_spec
from jetbench.spec.device import Device
from jetbench.spec.search import Search
from tests.made_up import DATASET, SIZE, profile, record, training

AXES = {
    "base_channels": [4, 6, 8, 10, 12],
    "groups": [1, "gcd", "mean-divisor"],
    "activation": ["reu", "hardswish"],
    "stages.s2.repeats": [0, 1, 2],
    "stages.s2.residual_branches": {"values": ["3a", "3a 5a 7a"], "when": {"stages.s2.repeats": [1, 2]}},
}


def small_search(**more: object) -> Search:
    raw = {
        "name": "small",
        "base": "jetseg-nano",
        "axes": AXES,
        "objectives": ["miou", "macs"],
        "trainings": 12,
    }
    return parse_spec(Search, {**raw, **more}, "small.yaml")


def small_space(**more: object) -> SearchSpace:
    return SearchSpace(small_search(**more), len(DATASET.class_names), SIZE)


def proposer_of(
    space: SearchSpace, records: Sequence[Record] = (), board: Device | None = None, is_here: bool = True
) -> Proposer:
    return Proposer(Ledger(space, board, is_here), records)


def goodness(changes: dict[str, object]) -> float:
    """Wider is better, and so is hardswish."""
    return round(0.3 + 0.02 * int(str(changes["base_channels"])) + 0.1 * (changes["activation"] == "hardswish"), 3)


@pytest.fixture
def drive() -> Callable[..., list[Record]]:
    """Answers a proposer's proposals until it has none; `latency_s` is what each network's profile says."""

    def run(proposer: Proposer, latency_s: float = 0.01, most: int = 1000) -> list[Record]:
        found: list[Record] = []
        while len(found) < most and (variant := proposer.ask()) is not None:
            failure: Failure | None = proposer.stop(variant, None)
            measured = profile(latency_s) if failure is None and "profile" in proposer.phases else None
            if measured is not None:
                failure = proposer.stop(variant, measured)
            made = record(
                variant.name,
                architecture=variant.architecture,
                changes=variant.changes,
                fingerprint=variant.plan.fingerprint,
                training=None if failure else training(goodness(variant.changes)),
                profile=measured,
                failure=failure,
            )
            proposer.learn(made)
            found.append(made)
        return found

    return run
