"""compare: two studies, variant by variant."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jetbench.cli.app import EXIT_WORSE, app, errors
from jetbench.cli.output import (
    AllOption,
    FormatOption,
    OutOption,
    read_format,
    show_table,
)
from jetbench.errors import SpecError


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="The report folder to compare with.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The report folder that may be better or worse.")],
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC:LIMIT,...",
            help="Exit with 4 where a metric is worse than that: latency:3%,miou:1 (points). A tie is never worse.",
        ),
    ] = None,
    style: FormatOption = None,
    show_invalid: AllOption = False,
    out: OutOption = None,
) -> None:
    """Compare two studies variant by variant: what is better, worse or a tie, and by how much.

    What was measured in different ways is not compared, and it says why.
    """
    from jetbench.reporting.questions.compare import build_comparison, read_limits
    from jetbench.reporting.questions.compare import compare_studies as compare_studies
    from jetbench.reporting.studies import read_studies

    limits = read_limits(fail_on) if fail_on is not None else []
    form = read_format(style, out)
    first, second = read_studies([before, after])
    found = compare_studies(first, second, show_invalid)
    if not found.pairs:
        raise SpecError(f"{before} and {after} have no variant in common; they are paired by name")
    if found.is_empty:
        reasons = "\n".join(f"- {reason}" for reason in dict.fromkeys(found.differing.values()))
        raise SpecError(f"{before} and {after} are not comparable:\n{reasons}")
    undecided = [limit for limit in limits if limit.metric in found.differing]
    if undecided:
        metric = undecided[0].metric
        raise SpecError(f"--fail-on {undecided[0].asked}: not comparable: {found.differing[metric]}")
    show_table(build_comparison(found), form, out)
    failures = found.failures(limits)
    for line in failures:
        errors.print(f"[bold red]worse:[/] {escape(line)}", highlight=False, soft_wrap=True)
    if failures:
        raise typer.Exit(EXIT_WORSE)
