"""The content of a result.json that a bundle's probe wrote, typed and bounded: it may come from anybody."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jetbench.deploy.pack import ExportedFile
from jetbench.probe.packed import VERSION
from jetbench.profiling.case import Case
from jetbench.records.deployment import EngineFile, Parity
from jetbench.records.measurement import ColdStart, LatencyRun, Memory, Peaks, Watch
from jetbench.spec.base import describe_value
from jetbench.spec.bounds import MOST_LETTERS, MOST_NAME, MOST_PROCESSES, MOST_SECONDS, Amount
from jetbench.spec.dataset import Split
from jetbench.spec.device import Device, SensorName
from jetbench.spec.values import Size

MOST_NETWORKS, MOST_FORMS, MOST_LAYERS, MOST_IMAGES = 10_000, 100, 100_000, 1_000_000
LAST_SECOND = 4_102_444_800  # the year 2100

Name = Annotated[str, Field(max_length=MOST_NAME)]
Text = Annotated[str, Field(max_length=MOST_LETTERS)]
Counts = tuple[tuple[Amount, ...], tuple[Amount, ...], tuple[Amount, ...]]
"""True positives, false positives and false negatives of each class in one image."""


class ResultError(ValueError):
    """A result is no JSON, or parts of it contradict each other."""


class Open(BaseModel):
    """Data from a probe of any version: fields that this version does not know are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class PackedForm(Open):
    """A form of a network in a bundle, and the files that it may run."""

    case: Case
    exported: Annotated[tuple[ExportedFile, ...], Field(max_length=MOST_FORMS)] = ()


class PackedNetwork(Open):
    """A network of a bundle; `counts` are PyTorch's, by image."""

    cases: Annotated[tuple[PackedForm, ...], Field(min_length=1, max_length=MOST_FORMS)]
    counts: Annotated[tuple[Counts, ...], Field(max_length=MOST_IMAGES)] = ()


class PackedData(Open):
    """The images of a bundle."""

    images: Annotated[int, Field(ge=1, le=MOST_IMAGES)]
    size: Size
    split: Split
    dataset: Name
    digest: Name


class PackedStandard(Open):
    """The standard network of a bundle, which the board runs traced."""

    name: Name
    digest: Name
    input_size: Size


class PackedBundle(Open):
    """What the bundle was made of."""

    device: Device
    networks: Annotated[tuple[PackedNetwork, ...], Field(min_length=1, max_length=MOST_NETWORKS)]
    standard: PackedStandard | None = None
    data: PackedData | None = None


class RawSample(Open):
    """One reading of a power sensor."""

    t: float
    power_w: dict[str, float] = Field(default_factory=dict)
    energy_j: dict[str, float] = Field(default_factory=dict)
    fresh: bool
    cpu_s: float | None = None


class RawEnergy(Open):
    """What the probe read of a power sensor (probe/energy.py: capture)."""

    sensor: SensorName
    meta: dict[str, Any]
    samples: tuple[RawSample, ...]
    idle: tuple[tuple[float, float], ...]
    load: tuple[tuple[float, float, int], ...]
    errors: tuple[str, ...] = ()

    @field_validator("meta")
    @classmethod
    def _has_an_interval(cls, value: dict[str, Any]) -> dict[str, Any]:
        interval, rails = value.get("interval_s"), value.get("rails", [])
        if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < MOST_SECONDS:
            raise ValueError(f"interval_s: expected seconds above 0, found {describe_value(interval)}")
        if not isinstance(rails, list) or not all(isinstance(rail, str) for rail in rails):
            raise ValueError(f"rails: expected a list of names, found {describe_value(rails)}")
        if not isinstance(value.get("board", {}), dict):
            raise ValueError(f"board: expected keys with values, found {describe_value(value['board'])}")
        return value


class RawLayer(Open):
    """A layer as a runtime executed it, with the fields of `probe.engines.Layer`."""

    name: Text
    kind: Name
    precision: Name
    where: Text
    seconds: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=MOST_PROCESSES)]
    layout: Name


class RawDeployment(Open):
    """What an engine says of itself."""

    runtime: Name
    executes: Text
    options: dict[Name, Text]
    engine: EngineFile | None = None


class RawScore(Open):
    """What a form scores on the bundle's images."""

    counts: Annotated[tuple[Counts, ...], Field(max_length=MOST_IMAGES)]
    changed: Amount


class UnitFindings(Open):
    """The findings of one process for one form; those of a process that times several have latencies only."""

    cold_start: ColdStart
    model: LatencyRun
    end_to_end: LatencyRun
    memory: Memory | None = None
    finite: bool | None = None
    energy: RawEnergy | None = None
    power_notes: tuple[Text, ...] = ()
    parity: Parity | None = None
    peaks: Peaks | None = None
    file: Text = ""
    deployment: RawDeployment | None = None
    layers: Annotated[tuple[RawLayer, ...], Field(max_length=MOST_LAYERS)] = ()
    score: RawScore | None = None


