"""Design problems of a network, printed or as plain data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from jetbench.network.lint import Finding


def describe_findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as plain data."""
    return [dataclasses.asdict(finding) for finding in findings]


def print_findings(console: Console, findings: Sequence[Finding], of: str = "the shapes of the network") -> None:
    """Print each finding with its reason and remedy; of a target with its version and the source of the rule."""
    if not findings:
        console.print(f"\nNo problems were found, from {of}.")
        return
    noun = "finding" if len(findings) == 1 else "findings"
    console.print(f"\n[bold]{len(findings)} {noun}[/], from {of}, not from measurements:")
    for finding in findings:
        where = list(finding.where)
        shown = ", ".join(where[:6]) + (f" and {len(where) - 6} more" if len(where) > 6 else "")
        console.print(f"\n[bold yellow]{finding.rule}[/]: {escape(finding.what)}", highlight=False, soft_wrap=True)
        lines = [("where", shown), ("why", finding.why), ("remedy", finding.remedy)]
        lines += [(key, text) for key in ("target", "source") if (text := getattr(finding, key, ""))]
        for label, text in lines:
            if not text:
                continue
            console.print(f"  [dim]{label}:[/] {escape(text)}", highlight=False, soft_wrap=True)
