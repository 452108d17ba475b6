import pytest

from jetbench.reporting import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.count(32140), "32,140"),
        (units.millions(1_041_924_944), "1,041.9"),
        (units.score(0.4567), "45.7"),
        (units.milliseconds(0.00123), "1.23"),
        (units.milliseconds(0.0123), "12.3"),
        (units.milliseconds(1.234), "1,234"),
        (units.mebibytes(2**20 * 1.5), "1.5"),
        (units.roughly(3), "under 10 s"),
        (units.roughly(43), "about 45 s"),
        (units.roughly(200), "about 3 min"),
        (units.roughly(8000), "about 2 h 10 min"),
    ],
)
def test_numbers_as_people_read_them(text: str, expected: str) -> None:
    assert text == expected


def test_none_is_a_dash_and_zero_is_a_number() -> None:
    for show in (units.count, units.millions, units.score, units.milliseconds, units.mebibytes, units.fps, units.watts):
        assert show(None) == "\N{EM DASH}"
        assert show(0.0) != "\N{EM DASH}"
