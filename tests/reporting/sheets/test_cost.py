import json

import pytest
import torch

from jetbench import build_model, load_architecture, plan_architecture
from jetbench.network.plan import Plan
from jetbench.profiling.crosscheck import cross_check
from jetbench.reporting.sheets.cost import describe_check, describe_cost, print_check, print_cost
from tests.consoles import paper, text

ARCHITECTURE = load_architecture("jetseg-nano")


def plan(size: tuple[int, int] = (512, 512)) -> Plan:
    return plan_architecture(ARCHITECTURE, 11, size)


def test_the_json_has_the_agreed_keys_and_layers_that_sum_to_its_totals() -> None:
    described = describe_cost(ARCHITECTURE, plan((181, 333)))
    assert json.loads(json.dumps(described)) is not None
    keys = {"parameters", "macs", "flops", "eq2_flops", "activations", "peak_activation_bytes", "weight_bytes"}
    assert {*keys, "bytes_moved"} <= set(described)
    for key in ("parameters", "macs", "flops", "eq2_flops", "activations", "bytes_moved"):
        assert sum(layer[key] for layer in described["layers"]) == described[key], key
    assert sum(described["flops_by_kind"].values()) == described["flops"]
    parts = described["eq2"]
    assert parts["convolution"] + parts["normalisation"] + parts["activation"] == described["eq2_flops"]


@pytest.mark.parametrize("brief", [True, False])
def test_the_sheet_gives_totals_to_the_unit_and_says_what_each_is(brief: bool) -> None:
    console = paper()
    print_cost(console, ARCHITECTURE, plan(), brief)
    shown = text(console)
    described = describe_cost(ARCHITECTURE, plan())
    for key in ("parameters", "macs", "flops", "eq2_flops", "activations", "peak_activation_bytes", "bytes_moved"):
        assert f"{described[key]:,}" in shown, key
    assert "2 per multiply-accumulate" in shown
    assert ("jetconv 3x1" in shown) is not brief


def test_the_check_prints_each_difference_and_its_sum() -> None:
    console = paper()
    check = cross_check(build_model(ARCHITECTURE, 11, (64, 96)), torch.randn(1, 3, 64, 96))
    print_check(console, check, 2**20, "what torch held")
    shown = text(console)
    for tool in check.tools:
        ours = sum(row.macs if tool.compared_with == "MACs" else row.flops for row in check.rows)
        assert f"says {tool.count.total:,}, {tool.count.total - ours:+,} to our {tool.compared_with}" in shown
        assert f"{tool.count.total - ours:+,} together" in shown
    assert "Counted by no tool: " in shown
    assert "peak memory 1.0 MiB (what torch held)" in shown
    described = json.loads(json.dumps(describe_check(check, None, "why not")))
    assert described["measured_peak_memory"]["bytes"] is None
    assert described["tools"][0]["distribution"] == "fvcore"
