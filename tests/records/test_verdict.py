import random

import pytest

from jetbench.records.energy import Energy, PowerSample
from jetbench.records.measurement import Latency, LatencyRun, MachineState, Watch
from jetbench.records.record import Profile
from jetbench.records.verdict import judge, two_peaks
from tests.made_up import ENVIRONMENT, latency, profile


def watch(before: dict[str, object], after: dict[str, object], **more: object) -> Watch:
    first, last = ({"at_s": at, **state} for at, state in ((0.0, before), (10.0, after)))
    fields = {"before": MachineState.model_validate(first), "after": MachineState.model_validate(last), **more}
    return Watch.model_validate(fields)


def idle_and_load(drift: float = 0.0, **more: object) -> Energy:
    times = [0.5 * n for n in range(61)]
    watts = [8.0 if 10 < t <= 20 else 3.0 + (drift if t > 20 else 0.0) for t in times]
    fields = {
        "sensor": "made-up",
        "interval_s": 0.5,
        "scope": "made up",
        "total_rails": ("a",),
        "images_per_pass": 1,
        "samples": tuple(PowerSample(at_s=t, power_w={"a": w}) for t, w in zip(times, watts, strict=True)),
        "idle": ((0.0, 10.0), (20.0, 30.0)),
        "load": ((10.0, 20.0, 100),),
    }
    return Energy.model_validate({**fields, **more})


def counted(watts: float, read: float) -> Energy:
    samples = [
        PowerSample(at_s=0.5 * n, energy_j={"a": 0.5 * watts * n}, power_w={"a": read}, sampler_cpu_s=0.02 * n)
        for n in range(61)
    ]
    return idle_and_load(samples=tuple(samples))


UNSURE = Latency(batch_size=1, runs=(LatencyRun(samples_s=(0.1, 0.11, 0.12) * 5, stopped_by="limit"),))
QUIET: dict[str, object] = {"busy_s": 0, "own_s": 0}
CASES: list[tuple[str, dict[str, object], str]] = [
    ("invalid", {"watches": (watch({}, {}, throttled=("thermal",)),)}, "throttled: thermal"),
    (
        "invalid",
        {"watches": (watch({"throttle_events": 1}, {"throttle_events": 2}),)},
        "throttle events of the processor or board grew",
    ),
    ("invalid", {"watches": (watch({"swapped_pages": 1}, {"swapped_pages": 9000}),)}, "swapped 8999 pages"),
    ("suspect", {"watches": (watch({"swapped_pages": 1}, {"swapped_pages": 9}),)}, "swapped 8 pages"),
    ("invalid", {"watches": (watch({"power_mode": "MAXN"}, {"power_mode": "15W"}),)}, "power mode changed"),
    (
        "invalid",
        {"watches": (watch({"busy_s": 0, "own_s": 0}, {"busy_s": 28, "own_s": 10}),)},
        "about 1.8 of the 2 cores",
    ),
    (
        "suspect",
        {"watches": (watch({"busy_s": 0, "own_s": 0}, {"busy_s": 14, "own_s": 10}),)},
        "about 0.4 of the 2 cores",
    ),
    ("suspect", {"watches": (watch({"load_average": 5.0}, {}),)}, "load average 5.0 on 2 cores"),
    ("suspect", {"watches": (watch({"on_battery": True}, {}),)}, "battery"),
    ("suspect", {"watches": (watch({}, {}, gpu_hz=(1e9, 1e9, 1e9, 0.6e9)),)}, "clocks varied by 40 %"),
    ("suspect", {"watches": (watch({}, {}, gpu_processes=(7, 8), own_pids=(7,)),)}, "1 other process(es) used the GPU"),
    ("suspect", {"model_latency": latency(0.1, 0.1, 0.12)}, "the medians of 3 processes differ by 20 %"),
    ("suspect", {"model_latency": UNSURE}, "stopped at the time limit"),
    ("suspect", {"model_latency": latency(0.1, settled=False)}, "had not settled"),
    ("suspect", {"model_latency": latency(0.1, cpu_s=(0.08,) * 5)}, "for 20 % of its passes"),
    ("suspect", {"energy": idle_and_load(drift=1.0)}, "idle power changed by +1.00 W"),
    ("suspect", {"energy": counted(8.0, 9.5)}, "the energy counter gives 8.0 W, the power readings 9.5 W"),
    ("suspect", {"energy": counted(8.0, 8.1)}, "reading power took 4.0% of a core"),
    ("suspect", {"energy": idle_and_load(errors=("lost",))}, "no power: made-up failed during the measurement"),
    ("suspect", {"finite": False}, "infinities"),
    (
        "suspect",
        {"denormals": (10, 1000), "environment": ENVIRONMENT.model_copy(update={"flush_denormals": False})},
        "1 % of the activations are denormal",
    ),
]