class Unit(Open):
    """One process of the probe: the forms `cases` of one network."""

    mode: Name | None = None
    network: Amount
    kind: Literal["alone", "turn"]
    cases: Annotated[tuple[Amount, ...], Field(min_length=1, max_length=MOST_FORMS)]
    findings: tuple[UnitFindings, ...]
    control: LatencyRun | None = None
    standard: LatencyRun | None = None
    watch: Watch
    environment: dict[str, Any]
    identity: dict[str, Text]

    @model_validator(mode="after")
    def _of_each_case(self) -> "Unit":
        if len(self.findings) != len(self.cases):
            raise ValueError(f"findings: expected {len(self.cases)}, one for each case, found {len(self.findings)}")
        if self.kind == "alone" and len(self.cases) != 1:
            raise ValueError("cases: a unit alone has one")
        rounds = {len(each.model.samples_s) for each in self.findings}
        rounds |= {len(run.samples_s) for run in (self.control, self.standard) if run is not None}
        if len(rounds) != 1:
            raise ValueError("samples_s: forms that are timed in turn have equally many")
        return self


class RawTrtexec(Open):
    """What trtexec measured, with the file that it ran, and its layers."""

    version: Name
    command: Text
    build_s: Annotated[float, Field(ge=0)] | None
    compute_s: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=MOST_IMAGES)]
    file: Text
    layers: Annotated[tuple[RawLayer, ...], Field(max_length=MOST_LAYERS)] = ()


class TrtexecUnit(Open):
    """A form that trtexec timed."""

    mode: Name | None = None
    network: Amount
    case: Amount
    trtexec: RawTrtexec
    environment: dict[str, Any]
    identity: dict[str, Text]


class UnitFailure(Open):
    """Why a form has no findings."""

    mode: Name | None = None
    network: Amount
    case: Amount
    reason: Text


class ProbeResult(Open):
    """The content of result.json."""

    version: int
    bundle: PackedBundle
    units: tuple[Unit, ...]
    trtexec: tuple[TrtexecUnit, ...] = ()
    failures: tuple[UnitFailure, ...] = ()
    finished_s: Annotated[float, Field(ge=0, le=LAST_SECOND)]

    @field_validator("version")
    @classmethod
    def _is_known(cls, value: int) -> int:
        if value != VERSION:
            raise ValueError(f"expected {VERSION}, found {describe_value(value)}; write the bundle again")
        return value

    @model_validator(mode="after")
    def _of_its_bundle(self) -> "ProbeResult":
        if not self.units and not self.trtexec:
            raise ValueError("units: nothing was measured")
        turns: dict[tuple[str | None, int, bool], set[tuple[int, ...]]] = {}
        for unit in self.units:
            if unit.kind == "turn" and len(unit.cases) > 1:
                turns.setdefault((unit.mode, unit.network, True), set()).add(unit.cases)
        if any(len(orders) > 1 for orders in turns.values()):
            raise ValueError("cases: the forms of a network are timed in one order")
        if any(form.case.file is not None for network in self.bundle.networks for form in network.cases):
            raise ValueError("case.file: a bundle holds no path of this machine")
        named = [(unit.network, unit.cases) for unit in self.units]
        named += [(each.network, (each.case,)) for each in self.trtexec]
        named += [(failure.network, (failure.case,)) for failure in self.failures]
        for network, cases in named:
            if network >= len(self.bundle.networks):
                raise ValueError(f"network {network}: the bundle has {len(self.bundle.networks)}")
            count = len(self.bundle.networks[network].cases)
            if any(case >= count for case in cases):
                raise ValueError(f"cases: network {network} of the bundle has {count}")
        return self


def parse_result(text: str) -> ProbeResult:
    """The content of a result.json of this version, or of the first.

    Raises:
        ResultError: it is no JSON.
        ValidationError: a field breaks a rule.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, or brackets without end
        raise ResultError(str(error)) from None
    return ProbeResult.model_validate(_from_version_1(raw) if isinstance(raw, dict) and "processes" in raw else raw)


def _from_version_1(raw: dict[str, Any]) -> Any:
    """A result of a bundle of one network, as probes wrote it before version 2."""
    bundle, processes = raw.get("bundle"), raw["processes"]
    if not isinstance(bundle, dict) or not isinstance(processes, list):
        return raw
    network = {"cases": [{"case": bundle.get("case")}]}
    units = []
    for number, each in enumerate(processes):
        own = dict(each) if isinstance(each, dict) else {}
        difference = own.pop("difference", None)
        shared = {name: own.pop(name, None) for name in ("watch", "environment", "identity")}
        if number == 0:
            own["parity"] = {
                "on": "the reference", "images": 1, "pixels": 1, "changed": 0, "largest": difference, "rms": difference,
                "scale": 1.0,
            }  # fmt: skip
        kind = "turn" if number else "alone"
        units.append({"network": 0, "kind": kind, "cases": [0], "findings": [own], **shared})
    return {
        "version": VERSION,
        "bundle": {"device": bundle.get("device"), "networks": [network]},
        "units": units,
        "finished_s": raw.get("finished_s"),
    }
