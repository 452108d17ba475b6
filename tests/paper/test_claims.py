from pathlib import Path
from typing import Any

import pytest

from jetbench import load_architecture
from jetbench.paper.claims import (
    JUDGES,
    NETWORK,
    VERDICTS,
    build_claims,
    judge_claims,
    read_claims,
    read_table1,
)
from jetbench.records.record import Record
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.spec.training import TrainingConfig
from tests.made_up import ENVIRONMENT, failed, latency, profile, record, training

WITHOUT_A_STUDY = {
    "parameters": "reproduced",
    "flops": "not reproduced",
    "fps-titan-rtx": "contradicts itself",
    "fps-agx": "contradicts itself",
    "real-time-agx": "untestable here",
    "runs-on-nano": "untestable here",
    "twice-as-fast": "untestable here",
    "fewer-parameters": "contradicts itself",
    "fewer-flops": "contradicts itself",
    "jetloss-converges-faster": "untestable here",
    "jetloss-better": "untestable here",
    "accuracy": "untestable here",
    "three-devices": "contradicts itself",
    "row-linknet": "not reproduced",
    "row-cgnet": "not reproduced",
    "row-dsanet": "not reproduced",
    "adscnet": "not reproduced",
}


def study(*records: Record) -> Study:
    return Study(Path("made-up"), "made-up", "made-up", records)


def released(fps: float, device: str = "agx", gpu: str = "Xavier", **more: Any) -> Record:
    """The released nano at 512x512 on a board, made up."""
    environment = ENVIRONMENT.model_copy(update={"device": gpu})
    return record(
        NETWORK,
        architecture=load_architecture(NETWORK),
        profile=profile(
            1 / fps, device=device, input_size=(512, 512), environment=environment, model_latency=latency(1 / fps)
        ),
        **more,
    )


def test_every_claim_has_a_judge_and_every_judge_a_claim() -> None:
    assert [claim.name for claim in read_claims()] == list(JUDGES)


def test_what_counting_alone_decides() -> None:
    rulings = {ruling.claim.name: ruling for ruling in judge_claims()}
    assert {name: ruling.verdict for name, ruling in rulings.items()} == WITHOUT_A_STUDY
    assert all(ruling.evidence or ruling.missing for ruling in rulings.values())
    assert all(ruling.missing for ruling in rulings.values() if ruling.verdict == "untestable here")
    assert "32,140" in rulings["parameters"].evidence
    assert "19.38 M" in rulings["fewer-parameters"].evidence
    assert "158 (table 1) and 148 (discussion)" in rulings["fps-titan-rtx"].evidence


@pytest.mark.parametrize(("fps", "verdict"), [(40.0, "reproduced"), (20.0, "not reproduced")])
def test_a_profile_of_the_board_decides_what_hangs_on_it(fps: float, verdict: str) -> None:
    rulings = {ruling.claim.name: ruling for ruling in judge_claims([study(released(fps))])}
    assert rulings["real-time-agx"].verdict == verdict
    # Two different figures contradict each other, whatever is measured; which is nearer is said.
    assert rulings["fps-agx"].verdict == "contradicts itself"
    assert f"measured {fps:.0f} FPS" in rulings["fps-agx"].evidence.replace(f"{fps:.3g}", f"{fps:.0f}")
    assert rulings["fps-agx"].missing == ""
    assert rulings["runs-on-nano"].verdict == "untestable here"


def test_another_card_another_input_or_a_changed_network_is_no_evidence() -> None:
    other_size = released(40.0)
    assert other_size.profile
    other_size = other_size.model_copy(
        update={"profile": other_size.profile.model_copy(update={"input_size": (64, 96)})}
    )
    changed = released(40.0, changes={"groups": 4})
    for each in (released(40.0, device="cpu"), other_size, changed):
        rulings = {ruling.claim.name: ruling.verdict for ruling in judge_claims([study(each)])}
        assert rulings == WITHOUT_A_STUDY
    titan = {r.claim.name: r for r in judge_claims([study(released(150.0, "workstation", "NVIDIA TITAN RTX"))])}
    assert "measured 150 FPS" in titan["fps-titan-rtx"].evidence


def losses(jetloss: list[float], other: list[float]) -> Study:
    return study(
        *(
            record(
                f"{loss}, {seed}",
                key=f"{loss}{seed}",
                changes={"training.loss": loss, "training.seed": seed},
                training=training(miou),
                training_config=TrainingConfig(loss=loss, seed=seed),
            )
            for loss, mious in (("jetloss", jetloss), ("cross-entropy", other))
            for seed, miou in enumerate(mious)
        )
    )


