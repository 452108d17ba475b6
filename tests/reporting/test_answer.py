import math

import pytest

from jetbench import load_architecture
from jetbench.reporting.answer import Row, cells, describe_difference, difference
from tests.made_up import failed, record


def test_the_interval_is_students() -> None:
    found = difference([3.0, 5.0, 7.0], [1.0, 2.0, 3.0])
    assert found
    mean, half = found
    assert mean == pytest.approx(3)
    assert half == pytest.approx(2.776 * math.sqrt((4 + 1) / 2 * (2 / 3)))  # four degrees of freedom
    assert difference([1.0], [1.0, 2.0]) is None


def test_a_tie_is_called_a_tie() -> None:
    assert describe_difference([0.50, 0.52], [0.50, 0.51]).endswith(", a tie")
    assert describe_difference([0.60, 0.61, 0.60], [0.50, 0.51, 0.50]) == "+10.0 \N{PLUS-MINUS SIGN} 1.3"


def test_the_base_comes_first_and_what_failed_is_a_dash() -> None:
    architecture = load_architecture("jetseg-nano")
    slow = tuple(record(f"base, seed={seed}", 0.5 + 0.01 * seed, latency_s=0.02) for seed in range(2))
    fast = tuple(record(f"one, seed={seed}", 0.6 + 0.01 * seed, latency_s=0.01) for seed in range(2))
    rows = [Row("base", architecture, {}, slow), Row("one", architecture, {}, fast)]
    base, one = cells([*rows, Row("broken", architecture, {}, (failed("broken, seed=0"),))])[:2]
    assert base[4:] == ["20.0", "50.5 ± 0.7", "50.5 ± 0.7", "—", "—"]
    assert one[4] == "10.0"
    assert one[7].startswith("+10.0")
    assert one[8] == "yes"
    broken = cells([*rows, Row("broken", architecture, {}, (failed("broken, seed=0"),))])[2]
    assert broken[4:8] == ["—"] * 4
