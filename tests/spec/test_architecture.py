import pytest
from pydantic import ValidationError

from jetbench import SpecError, load_architecture
from jetbench.spec.architecture import COMBINATIONS, Branch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", Branch(kernel_size=3)),
        (5, Branch(kernel_size=5)),
        ("7a", Branch(kernel_size=7, asymmetric=True, dilation=3)),
        ("5a", Branch(kernel_size=5, asymmetric=True, dilation=2)),
        ("3a", Branch(kernel_size=3, asymmetric=True, dilation=1)),
        ("5ad1", Branch(kernel_size=5, asymmetric=True, dilation=1)),
        ("3d4", Branch(kernel_size=3, dilation=4)),
        ({"kernel_size": 7, "asymmetric": True}, Branch(kernel_size=7, asymmetric=True, dilation=3)),
    ],
)
def test_branch_shorthand_has_the_papers_dilations(text: object, expected: Branch) -> None:
    assert Branch.model_validate(text) == expected


def test_branch_text_reads_back_as_the_same_branch() -> None:
    for k in (1, 3, 5, 7, 9):
        for asymmetric in (False, True) if k > 1 else (False,):
            for dilation in (1, 2, 3, 4) if k > 1 else (1,):
                branch = Branch(kernel_size=k, asymmetric=asymmetric, dilation=dilation)
                assert Branch.model_validate(str(branch)) == branch


@pytest.mark.parametrize(
    ("text", "rule"),
    [("4", "must be odd"), ("17", "from 1 to 15"), ("1a", "cannot be asymmetric"), ("x", "not a kernel")],
)
def test_a_kernel_that_cannot_be_built_names_the_rule(text: str, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Branch.model_validate(text)


def test_the_release_has_six_combinations() -> None:
    assert len(COMBINATIONS) == 6
    with pytest.raises(SpecError, match="combination=6 does not exist; the release has 0 to 5"):
        load_architecture("jetseg-nano-released", combination=6)


def test_a_combination_in_the_paper_form_is_refused() -> None:
    with pytest.raises(SpecError, match="combination=3 needs form: released"):
        load_architecture("jetseg-nano", combination=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": "mean"}, "groups='mean': expected a count, mean-divisor, gcd or at-most-N"),
        ({"groups": 0}, "groups=0 must be at least 1"),
        ({"stages.s2.channels": "16x"}, "stages.s2.channels: channels='16x': expected a count"),
        ({"stages.s0.repeats": 1}, "stages.s0.repeats"),
        ({"stages.s3.attention": "self"}, "stages.s3.attention"),
        ({"jetconv.branches": []}, "jetconv.branches"),
        ({"decoder.taps.s2": "third"}, "decoder.taps.s2"),
        ({"form": "fixed"}, "form: expected 'paper' or 'released'"),
    ],
)
def test_a_wrong_value_is_refused_by_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_architecture("jetseg-nano", **changes)
    assert message in str(caught.value)
