"""compare: compare two studies, variant by variant, or the forms of the networks of one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jetbench.cli.app import EXIT_WORSE, RESULTS, errors, verb
from jetbench.cli.completion import studies
from jetbench.cli.measuring import read_list
from jetbench.cli.output import (
    AllOption,
    FormatOption,
    OutOption,
    read_format,
    show_table,
)
from jetbench.errors import SpecError
from jetbench.spec.profiling import describe_form, read_form


@verb(RESULTS)
def compare(
    before: Annotated[
        Path,
        typer.Argument(metavar="A", autocompletion=studies, help="The report folder to compare with: the baseline."),
    ],
    after: Annotated[
        Path | None,
        typer.Argument(
            metavar="B", autocompletion=studies, help="The report folder whose changes are shown; none with --backend."
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Compare backends in one study with the first: eager,onnxruntime. Did the conversion lose anything?",
        ),
    ] = None,
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

    With --backend, the networks of one study in several forms: time, mIoU, pixels that change, and their order.

    Numbers measured in different ways are not compared; a note gives the reason.
    """
    from jetbench.reporting.questions.compare import build_comparison, compare_studies, read_limits
    from jetbench.reporting.studies import read_studies

    if backend is not None:
        if after is not None or fail_on is not None:
            raise SpecError("--backend: compares the forms of one study; leave out the second folder and --fail-on")
        _compare_forms(before, backend, read_format(style, out), show_invalid, out)
        return
    if after is None:
        raise SpecError("compare: give two report folders, or one with --backend eager,onnxruntime")
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


def _compare_forms(folder: Path, backend: str, form: str, show_invalid: bool, out: Path | None) -> None:
    """Compare the forms of the networks of one study."""
    from jetbench.reporting.questions.forms import build_forms
    from jetbench.reporting.studies import read_study

    forms = [describe_form(*each) for each in read_list("--backend", backend, read_form)]
    if len(forms) < 2:
        raise SpecError(f"--backend {backend}: give at least two, the first to compare with: eager,onnxruntime")
    show_table(build_forms(read_study(folder), forms, show_invalid), form, out)
