"""python -m tests.fuzz: hostile input on every surface, one process and one fresh folder each; prints a table."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.harness import PROBLEMS, Case, Outcome, run_case
from tests.fuzz.surfaces import READ_ONLY, SURFACES, Ground


def fuzz(
    cases: int,
    seed: int = 0,
    surfaces: Sequence[str] = (),
    keep: Path | None = None,
    first: int = 0,
    samples: Path | None = None,
) -> list[Outcome]:
    """Run so many cases, the surfaces in turn; returns what they did.

    Args:
        cases: how many.
        seed: seeds every case together with its number.
        surfaces: only these; all by default.
        keep: the folders of cases with a problem are kept here.
        first: the number of the first case.
        samples: a folder of `write_samples`; made if it is not given.
    """
    from tests.fuzz.samples import write_samples

    chosen = list(surfaces) or list(SURFACES)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        if samples is None:
            samples = Path(name) / "samples"
            samples.mkdir()
            write_samples(samples)
        _load()
        for number in range(first, first + cases):
            outcome = _one(number, seed, chosen[number % len(chosen)], Path(name), samples, keep)
            outcomes.append(outcome)
    return outcomes


def _one(number: int, seed: int, surface: str, folder: Path, samples: Path, keep: Path | None) -> Outcome:
    base = folder / f"case-{number}"
    inside = base / "work" / "inside"
    inside.mkdir(parents=True)
    (base / "cache").mkdir()
    (base / "canary").write_text("not yours")
    ground = Ground(inside, samples, random.Random(f"{seed} {surface} {number}"))
    run = SURFACES[surface](ground)
    kept = tuple(inside / name for name in READ_ONLY.get(surface, ()))
    outcome = run_case(Case(surface, number, run, kept), base, inside)
    if outcome.problem and keep is not None:
        target = keep / f"{surface.strip('-').replace(' ', '-')}-{number}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(base, target, symlinks=True, ignore=_only_plain)
        (target / "output.txt").write_bytes(outcome.output)
    shutil.rmtree(base, ignore_errors=True)
    return outcome


def _only_plain(folder: str, names: list[str]) -> list[str]:
    return [
        name for name in names if not ((path := Path(folder) / name).is_file() or path.is_dir() or path.is_symlink())
    ]


def _load() -> None:
    """Load what the commands load, once, so that a case takes milliseconds instead of seconds."""
    import jetbench.cli
    import jetbench.models.weights
    import jetbench.paper.claims
    import jetbench.profiling.bundle
    import jetbench.profiling.case
    import jetbench.profiling.session
    import jetbench.reporting.report
    import jetbench.reporting.sheets.page
    import jetbench.search.run
    import jetbench.study.run
    import jetbench.training.predict  # noqa: F401


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """A row for each surface, and the first cases with a problem."""
    console = Console(width=200)
    table = Table(box=None)
    for heading in ("surface", "cases", "refused", *PROBLEMS, "slowest s", "most MiB"):
        table.add_column(heading, justify="left" if heading == "surface" else "right")
    for surface in [*SURFACES, "all"]:
        own = [each for each in outcomes if surface in (each.case.surface, "all")]
        if not own:
            continue
        counts = [sum(each.problem == problem for each in own) for problem in PROBLEMS]
        refused = sum(each.code == 2 for each in own)
        slowest, largest = max(each.seconds for each in own), max(each.memory for each in own)
        table.add_row(surface, *map(str, (len(own), refused, *counts)), f"{slowest:.1f}", f"{largest / 2**20:.0f}")
    console.print(table)
    for each in [outcome for outcome in outcomes if outcome.problem][:40]:
        last = each.output.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
        what = f"{each.case.surface} {each.case.number}: {each.problem}"
        text = f"{what} (code {each.code}, {each.seconds:.1f} s) {last[0]!r}"
        console.print(text[:300], markup=False, highlight=False, soft_wrap=True)


def main() -> int:
    """Parse the options, run, print; exit code 1 if a case has a problem."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--surface", action="append", default=[], choices=sorted(SURFACES))
    parser.add_argument("--keep", type=Path, help="keep the folders of cases with a problem here")
    arguments = parser.parse_args()
    began = time.monotonic()
    outcomes = fuzz(arguments.cases, arguments.seed, arguments.surface, arguments.keep, arguments.first)
    print_outcomes(outcomes)
    print(f"{len(outcomes)} cases in {time.monotonic() - began:.0f} s")
    return int(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
