"""Equation 2 of the released nano compared with the paper's 1.125 G: the distance of each combination.

`python -m jetbench.paper.equation2 FOLDER` writes equation-2.md, .tex and .csv. All their numbers are counted, so the
files are the same on every machine.
"""

import math
import sys
from collections.abc import Hashable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from jetbench.files import write_whole
from jetbench.network.closed_form import cost_of
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Cost, add_up
from jetbench.network.plan import plan_architecture
from jetbench.reporting import units
from jetbench.reporting.tables.columns import numbers
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow
from jetbench.spec.architecture import COMBINATIONS
from jetbench.spec.catalog import load_architecture

PAPER = 1_125_000_000  # table 1: 1.125 GFLOPs at 512x512
ROUNDS_TO_PAPER = (PAPER - 500_000, PAPER + 500_000)  # the authors' tool prints four significant digits
SIZE, CLASSES, PRESET = (512, 512), 32, "jetseg-nano-released"
LISTS = ("s0", "s1_residual", "s1", "s2_residual", "s2", "s3_residual", "s3")
# Nano has no residual block in S1, so that list changes nothing there.
USED = tuple(name for name in LISTS if name != "s1_residual")


def count_combination(combination: int) -> Cost:
    """The cost of the released nano with that combination, 32 classes at 512x512."""
    architecture = load_architecture(PRESET, combination=combination)
    return add_up(list_operations(plan_architecture(architecture, CLASSES, SIZE)))


def equation2_frame() -> pd.DataFrame:
    """One row per combination: equation 2 with its parts, and its distance from the paper's figure."""
    rows = []
    for combination in range(len(COMBINATIONS)):
        cost = count_combination(combination)
        rows.append(
            {
                "combination": combination,
                "parameters": cost.parameters,
                "macs": cost.macs,
                "flops": cost.flops,
                "eq2_flops": cost.eq2_flops,
                "eq2_convolution": cost.eq2_convolution,
                "eq2_normalisation": cost.eq2_normalisation,
                "eq2_activation": cost.eq2_activation,
                "eq2_pooling_not_counted": cost.eq2_pooling,
                "missing_to_paper": PAPER - cost.eq2_flops,
                "missing_share": (PAPER - cost.eq2_flops) / PAPER,
            }
        )
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _changes(lists: dict[str, Any], tap: str | int) -> dict[str, Any]:
    """The changes of the preset that set these kernel lists and the middle tap."""
    changes: dict[str, Any] = {"decoder.taps.s2": tap}
    return changes | {_field(name): [str(branch) for branch in branches] for name, branches in lists.items()}


def _field(name: str) -> str:
    stage, _, residual = name.partition("_")
    return f"stages.{stage}.{'residual_branches' if residual else 'branches'}"


def mixed_networks() -> list[tuple[tuple[str, ...], float]]:
    """Every distinct network whose lists come from any of the combinations, with its equation 2."""
    choices = [list(dict.fromkeys(getattr(combination, name) for combination in COMBINATIONS)) for name in USED]
    networks = []
    for chosen in product(*choices):
        for tap in ("last", "first"):  # nano has two levels in S2
            lists = dict(zip(USED, chosen, strict=True))
            architecture = load_architecture(PRESET, **_changes(lists, tap))
            names = (*(" ".join(map(str, branches)) for branches in chosen), tap)
            networks.append((names, cost_of(architecture, CLASSES, SIZE).eq2_flops))
    return networks


def single_swaps() -> list[tuple[int, str, str, float]]:
    """Each combination with one list from another one: combination, list, kernels, equation 2; nearest first."""
    swaps = {}
    for number, own in enumerate(COMBINATIONS):
        for name in USED:
            for other in COMBINATIONS:
                branches = getattr(other, name)
                if branches == getattr(own, name):
                    continue
                kernels = " ".join(map(str, branches))
                changes: dict[str, Any] = {_field(name): kernels}
                architecture = load_architecture(PRESET, combination=number, **changes)
                swaps[number, name, kernels] = cost_of(architecture, CLASSES, SIZE).eq2_flops
    return sorted(((*key, value) for key, value in swaps.items()), key=lambda row: (abs(row[3] - PAPER), row[:3]))


def rounds_to_paper(value: float) -> bool:
    """True if the authors' tool would print the paper's figure for the value."""
    return ROUNDS_TO_PAPER[0] <= value < ROUNDS_TO_PAPER[1]


