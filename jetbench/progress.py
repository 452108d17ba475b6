"""Report: how far something is, told to whoever asked for it."""

from collections.abc import Callable

Report = Callable[[float, str], None]
"""Told the finished share (0 to 1) and what is being done."""
