import pytest

from jetbench.network.plan import BaselinePlan
from jetbench.reporting.sheets.network import describe_baseline, print_baseline
from jetbench.reporting.tables.published import (
    describe_approximate,
    describe_figure,
    describe_published,
    describe_sources,
    reported_cell,
)
from jetbench.spec.architecture import Baseline
from jetbench.spec.catalog import load_architecture
from jetbench.spec.published import Reported
from tests.consoles import paper, text


def baseline(name: str) -> Baseline:
    found = load_architecture(name)
    assert isinstance(found, Baseline)
    return found


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ({"parameters": 782_868, "source": "zoo"}, "782.9 k parameters (zoo)"),
        (
            {"fps": 19, "size": (720, 1280), "device": "Titan X", "source": "page"},
            "19 FPS at 720x1280 on Titan X (page)",
        ),
        (
            {"flops": 10**9, "per_mac": 1, "note": "a guess", "source": "text", "seen": False},
            "1 G FLOPs, 1 per multiply-accumulate, a guess (text, not checked against the source)",
        ),
        ({"miou": 0.5, "dataset": "CamVid", "split": "test", "source": "t"}, "50.0 % mIoU on CamVid test (t)"),
    ],
)
def test_a_figure_is_told_with_all_its_conditions(figure: dict[str, object], expected: str) -> None:
    assert describe_figure(Reported.model_validate(figure)) == expected


def test_cells_keep_every_figure_and_a_dash_where_there_is_none() -> None:
    assert reported_cell(baseline("linknet"), "fps") == "19 (720x1280, Titan X); 2 (720x1280, Jetson TX1)"
    assert reported_cell(baseline("unet"), "miou") == "\N{EM DASH}"
    assert "?" in reported_cell(baseline("fcn8s"), "parameters")  # recalled only


def test_footnotes_say_what_was_assumed_and_where_figures_were_read() -> None:
    rows = [(name, baseline(name)) for name in ("linknet", "fpenet", "mfenet")]
    told = [*describe_approximate(rows), *describe_published(rows), *describe_sources(rows)]
    assert any(
        line.startswith("fpenet \N{ALMOST EQUAL TO} is approximate; assumed: an expansion of 4") for line in told
    )
    assert any(line.startswith("mfenet is quoted: only published figures") for line in told)
    assert any("Reported of linknet (Chaurasia and Culurciello, 2017" in line for line in told)
    assert not any(line.startswith("linknet \N{ALMOST EQUAL TO}") for line in told)
    plain = [("jetseg-nano", load_architecture("jetseg-nano"))]
    assert (describe_approximate(plain), describe_published(plain), describe_sources(plain)) == ([], [], [])


def test_the_sheet_of_a_baseline_sets_what_is_counted_beside_what_is_published() -> None:
    console = paper()
    print_baseline(console, baseline("linknet"), BaselinePlan("linknet", (512, 512), 11))
    shown = text(console)
    assert "9.67 G MACs, 19.42 G FLOPs (11 classes)" in shown
    assert "11,534,667" in shown
    described = describe_baseline(baseline("ddrnet23-slim"), BaselinePlan("ddrnet23-slim", (128, 128), 11))
    assert sum(part["parameters"] for part in described["parts"]) == described["parameters"] == 5_695_467
    assert described["training_only_parameters"] == 37_835


def test_the_sheet_of_a_quoted_baseline_has_its_figures_alone() -> None:
    console = paper()
    print_baseline(console, baseline("efnet"), None)
    shown = text(console)
    assert "99 FPS on RTX 3090" in shown
    assert "MACs M" not in shown