@pytest.mark.parametrize(
    ("jetloss", "other", "verdict", "word"),
    [
        ([0.50, 0.52, 0.51], [0.40, 0.41, 0.40], "reproduced", ", significant"),
        ([0.40, 0.41, 0.40], [0.50, 0.52, 0.51], "not reproduced", ", significant"),
        ([0.50, 0.56, 0.53], [0.52, 0.53, 0.54], "untestable here", "not significant"),
        ([0.500, 0.502, 0.501], [0.501, 0.502, 0.500], "not reproduced", "not significant"),
        ([0.50, 0.51], [0.40, 0.41], "untestable here", ""),
    ],
)
def test_the_losses_are_compared_over_seeds(jetloss: list[float], other: list[float], verdict: str, word: str) -> None:
    rulings = {ruling.claim.name: ruling for ruling in judge_claims([losses(jetloss, other)])}
    for name in ("jetloss-converges-faster", "jetloss-better"):
        assert rulings[name].verdict == verdict
        assert word in rulings[name].evidence


@pytest.mark.parametrize(("jetloss_is_higher", "verdict"), [(False, "not reproduced"), (True, "untestable here")])
def test_where_its_weights_were_chosen_jetloss_can_only_lose(jetloss_is_higher: bool, verdict: str) -> None:
    """By test nothing is told; on val, which flatters JetLoss, one of the two is higher."""
    low, high = [0.40, 0.41, 0.40], [0.50, 0.52, 0.51]
    made = losses(high, low) if jetloss_is_higher else losses(low, high)
    unsure = [training(miou).test for miou in (0.5, 0.6, 0.4, 0.6, 0.4, 0.5)]
    records = [
        each.model_copy(update={"training": each.training.model_copy(update={"test": test})})
        for each, test in zip(made.records, unsure, strict=True)
        if each.training
    ]
    ruling = next(r for r in judge_claims([study(*records)]) if r.claim.name == "jetloss-better")
    assert "points of test mIoU compared with cross-entropy, not significant" in ruling.evidence
    assert ruling.verdict == verdict


def test_the_table_of_claims_counts_its_verdicts() -> None:
    table = build_claims(judge_claims())
    text = to_markdown(table)
    for verdict in VERDICTS:
        count = sum(row.cells[1].text == verdict for row in table.rows)
        assert f"{count} {verdict}" in text
    assert "No study was given" in text


def test_table_1_is_kept_as_printed() -> None:
    rows = {row.model: row for row in read_table1()}
    assert list(rows) == ["LinkNet", "CGNet", "DSANet", "MFENet", "JetSeg"]
    assert rows["JetSeg"].input == (512, 512)
    assert rows["MFENet"].input is None


def beside_baseline(name: str, ours_s: float, theirs_s: float) -> Study:
    baseline = load_architecture("dsanet")
    theirs = record(
        "dsanet", latency_s=theirs_s, architecture=baseline, fingerprint="dsanet", changes={"base": "dsanet"}
    )
    ours = record("ours", latency_s=ours_s, architecture=load_architecture("jetseg-nano-released"), fingerprint="ours")
    return Study(Path(name), name, name, (ours, theirs))


def test_every_machines_evidence_is_told_whatever_the_order_and_only_studies_that_were_used_are_named() -> None:
    fast, slow = beside_baseline("fast", 0.01, 0.02), beside_baseline("slow", 0.01, 0.0104)
    told = []
    for given in ([fast, slow], [slow, fast]):
        rulings = judge_claims([*given, Study(Path("x"), "idle", "idle", (failed("z"),))])
        (ruling,) = [ruling for ruling in rulings if ruling.claim.name == "twice-as-fast"]
        assert "2.00 \N{PLUS-MINUS SIGN} 0.17 times as fast as dsanet (at" in ruling.evidence
        assert (
            "1.04 \N{PLUS-MINUS SIGN} 0.09 times as fast as dsanet, not significantly different (at" in ruling.evidence
        )
        told.append({note for note in build_claims(rulings, given).notes.all if "Measured evidence" in note})
    assert told == [{"Measured evidence from fast, slow."}, {"Measured evidence from slow, fast."}]
    nothing = [Study(Path("x"), "idle", "idle", (failed("z"),))]
    assert any("no evidence on any claim" in note for note in build_claims(judge_claims(nothing), nothing).notes.all)
