"""What is no record is refused with its line, what is wrong with it, and the way out."""

import errno
import json
import os
import re
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from jetbench.errors import StudyError
from jetbench.records.folder import (
    LOCK,
    RECORDS,
    add_profiles,
    append_records,
    lock_folder,
    read_landed,
    read_profiles,
    read_records,
)
from jetbench.records.record import profile_key
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import profile, record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        append_records(tmp_path, record(name))
    return tmp_path


def damage(folder: Path, *where: Any, value: Any) -> None:
    """Replace a value of the second record, in the row that has it."""
    lines = (folder / RECORDS).read_text().splitlines()
    number = 2 if where[0] == "profile" else 3
    raw = json.loads(lines[number])
    held = raw
    for key in where[:-1]:
        held = held[key]
    held[where[-1]] = value
    lines[number] = json.dumps(raw)
    (folder / RECORDS).write_text("\n".join(lines) + "\n")


RUN = ("profile", "model_latency", "runs", 0, "samples_s")


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ((*RUN, 0), float("nan"), "runs.0.samples_s.0: expected a finite number"),
        (("training", "loss_curve", 0, 1), float("inf"), "loss_curve.0.1: expected a finite number"),
        ((*RUN, 0), 0.0, "samples_s.0: must be greater than 0"),
        (RUN, [], "samples_s: Tuple should have at least 1 item"),
        (("training", "test", "true_positives"), [0, 0, 0], None),
        (("variant",), 3, "variant: expected text"),
    ],
)
def test_a_number_that_is_none_is_refused(folder: Path, where: tuple[Any, ...], value: Any, said: str | None) -> None:
    damage(folder, *where, value=value)
    if said is None:
        damage(folder, "training", "test", "false_negatives", value=[0, 0, 0])
        said = "the counts contain no labelled pixel"
    with pytest.raises(StudyError, match=rf"records.jsonl:[34]: .*{said}.*; if the line is damaged, delete it"):
        read_records(folder)


def test_bytes_of_another_encoding_are_told_and_a_byte_order_mark_is_none_of_a_readers_business(folder: Path) -> None:
    content = (folder / RECORDS).read_bytes()
    (folder / RECORDS).write_bytes(b"\xef\xbb\xbf" + content)
    assert [each.variant for each in read_records(folder)] == ["a", "b"]
    (folder / RECORDS).write_bytes(content + b"\xff\xfe\n")
    with pytest.raises(StudyError, match=f"byte {len(content)} is not UTF-8"):
        read_records(folder)


def test_half_a_letter_that_a_killed_driver_left_is_no_record(folder: Path) -> None:
    with (folder / RECORDS).open("ab") as file:
        file.write('{"variant": "\N{GREEK SMALL LETTER ALPHA}'.encode()[:-1])
    assert [each.variant for each in read_records(folder)] == ["a", "b"]


def test_a_training_may_have_many_profiles_each_by_the_weights_that_it_measured(folder: Path) -> None:
    trained = record("c", weights="f00d")
    append_records(folder, trained)
    for threads in (2, 4):
        config = ProfilingConfig(threads=threads)
        again = record("weights of c", kind="profile", weights="f00d", profiling_config=config)
        append_records(folder, again.model_copy(update={"key": profile_key(again)}))
    found = read_records(folder)
    assert [(each.variant, each.kind, each.profiling_config.threads) for each in found[2:]] == [
        ("c", "training", 1), ("c", "profile", 2), ("c", "profile", 4),
    ]  # fmt: skip
    assert all(each.training == trained.training for each in found[2:])
    assert [each.variant for each in read_landed(folder)] == ["a", "b", "c"]


def test_a_training_without_a_profile_takes_the_first_that_was_measured_of_its_weights(folder: Path) -> None:
    append_records(folder, record("c", weights="f00d", profile=None))
    later = record("by itself", kind="profile", weights="f00d", latency_s=0.5)
    append_records(folder, later.model_copy(update={"key": profile_key(later)}))
    last = read_records(folder)[-1]
    assert (last.variant, last.kind) == ("c", "training")
    assert last.profile
    assert last.profile.model_latency
    assert last.profile.model_latency.median_s == 0.5
    assert read_landed(folder)[-1].profile is None  # a driver would still profile it


def test_a_profile_of_random_weights_stands_alone_and_the_newest_of_a_setting_counts(folder: Path) -> None:
    for latency_s in (0.1, 0.2):
        alone = record("nano", kind="profile", is_trained=False, latency_s=latency_s, dataset=None)
        alone = alone.model_copy(update={"training": None, "training_config": None})
        assert alone.profile
        profile = alone.profile.model_copy(update={"num_classes": 11})
        alone = alone.model_copy(update={"profile": profile})
        append_records(folder, alone.model_copy(update={"key": profile_key(alone)}))
    (only,) = read_records(folder)[2:]
    assert (only.kind, only.num_classes, only.input_size, only.training) == ("profile", 11, (64, 96), None)
    assert only.measured.model_latency
    assert only.measured.model_latency.median_s == 0.2


