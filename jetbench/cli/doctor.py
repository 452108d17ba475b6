"""doctor: show what this machine can measure."""

import json

import typer
from rich.markup import escape
from rich.table import Table

from jetbench.cli.app import MACHINES, JsonOption, console, errors, verb


@verb(MACHINES)
def doctor(as_json: JsonOption = False) -> None:
    """Show what this machine can measure, and how to fix what it cannot."""
    from jetbench.profiling.doctor import examine

    with errors.status("examining this machine"):
        host, findings = examine()
    if as_json:
        typer.echo(json.dumps({"host": host, "findings": [vars(finding) for finding in findings]}, indent=2))
        return
    table = Table(
        title=f"This machine: {escape(host)}", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("", no_wrap=True)
    table.add_column("what", no_wrap=True, style="bold")
    table.add_column("status")
    for finding in findings:
        style, mark = {"yes": ("green", "yes"), "no": ("red", "no"), "partly": ("yellow", "partly")}[finding.state]
        text = escape(finding.text) + (f"\n[yellow]fix:[/] {escape(finding.fix)}" if finding.fix else "")
        table.add_row(f"[{style}]{mark}[/]", escape(finding.what), text)
    console.print(table, highlight=False)
