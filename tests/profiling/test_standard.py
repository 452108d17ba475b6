"""The standard network: it never changes, is timed in the same rounds, and a setting leaves it out."""

import statistics

import pytest

from jetbench import profile
from jetbench.files import digest_of
from jetbench.network.plan import plan_network
from jetbench.profiling.standard import CLASSES, FILE, SIZE, read_standard, standard_case
from jetbench.records.measurement import Latency, LatencyRun, Standard
from jetbench.records.record import Profile
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import profile as made_up_profile

BRIEF = {"power": "none", "warmup_iterations": 1, "min_iterations": 5, "min_seconds": 0, "precision": 1}


def test_the_standard_network_is_the_one_that_earlier_records_name() -> None:
    """Another file, or another network of the same file, needs another name: times are divided by its own."""
    architecture, digest = read_standard()
    assert architecture.name == "standard-1"
    assert digest == digest_of(FILE) == "1a35b02311e32a27977592bf7b090644c2b26af4e1570c2b7fce41029f032bb2"
    assert plan_network(architecture, CLASSES, SIZE).fingerprint == "c7002fe40317"


def test_it_runs_one_image_in_float32_beside_every_form() -> None:
    config = ProfilingConfig(backend="openvino", dtype="int8", batch_size=4, threads=2)
    case = standard_case(config)
    assert case is not None
    own = case.config
    assert (own.backend, own.dtype, own.batch_size, own.threads) == ("eager", "fp32", 1, 2)
    assert standard_case(ProfilingConfig(reference="none")) is None
    assert "reference" not in ProfilingConfig().model_dump()  # so that earlier studies keep their keys


@pytest.mark.slow
def test_every_profile_has_it_in_its_own_rounds() -> None:
    record = profile("jetseg-nano", ProfilingConfig(**BRIEF), "cpu", (64, 96))
    measured = record.measured
    assert measured.standard is not None
    assert measured.standard.identity == f"standard-1 {digest_of(FILE)[:12]}, eager, 96x160"
    assert measured.normalised is not None
    assert measured.model_latency is not None
    (own,), (base,) = measured.model_latency.runs, measured.standard.runs
    assert len(own.samples_s) == len(base.samples_s)
    ratios = [a / b for a, b in zip(own.samples_s, base.samples_s, strict=True)]
    assert measured.normalised.median == pytest.approx(statistics.median(ratios))
    assert measured.normalised.median < 1  # a quarter of its pixels
    assert Profile.model_validate_json(measured.model_dump_json()) == measured
    without = profile("jetseg-nano", ProfilingConfig(**BRIEF, reference="none"), "cpu", (64, 96)).measured
    assert without.standard is None
    assert without.normalised is None


def run(*samples_s: float) -> LatencyRun:
    return LatencyRun(samples_s=samples_s)


def standard(*runs: LatencyRun) -> Standard:
    return Standard(name="standard-1", digest="0" * 64, form="eager", input_size=SIZE, runs=runs)


def test_ratios_are_taken_round_by_round_and_process_by_process() -> None:
    """A machine that is twice as slow in the second process has the same ratio there."""
    latency = Latency(batch_size=1, runs=(run(4.0, 8.0, 4.0), run(8.0, 8.0, 16.0)))
    measured = made_up_profile(1.0, model_latency=latency, standard=standard(run(1.0, 2.0, 1.0), run(2.0, 2.0, 4.0)))
    assert measured.normalised is not None
    assert measured.normalised.ratios == ((4.0, 4.0, 4.0), (4.0, 4.0, 4.0))
    assert measured.normalised.median == 4.0
    assert measured.standard is not None
    assert measured.standard.median_s == 1.5


def test_runs_that_do_not_belong_together_give_no_ratio() -> None:
    latency = Latency(batch_size=1, runs=(run(4.0, 8.0),))
    for runs in ((run(1.0),), (run(1.0, 2.0), run(1.0, 2.0))):
        assert made_up_profile(1.0, model_latency=latency, standard=standard(*runs)).normalised is None
    assert made_up_profile(1.0).normalised is None
