"""Why a network takes its time: limits, shares and sentences of made-up kernels, by hand."""

import pytest

from jetbench.errors import SpecError
from jetbench.records.measurement import Comparison, KernelTime, Peaks
from jetbench.records.record import Record
from jetbench.reporting.questions.why import (
    choices,
    choices_table,
    explain,
    limits_of,
    notes_of,
    sentences,
    spent_table,
)
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import profile, record

PEAKS = Peaks(dtype="fp32", macs_per_s=1e9, bytes_per_s=1e8, launch_s=1e-6, depthwise_launch_s=1e-4)


def kernel(part: str, kernel: str, seconds: float, count: int = 1, macs: int = 0, moved: int = 0) -> KernelTime:
    return KernelTime(part=part, kernel=kernel, count=count, macs=macs, bytes_moved=moved, samples_s=(seconds,) * 3)


KERNELS = (
    kernel("block 0", "depthwise 3x3", 0.006, count=40, macs=1_000_000, moved=100_000),
    kernel("block 0", "activation", 0.002, count=2, moved=100_000),
    kernel("decoder", "1x1", 0.002, macs=1_000_000, moved=1_000),
)


def base(**more: object) -> Record:
    return record("base", profile=profile(0.011, kernels=KERNELS, peaks=PEAKS, **more))


def test_the_limit_is_what_takes_longest_at_the_peaks() -> None:
    """40 depthwise launches of 0.1 ms; 0.1 MB at 100 MB/s; a million MACs at a GMAC/s."""
    limits = [limits_of(each, PEAKS) for each in KERNELS]
    assert limits[0] == pytest.approx({"arithmetic": 0.001, "memory": 0.001, "launches": 0.004})
    assert limits[1] == pytest.approx({"arithmetic": 0, "memory": 0.001, "launches": 2e-6})
    assert limits[2] == pytest.approx({"arithmetic": 0.001, "memory": 1e-5, "launches": 1e-6})


def test_shares_and_rates_by_hand() -> None:
    why = explain(base())
    first, decoder = why.parts
    assert first.name == "block 0"
    assert (first.time_share, first.macs_share) == pytest.approx((0.8, 0.5))
    assert first.bound == "launches"
    assert first.reached == pytest.approx(0.005 / 0.008)
    assert decoder.bound == "arithmetic"
    assert decoder.reached == pytest.approx(0.5)
    assert why.bound_shares == pytest.approx({"launches": 0.6, "memory": 0.2, "arithmetic": 0.2})
    assert why.costliest is first
    assert why.between_s == pytest.approx(0.001)
    assert [each.name for each in why.kernels] == ["depthwise 3x3", "activation", "1x1"]


def test_three_sentences_say_it_in_words() -> None:
    found = base()
    first, second, third = sentences(found, explain(found))
    assert first == (
        "Block 0 takes 80.0 % of the time and computes 50.0 % of the MACs: no part pays more for what it computes."
    )
    assert second.startswith("Launches are the limit of kernels that take 60.0 % of the time; at this machine's peaks")
    assert second.endswith("depthwise 3x3 takes most: 60.0 %.")
    assert third == "No choice was undone, so what each of them costs was not measured."


def changed(name: str, ratio: float, spread: float, macs: int) -> Record:
    ratios = tuple((ratio + spread * step,) * 3 for step in (-3, -2, -1, 1, 2, 3))
    control = ((1.001,) * 6, (0.999,) * 6)
    compared = Comparison(reference="base", ratios=ratios, control=control)
    return record(name, profile=profile(0.01, comparison=compared, macs=macs, parameters=900))


