"""Units for people (ms, M, MiB, %), and how numbers are written in them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

MISSING = "\N{EM DASH}"


def significant(value: float) -> str:
    """Three significant digits without an exponent."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"


def _grouped(value: float) -> str:
    return f"{value:,.0f}"


def _decimals(places: int) -> Callable[[float], str]:
    return lambda value: f"{value:,.{places}f}"


def three_digits(value: float) -> str:
    """Three significant digits, also for numbers below 1: 0.0645."""
    if value >= 1:
        return significant(value)
    decimals = next((places for places in range(3, 9) if round(value * 10**places) >= 100), 9)
    return f"{value:.{decimals}f}"


def with_digits(value: float, digits: int) -> str:
    """So many significant digits without an exponent: 1,235 with four, 0.0123 with three."""
    if value == 0 or value != value:
        return f"{value:.0f}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(0, places)}f}"


@dataclass(frozen=True)
class Unit:
    """A unit for people: `write` formats the SI value multiplied by `times` and divided by `over`.

    `describe` writes values below `least` (SI) as a plain count, followed by `small`.
    """

    symbol: str
    write: Callable[[float], str]
    times: float = 1
    over: float = 1
    least: float = 0.0
    small: str = ""

    @property
    def scale(self) -> float:
        """The factor from the SI value to this unit."""
        return self.times / self.over

    def show(self, value: float | None) -> str:
        """The number without its unit; a dash for None."""
        return MISSING if value is None else self.write(self.times * value / self.over)

    def describe(self, value: float | None) -> str:
        """The number with its unit."""
        if value is not None and value < self.least:
            return f"{_grouped(value)} {self.small}".strip()
        space = "" if value is None or not self.symbol else " "
        return f"{self.show(value)}{space}{self.symbol if value is not None else ''}"


COUNT = Unit("", _grouped)
THOUSANDS = Unit("k", _decimals(1), over=1e3)
MILLIONS = Unit("M", _decimals(1), over=1e6, least=1e5)
SMALL_MILLIONS = Unit("M", three_digits, over=1e6)
BILLIONS = Unit("G", three_digits, over=1e9)
PERCENT = Unit("%", lambda value: f"{value:.1f}", times=100)
CHANGE = Unit("%", lambda value: f"{value:+.1f}", times=100)
MILLISECONDS = Unit("ms", significant, times=1e3)
SECONDS = Unit("s", significant)
MEBIBYTES = Unit("MiB", lambda value: f"{value:.1f}", over=2**20, least=2**17, small="bytes")
MEGABYTES = Unit("MB", lambda value: f"{value:.2f}", over=1e6)
FPS = Unit("FPS", significant)
RATIO = Unit("", lambda value: f"{value:.2f}")
WATTS = Unit("W", lambda value: f"{value:.2f}")
MILLIJOULES = Unit("mJ", significant, times=1e3)

count = COUNT.show
millions = MILLIONS.show
score = PERCENT.show
milliseconds = MILLISECONDS.show
mebibytes = MEBIBYTES.show
fps = FPS.show
watts = WATTS.show
millijoules = MILLIJOULES.show


def percent(value: float | None) -> str:
    """A share in percent with its sign."""
    return PERCENT.describe(value)


def counted(number: int, thing: str) -> str:
    """`1 row`, `12 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def share_of(part: int, whole: int) -> str:
    """A part of a count in whole percent: `77 %`; `under 1 %` where it would round to 0; `none` for 0."""
    if part == 0:
        return "none"
    return "under 1 %" if 100 * part < whole else f"{100 * part / whole:.0f} %"


def roughly(seconds: float) -> str:
    """A coarsely rounded time: under 10 s, about 25 s, about 4 min."""
    if seconds < 10:
        return "under 10 s"
    if seconds < 60:
        return f"about {5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {10 * (minutes % 60 // 10)} min"


def exact_millions(value: float) -> str:
    """A count in millions, three decimals; 0 as 0."""
    return f"{value / 1e6:,.3f}" if value else "0"
