import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

from jetbench import load_architecture
from jetbench.data.labels import CLASSES_11
from jetbench.network.closed_form import cost_of
from jetbench.network.variants import expand_sweep, read_sweep
from jetbench.search.screen import CountedQuantity, ScreenLimits, screen
from jetbench.search.screening import (
    STREETS_CLASSES,
    ScreenBar,
    describe_outcome,
    write_screening,
)
from jetbench.spec.search import Space

SPACE = Space(
    name="small",
    base="jetseg-nano",
    size=(64, 96),
    classes=11,
    axes={"jetconv.branches": ["3a", ["3a", "5a"]], "groups": [1, "gcd", "mean-divisor"], "expansion": [1, 2]},
)


def write(folder: Path, limits: ScreenLimits, by: CountedQuantity = "macs", **options: Any) -> str:
    console = Console(file=io.StringIO(), width=160)
    result = screen(SPACE, limits, samples=options.pop("samples", None))
    write_screening(
        console, folder, result, by, options.get("largest", False), options.get("top"), options.get("most", 4)
    )
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_every_survivor_with_its_costs_in_order(tmp_path: Path) -> None:
    write(tmp_path, {"parameters": 40_000})
    table = pd.read_csv(tmp_path / "survivors.csv")
    assert len(table) == len(screen(SPACE, {"parameters": 40_000}).survivors)
    assert table["macs"].is_monotonic_increasing
    for row in table.to_dict("records"):
        groups = int(row["groups"]) if row["groups"].isdigit() else row["groups"]
        changes = {"jetconv.branches": row["jetconv.branches"], "groups": groups, "expansion": row["expansion"]}
        cost = cost_of(load_architecture("jetseg-nano", **changes), 11, (64, 96))
        assert (row["parameters"], row["macs"], row["memory_bytes"]) == (cost.parameters, cost.macs, cost.memory_bytes)


def test_the_survivors_are_a_sweep_with_the_same_costs(tmp_path: Path) -> None:
    text = write(tmp_path, {"parameters": 60_000}, by="parameters", largest=True, most=3)
    assert f"jetbench sweep {tmp_path / 'survivors.yaml'}" in text.replace("\n", "")
    asked = read_sweep(str(tmp_path / "survivors.yaml"))
    variants = expand_sweep(asked, 11, (64, 96))
    assert len(variants) == 3
    assert asked.name == "small-survivors"
    costs = [cost_of(variant.architecture, 11, (64, 96)).parameters for variant in variants]
    assert costs == pd.read_csv(tmp_path / "survivors.csv")["parameters"].unique()[:3].tolist()


def test_other_classes_than_those_of_the_streets_are_pointed_out(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    result = screen(SPACE.model_copy(update={"classes": 19}), {})
    write_screening(console, tmp_path, result, "macs", False, None, 2)
    assert isinstance(console.file, io.StringIO)
    assert "Screened with 19 classes; the generated streets of that sweep have 11" in console.file.getvalue()
    assert "with 19 classes" in read_sweep(str(tmp_path / "survivors.yaml")).description
    assert "streets of that sweep" not in write(tmp_path, {})


def test_the_streets_have_as_many_classes_as_is_said() -> None:
    assert len(CLASSES_11) == STREETS_CLASSES


def test_a_base_that_is_a_file_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = load_architecture("jetseg-nano").model_dump(mode="json", exclude_none=True)
    Path("own.yaml").write_text(yaml.safe_dump(raw))
    console = Console(file=io.StringIO())
    result = screen(SPACE.model_copy(update={"base": "own.yaml"}), {})
    write_screening(console, tmp_path / "out", result, "macs", False, None, 2)
    monkeypatch.chdir("/")
    assert len(expand_sweep(read_sweep(str(tmp_path / "out" / "survivors.yaml")), 11, (64, 96))) == 2


def test_top_keeps_so_many(tmp_path: Path) -> None:
    write(tmp_path, {}, top=2)
    assert len(pd.read_csv(tmp_path / "survivors.csv")) == 2


def test_nothing_that_fits_is_said_with_the_least_there_is_and_no_old_sweep_stays(tmp_path: Path) -> None:
    write(tmp_path, {})
    assert (tmp_path / "survivors.yaml").exists()
    text = write(tmp_path, {"parameters": 10})
    assert "Nothing fits. The smallest values" in text
    assert "parameters 12" in text
    assert not (tmp_path / "survivors.yaml").exists()
    assert "To train" not in text


def test_a_sample_says_that_it_is_one() -> None:
    (first, second, *_) = describe_outcome(screen(SPACE, {"parameters": 40_000}, samples=6))
    assert "12 variants of jetseg-nano (2 x 3 x 2) at 64x96, 11 classes" in first
    assert "6 random ones were counted (seed 0)" in second
    assert "95 % interval" in second
    assert "All of them were counted" in describe_outcome(screen(SPACE, {}))[1]


def test_what_was_done_is_kept_beside_the_table(tmp_path: Path) -> None:
    write(tmp_path, {"parameters": 40_000}, samples=6)
    kept = json.loads((tmp_path / "screening.json").read_text())
    assert (kept["variants_in_space"], kept["looked_at"], kept["sample_seed"]) == (12, 6, 0)
    assert kept["limits"] == {"parameters": 40_000}
    assert Space.model_validate(kept["space"]) == SPACE


def test_off_a_terminal_progress_is_a_line_for_each_tenth() -> None:
    console = Console(file=io.StringIO(), width=100)
    with ScreenBar(console) as bar:
        for done in range(1, 101):
            bar.report(done, 100, done // 2)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().split("\n")
    lines = [line for line in lines if line]  # rich 13.0 ends with an empty one
    assert len(lines) == 10
    assert lines[-1].startswith("100 of 100, ")
    assert lines[-1].endswith("50 fit")
