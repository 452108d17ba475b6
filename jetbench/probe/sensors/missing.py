"""Why a sensor cannot be read on this machine, and what would fix it."""

from typing import NamedTuple


class Missing(NamedTuple):
    """The reason and the remedy, which is empty if nothing would fix it. As text: `reason; remedy`."""

    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return "{}; {}".format(self.reason, self.remedy) if self.remedy else self.reason
