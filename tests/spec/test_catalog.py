from pathlib import Path

import pytest

from jetbench import SpecError, load_architecture
from jetbench.spec.base import read_yaml
from jetbench.spec.catalog import Kind, find, load_jetseg, names


def test_bundled_names_are_there() -> None:
    assert {"jetseg-nano", "jetseg-agx", "jetseg-workstation", "jetseg-nano-released"} <= set(names("architecture"))
    assert {"nano", "paper", "camvid"} <= set(names("sweep"))


def test_a_bundled_sweep_is_found_by_its_path_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("sweep", "sweeps/nano.yaml") == find("sweep", "nano")


def test_a_users_own_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        find("architecture", "jetseg-nano").read_text().replace("base_channels: 8", "base_channels: 6")
    )
    assert load_jetseg("mine.yaml").base_channels == 6
    assert load_architecture("mine.yaml").name == "mine"


@pytest.mark.parametrize("name", ["jetseg-nona", "nowhere/jetseg-nano.yaml", "sweeps/nano.yaml"])
def test_an_unknown_name_lists_what_there_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"bundled: .*jetseg-agx"):
        find("architecture", name)


def test_a_near_miss_is_offered() -> None:
    with pytest.raises(SpecError, match="did you mean jetseg-nano\\?"):
        find("architecture", "jetseg-nona")


def test_changes_reach_nested_fields() -> None:
    changed = load_jetseg("jetseg-nano", **{"stages.s2.repeats": 3, "jetconv.branches": "3a 5"})
    assert changed.stages.s2.repeats == 3
    assert changed.jetconv.branches is not None
    assert [str(branch) for branch in changed.jetconv.branches] == ["3a", "5"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "an empty name"),
        ("folder", "folder: is a folder"),
        ("file", "does not end in .yaml"),
        ("x.yaml", "no such"),
    ],
)
def test_what_is_no_yaml_file_is_called_what_it_is(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("base: jetseg-nano\n")
    with pytest.raises(SpecError, match=said):
        find("sweep", name)


def test_searches_are_those_files_that_have_axes() -> None:
    kinds: tuple[Kind, ...] = ("sweep", "search")
    for kind in kinds:
        for name in names(kind):
            assert ("axes" in read_yaml(find(kind, name))) == (kind == "search"), name