def test_the_choice_that_costs_most_is_named_with_its_counts() -> None:
    found = base(macs=2_000_000, parameters=1000)
    undone = choices(found, [changed("relu", 0.99, 0.01, 2_000_000), changed("one branch less", 0.9, 0.001, 1_500_000)])
    assert [each.name for each in undone] == ["one branch less", "relu"]
    assert undone[0].interval == pytest.approx((-0.103, -0.097))
    assert (undone[0].is_significant, undone[1].is_significant) == (True, False)
    assert (undone[0].macs, undone[0].parameters) == (-500_000, -100)
    *_, third = sentences(found, explain(found), undone)
    assert third == (
        "Undone, the choice that costs most saves 10.0 %: one branch less (-100 parameters). Without a significant "
        "change: relu."
    )
    table = choices_table(undone, "One choice undone")
    assert [cell.text for cell in table.rows[0].cells] == ["-10.0", "-10.3 to -9.7", "-100", "-0.5"]
    assert table.rows[1].cells[0].text == "-1.0 ="


def test_the_greatest_saving_that_is_significant_is_named() -> None:
    """A greater one that the measurement cannot resolve is not, and one that is slower saves nothing."""
    found = base()
    both = choices(found, [changed("base: relu", 0.9, 0.1, 0), changed("base: one group", 0.95, 0.001, 0)])
    assert [each.name for each in both] == ["relu", "one group"]
    assert sentences(found, explain(found), both)[2].startswith(
        "Undone, the choice that costs most saves 5.0 %: one gr"
    )
    slower = choices(found, [changed("base: relu", 0.9, 0.1, 0), changed("base: one group", 1.2, 0.001, 0)])
    assert sentences(found, explain(found), slower)[2] == "No single choice undone makes it significantly faster."


def test_layers_without_counted_work_have_no_limit_and_are_in_no_share_of_a_peak() -> None:
    added = kernel("added by the runtime", "layout change", 0.01, count=3)
    fused = KernelTime(part="block 0", kernel="batch norm", count=5, macs=0, bytes_moved=100)
    why = explain(record("base", profile=profile(0.021, kernels=(*KERNELS, added, fused), peaks=PEAKS)))
    assert why.kernels[0].name == "layout change"
    assert why.kernels[0].bound is None
    assert sum(why.bound_shares.values()) == pytest.approx(0.5)
    assert why.fused == {"batch norm": 5}
    # 4 of 6 ms, 1 of 2 ms and 1 of 2 ms, as without it
    assert "all that is counted would take 60.0 % of its time" in sentences(base(), why)[1]
    assert "batch norm (5)" in " ".join(notes_of(base(), why))


def test_the_part_that_pays_most_is_bold() -> None:
    table = spent_table(explain(base()), "parts", "Parts")
    assert [row.cells[0].is_strong for row in table.rows] == [True, False]


def test_small_classes_share_a_row_and_the_sum_stays() -> None:
    many = tuple(kernel("block 0", f"class {number}", 1e-6) for number in range(9))
    why = explain(record("base", profile=profile(0.011, kernels=(*KERNELS, *many), peaks=PEAKS)))
    table = spent_table(why, "kernels", "Kernels")
    assert [row.name for row in table.rows][-1] == "others"
    column = [each.name for each in table.columns].index("kernels")
    assert sum(int(row.cells[column].text) for row in table.rows) == 52


def test_a_runtime_is_compared_with_its_own_cheapest_kernel() -> None:
    """Nothing there is launched from Python, so PyTorch's launch is not its limit."""
    config = ProfilingConfig(backend="onnxruntime")
    why = explain(record("base", profiling_config=config, profile=profile(0.011, kernels=KERNELS, peaks=PEAKS)))
    assert why.peaks.launch_s == why.peaks.depthwise_launch_s == pytest.approx(0.006 / 40)


def test_a_profile_without_times_of_kernels_says_why() -> None:
    with pytest.raises(SpecError, match="the times of its kernels are missing: a traced network runs as a whole"):
        explain(record("base", profile=profile(0.01, notes={"layers": "a traced network runs as a whole"})))


def test_notes_name_the_peaks_and_what_lies_between_the_kernels() -> None:
    found = base()
    lines = notes_of(found, explain(found))
    assert "1.0 GMAC/s" in lines[0]
    assert any("+9 % are calls between kernels" in line for line in lines)
