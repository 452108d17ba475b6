"""Records of version 2, an earlier release: parsed as written and upgraded to today's.

Version 2 kept a training and its profile in one line, and the results of `jetbench profile` in a separate kind of file.
Some of today's typed fields were only part of its sentences; this is the only module that parses those.
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
    """Why a job gave no result; `reason` begins with the search limit that was exceeded."""

    stage: Literal["train", "profile", "limits"]
    status: Status
    reason: str

    def upgraded(self) -> Failure:
        """The failure in today's form, with its limit, and the excess to the whole percent as in the reason."""
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
        """The record in today's form."""
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
        """The record in today's form; version 2 does not say which weights were measured."""
        own: dict[str, Any] = {"kind": "profile", "key": "", "variant": self.network, "is_trained": self.trained}
        own |= {"profile": _upgraded(self.profile).model_copy(update={"num_classes": self.num_classes})}
        same = ("changes", "architecture", "profiling_config", "finished")
        fields = {**own, **{name: getattr(self, name) for name in same}, "fingerprint": ""}
        record = Record.model_construct(**fields)
        return record.model_copy(update={"key": profile_key(record)})


def _upgraded(profile: Profile) -> Profile:
    """The profile with `runs_on` and `output_difference` filled in from its notes."""
    changes: dict[str, Any] = {}
    if "processor" in profile.notes:
        is_other = profile.notes["processor"].startswith("the bundle was made for")
        changes["runs_on"] = "another machine" if is_other else "its processor"
    if "output" in profile.notes:
        amount = re.search(r" by ([\d.e+-]+) of its largest value", profile.notes["output"])
        changes["output_difference"] = float(amount[1]) if amount else None
    return profile.model_copy(update=changes) if changes else profile
