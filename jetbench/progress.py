"""Report: the type of a callback that receives progress."""

from collections.abc import Callable

Report = Callable[[float, str], None]
"""Called with the finished share (0 to 1) and a description of the current step."""
