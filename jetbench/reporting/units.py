"""Numbers as people read them; the only place where ms, M and MiB appear."""

MISSING = "\N{EM DASH}"


def count(value: float | None) -> str:
    """A count with thousands separated: 32,140."""
    return MISSING if value is None else f"{value:,.0f}"


def millions(value: float | None) -> str:
    """A count in millions, one decimal."""
    return MISSING if value is None else f"{value / 1e6:,.1f}"


def score(value: float | None) -> str:
    """A score of 0 to 1 in percent, one decimal."""
    return MISSING if value is None else f"{100 * value:.1f}"


def milliseconds(value: float | None) -> str:
    """Seconds as ms with three significant digits."""
    return MISSING if value is None else significant(1e3 * value)


def mebibytes(value: float | None) -> str:
    """Bytes as MiB, one decimal."""
    return MISSING if value is None else f"{value / 2**20:.1f}"


def significant(value: float) -> str:
    """Three significant digits without an exponent."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"


def fps(value: float | None) -> str:
    """Images per second with three significant digits."""
    return MISSING if value is None else significant(value)


def watts(value: float | None) -> str:
    """Watts, two decimals."""
    return MISSING if value is None else f"{value:.2f}"


def millijoules(value: float | None) -> str:
    """Joules as mJ with three significant digits."""
    return MISSING if value is None else significant(1e3 * value)


def percent(value: float | None) -> str:
    """A share in percent, one decimal."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def counted(number: int, thing: str) -> str:
    """`1 row`, `12 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def share_of(part: int, whole: int) -> str:
    """A part of a count in whole percent; what is some and not 0 does not become 0: `none`, `under 1 %`, `77 %`."""
    if part == 0:
        return "none"
    return "under 1 %" if 100 * part < whole else f"{100 * part / whole:.0f} %"


def roughly(seconds: float) -> str:
    """An estimate of a time, no finer than it deserves: under 10 s, about 25 s, about 4 min."""
    if seconds < 10:
        return "under 10 s"
    if seconds < 60:
        return f"about {5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {10 * (minutes % 60 // 10)} min"


def exact_millions(value: float) -> str:
    """A count in millions, three decimals; 0 as 0."""
    return f"{value / 1e6:,.3f}" if value else "0"
