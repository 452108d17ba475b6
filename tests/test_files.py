import os
from pathlib import Path

import pytest

from jetbench.files import write_whole


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
