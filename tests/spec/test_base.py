from pathlib import Path

import pytest
from pydantic import ValidationError

from jetbench.errors import SpecError
from jetbench.spec.architecture import Architecture
from jetbench.spec.base import first_problem, override, parse_spec, read_yaml
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.search import Search
from jetbench.spec.sweep import Sweep
from jetbench.spec.values import parse_bytes, parse_count, parse_size
from jetbench.spec.words import ELSEWHERE


def test_a_size_is_height_then_width() -> None:
    assert parse_size("360x480") == (360, 480)


@pytest.mark.parametrize("text", ["360", "0x5", "axb", "360x480x3", "-1x4"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="HEIGHTxWIDTH"):
        parse_size(text)


def test_a_key_of_a_file_cannot_steer_the_terminal() -> None:
    with pytest.raises(ValidationError) as found:
        ProfilingConfig.model_validate({"\x9b31m": 1})
    assert first_problem(found.value).startswith("\\x9b31m: ")


def test_all_wrong_keys_are_reported_at_once_with_their_values() -> None:
    raw = {
        "base_channels": 0,
        "max_channels": 64,
        "max_expanded_channels": 64,
        "decoder": {"head_chanels": 64},
        "activation": "gelu",
    }
    with pytest.raises(SpecError) as caught:
        parse_spec(Architecture, raw, "bad.yaml")
    message = str(caught.value)
    assert message.startswith("bad.yaml:")
    for part in (
        "base_channels",
        "must be at least 1",
        "decoder.head_channels: is missing",
        "decoder.head_chanels",
        "gelu",
    ):
        assert part in message


def test_a_key_given_twice_is_an_error_and_not_the_last_value(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("base: a\nbase: b\n")
    with pytest.raises(SpecError, match="'base' is given twice"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2", "expected a mapping"),
        ("", "expected a mapping"),
        ("just words", "expected a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        read_yaml(path)


def test_override_changes_a_dotted_key_and_leaves_the_original_alone() -> None:
    raw = {"stages": {"s2": {"repeats": 1}}}
    assert override(raw, {"stages.s2.repeats": 3, "form": "paper"}) == {
        "stages": {"s2": {"repeats": 3}},
        "form": "paper",
    }
    assert raw == {"stages": {"s2": {"repeats": 1}}}


def test_override_through_a_value_that_has_no_keys_is_refused() -> None:
    with pytest.raises(SpecError, match="'activation' holds 'reu'"):
        override({"activation": "reu"}, {"activation.name": "relu"})


@pytest.mark.parametrize(
    ("text", "value"), [("40000", 40_000), ("40k", 40_000), ("1.2M", 1_200_000), ("1.2 G", 1_200_000_000), ("0", 0)]
)
def test_counts_are_decimal(text: str, value: int) -> None:
    assert parse_count(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("64MiB", 64 * 2**20), ("64MB", 64_000_000), ("1.5GiB", 3 * 2**29), ("500 kB", 500_000), ("8B", 8)],
)
def test_bytes_tell_binary_from_decimal_units(text: str, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "many", "-4k", "1.2g", "40 MiB", "1e9", "k"])
def test_what_is_no_count_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 40000, 40k"):
        parse_count(text)


@pytest.mark.parametrize("text", ["64", "64M", "64mib", "MiB", "-1MiB"])
def test_bytes_without_their_unit_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 64MiB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"training": {"batchsize": 4}}, "training.batchsize: no such key; did you mean batch_size?"),
        ({"batch_size": 4}, "batch_size: no such key here; batch_size belongs at training.batch_size or profiling"),
        ({"training": {"batch_size": "four"}}, r"training.batch_size: expected a whole number \(given: 'four'\)"),
        (
            {"training": {"weight_decay": -1}},
            r"weight_decay: must be at least 0 \(given: -1\)",
        ),
        ({"include_base": "maybe"}, "include_base: expected true or false"),
        ({"device": "gpu"}, "device: expected 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_a_wrong_key_or_value_is_said_in_plain_words(raw: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_spec(Sweep, {"name": "x", "base": "jetseg-nano", **raw}, "x.yaml")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"lr": 0.1}, "lr: no such key; write training.learning_rate"),
        ({"epochs": 3}, "epochs: no such key; write training.budget: N epochs"),
        ({"architecture": "jetseg-nano"}, "architecture: no such key; write base: NAME"),
        ({"attention": "eca"}, "attention: no such key; write stages.s1.attention, and so for s2 and s3"),
        ({"image-size": 3}, "image-size: no such key; write dataset.size"),
        ({"budget": "3 steps"}, "budget: no such key here; budget belongs at training.budget"),
    ],
)
def test_the_words_of_other_tools_are_answered_with_ours(raw: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(Sweep, {"name": "t", "base": "jetseg-nano", **raw}, "t.yaml")
    assert said in str(error.value)


def test_a_word_of_ours_is_not_in_the_list_of_others() -> None:
    for kind in (Sweep, Search):
        assert not set(ELSEWHERE) & set(kind.model_fields) - {"parameters"}


@pytest.mark.parametrize(
    ("labels", "said"),
    [({"a": "  "}, "at least one letter"), ({"a": "same", "b": " same"}, "several are called 'same'")],
)
def test_labels_are_told_apart(labels: dict[str, str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_spec(Sweep, {"name": "t", "base": "jetseg-nano", "labels": labels}, "t.yaml")
