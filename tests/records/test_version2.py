"""Records that an earlier version wrote are read as before; what stood in their sentences is typed."""

import json
import shutil
from pathlib import Path

import pytest

from jetbench.records.folder import RECORDS, append_records, read_landed, read_records
from jetbench.records.verdict import judge
from tests.kept import FOLDERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_kept_report_is_read(folder: Path) -> None:
    raw = [json.loads(line) for line in (folder / RECORDS).read_text().splitlines()]
    by_key = {record.key: record for record in read_records(folder)}
    for each in raw:
        if each["version"] > 2 and each["kind"] == "profile":
            continue  # joined with the training that it is of
        record = by_key[each["key"]]
        assert record.variant == each["variant"]
        if each["training"]:
            assert record.training
            assert record.training.model_dump(mode="json", exclude_unset=True) == each["training"]
        if each["failure"] and each["failure"].get("stage") == "limits":
            assert record.failure
            assert record.failure.limit == each["failure"]["reason"].split(":")[0]
            assert record.failure.excess
            assert f"is {record.failure.excess:,.0%} over" in record.failure.reason


def test_a_profile_by_itself_is_a_profile_by_itself(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "data" / "version2" / "profile.jsonl", tmp_path / RECORDS)
    (record,) = read_records(tmp_path)
    assert (record.kind, record.variant, record.is_trained, record.weights) == ("profile", "jetseg-nano", False, None)
    assert (record.num_classes, record.input_size) == (11, (64, 96))
    assert judge(record.measured).level == "not measured"
    assert read_landed(tmp_path) == []


def test_what_a_profile_ran_on_and_how_far_off_it_was_are_taken_from_its_notes(tmp_path: Path) -> None:
    raw = json.loads((ROOT / "tests" / "data" / "version2" / "profile.jsonl").read_text())
    raw["profile"]["notes"] |= {
        "processor": "the bundle was made for Jetson Nano 4GB, but was measured on: something else",
        "output": "the board's output differs from the reference by 0.02 of its largest value",
    }
    (tmp_path / RECORDS).write_text(json.dumps(raw) + "\n")
    profile = read_records(tmp_path)[0].measured
    assert (profile.runs_on, profile.output_difference) == ("another machine", 0.02)


def test_a_folder_of_version_2_goes_on_in_version_3(tmp_path: Path) -> None:
    shutil.copy(ROOT / "reports" / "paper" / "losses" / RECORDS, tmp_path)
    before = read_landed(tmp_path)
    append_records(tmp_path, before[0].model_copy(update={"key": "new", "variant": "new"}))
    after = read_landed(tmp_path)
    assert [each.key for each in after] == [*(each.key for each in before), "new"]
    assert after[: len(before)] == before
    assert after[-1].training == before[0].training
    assert after[-1].profile == before[0].profile
