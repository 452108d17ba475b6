"""Bundles: a network packed for a board where jetbench cannot be installed, and the record of its result there.

A bundle is a folder with the traced network (TorchScript, which an older torch can load), a reference output, and the
probe, the same code that measures here. JetPack 4 has Python 3.6 and JetPack 5 has 3.8, and torch only for these.
"""

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import jetbench
from jetbench.errors import SpecError
from jetbench.files import read_text
from jetbench.models.build import to_torchscript
from jetbench.network.operations import add_up
from jetbench.probe.passes import Normalise, random_pixels
from jetbench.profiling.assemble import assemble
from jetbench.profiling.case import Case
from jetbench.profiling.findings import Findings, ProcessFindings
from jetbench.profiling.power import plan_of, read_energy
from jetbench.records.measurement import ColdStart, LatencyRun, Memory, Watch
from jetbench.records.record import Environment, Record
from jetbench.spec.base import describe_value, first_problem
from jetbench.spec.bounds import MOST_PROCESSES, MOST_SECONDS
from jetbench.spec.device import Device, SensorName, is_device

MOST_RESULT_BYTES = 256 * 2**20
LAST_SECOND = 4_102_444_800  # the year 2100
PROBE = Path(jetbench.__file__).parent / "probe"


def write_bundle(folder: Path, case: Case, device: Device) -> float:
    """Write a bundle of `case` for `device`; returns the largest relative difference of the traced network's output.

    Raises:
        SpecError: the folder exists, or the number format is not fp32.
    """
    if folder.exists():
        raise SpecError(f"{folder}: already exists; choose another --out")
    if case.config.dtype != "fp32":
        raise SpecError(f"a bundle's weights are frozen as fp32, so it cannot run in {case.config.dtype}")
    case = case.model_copy(update={"config": case.config.model_copy(update={"backend": "traced"})})
    network = case.network()
    model = network.build().eval()
    normalise = Normalise(case.mean, case.std, torch.device("cpu"))
    images = normalise(random_pixels(case.config.batch_size, case.input_size, case.config.seed))
    with torch.no_grad():
        traced = to_torchscript(model, images)
        logits = model(images)
        difference = float((traced(images) - logits).abs().max() / logits.abs().max())
    folder.mkdir(parents=True)
    torch.jit.save(traced, str(folder / "model.ts"))
    torch.save({"images": images, "logits": logits}, folder / "reference.pt")
    shutil.copytree(PROBE, folder / "probe", ignore=shutil.ignore_patterns("__pycache__"))
    request = {
        "case": case.model_dump(mode="json"),
        "device": device.model_dump(mode="json"),
        "config": case.config.model_dump(mode="json"),
        "input_size": case.input_size,
        "mean": case.mean,
        "std": case.std,
        "accelerator": device.accelerator,
        "sensors": device.sensors,
        "energy_plan": list(plan_of(case.config)),
        "weights_bytes": sum(tensor.nbytes for tensor in model.state_dict().values()),
        "jetbench": jetbench.__version__,
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    return difference


class Open(BaseModel):
    """Data from a probe of any version: fields that this version does not know are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class PackedCase(Open):
    """What the bundle was made of."""

    case: Case
    device: Device


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


class ProbeProcess(Open):
    """The findings of one process of the probe."""

    cold_start: ColdStart
    model: LatencyRun
    end_to_end: LatencyRun
    memory: Memory | None = None
    finite: bool | None = None
    energy: RawEnergy | None = None
    power_notes: tuple[str, ...] = ()
    difference: Annotated[float, Field(ge=0)]
    watch: Watch
    environment: dict[str, Any]
    identity: dict[str, str]


class ProbeResult(Open):
    """The content of result.json."""

    bundle: PackedCase
    processes: Annotated[tuple[ProbeProcess, ...], Field(min_length=1, max_length=MOST_PROCESSES)]
    finished_s: Annotated[float, Field(ge=0, le=LAST_SECOND)]


def collect(path: Path) -> tuple[Record, Device]:
    """The record of a result.json that a board's probe wrote, and the device that the bundle was made for.

    Raises:
        SpecError: the file cannot be read, or is not a result.json of this version's probe.
    """
    try:
        result = ProbeResult.model_validate_json(read_text(path, MOST_RESULT_BYTES))
        case, device = result.bundle.case, result.bundle.device
        processes = [_read_process(process, case, device) for process in result.processes]
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise SpecError(f"{path}: not a result.json of this version's probe ({first_problem(error)})") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a result.json of this version's probe (it is not UTF-8)") from None
    first = result.processes[0]
    # A container hides the board's device tree; then the host's jtop identifies the board.
    board = first.energy.meta.get("board", {}) if first.energy else {}
    identity = {**first.identity, **{str(key): str(value) for key, value in board.items()}}
    profile = assemble(0, processes, processes[0], case.input_size, case.config, device, case.operations())
    changes: dict[str, Any] = {"output_difference": max(process.difference for process in result.processes)}
    if device.is_board and not is_device(device, identity):
        model = identity.get("model")
        # In a container without the board's device tree and jtop, an accelerator is all that speaks for the board.
        is_other = model is not None or profile.runs_on != "device"
        note = f"the bundle was made for {device.title}, but was measured on: "
        note += f"{model or 'a machine that does not name itself'} ({profile.environment.device})"
        changes |= {"runs_on": "another machine" if is_other else "an unnamed machine"}
        changes |= {"notes": {**profile.notes, "processor": note}}
    finished = datetime.fromtimestamp(result.finished_s, timezone.utc)
    return case.to_record(profile.model_copy(update=changes), finished), device


def _read_process(process: ProbeProcess, case: Case, device: Device) -> ProcessFindings:
    notes: dict[str, str] = {}
    energy = None
    if process.energy is not None:
        energy = read_energy(process.energy.model_dump(), device, case.config.batch_size)
    reasons = [energy.problem] if energy and energy.problem else []
    if process.power_notes or reasons:
        notes["power_w"] = "; ".join([*reasons, *process.power_notes])
    rest: dict[str, Any] = {}
    if process.memory is not None:
        cost = add_up(case.operations())
        rest = {
            "memory": process.memory,
            "finite": process.finite,
            "energy": energy,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "flops": cost.flops,
            "bytes_moved": cost.bytes_moved,
        }
        if process.memory.allocator_peak_bytes is None:
            notes["peak_memory_bytes"] = "the probe reads torch's allocator on a GPU only"
    findings = Findings(
        cold_start=process.cold_start, model=process.model, end_to_end=process.end_to_end, notes=notes, **rest
    )
    environment = Environment.model_validate({**process.environment, "jetbench": jetbench.__version__, "commit": None})
    return ProcessFindings(networks=(findings,), watch=process.watch, environment=environment)
