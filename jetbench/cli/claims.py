"""claims: list the claims of the JetSeg paper with a verdict on each."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jetbench.cli.app import RESULTS, console, verb
from jetbench.cli.completion import studies
from jetbench.cli.output import FormatOption, OutOption, read_format, show_table


@verb(RESULTS)
def claims(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[STUDY...]", autocompletion=studies, help="Report folders whose records serve as evidence."
        ),
    ] = None,
    style: FormatOption = None,
    out: OutOption = None,
) -> None:
    """List the claims of the JetSeg paper: reproduced, not reproduced, contradicts itself, or untestable here.

    Each verdict comes with its evidence. Without a study, only claims that can be counted are decided.
    """
    from jetbench.paper.claims import build_claims, judge_claims
    from jetbench.reporting.studies import read_studies
    from jetbench.reporting.terminal import print_notes

    form = read_format(style, out)
    studies = read_studies(folders or ())
    rulings = judge_claims(studies)
    table = build_claims(rulings, studies)
    if form != "terminal" or out is not None:
        show_table(table, form, out)
        return
    colours = {"reproduced": "green", "not reproduced": "red", "contradicts itself": "magenta"}
    for ruling in rulings:
        colour = colours.get(ruling.verdict, "yellow")
        says = f"[bold]{escape(ruling.claim.says)}[/]: [{colour}]{ruling.verdict}[/]"
        console.print(f"\n{says} [dim]({ruling.claim.name})[/]", highlight=False)
        for label, text in (("evidence", ruling.evidence), ("missing", ruling.missing)):
            if text:
                console.print(f"  [dim]{label}:[/] {escape(text)}", highlight=False)
    console.print()
    print_notes(console, table.notes.all)