@pytest.mark.parametrize(("level", "changes", "reason"), CASES, ids=[reason[:30] for _, _, reason in CASES])
def test_what_spoils_a_number_is_said(level: str, changes: dict[str, object], reason: str) -> None:
    verdict = judge(profile(0.1, **changes))
    assert verdict.level == level
    assert any(reason in said for said in verdict.reasons), verdict.reasons


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"watches": (watch(QUIET, {"busy_s": 10.5, "own_s": 10}),)},
        {"watches": (watch({}, {}, gpu_hz=(1e9,) * 50 + (0.6e9,)),)},
        {"energy": idle_and_load()},
        {"model_latency": latency(0.1, 0.101, 0.102, settled=True, stopped_by="precision")},
        {"denormals": (10, 1000)},
        {"watches": (watch({}, {}, gpu_processes=(4, 5), own_pids=(7,)),)},  # numbers of another namespace
    ],
    ids=range(7),
)
def test_a_clean_run_is_valid(changes: dict[str, object]) -> None:
    assert str(judge(profile(0.1, **changes))) == "valid"


def test_the_worst_reason_decides_and_stands_first() -> None:
    both = profile(0.1, finite=False, watches=(watch({}, {}, throttled=("thermal",)),))
    verdict = judge(both)
    assert verdict.level == "invalid"
    assert verdict.reasons[0].startswith("throttled")
    assert len(verdict.reasons) == 2


def test_what_was_not_measured_is_neither_good_nor_bad() -> None:
    fields = profile(0.1).model_dump() | {"model_latency": None, "notes": {"latency": "this machine is no AGX"}}
    verdict = judge(Profile.model_validate(fields))
    assert verdict.level == "not measured"
    assert verdict.reasons == ("this machine is no AGX",)


def test_two_peaks_are_told_from_one_wide_one() -> None:
    generator = random.Random(0)
    bell = [generator.gauss(0.1, 0.01) for _ in range(200)]
    skewed = [generator.lognormvariate(-2, 0.3) for _ in range(200)]
    flat = [generator.uniform(0.1, 0.15) for _ in range(200)]
    outliers = [0.1 + 0.001 * generator.random() for _ in range(97)] + [0.5] * 3
    assert [two_peaks(samples) for samples in (bell, skewed, flat, outliers, [0.1] * 50)] == [None] * 5
    low, high = two_peaks([generator.gauss(generator.choice([0.1, 0.13]), 0.003) for _ in range(50)]) or (0, 0)
    assert low == pytest.approx(0.1, rel=0.05)
    assert high == pytest.approx(0.13, rel=0.05)


def test_bimodal_passes_are_suspect() -> None:
    run = LatencyRun(samples_s=(0.1, 0.13) * 20)
    verdict = judge(profile(0.1, model_latency=latency(0.1).model_copy(update={"runs": (run,)})))
    assert verdict.level == "suspect"
    assert "either 100 or 130 ms" in verdict.reasons[0]
