from jetbench import load_architecture, plan_architecture
from jetbench.network.lint import lint_plan
from jetbench.reporting.sheets.lint import describe_findings, print_findings
from tests.consoles import paper, text


def test_findings_are_printed_with_reason_and_way_out() -> None:
    console = paper()
    found = lint_plan(plan_architecture(load_architecture("jetseg-nano-released"), 11, (512, 512)))
    print_findings(console, found)
    shown = text(console)
    for finding in found:
        assert f"{finding.rule}: {finding.what}" in shown
        assert f"why: {finding.why}" in shown
        assert f"remedy: {finding.remedy}" in shown
    assert describe_findings(found)[0]["rule"] == "dead-layers"
    empty = paper()
    print_findings(empty, ())
    assert "No problems were found, from the shapes" in text(empty)
