"""doctor: what this machine can measure."""

import json

import typer
from rich.markup import escape
from rich.table import Table

from jetbench.cli.app import JsonOption, app, console, errors


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine can measure, and for each thing that it cannot, what would mend it."""
    from jetbench.profiling.doctor import examine

    with errors.status("looking at this machine"):
        host, findings = examine()
    if as_json:
        typer.echo(json.dumps({"host": host, "findings": [vars(each) for each in findings]}, indent=2))
        return
    table = Table(
        title=f"This machine: {escape(host)}", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column("", no_wrap=True)
    table.add_column("what", no_wrap=True, style="bold")
    table.add_column("how it stands")
    for each in findings:
        style, mark = {"yes": ("green", "yes"), "no": ("red", "no"), "partly": ("yellow", "but")}[each.state]
        text = escape(each.text) + (f"\n[yellow]mend:[/] {escape(each.mend)}" if each.mend else "")
        table.add_row(f"[{style}]{mark}[/]", escape(each.what), text)
    console.print(table, highlight=False)
