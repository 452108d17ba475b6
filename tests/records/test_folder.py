"""What is no record is refused with its line, what is wrong with it, and the way out."""

import json
from pathlib import Path
from typing import Any

import pytest

from jetbench.errors import StudyError
from jetbench.records.folder import RECORDS, append_records, read_records
from tests.made_up import record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        append_records(tmp_path, record(name))
    return tmp_path


def damage(folder: Path, *where: Any, value: Any) -> None:
    """Replace a value of the second record."""
    first, second = (folder / RECORDS).read_text().splitlines()
    raw = json.loads(second)
    held = raw
    for key in where[:-1]:
        held = held[key]
    held[where[-1]] = value
    (folder / RECORDS).write_text(f"{first}\n{json.dumps(raw)}\n")


RUN = ("profile", "model_latency", "runs", 0, "samples_s")


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ((*RUN, 0), float("nan"), "runs.0.samples_s.0: Input should be a finite number"),
        (("training", "loss_curve", 0, 1), float("inf"), "loss_curve.0.1: Input should be a finite number"),
        ((*RUN, 0), 0.0, "samples_s.0: Input should be greater than 0"),
        (RUN, [], "samples_s: Tuple should have at least 1 item"),
        (("training", "test", "true_positives"), [0, 0, 0], None),
        (("variant",), 3, "variant: Input should be a valid string"),
    ],
)
def test_a_number_that_is_none_is_refused(folder: Path, where: tuple[Any, ...], value: Any, said: str | None) -> None:
    damage(folder, *where, value=value)
    if said is None:
        damage(folder, "training", "test", "false_negatives", value=[0, 0, 0])
        said = "no labelled pixel was counted"
    with pytest.raises(StudyError, match=rf"records.jsonl:2: .*{said}.*; if it was damaged, delete this line"):
        read_records(folder)


def test_bytes_of_another_encoding_are_told_and_a_byte_order_mark_is_none_of_a_readers_business(folder: Path) -> None:
    content = (folder / RECORDS).read_bytes()
    (folder / RECORDS).write_bytes(b"\xef\xbb\xbf" + content)
    assert [each.variant for each in read_records(folder)] == ["a", "b"]
    (folder / RECORDS).write_bytes(content + b"\xff\xfe\n")
    with pytest.raises(StudyError, match=f"byte {len(content)} is no UTF-8"):
        read_records(folder)


def test_half_a_letter_that_a_killed_driver_left_is_no_record(folder: Path) -> None:
    with (folder / RECORDS).open("ab") as file:
        file.write('{"variant": "\N{GREEK SMALL LETTER ALPHA}'.encode()[:-1])
    assert [each.variant for each in read_records(folder)] == ["a", "b"]
