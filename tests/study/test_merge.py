from pathlib import Path
from typing import Any

import pytest

from jetbench.errors import SpecError
from jetbench.records.folder import append_records, keep_sweep, read_records
from jetbench.reporting.studies import read_study
from jetbench.spec.base import parse_spec
from jetbench.spec.sweep import Sweep
from jetbench.study.merge import merge_studies
from tests.made_up import record


def sweep(name: str, values: list[Any], **more: Any) -> Sweep:
    raw = {"name": name, "base": "jetseg-nano", "variants": [{"grid": {"groups": values}}], **more}
    return parse_spec(Sweep, raw, "t.yaml")


def folder(path: Path, values: list[Any], names: list[str], **more: Any) -> Path:
    (path / "weights").mkdir(parents=True)
    keep_sweep(path, sweep(path.name, values, **more))
    for name in names:
        append_records(path, record(f"groups={name}", key=f"key{name}", changes={"groups": name}, fingerprint=name))
        (path / "weights" / f"groups-{name}-key{name}.safetensors").write_text(path.name)
    return path


def test_the_rows_and_weights_of_both_are_in_the_new_folder_and_repeated_ones_are_told(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a", [1, 2], ["1", "2"]), folder(tmp_path / "b", [2, 4], ["2", "4"])
    merged = merge_studies(first, second, tmp_path / "c")
    assert (merged.first, merged.second, merged.repeated) == (2, 1, ("groups=2",))
    assert [each.variant for each in read_records(tmp_path / "c")] == ["groups=1", "groups=2", "groups=4"]
    weights = {path.name: path.read_text() for path in (tmp_path / "c" / "weights").iterdir()}
    assert weights == {f"groups-{n}-key{n}.safetensors": "b" if n == "4" else "a" for n in ("1", "2", "4")}
    keep_sweep(tmp_path / "c", sweep("c", [1, 2, 4]))  # the sweep can be continued there
    assert read_study(tmp_path / "c").name == "c"


def test_other_sweeps_searches_and_taken_folders_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    first = folder(tmp_path / "a", [1], ["1"])
    other = folder(tmp_path / "b", [2], ["2"], training={"budget": "9 steps"})
    with pytest.raises(SpecError, match=r"training\.budget"):
        merge_studies(first, other, tmp_path / "c")
    with pytest.raises(SpecError, match="same folder"):
        merge_studies(first, first, tmp_path / "c")
    with pytest.raises(SpecError, match="not a report folder"):
        merge_studies(first, tmp_path / "nowhere", tmp_path / "c")
    assert not (tmp_path / "c").exists()
    with pytest.raises(SpecError, match="exists already"):
        merge_studies(first, folder(tmp_path / "d", [4], ["4"]), other)


def test_a_merged_row_is_of_its_own_session(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a", [1, 2], ["1", "2"]), folder(tmp_path / "b", [2, 4], ["2", "4"])
    merge_studies(first, second, tmp_path / "c")
    sessions = {row.name: row.session for row in read_study(tmp_path / "c").rows()}
    assert sessions == {"groups=1": "c", "groups=2": "c", "groups=4": str(second)}
