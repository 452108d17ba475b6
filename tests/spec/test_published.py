import pytest

from jetbench.errors import SpecError
from jetbench.spec.architecture import Baseline
from jetbench.spec.base import parse_spec
from jetbench.spec.catalog import (
    baseline_names,
    load_architecture,
    load_jetseg,
    read_architecture,
)
from jetbench.spec.published import QUANTITIES, Reported

PAPER = {"title": "A network", "authors": "Someone", "year": 2020, "link": "https://example.org"}


def test_a_figure_keeps_its_unit_when_it_is_read() -> None:
    figure = parse_spec(Reported, {"flops": "21.2G", "size": "360x640", "per_mac": 2, "source": "abstract"}, "here")
    assert (figure.flops, figure.size, figure.quantity) == (21_200_000_000, (360, 640), "flops")
    score = parse_spec(Reported, {"miou": "69.1%", "dataset": "CamVid", "source": "README"}, "here")
    assert score.miou == pytest.approx(0.691)


def test_a_figure_is_read_again_as_it_was_written() -> None:
    for name in baseline_names():
        for figure in load_architecture(name).reported:
            assert Reported.model_validate_json(figure.model_dump_json()) == figure
            assert Reported.model_validate(figure.model_dump(mode="json")) == figure


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"source": "s"}, "given: none"),
        ({"fps": 3, "parameters": "1M", "source": "s"}, "given: parameters, fps"),
        ({"miou": "60%", "source": "s"}, "needs its dataset"),
        ({"fps": 3}, "source: is missing"),
        ({"miou": 60, "dataset": "CamVid", "source": "s"}, "must be at most 1"),
    ],
)
def test_a_figure_without_what_it_needs_is_refused(raw: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(Reported, raw, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": None}, "leave network: empty if and only if"),
        ({"assumed": ["something"]}, "exact takes none"),
        ({"fidelity": "approximate"}, "approximate with 0 entries"),
        ({"network": "linkknet"}, "network: expected"),
        ({"stages": {}}, "stages: no such key"),
        ({"reported": [{"fps": 1, "source": ""}]}, "source"),
    ],
)
def test_a_baseline_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    raw = {"network": "linknet", "fidelity": "exact", "paper": PAPER, **change}
    with pytest.raises(SpecError, match=message):
        parse_spec(Baseline, raw, "here")


def test_every_baseline_names_its_paper_and_every_figure_its_source() -> None:
    for name in baseline_names():
        baseline = load_architecture(name)
        assert isinstance(baseline, Baseline)
        assert baseline.paper.link.startswith("https://")
        assert all(figure.source and figure.quantity in QUANTITIES for figure in baseline.reported)
        assert baseline.reported or name == "unet"  # its paper reports none of these


def test_what_is_reported_of_a_network_does_not_hold_for_a_changed_one() -> None:
    assert load_architecture("jetseg-nano-released").reported
    assert load_architecture("jetseg-nano-released", description="the same").reported
    assert load_architecture("jetseg-nano-released", combination=3).reported == ()


def test_a_baseline_has_nothing_to_vary() -> None:
    with pytest.raises(SpecError, match=r"linknet: is a baseline, which has nothing to vary; leave out stages\.s2"):
        read_architecture("linknet", {"stages.s2.repeats": 1})
    with pytest.raises(SpecError, match="linknet: is a baseline, which has no JetBlocks"):
        load_jetseg("linknet")
