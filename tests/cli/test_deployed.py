"""What ships, as a user meets it: forms in a sweep, model files, scores of files, and messages for what cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.test_verbs import jetbench
from tests.fuzz.samples import write_graph

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

SWEEP = """
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 8, val: 4, test: 4}
training: {budget: 2 steps, batch_size: 4, evaluations: 1}
profiling:
  backend: [eager, folded, onnxruntime, "onnxruntime:int8"]
  power: none
  min_seconds: 0
  precision: 1
  warmup_iterations: 1
  min_iterations: 3
"""
SIZES = [part for name in ("train", "val", "test") for part in ("--set", f"{name}=2")]


def read_json(output: str) -> Any:
    """The JSON of stdout, which what stderr says may follow."""
    return json.JSONDecoder().raw_decode(output)[0]


@pytest.mark.slow
def test_a_sweep_has_a_row_per_form_with_the_score_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SWEEP)
    jetbench("sweep", "s.yaml", cwd=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "reports/s/records.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["profile"] * 4 + ["training"]
    deployed = [row["profile"]["deployment"] for row in rows[2:4]]
    assert rows[0]["profile"].get("deployment") is None
    for each in deployed:
        (score,) = each["scores"]
        assert (score["split"], score["images"], score["pixels"]) == ("val", 4, 4 * 64 * 96)
    assert deployed[0]["convolutions"] == {"fp32": sum(deployed[0]["convolutions"].values())}
    assert deployed[1]["calibration"]["dataset"] == "streets"
    assert deployed[1]["convolutions"].keys() == {"int8", "fp32"}
    assert rows[2]["profile"]["comparison"]["reference"] == "eager"
    table = (tmp_path / "reports/s/table.md").read_text()
    assert "| jetseg-nano [onnxruntime int8]" in table
    assert "calibrated on 8 images of train of streets" in table
    compared = jetbench(
        "compare", "reports/s", "--backend", "eager,onnxruntime,onnxruntime:int8", "--all", cwd=tmp_path
    )
    assert "eager → onnxruntime int8" in compared
    jetbench("plot", "reports/s", "--picture", "backends", "--all", "--out", "pictures", cwd=tmp_path)
    assert (tmp_path / "pictures/backends.png").stat().st_size > 10_000
    assert "1 of them finished already" in jetbench("sweep", "s.yaml", cwd=tmp_path)
    frame = (tmp_path / "reports/s/table.csv").read_text().splitlines()
    assert len(frame) == 5
    page = jetbench("report", "reports/s", cwd=tmp_path)
    assert "report.html" in page


@pytest.mark.slow
def test_a_model_file_of_another_exporter_is_measured_and_scored_as_it_is(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx")
    shown = jetbench("profile", "model.onnx", "--quick", "--limit", "1s", "--json", cwd=tmp_path)
    record = read_json(shown)
    assert record["profile"]["parameters"] == 4 * 27 + 4
    assert record["profile"]["macs"] == 27 * 4 * 32 * 48
    assert record["profile"]["deployment"]["convolutions"] == {"fp32": 1}
    assert record["profiling_config"]["backend"] == "onnxruntime"
    assert record["architecture"]["name"] == "model"
    counted = jetbench("profile", "model.onnx", "--device", "agx", "--json", "--name", "agx", cwd=tmp_path)
    assert read_json(counted)["profile"]["macs"] == 27 * 4 * 32 * 48


@pytest.mark.slow
def test_an_exported_file_brings_what_its_manifest_says(tmp_path: Path) -> None:
    jetbench("export", "jetseg-nano", "--size", "64x96", "--include", "normalise,argmax", "--out", "out", cwd=tmp_path)
    record = read_json(jetbench("profile", "out/model.onnx", "--quick", "--limit", "1s", "--json", cwd=tmp_path))
    assert record["profile"]["num_classes"] == 11
    assert len(record["profile"]["deployment"]["parities"]) == 2
    assert record["profile"]["end_to_end_latency"]["runs"]


@pytest.mark.slow
def test_a_small_map_of_another_exporter_is_enlarged_to_be_scored(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx", classes=11, is_resized=False)
    feed = ("--mean", "1,2,3", "--std", "64,64,64", "--json")
    scores = read_json(jetbench("evaluate", "model.onnx", "--dataset", "streets", *SIZES, *feed, cwd=tmp_path))
    assert 0 <= scores["miou"] <= 1
    assert scores["not_compared"] == "another exporter wrote the file"


@pytest.mark.slow
def test_a_file_that_its_runtime_cannot_open_is_a_message(tmp_path: Path) -> None:
    import onnx

    write_graph(tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"))
    model.graph.node[0].op_type = "Nonsense"
    onnx.save(model, str(tmp_path / "model.onnx"))
    text = jetbench("profile", "model.onnx", "--quick", cwd=tmp_path, code=2)
    assert "onnxruntime cannot open" in text
    assert "Nonsense" in text


def test_a_bare_file_is_scored_if_one_says_how_to_feed_it(tmp_path: Path, refused: Callable[..., str]) -> None:
    write_graph(tmp_path / "model.onnx")
    data = ("--dataset", "streets", *SIZES)
    assert "say it with --mean and --std" in refused("evaluate", "model.onnx", *data)
    assert "expected three numbers" in refused("evaluate", "model.onnx", *data, "--mean", "1,2", "--std", "1,1,1")
    text = refused("evaluate", "model.onnx", *data, "--mean", "1,2,3", "--std", "64,64,64")
    assert "has 4 classes, and the data have 11" in text
    assert "give onnxruntime or openvino" in refused("evaluate", "model.onnx", *data, "--backend", "eager")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--backend", "eager"), "eager cannot run it; choose onnxruntime or openvino"),
        (("--batch", "2"), "takes 1 images at once; give --batch 1"),
        (("--size", "32x32"), "takes images of 64x96; leave out --size"),
        (("--classes", "7"), "gives logits of 4 classes"),
    ],
)
def test_what_a_model_file_fixes_is_not_asked_otherwise(
    options: tuple[str, ...], problem: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    write_graph(tmp_path / "model.onnx")
    assert problem in refused("profile", "model.onnx", *options)


def test_files_that_are_no_models_are_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"PK\x03\x04")
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04")
    assert "is no ONNX model" in refused("profile", "a.onnx")
    assert "is no TorchScript file" in refused("profile", "a.pt")
    assert "no such file" in refused("profile", "b.onnx")
    assert "OpenVINO's own file" in refused("profile", "b.xml")


@pytest.mark.slow
def test_torchscript_of_another_program_is_measured_as_it_is(tmp_path: Path) -> None:
    module = torch.nn.Conv2d(3, 5, 3, padding=1).eval()
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3, 64, 96)), str(tmp_path / "x.pt"))  # type: ignore[no-untyped-call]
    record = read_json(
        jetbench("profile", "x.pt", "--size", "64x96", "--quick", "--limit", "1s", "--json", cwd=tmp_path)
    )
    assert record["profile"]["macs"] == 135 * 64 * 96
    assert record["profile"]["parameters"] == 140
    assert record["profile"]["num_classes"] == 5


@pytest.mark.slow
def test_the_cache_lists_exported_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETBENCH_CACHE", str(tmp_path / "cache"))
    jetbench(
        "profile",
        "jetseg-nano",
        "--size",
        "64x96",
        "--backend",
        "onnxruntime",
        "--quick",
        "--limit",
        "1s",
        cwd=tmp_path,
    )
    assert "1 exported file of " in jetbench("cache", cwd=tmp_path)
    assert "0 bytes freed" in jetbench("cache", "--clear-retired", cwd=tmp_path)
    jetbench("cache", "--clear", cwd=tmp_path)
    assert "exported file" not in jetbench("cache", cwd=tmp_path)
