"""Bundles: a network packed for a board where jetbench cannot be installed, and the record of its result there.

A bundle is a folder with the traced network (TorchScript, which an older torch can load), a reference output, and the
probe, the same code that measures here. JetPack 4 has Python 3.6 and JetPack 5 has 3.8, and torch only for these.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

import jetbench
from jetbench.errors import SpecError
from jetbench.models.build import to_torchscript
from jetbench.network.operations import add_up
from jetbench.probe.passes import Normalise, random_pixels
from jetbench.profiling.assemble import assemble
from jetbench.profiling.case import Case
from jetbench.profiling.findings import Findings, ProcessFindings
from jetbench.profiling.power import plan_of, read_energy
from jetbench.records.measurement import ColdStart, LatencyRun, Memory, Watch
from jetbench.records.record import Environment, Record
from jetbench.spec.base import first_problem
from jetbench.spec.device import Device, is_device

PROBE = Path(jetbench.__file__).parent / "probe"


def write_bundle(folder: Path, case: Case, device: Device) -> float:
    """Write a bundle of `case` for `device`; returns the largest relative difference of the traced network's output.

    Raises:
        SpecError: the folder exists, or the number format is not fp32.
    """
    if folder.exists():
        raise SpecError(f"{folder}: already exists; choose another --out")
    if case.config.dtype != "fp32":
        raise SpecError(f"--dtype {case.config.dtype}: a bundle's weights are frozen as fp32; leave --dtype out")
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


def collect(path: Path) -> tuple[Record, Device]:
    """The record of a result.json that a board's probe wrote, and the device that the bundle was made for.

    Raises:
        SpecError: the file cannot be read, or is not a result.json of this version's probe.
    """
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
        case, device = (
            Case.model_validate(payload["bundle"]["case"]),
            Device.model_validate(payload["bundle"]["device"]),
        )
        processes = [_read_process(process, case, device) for process in payload["processes"]]
        # A container hides the board's device tree; then the host's jtop identifies the board.
        meta = (payload["processes"][0].get("energy") or {}).get("meta", {})
        identity = {**payload["processes"][0]["identity"], **meta.get("board", {})}
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise SpecError(f"{path}: not JSON from line {error.lineno} on; give the result.json of a bundle") from None
    except ValidationError as error:
        raise SpecError(f"{path}: not a result.json of this version's probe ({first_problem(error)})") from None
    except KeyError as error:
        raise SpecError(f"{path}: not a result.json of this version's probe ({error} is missing)") from None
    except (ValueError, IndexError, TypeError) as error:
        raise SpecError(f"{path}: not a result.json of this version's probe ({type(error).__name__})") from None
    profile = assemble(0, processes, processes[0], case.input_size, case.config, device, case.operations())
    changes: dict[str, Any] = {"output_difference": max(process["difference"] for process in payload["processes"])}
    if device.is_board and not is_device(device, identity):
        machine = identity["model"] or "a machine that does not name itself"
        note = f"the bundle was made for {device.title}, but was measured on: {machine}"
        changes |= {"runs_on": "another machine", "notes": {**profile.notes, "processor": note}}
    finished = datetime.fromtimestamp(payload["finished_s"], timezone.utc)
    return case.to_record(profile.model_copy(update=changes), finished), device


def _read_process(payload: Mapping[str, Any], case: Case, device: Device) -> ProcessFindings:
    notes: dict[str, str] = {}
    energy = None
    if payload.get("energy"):
        energy = read_energy(payload["energy"], device, case.config.batch_size)
    reasons = [energy.problem] if energy and energy.problem else []
    if payload.get("power_notes") or reasons:
        notes["power_w"] = "; ".join([*reasons, *payload.get("power_notes", ())])
    rest: dict[str, Any] = {}
    if "memory" in payload:
        cost = add_up(case.operations())
        rest = {
            "memory": Memory.model_validate(payload["memory"]),
            "finite": payload["finite"],
            "energy": energy,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "flops": cost.flops,
            "bytes_moved": cost.bytes_moved,
        }
        if payload["memory"]["allocator_peak_bytes"] is None:
            notes["peak_memory_bytes"] = "the probe reads torch's allocator on a GPU only"
    findings = Findings(
        cold_start=ColdStart.model_validate(payload["cold_start"]),
        model=LatencyRun.model_validate(payload["model"]),
        end_to_end=LatencyRun.model_validate(payload["end_to_end"]),
        notes=notes,
        **rest,
    )
    environment = Environment(**{**payload["environment"], "jetbench": jetbench.__version__, "commit": None})
    return ProcessFindings(networks=(findings,), watch=Watch.model_validate(payload["watch"]), environment=environment)
