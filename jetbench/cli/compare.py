"""compare: compare two studies, variant by variant."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jetbench.cli.app import EXIT_WORSE, RESULTS, errors, verb
from jetbench.cli.completion import studies
from jetbench.cli.output import (
    AllOption,
    FormatOption,
    OutOption,
    read_format,
    show_table,
)
from jetbench.errors import SpecError


@verb(RESULTS)
def compare(
    before: Annotated[
        Path,
        typer.Argument(metavar="A", autocompletion=studies, help="The report folder to compare with: the baseline."),
    ],
    after: Annotated[
        Path, typer.Argument(metavar="B", autocompletion=studies, help="The report folder whose changes are shown.")
    ],
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC:LIMIT,...",
            help="Exit with 4 if a metric is worse by more than its limit: latency:3%,miou:1 (points). "
            "A change that is not significant is never worse.",
        ),
    ] = None,
    style: FormatOption = None,
    show_invalid: AllOption = False,
    out: OutOption = None,
) -> None:
    """Compare two studies variant by variant: better, worse or not significantly different, and by how much.

    Numbers measured in different ways are not compared; a note gives the reason.
    """
    from jetbench.reporting.questions.compare import build_comparison, compare_studies, read_limits
    from jetbench.reporting.studies import read_studies

    limits = read_limits(fail_on) if fail_on is not None else []
    form = read_format(style, out)
    first, second = read_studies([before, after])
    comparison = compare_studies(first, second, show_invalid)
    if not comparison.pairs:
        raise SpecError(f"{before} and {after} have no variant of the same name; give studies with common variants")
    if comparison.is_empty:
        reasons = "\n".join(f"- {reason}" for reason in dict.fromkeys(comparison.differing.values()))
        raise SpecError(f"{before} and {after} are not comparable:\n{reasons}")
    undecided = [limit for limit in limits if limit.metric in comparison.differing]
    if undecided:
        metric = undecided[0].metric
        raise SpecError(
            f"--fail-on {undecided[0].asked}: not comparable: {comparison.differing[metric]}; leave out {metric}"
        )
    show_table(build_comparison(comparison), form, out)
    failures = comparison.failures(limits)
    for line in failures:
        errors.print(f"[bold red]worse:[/] {escape(line)}", highlight=False, soft_wrap=True)
    if failures:
        raise typer.Exit(EXIT_WORSE)