COLUMNS = tuple(
    numbers(name, heading, "counted", short)
    for name, heading, short in (
        ("parameters", "parameters", "params"),
        ("eq2_convolution", "convolution", ""),
        ("eq2_normalisation", "batch norm", ""),
        ("eq2_activation", "activation", ""),
        ("eq2_flops", "eq. 2", ""),
        ("missing_to_paper", "missing to 1.125 G", "missing"),
        ("missing_share", "missing (%)", "%"),
        ("eq2_with_pooling", "with pooling", ""),
        ("macs", "MACs", ""),
        ("flops", "FLOPs", ""),
    )
)
INTRODUCTION = (
    "Counted in closed form for 32 classes at 512x512, one image; nothing is measured.",
    "Equation 2 is applied as in the authors' own tool: Kw Kh Hin Win Cin Cout / (s s g) for 2-D convolutions "
    "(multiply-accumulates, not doubled), 4 per element of batch norm, 1 per element of REU. The printed equation has "
    "a rule for pooling, which that tool does not apply; it has its own column. "
    "`jetbench count jetseg-nano-released --classes 32` shows every layer.",
)
CONCLUSION = (
    "The figure is not reproduced from the release as published. It may come from another revision of the kernel "
    "tables; nothing here tests that. jetbench is not tuned to reach it."
)


def build_equation2() -> Table:
    """The combinations as a table, the closest one in bold; the notes say what would reach the figure."""
    rows = equation2_frame().to_dict("records")
    for row in rows:
        row["eq2_with_pooling"] = row["eq2_flops"] + row["eq2_pooling_not_counted"]
    closest = min(rows, key=lambda row: abs(row["missing_to_paper"]))
    values = {
        heading: [row[name] for row in rows]
        for name, heading in (("eq2_flops", "eq. 2"), ("eq2_with_pooling", "with pooling"), ("macs", "MACs"))
    }
    reached = [name for name, counts in values.items() if any(map(rounds_to_paper, counts))]
    verdict = f"reached by {', '.join(reached)}" if reached else "reached by no combination in any of the three columns"
    essential = (
        *INTRODUCTION,
        f"Closest, and bold: combination {closest['combination']}, {closest['eq2_flops'] / 1e9:.6f} G, which differs "
        f"from 1.125 G by {closest['missing_to_paper']:,} ({100 * closest['missing_share']:.2f} %). The figure is "
        f"{verdict} (eq. 2, with pooling, MACs). The authors' tool prints four digits, so any value from 1.1245 up to "
        "1.1255 G counts as reached.",
        CONCLUSION,
    )
    lines = tuple(
        TableRow(str(row["combination"]), tuple(Cell(_text(row, column.name)) for column in COLUMNS), row is closest)
        for row in rows
    )
    title = "Equation 2: the released nano against the paper's 1.125 GFLOPs"
    return Table(
        title, COLUMNS, (Section("", lines),), Notes(essential, tuple(_what_it_takes())), heading="combination"
    )


def _text(row: Mapping[Hashable, Any], name: str) -> str:
    if name == "missing_to_paper":
        return f"{row[name]:+,}"
    if name == "missing_share":
        return f"{100 * row[name]:+.2f}"
    return units.count(row[name])


def _what_it_takes() -> list[str]:
    lines = []
    for combination in range(len(COMBINATIONS)):
        value, more = (_with_classes(combination, classes) for classes in (CLASSES, CLASSES + 1))
        reached = [str(classes) for classes in range(2, 65) if rounds_to_paper(_with_classes(combination, classes))]
        with_classes = f"reached with {', '.join(reached)} classes" if reached else "not reached with 2 to 64 classes"
        lines.append(
            f"To reach it, combination {combination} needs {(PAPER - value) / (more - value):+.2f} classes of "
            f"{more - value:,} each; it is {with_classes}."
        )
    swaps = single_swaps()
    hits = sum(rounds_to_paper(value) for *_, value in swaps)
    number, name, kernels, value = swaps[0]
    stage = name.replace("_residual", " residual").upper().replace("RESIDUAL", "residual")
    mixed = mixed_networks()
    near = sum(rounds_to_paper(value) for _, value in mixed)
    exact = sum(value == PAPER for _, value in mixed)
    step = math.gcd(*(int(value) for _, value in mixed))
    return [
        *lines,
        f"One kernel list replaced by that of another combination: {hits} of {len(swaps)} ways are within the "
        f"rounding; the nearest is combination {number} with {stage} = `{kernels}`, {value:,} ({value - PAPER:+,}).",
        f"All kernel lists and the middle tap mixed freely: {len(mixed)} different networks, {near} of them "
        f"({100 * near / len(mixed):.1f} %) within the rounding, {exact} exactly at 1,125,000,000. So many networks "
        "reach the figure that a match does not identify the authors' network.",
        *_say_it_is_rounded(step),
    ]


def _say_it_is_rounded(step: int) -> list[str]:
    if PAPER % step == 0:
        return []
    return [
        f"None of them can reach exactly 1,125,000,000: equation 2 gives each a multiple of {step}, and that figure "
        "is not one. The printed figure is rounded."
    ]


def _with_classes(combination: int, classes: int) -> float:
    return cost_of(load_architecture(PRESET, combination=combination), classes, SIZE).eq2_flops


def write_equation2(folder: Path) -> list[Path]:
    """Write the table in each format, and its numbers, to `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table = build_equation2()
    texts = {
        "equation-2.md": to_markdown(table),
        "equation-2.tex": to_latex(table),
        "equation-2.csv": equation2_frame().to_csv(index=False),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


if __name__ == "__main__":
    for path in write_equation2(Path(sys.argv[1])):
        print(path)
