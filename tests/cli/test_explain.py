"""explain: a network on one screen, its choices undone, and the profiles of a folder."""

import json
from pathlib import Path

import pytest

from jetbench.reporting.sheets.profile import write_profiles
from jetbench.spec.device import load_device
from tests.cli.test_verbs import jetbench
from tests.made_up import profile, record
from tests.reporting.questions.test_why import KERNELS, PEAKS

SMALL = ("--size", "64x96", "--quick", "--limit", "1s")


@pytest.mark.slow
def test_a_network_is_explained_with_its_choices_undone_and_kept(tmp_path: Path) -> None:
    (found,) = json.loads(jetbench("explain", "jetseg-nano", *SMALL, "--json", cwd=tmp_path))
    assert found["network"] == "jetseg-nano"
    assert {each["name"] for each in found["parts"]} >= {"block 0", "decoder", "output"}
    assert sum(each["time_share"] for each in found["parts"]) == pytest.approx(1)
    assert sum(each["macs_share"] for each in found["kernels"]) == pytest.approx(1)
    assert sum(found["limits"].values()) == pytest.approx(1)
    assert len(found["sentences"]) == 3
    undone = {each["choice"]: each for each in found["undone"]}
    assert {"one branch less", "no dilation", "one group", "head of 32", "relu", "no attention"} == set(undone)
    assert undone["no dilation"]["macs"] == undone["no dilation"]["parameters"] == 0
    assert undone["one group"]["parameters"] > 0 > undone["one branch less"]["macs"]
    # What was measured is kept, and the folder is explained again without measuring.
    said = jetbench("explain", "reports/explain-cpu", cwd=tmp_path)
    assert "jetseg-nano at 64x96 on cpu" in said
    assert "One choice undone" in said


@pytest.mark.slow
def test_a_runtime_and_a_baseline_are_explained(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    said = jetbench("explain", "cgnet", *SMALL, "--backend", "onnxruntime", "--no-changes", cwd=tmp_path)
    assert "onnxruntime" in said
    assert "stage3" in said
    assert "Times of kernels: median of 5 passes by the profile of onnxruntime" in said
    assert "No choice was undone" in said


def test_a_folder_of_profiles_with_the_times_of_kernels_is_explained_as_it_is(tmp_path: Path) -> None:
    board = record(
        "tiny", kind="profile", profile=profile(0.011, kernels=KERNELS, peaks=PEAKS, device="agx", num_classes=3)
    )
    plain = record("plain", kind="profile", profile=profile(0.01, num_classes=3))
    write_profiles(tmp_path / "boards", [board, plain], load_device("agx"))
    said = jetbench("explain", "boards", cwd=tmp_path)
    assert "tiny at" in said
    assert "on agx" in said
    assert "plain" not in said
    write_profiles(tmp_path / "none", [plain], load_device("agx"))
    said = jetbench("explain", "none", cwd=tmp_path, code=2)
    assert "no profile has the times of its kernels" in said


def test_what_is_not_here_is_not_measured(tmp_path: Path) -> None:
    said = jetbench("explain", "jetseg-nano", "--device", "agx", cwd=tmp_path, code=2)
    assert "explain measures where it runs" in said
    said = jetbench("explain", "jetseg-nanoo", cwd=tmp_path, code=2)
    assert "did you mean jetseg-nano" in said
