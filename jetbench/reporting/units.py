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


def duration(seconds: float) -> str:
    """A time to read at a glance: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
