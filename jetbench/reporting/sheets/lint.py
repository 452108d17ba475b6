"""Design problems of a network, printed or as plain data."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from jetbench.network.lint import Finding


def describe_findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as plain data."""
    return [{key: getattr(finding, key) for key in finding.__slots__} for finding in findings]


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print each finding with its reason and remedy."""
    if not findings:
        console.print("\nNo design problems were found.")
        return
    noun = "finding" if len(findings) == 1 else "findings"
    console.print(f"\n[bold]{len(findings)} {noun}[/], from the shapes of the network, not from measurements:")
    for finding in findings:
        where = list(finding.where)
        shown = ", ".join(where[:6]) + (f" and {len(where) - 6} more" if len(where) > 6 else "")
        console.print(f"\n[bold yellow]{finding.rule}[/]: {escape(finding.what)}", highlight=False, soft_wrap=True)
        for label, text in (("where", shown), ("why", finding.why), ("remedy", finding.remedy)):
            console.print(f"  [dim]{label}:[/] {escape(text)}", highlight=False, soft_wrap=True)
