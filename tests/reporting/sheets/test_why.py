"""Which records of a folder are explained: every form of every network, each with its own choices undone."""

from jetbench.records.measurement import Comparison
from jetbench.records.record import Record
from jetbench.reporting.sheets.why import group_explained, heading_of
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import profile, record
from tests.reporting.questions.test_why import KERNELS, PEAKS

EAGER, ONNX = ProfilingConfig(), ProfilingConfig(backend="onnxruntime")


def timed(name: str, config: ProfilingConfig = EAGER, reference: str | None = None, side: int = 64) -> Record:
    compared = None
    if reference is not None:
        compared = Comparison(reference=reference, ratios=((1.0,) * 3,), control=((1.0,) * 3,))
    measured = profile(0.011, kernels=KERNELS, peaks=PEAKS, comparison=compared, input_size=(side, side))
    return record(name, kind="profile", profiling_config=config, profile=measured)


def groups(*records: Record) -> list[tuple[str, str, list[str]]]:
    return [
        (base.variant, base.profiling_config.backend, [each.variant for each in others])
        for base, others in group_explained(records)
    ]


def test_every_form_and_every_network_of_a_table_is_explained() -> None:
    """All but the first of them were compared with the first, as those of a board are."""
    shown = groups(
        timed("nano"), timed("nano", ONNX, "nano, eager"), timed("cgnet", reference="nano"), timed("plain", side=32)
    )
    assert shown == [
        ("nano", "eager", []),
        ("nano", "onnxruntime", []),
        ("cgnet", "eager", []),
        ("plain", "eager", []),
    ]


def test_a_choice_undone_is_shown_with_its_own_network_form_and_size() -> None:
    shown = groups(
        timed("nano"),
        timed("nano: relu", reference="nano"),
        timed("nano", ONNX),
        timed("nano: relu", ONNX, "nano"),
        timed("cgnet"),
        timed("nano: one group", reference="nano", side=32),
    )
    assert shown == [
        ("nano", "eager", ["nano: relu"]),
        ("nano", "onnxruntime", ["nano: relu"]),
        ("cgnet", "eager", []),
        ("nano: one group", "eager", []),  # of another size: nothing that it is compared with is here
    ]


def test_the_heading_says_what_was_timed_and_how() -> None:
    heading = heading_of(timed("nano", ONNX))
    assert heading.startswith("nano at 64x64 on ")
    assert "onnxruntime" in heading
    assert "11.0 ms" in heading