def test_a_profile_alone_without_a_number_of_classes_is_refused_with_its_line(tmp_path: Path) -> None:
    append_records(tmp_path, record("v", kind="profile", key="k"))
    path = tmp_path / RECORDS
    path.write_text(path.read_text().replace('"num_classes":3', '"num_classes":null'))
    with pytest.raises(StudyError, match=r"records.jsonl:1: .*how many classes it has\); if the line is damaged"):
        read_records(tmp_path)


def test_a_profile_whose_training_was_not_written_any_more_has_not_landed(folder: Path) -> None:
    append_records(folder, record("c"))
    lines = (folder / RECORDS).read_text().splitlines(keepends=True)
    (folder / RECORDS).write_text("".join(lines[:-1]))  # killed between the two rows
    assert [each.variant for each in read_records(folder)] == ["a", "b"]


def test_writers_of_one_file_do_not_mix_their_rows(folder: Path) -> None:
    threads = [Thread(target=append_records, args=(folder, record(f"t{n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.variant for each in read_records(folder)} == {"a", "b", *(f"t{n}" for n in range(8))}


def test_a_last_row_that_lost_its_line_end_is_kept_and_the_next_one_is_a_line_of_its_own(folder: Path) -> None:
    path = folder / RECORDS
    path.write_bytes(path.read_bytes()[:-1])  # truncate -s -1, or an editor
    assert [each.variant for each in read_records(folder)] == ["a", "b"]
    append_records(folder, record("c"))
    assert [each.variant for each in read_records(folder)] == ["a", "b", "c"]


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_rows_are_read_however_their_lines_end(folder: Path, end: bytes) -> None:
    path = folder / RECORDS
    path.write_bytes(path.read_bytes().replace(b"\n", end))
    assert [each.variant for each in read_records(folder)] == ["a", "b"]
    append_records(folder, record("c"))
    assert [each.variant for each in read_records(folder)] == ["a", "b", "c"]
    path.write_bytes(path.read_bytes() + end + end)  # and blank lines
    assert [each.variant for each in read_records(folder)] == ["a", "b", "c"]


def test_half_a_row_is_removed_before_the_next_is_written(folder: Path) -> None:
    path = folder / RECORDS
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 3])
    append_records(folder, record("c"))
    assert [each.variant for each in read_records(folder)] == ["a", "b", "c"]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("content", [b"\0" * 100, b"variant,val\na,3", b"[1, 2]"])
def test_bytes_without_a_row_are_no_empty_study(folder: Path, content: bytes) -> None:
    (folder / RECORDS).write_bytes(content)
    with pytest.raises(StudyError, match=r"holds no record; it was not written by jetbench|not JSON|not a record"):
        read_records(folder)


@pytest.mark.parametrize("version", [1, 4, 99, None, "3", [3]])
def test_a_record_of_another_version_is_refused_by_its_version(folder: Path, version: Any) -> None:
    damage(folder, "version", value=version)
    with pytest.raises(StudyError, match=rf"a record of version {re.escape(repr(version))}; this jetbench .* reads"):
        read_records(folder)


def test_a_pipe_is_no_records_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORDS)
    with pytest.raises(StudyError, match="is a pipe or a device"):
        read_records(tmp_path)


def test_what_a_link_in_place_of_the_lock_points_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(StudyError, match="is a link or a pipe, not a lock"), lock_folder(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with lock_folder(tmp_path):
        append_records(tmp_path, record("a"))
    assert [each.variant for each in read_records(tmp_path)] == ["a"]
    assert "this file system has no locks" in capsys.readouterr().err


def test_a_collected_profile_never_hides_the_scores_of_a_training(tmp_path: Path) -> None:
    """A file has scores of its own: a training without a profile keeps its mIoU, and the file is a line beside it."""
    trained = record("v", weights="w" * 64).model_copy(update={"profile": None})
    config = ProfilingConfig(backend="tensorrt", dtype="fp16")
    file = record("v", kind="profile", key="file", weights="w" * 64, profiling_config=config)
    append_records(tmp_path, trained, file)
    own, beside = read_records(tmp_path)
    assert own.counts_on("val") is not None
    assert own.profile is None
    assert (beside.kind, beside.profiling_config.backend, beside.counts_on("val")) == ("profile", "tensorrt", None)


def test_the_newest_of_two_results_counts_whatever_is_collected_last(tmp_path: Path) -> None:
    old = record("v", kind="profile", key="k", weights="w" * 64, finished="2026-11-29T10:00:00+00:00")
    new = old.model_copy(update={"profile": profile(0.02, num_classes=3), "finished": "2026-11-30T10:00:00+00:00"})
    failed = new.model_copy(
        update={"profile": profile(0.02, num_classes=3, model_latency=None), "finished": "2026-12-01T10:00:00+00:00"}
    )
    assert [add_profiles(tmp_path, [each]) for each in (old, new, old, new, failed)] == [1, 1, 0, 0, 0]
    (kept,) = read_profiles(tmp_path)
    assert kept.measured.model_latency == new.measured.model_latency
