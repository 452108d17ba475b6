import os
import subprocess
import time
from pathlib import Path

import pytest

from jetbench.files import file_name, read_text, write_whole


def test_a_file_is_replaced_whole_and_in_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    write_whole(path, "old")
    path.chmod(0o640)
    write_whole(path, "new \N{EM DASH}")
    assert path.read_bytes() == "new \N{EM DASH}".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["a.md"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half a character: \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.md"]
    with pytest.raises(OSError, match="No space left"):
        write_whole(Path("/dev/full"), "x" * 100_000)


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)


def test_only_plain_files_of_a_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("words")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    assert read_text(tmp_path / "plain", 5) == "words"
    for path, said in (
        (tmp_path / "plain", "has 5 bytes, and at most 4"),
        (tmp_path / "pipe", "is a pipe or a device"),
        (tmp_path / "link", "is a pipe or a device"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(OSError, match=said):
            read_text(path, 4)


def test_a_pipe_that_nobody_reads_is_not_waited_for_and_one_that_is_read_gets_its_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        write_whole(tmp_path / "pipe", "words")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        for _ in range(200):
            try:
                write_whole(tmp_path / "pipe", "words")
                break
            except OSError:
                time.sleep(0.05)  # it has not opened it yet
        assert reader.communicate(timeout=10)[0] == "words"


@pytest.mark.parametrize(
    ("text", "name"),
    [("../../etc/passwd", "etc-passwd"), ("/abs", "abs"), ("..", "unnamed"), ("a b", "a-b"), ("n" * 300, "n" * 80)],
)
def test_a_text_as_a_files_name_stays_in_its_folder(text: str, name: str) -> None:
    assert file_name(text) == name
