"""A short part of `make fuzz`: some cases of every surface, and what the harness must see."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.harness import Case, run_case
from tests.fuzz.samples import write_samples
from tests.fuzz.surfaces import SURFACES

EACH = 6


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.mark.parametrize("surface", SURFACES)
def test_hostile_input_is_refused_or_used_and_does_no_harm(surface: str, samples: Path) -> None:
    outcomes = fuzz(EACH, seed=1, surfaces=[surface], samples=samples)
    wrong = [(each.case.number, each.problem, each.output[-500:]) for each in outcomes if each.problem]
    assert not wrong


def fail() -> int:
    raise ValueError("no")


def leave(path: str) -> Callable[[], int]:
    def run() -> int:
        Path(path).write_text("out")
        return 0

    return run


def crash() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def hold() -> int:
    held = bytearray(2 * 2**30)
    held[::4096] = b"x" * len(held[::4096])
    return 0


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (lambda: 0, None),
        (lambda: 2, None),
        (fail, "traceback"),
        (lambda: 1, "exit code"),
        (crash, "exit code"),
        (lambda: os.write(1, b"a\x1b[2J") and 0, "control character"),
        (leave("../outside"), "wrote outside"),
        (leave("within"), None),
        (leave("rows"), "lost a row"),
        pytest.param(hold, "too much memory", marks=pytest.mark.slow),
    ],
)
def test_the_harness_sees_what_a_case_does(run: Callable[[], int], problem: str | None, tmp_path: Path) -> None:
    base = tmp_path / "case"
    inside = base / "inside"
    inside.mkdir(parents=True)
    (inside / "rows").write_text("a row\n")
    assert run_case(Case("none", 0, run, (inside / "rows",)), base, inside).problem == problem
