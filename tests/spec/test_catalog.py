from pathlib import Path

import pytest

from jetbench import SpecError, load_architecture
from jetbench.spec.base import read_yaml
from jetbench.spec.catalog import Kind, find, load_jetseg, names, read_extended


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
        ("my.onnx", "my.onnx: is an ONNX file; a sweep is a name from `jetbench list` or a .yaml file"),
        ("my.pt", "my.pt: holds weights of torch; a sweep is"),
        ("net.py", "net.py: is Python source"),
        ("w.safetensors", "`profile`, `evaluate` and `predict` take weights"),
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


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_a_file_has_the_keys_of_the_one_that_it_extends_where_it_sets_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        grand="name: grand\ndescription: old\nbase: jetseg-nano\ntraining: {loss: dice, budget: 9 steps}\nseeds: [1]\n",
        parent="extends: grand.yaml\ntraining: {budget: 5 steps}\ndataset: {name: streets, size: 64x96}\n",
        child="extends: parent.yaml\nseeds: [2, 3]\ndataset: {name: camvid}\n",
    )
    assert read_extended("sweep", tmp_path / "child.yaml") == {
        "base": "jetseg-nano",
        "training": {"loss": "dice", "budget": "5 steps"},  # key by key
        "seeds": [2, 3],  # a list as a whole
        "dataset": {"name": "camvid"},  # other data
    }


def test_a_bundled_file_is_extended_by_name_and_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, mine="extends: nano\ntraining: {budget: 5 steps}\n", a="extends: b.yaml\n", b="extends: a.yaml\n")
    raw = read_extended("sweep", tmp_path / "mine.yaml")
    assert raw["base"] == "jetseg-nano"
    assert raw["training"]["budget"] == "5 steps"
    assert raw["training"]["loss"] == "jetloss"
    with pytest.raises(SpecError, match="extends this file in turn"):
        read_extended("sweep", tmp_path / "a.yaml")
    write(tmp_path, c="extends: 5\n", d="extends: nowhere\n")
    with pytest.raises(SpecError, match="extends: expected the name"):
        read_extended("sweep", tmp_path / "c.yaml")
    with pytest.raises(SpecError, match="no bundled sweep has that name"):
        read_extended("sweep", tmp_path / "d.yaml")


def test_a_name_that_no_file_system_takes_is_an_error() -> None:
    for name in ("9" * 5000, "\u00e9" * 200, f"folder/{'x' * 300}.yaml"):
        with pytest.raises(SpecError, match="so long a name"):
            find("architecture", name)
