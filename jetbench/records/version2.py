"""Records of version 2, as released before: read as they were written, and turned into those of today.

Version 2 kept a training and its profile in one line, and what `jetbench profile` measured in a file of its own kind.
Some of what is typed now stood in its sentences alone; here is the one place that reads them.
"""

import re
from typing import Any, Literal

from pydantic import Field

from jetbench.records.record import (
    DatasetInfo,
    Environment,
    Failure,
    Profile,
    Record,
    Status,
    TrainingResult,
    constructed,
    profile_key,
)
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.base import Spec
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.training import TrainingConfig

TAKEN_OVER = "taken-over-"


class Failure2(Spec):
    """Why a job gave no result; the limit of a search stands at the beginning of `reason`."""

    stage: Literal["train", "profile", "limits"]
    status: Status
    reason: str

    def upgraded(self) -> Failure:
        """The same with its limit, and the excess to the whole percent that the reason tells."""
        if self.stage != "limits":
            return Failure(phase=self.stage, status=self.status, reason=self.reason)
        excess = re.search(r" is ([\d,]+)% over the limit", self.reason)
        return Failure(
            phase="limits",
            status=self.status,
            reason=self.reason,
            limit=self.reason.split(":")[0],
            excess=float(excess[1].replace(",", "")) / 100 if excess else None,
        )


class Record2(Spec):
    """One variant of a sweep or search."""

    version: Literal[2]
    key: str
    variant: str
    also_named: tuple[str, ...] = ()
    changes: dict[str, Any]
    architecture: AnyArchitecture
    fingerprint: str
    dataset: DatasetInfo
    training_config: TrainingConfig
    profiling_config: ProfilingConfig
    training: TrainingResult | None = None
    training_environment: Environment | None = None
    profile: Profile | None = None
    failure: Failure2 | None = None
    finished: str

    def upgraded(self) -> Record:
        """The same as a record of today."""
        fields = dict(self.__dict__)
        del fields["version"]
        fields["failure"] = self.failure.upgraded() if self.failure else None
        fields["profile"] = _upgraded(self.profile) if self.profile else None
        fields["origin"] = "a folder that version 2 does not name" if self.variant.startswith(TAKEN_OVER) else None
        return constructed(fields)


class ProfileRecord2(Spec):
    """One network profiled by itself."""

    version: Literal[2]
    network: str
    changes: dict[str, Any] = Field(default_factory=dict)
    architecture: AnyArchitecture
    num_classes: int
    trained: bool
    profiling_config: ProfilingConfig
    profile: Profile
    finished: str

    def upgraded(self) -> Record:
        """The same as a record of today; which weights were measured, version 2 does not say."""
        own: dict[str, Any] = {"kind": "profile", "key": "", "variant": self.network, "is_trained": self.trained}
        own |= {"profile": _upgraded(self.profile).model_copy(update={"num_classes": self.num_classes})}
        same = ("changes", "architecture", "profiling_config", "finished")
        fields = {**own, **{name: getattr(self, name) for name in same}, "fingerprint": ""}
        record = Record.model_construct(**fields)
        return record.model_copy(update={"key": profile_key(record)})


def _upgraded(profile: Profile) -> Profile:
    """What a profile was measured on, and how far a board's output was off, out of its notes."""
    changes: dict[str, Any] = {}
    if "processor" in profile.notes:
        is_other = profile.notes["processor"].startswith("the bundle was made for")
        changes["runs_on"] = "another machine" if is_other else "its processor"
    if "output" in profile.notes:
        amount = re.search(r" by ([\d.e+-]+) of its largest value", profile.notes["output"])
        changes["output_difference"] = float(amount[1]) if amount else None
    return profile.model_copy(update=changes) if changes else profile
